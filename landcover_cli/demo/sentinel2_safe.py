"""Writing a Sentinel-2 Level-2A product as SAFE folder: XML, JPEG 2000 images, names as ESA's.

The one stated simplification: a granule is as large as the arrays that are given, not 109.8 km. TCI, AOT, WVP, the 60 m
images and the quality masks are absent, and so the metadata does not list them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

from landcover_cli.demo.clouds import half
from landcover_cli.demo.reflectance import BANDS, BANDS_10M, BANDS_20M
from landcover_cli.demo.region import EPSG, LEFT_M, MGRS_TILE, TOP_M
from landcover_cli.demo.sentinel2_xml import L2AProduct, manifest_xml, product_xml, tile_xml
from landcover_cli.errors import UsageError
from landcover_cli.io.rasterwrite import whole_raster

OFFSET_SINCE = (4, 0)
_LOSSLESS = {"QUALITY": "100", "REVERSIBLE": "YES", "YCBCR420": "NO", "RESOLUTIONS": "3"}


def default_offset(baseline: str) -> int | None:
    """``BOA_ADD_OFFSET`` of a baseline: -1000 from 04.00 on, None (element absent) before."""
    major, minor = (int(part) for part in baseline.split("."))
    return -1000 if (major, minor) >= OFFSET_SINCE else None


def to_dn(reflectance: NDArray[Any], offset: int | None) -> NDArray[np.uint16]:
    """Reflectance → digital numbers: ``DN = 10000 ρ - offset``, at least 1 (0 means no data), at most 65534."""
    numbers = np.rint(np.asarray(reflectance, np.float64) * 10_000) - (offset or 0)
    return np.asarray(np.clip(numbers, 1, 65_534), np.uint16)


def product(
    when: datetime,
    *,
    shape_10m: tuple[int, int],
    baseline: str = "05.09",
    offset: int | None = None,
    platform: str = "S2A",
    tile: str = MGRS_TILE,
    relative_orbit: int = 22,
    absolute_orbit: int = 28_905,
    epsg: int = EPSG,
    origin_m: tuple[float, float] = (LEFT_M, TOP_M),
    sun_deg: tuple[float, float] = (40.0, 160.0),
    view_deg: tuple[float, float] = (4.0, 105.0),
    made: datetime | None = None,
) -> L2AProduct:
    """A product's description with everything optional filled in; ``offset`` follows the baseline."""
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return L2AProduct(
        when=when,
        made=made or when + timedelta(hours=3, minutes=7),
        baseline=baseline,
        offset=default_offset(baseline) if offset is None else offset,
        platform=platform,
        tile=tile,
        relative_orbit=relative_orbit,
        absolute_orbit=absolute_orbit,
        epsg=epsg,
        origin_m=origin_m,
        shape_10m=shape_10m,
        sun_deg=sun_deg,
        view_deg=view_deg,
    )


def write_l2a_safe(
    folder: Path, about: L2AProduct, bands: Mapping[str, NDArray[np.uint16]], scl: NDArray[np.uint8]
) -> Path:
    """Write one product.

    Args:
        folder: Where the SAFE folder appears; its name is the product's.
        about: What the metadata says; ``product(when, shape_10m=...)`` fills in the rest.
        bands: Digital numbers by band, any subset: ``B02 B03 B04 B08`` at 10 m, the others at 20 m; 0 is no data.
        scl: Scene classification at 20 m.

    Returns:
        The SAFE folder.

    Raises:
        UsageError: An array's shape does not match its resolution, or a band's name is unknown.
    """
    safe = folder / about.name
    images = {band: 10 for band in BANDS_10M if band in bands} | {band: 20 for band in BANDS_20M if band in bands}
    if unknown := sorted(set(bands) - set(images)):
        raise UsageError(f"band {unknown[0]!r} is not one of {', '.join(BANDS)}", remedy="use names such as B02 or B8A")
    arrays: dict[str, NDArray[Any]] = {**{band: bands[band] for band in images}, "SCL": scl}
    images["SCL"] = 20
    files: dict[str, bytes] = {}
    for band, gsd_m in images.items():
        expected = tuple(size * 10 // gsd_m for size in about.shape_10m)
        if arrays[band].shape != expected:
            raise UsageError(f"{band} has shape {arrays[band].shape}, not {expected}", remedy=f"give it at {gsd_m} m")
        path = safe / (about.image(band, gsd_m) + ".jp2")
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_jp2(path, arrays[band], about, gsd_m)
        files[path.relative_to(safe).as_posix()] = path.read_bytes()
    for name, content in (
        ("MTD_MSIL2A.xml", product_xml(about, images, scl)),
        (f"GRANULE/{about.granule}/MTD_TL.xml", tile_xml(about, scl)),
    ):
        (safe / name).write_bytes(content)
        files[name] = content
    sums = {
        name: (len(content), hashlib.md5(content, usedforsecurity=False).hexdigest()) for name, content in files.items()
    }
    (safe / "manifest.safe").write_bytes(manifest_xml(sums))
    return safe


def write_reflectance_safe(
    folder: Path,
    about: L2AProduct,
    reflectance: NDArray[Any],
    scl: NDArray[np.uint8],
    inside: NDArray[np.bool_] | None = None,
) -> Path:
    """Write one product from reflectance ``(bands, rows, cols)`` at 10 m, in the order of ``BANDS``.

    Args:
        folder: Where the SAFE folder appears.
        about: What the metadata says.
        reflectance: All ten bands at 10 m; the 20 m bands are averaged.
        scl: Scene classification at 20 m.
        inside: ``(rows, cols)`` False outside the swath, where every band is 0; a 20 m pixel that is partly outside is.
    """
    about = replace(about, shape_10m=(int(reflectance.shape[-2]), int(reflectance.shape[-1])))
    valid = np.ones(about.shape_10m, bool) if inside is None else inside
    valid_20m = half(valid.astype(np.float32)) > 0.999
    bands = {}
    for band, values in zip(BANDS, reflectance, strict=True):
        at_10m = band in BANDS_10M
        numbers = to_dn(values if at_10m else half(values), about.offset)
        bands[band] = np.where(valid if at_10m else valid_20m, numbers, 0).astype(np.uint16)
    return write_l2a_safe(folder, about, bands, scl)


def _write_jp2(path: Path, values: NDArray[Any], about: L2AProduct, gsd_m: int) -> None:
    left, top = about.origin_m
    with (
        whole_raster(path),
        rasterio.open(
            path,
            "w",
            driver="JP2OpenJPEG",
            height=values.shape[0],
            width=values.shape[1],
            count=1,
            dtype=values.dtype,
            crs=f"EPSG:{about.epsg}",
            transform=Affine(gsd_m, 0, left, 0, -gsd_m, top),
            **_LOSSLESS,
        ) as target,
    ):
        target.write(values, 1)
