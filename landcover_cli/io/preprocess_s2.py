"""One optical scene onto the product grid: offset, mask, bands; by strips, one band at a time.

Held in memory: one strip of one band, and one byte per pixel of the output for validity (at most 121 MB for a whole
tile at 10 m). Bands are read one after the other so that a row of JPEG 2000 tiles is decoded once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
from rasterio.windows import Window

from landcover_cli.core.types import MASK_NODATA, Scene
from landcover_cli.io.observation import Observation, create_observation
from landcover_cli.io.ongrid import Lattice, Method, covered, intersect, read_on, snap_out
from landcover_cli.io.raster import gdal_env, open_raster, raster_info
from landcover_cli.io.s2_mask import GROUND, mask_codes
from landcover_cli.io.s2_nbar import nadir_factors
from landcover_cli.io.safe_s2 import require_bands
from landcover_cli.optical.masking import Mask
from landcover_cli.optical.offset import OffsetDecision, harmonise, judge_offset, resolve_offset
from landcover_cli.registry import load

Bounds = tuple[float, float, float, float]
STRIP_PX = 1024
_ERODE_M = 20.0
_log = logging.getLogger("lc")


@dataclass(frozen=True)
class S2Settings:
    """What decides an observation besides the scene.

    Attributes:
        crs: CRS of the product grid.
        gsd_m: Pixel edge of the observation.
        area_m: Bounds to cover at most, in `crs`.
        bands: Bands in order.
        mask: Mask plug-in.
        mask_options: Options that were given.
        resampling: How coarser bands come to `gsd_m`.
        offset: ``auto``, or what the user says.
        nbar: Normalise reflectance to a sensor at nadir (SAFE products only).
    """

    crs: str
    gsd_m: float
    area_m: Bounds
    bands: tuple[str, ...]
    mask: Mask
    mask_options: Mapping[str, Any] = field(default_factory=dict)
    resampling: Method = "bilinear"
    offset: Literal["auto", "applied", "in_pixels"] = "auto"
    nbar: bool = False


def preprocess_s2(
    scene: Scene, settings: S2Settings, out: Path, check: Callable[[], None] = lambda: None
) -> Observation:
    """Write one scene as an observation.

    Args:
        scene: From `io.safe_s2` or `io.stac_in`.
        settings: Grid, bands, mask, offset.
        out: Existing, empty folder.
        check: Called now and then; raises to stop.

    Returns:
        The description that was written.

    Raises:
        InputError: A band or the mask's layer is missing, a file is damaged, or the pixels disprove the offset.
    """
    decision = resolve_offset(scene.id, scene.metadata, settings.offset)
    facts = {
        key: scene.metadata[key]
        for key in ("baseline", "datatake", "datastrip", "tile", "orbit", "orbit_direction", "cloud_percent")
        if scene.metadata.get(key) not in {None, ""}
    }
    facts["offset"] = {"added_dn": decision.add_dn, "source": decision.source, "reason": decision.reason}

    factors = nadir_factors(scene, settings.bands) if settings.nbar else None
    if factors:
        facts["nbar"] = "c-factor, Roy et al. 2017"

    def stored(values: np.ndarray, band: str, part: Lattice) -> np.ndarray:
        harmonised = harmonise(values, decision.add_dn)
        return factors.apply(harmonised, band, part) if factors else harmonised

    return write_scene(scene, settings, out, stored, facts, decision, check)


def write_scene(
    scene: Scene,
    settings: S2Settings,
    out: Path,
    stored: Callable[[np.ndarray, str, Lattice], np.ndarray],
    facts: dict[str, Any],
    decision: OffsetDecision | None = None,
    check: Callable[[], None] = lambda: None,
) -> Observation:
    """Write an optical scene as an observation.

    Args:
        scene: What to read.
        settings: Grid, bands, mask.
        out: Existing, empty folder.
        stored: A band's numbers as read (uint16, 0 = nodata), its name and where they lie → as cubes hold them.
        facts: Go into the description.
        decision: About the offset, to be judged by the pixels of a scene classification; None: nothing to judge.
        check: Called now and then; raises to stop.

    Raises:
        InputError: As `preprocess_s2`.
    """
    options = settings.mask.options(settings.mask_options)
    wanted = settings.mask.layer_names(settings.bands, settings.mask_options)
    require_bands(scene, (*settings.bands, *wanted), f"{scene.id}: {_where(scene)}")
    with gdal_env(), ExitStack() as stack:
        bands = {name: stack.enter_context(open_raster(scene.assets[name].href)) for name in settings.bands}
        layers = {name: stack.enter_context(open_raster(scene.assets[name].href)) for name in wanted}
        lattice, inside = _lattice(bands, settings)
        codes = mask_codes(scene, layers, settings.mask, options, lattice, decision.add_dn if decision else 0, check)
        about = _describe(scene, settings, lattice, facts)
        holes = np.zeros(inside.shape_yx, bool)
        dark: dict[str, np.ndarray] = {}
        with create_observation(out, about) as (data, mask):
            for index, (name, dataset) in enumerate(bands.items(), start=1):
                counts = np.zeros(65536, np.int64) if name in {"B02", "B12"} and "SCL" in layers else None
                for rows, values in _strips(dataset, inside, settings.resampling, check):
                    holes[rows] |= values == 0
                    own, at = _crop(values, rows, inside, lattice)
                    if counts is not None:
                        counts += np.bincount(own[(codes[at] & GROUND) != 0], minlength=65536)
                    _put(data, index, stored(own, name, lattice.rows(at.start, at.stop)), at)
                if counts is not None:
                    dark[name] = counts
            if decision and dark:
                share = (settings.gsd_m / raster_info(layers["SCL"]).gsd_m) ** 2
                judged = judge_offset(scene.id, decision, dark, min(share, 1.0))
                if judged.warning:
                    _log.warning("%s", judged.warning)
            final = _finish_mask(codes, holes, inside, lattice)
            _put(mask, 1, final, slice(0, final.shape[0]))
    return about


def _where(scene: Scene) -> str:
    """The file the scene came from, without a signed query."""
    href = next(iter(scene.assets.values())).href if scene.assets else ""
    return href.split("?", 1)[0].rsplit("/", 1)[0]


def _lattice(bands: Mapping[str, rasterio.DatasetReader], settings: S2Settings) -> tuple[Lattice, Lattice]:
    """What is written, and that plus the margin that the erosion of validity looks at, both within the scene."""
    area = snap_out(settings.area_m, settings.gsd_m)
    whole = Lattice(settings.crs, settings.gsd_m, area)
    scene: Bounds | None = None
    for dataset in bands.values():
        bounds = covered(raster_info(dataset), settings.crs, settings.gsd_m)
        scene = bounds if scene is None else intersect(scene, bounds)
        if scene is None:
            return whole, whole
    assert scene is not None
    inside = intersect(area, scene)
    if inside is None:
        # The footprint reaches here, the pixels do not: an observation without any.
        return whole, whole
    lattice = Lattice(settings.crs, settings.gsd_m, inside)
    grown = intersect(lattice.grown(_erode_px(settings.gsd_m)).bounds_m, scene)
    assert grown is not None
    return lattice, Lattice(settings.crs, settings.gsd_m, grown)


def _erode_px(gsd_m: float) -> int:
    return int(_ERODE_M / gsd_m + 1e-6)


def _strips(
    dataset: rasterio.DatasetReader, lattice: Lattice, method: Method, check: Callable[[], None]
) -> Iterator[tuple[slice, np.ndarray]]:
    height = lattice.shape_yx[0]
    for first in range(0, height, STRIP_PX):
        check()
        after = min(first + STRIP_PX, height)
        yield slice(first, after), read_on(dataset, 1, lattice.rows(first, after), method)


def _crop(values: np.ndarray, rows: slice, inside: Lattice, lattice: Lattice) -> tuple[np.ndarray, slice]:
    """The part of a strip that belongs to the written lattice, and the rows it goes to."""
    above = round((inside.bounds_m[3] - lattice.bounds_m[3]) / lattice.gsd_m)
    left = round((lattice.bounds_m[0] - inside.bounds_m[0]) / lattice.gsd_m)
    height, width = lattice.shape_yx
    first, after = max(rows.start, above), min(rows.stop, above + height)
    part = values[max(first - rows.start, 0) : max(after - rows.start, 0), left : left + width]
    return part, slice(first - above, max(after, first) - above)


def _put(dataset: rasterio.io.DatasetWriter, band: int, values: np.ndarray, rows: slice) -> None:
    if values.size:
        dataset.write(values, band, window=Window(0, rows.start, values.shape[1], values.shape[0]))


def _finish_mask(codes: np.ndarray, holes: np.ndarray, inside: Lattice, lattice: Lattice) -> np.ndarray:
    """Codes without the bit, and nothing observed where a band is empty or within 20 m of it (detector edges)."""
    erode = _erode_px(lattice.gsd_m)
    if erode and holes.any():
        from scipy import ndimage

        reach = np.arange(-erode, erode + 1) * lattice.gsd_m
        disc = np.hypot(reach[:, None], reach[None, :]) <= _ERODE_M + 1e-6
        holes = ndimage.binary_dilation(holes, structure=disc)
    own, _ = _crop(holes, slice(0, holes.shape[0]), inside, lattice)
    final = codes & np.uint8(GROUND - 1)
    final[own] = MASK_NODATA
    return final


def _describe(scene: Scene, settings: S2Settings, lattice: Lattice, facts: dict[str, Any]) -> Observation:
    sensor = load("sensor", scene.sensor)
    mask = {"name": settings.mask.name, **settings.mask.options(settings.mask_options)}
    when = scene.datetime.isoformat().replace("+00:00", "Z")
    return Observation(
        id=scene.id,
        sensor=sensor.name,
        datetime=when,
        bands=settings.bands,
        units=sensor.units,
        scale=sensor.scale,
        offset=sensor.offset,
        gsd_m=settings.gsd_m,
        crs=settings.crs,
        bounds_m=lattice.bounds_m,
        dtype=sensor.dtype,
        group=str(scene.metadata.get("datatake") or scene.id),
        facts={**facts, "mask": mask},
    )
