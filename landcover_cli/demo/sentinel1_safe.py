"""Writing a Sentinel-1 IW GRDH product as SAFE folder, simulated from a map of backscatter over terrain.

The one stated simplification: an image covers the map and a margin, not the 250 km of a swath. Quick-look, schemas and
the parts of the annotation that pixels do not need are absent, and so the manifest does not list them.
"""

from __future__ import annotations

import binascii
import hashlib
from datetime import date
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.control import GroundControlPoint

from landcover_cli.demo.backscatter import speckle
from landcover_cli.demo.noise import stream
from landcover_cli.demo.sentinel1_annotation import Product, annotation_xml, calibration_xml, manifest_xml, noise_xml
from landcover_cli.demo.sentinel1_geometry import Geometry
from landcover_cli.demo.sentinel1_orbit import node_time
from landcover_cli.demo.sentinel1_tables import Calibration, Noise, calibration, noise
from landcover_cli.errors import UsageError

POLARISATIONS = ("VV", "VH")
_MAX_DN = 65_535


def digital_numbers(
    geometry: Geometry,
    gamma0_yx: NDArray[Any],
    tables: tuple[Calibration, Noise],
    rng: np.random.Generator | None,
) -> NDArray[np.uint16]:
    """What the radar records of a map.

    Signal and thermal noise are both circular Gaussian: the speckle multiplies their summed power.

    Args:
        geometry: The view.
        gamma0_yx: [rows, cols] terrain-flattened gamma nought on the map, linear power.
        tables: Calibration and noise of the polarisation.
        rng: Source of the speckle; none if None.

    Returns:
        [lines, pixels]; at least 1, because 0 means no data.
    """
    factors, thermal = tables
    factor = np.interp(np.arange(geometry.shape_yx[1]), factors.pixel, factors.beta0)
    power = geometry.beta0(gamma0_yx) * factor**2 + thermal.at_pixels(geometry.shape_yx)
    if rng is not None:
        power = power * speckle(geometry.shape_yx, rng)
    return np.asarray(np.clip(np.rint(np.sqrt(power)), 1, _MAX_DN), np.uint16)


def write_grd_safe(
    folder: Path,
    geometry: Geometry,
    backscatter: NDArray[Any],
    *,
    when: date,
    seed: int,
    platform: str = "S1A",
    kind: Literal["gamma0", "sigma0"] = "gamma0",
    speckled: bool = True,
) -> Path:
    """Write one product.

    Args:
        folder: Where the SAFE folder appears; its name is the product's.
        geometry: Orbit, map and terrain (`make_geometry`), shared by all dates of a relative orbit.
        backscatter: [2, rows, cols] on the geometry's map, linear power, VV then VH; without speckle. "gamma0" is the
            terrain-flattened one (per illuminated area), "sigma0" that of the same ground lying flat.
        when: Day of the pass; `sentinel1_orbit.pass_days` tells the days on which the satellite really passes.
        seed: Seed of the speckle.
        platform: ``S1A`` or ``S1B``.
        kind: What `backscatter` is.
        speckled: Whether there is speckle (4.4 looks).

    Returns:
        The SAFE folder.

    Raises:
        UsageError: The array does not fit the map, holds something negative or not finite, or an option is unknown.
    """
    expected = (len(POLARISATIONS), geometry.grid.rows, geometry.grid.cols)
    if backscatter.shape != expected:
        raise UsageError(f"backscatter has shape {backscatter.shape}, not {expected}", remedy="give VV and VH")
    if not np.isfinite(backscatter).all() or (backscatter < 0).any():
        raise UsageError("backscatter is negative or not finite somewhere", remedy="give linear power")
    if kind not in ("gamma0", "sigma0"):
        raise UsageError(f"kind is {kind!r}", remedy="choose gamma0 or sigma0")
    gamma0 = backscatter / geometry.cos_incidence_yx if kind == "sigma0" else backscatter
    node, absolute_orbit = node_time(platform, geometry.track.relative_orbit, when)
    product = Product(geometry, platform, node, absolute_orbit, POLARISATIONS)
    files: dict[str, bytes] = {}
    factors = calibration(geometry)
    for band, polarisation in zip(gamma0, POLARISATIONS, strict=True):
        thermal = noise(geometry, polarisation, factors)
        stem = product.stem(polarisation)
        files[f"annotation/{stem}.xml"] = annotation_xml(product, polarisation)
        files[f"annotation/calibration/calibration-{stem}.xml"] = calibration_xml(product, polarisation, factors)
        files[f"annotation/calibration/noise-{stem}.xml"] = noise_xml(product, polarisation, thermal)
        rng = stream(seed, "sentinel-1", platform, absolute_orbit, polarisation) if speckled else None
        files[f"measurement/{stem}.tiff"] = _tiff(product, digital_numbers(geometry, band, (factors, thermal), rng))
    sums = {
        name: (len(content), hashlib.md5(content, usedforsecurity=False).hexdigest()) for name, content in files.items()
    }
    files["manifest.safe"] = manifest_xml(product, sums)
    safe = folder / product.name(binascii.crc_hqx(files["manifest.safe"], 0xFFFF))
    for name, content in files.items():
        (safe / name).parent.mkdir(parents=True, exist_ok=True)
        (safe / name).write_bytes(content)
    return safe


def _tiff(product: Product, numbers: NDArray[np.uint16]) -> bytes:
    """The measurement as GeoTIFF with ground control points; compressed, unlike ESA's own, to keep the demo small."""
    points = [
        GroundControlPoint(row=tie.line, col=tie.pixel, x=tie.lon_deg, y=tie.lat_deg, z=tie.height_m)
        for tie in product.geometry.ties
    ]
    with rasterio.MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            height=numbers.shape[0],
            width=numbers.shape[1],
            count=1,
            dtype="uint16",
            gcps=points,
            crs="EPSG:4326",
            compress="deflate",
            zlevel=6,
        ) as target:
            target.write(numbers, 1)
            target.update_tags(TIFFTAG_IMAGEDESCRIPTION=f"Sentinel-{product.platform[1:]} IW GRD HR L1, simulated")
        return bytes(memory.read())
