"""One Sentinel-1 GRD product onto a grid: noise, calibration, speckle, terrain flattening, terrain correction.

`prepare_s1` reads metadata and terrain, and refuses whatever cannot work before a pixel is touched; `preprocess_s1`
writes the observation. Finished blocks come in the order of the radar's lines; they wait in an uncompressed scratch
raster, so that the files that remain have the same bytes whatever the blocks and workers were.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyproj
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from landcover_cli.core.grid import geobox_from_bounds, utm_epsg
from landcover_cli.core.lattice import Bounds, Lattice, intersect, snap_out
from landcover_cli.core.types import MASK_BAD, MASK_CLEAR, MASK_NODATA
from landcover_cli.errors import InputError, UsageError
from landcover_cli.io.dem import Dem, datum_offset, open_dem
from landcover_cli.io.eof import find_orbit
from landcover_cli.io.geoid import GRID_FILES, GeoidGrid, open_geoid
from landcover_cli.io.observation import Observation, create_observation
from landcover_cli.io.raster import gdal_env
from landcover_cli.io.rasterwrite import create_geotiff
from landcover_cli.io.s1_plan import BLOCK_PX, ScenePlan, plan_scene
from landcover_cli.io.s1_scene import LAYERS, SceneBlock, geocode_scene
from landcover_cli.io.s1_source import STRIP_LINES, grd_sources
from landcover_cli.io.safe_s1 import S1Product, open_measurement
from landcover_cli.sar.border import has_border_noise
from landcover_cli.sar.geocoding import RadarModel, radar_model
from landcover_cli.sar.ground import Block, MapLattice, lattice_of
from landcover_cli.sar.noise import Denoise, noise_state
from landcover_cli.sar.orbit import interpolate_orbit
from landcover_cli.sar.speckle import SpeckleFilter, create
from landcover_cli.sar.types import GeolocationGrid, OrbitStateVectors, S1Annotation, S1Channel
from landcover_cli.sensors.sentinel1 import SENSOR

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

_log = logging.getLogger("lc")

Backscatter = Literal["gamma0_rtc", "gamma0", "sigma0", "beta0"]
UNITS: dict[str, str] = {
    "gamma0_rtc": SENSOR.units,
    "gamma0": "gamma0_ellipsoid_linear",
    "sigma0": "sigma0_linear",
    "beta0": "beta0_linear",
}
"""What the values of an observation mean, by backscatter: a model trained on one never meets another unnoticed."""
LAYER_FILES = {"incidence": "incidence.tif", "layover_shadow": "layover_shadow.tif"}
# Beyond the outermost tie points: half a line of them, and relief.
_RIM_M = 1000.0
_TIE_STEP_DEG = 1e-4


@dataclass(frozen=True)
class S1Settings:
    """What decides an observation besides the product.

    Attributes:
        dem: A raster file, a VRT, a folder of tiles, or "flat:H".
        dem_height: "auto", "ellipsoidal", "egm96", "egm2008", or the path of a geoid grid.
        geoid_dirs: Folders with geoid grids, looked in before PROJ's own.
        orbits: Folder of orbit files, or one of them; None for the vectors of the annotation.
        backscatter: "gamma0_rtc" (terrain-flattened), or "gamma0", "sigma0", "beta0" of the ellipsoid.
        speckle: Filter, or "none".
        speckle_options: Parameters of the filter.
        polarisations: In order; empty for all of the product.
        denoise: See `landcover_cli.sar.noise.noise_state`.
        layers: Any of "incidence" and "layover_shadow"; the latter also marks such pixels in the mask.
        crs: CRS of the grid; None for the UTM zone of the scene's centre.
        gsd_m: Pixel edge; None for the product's own pixel spacing.
        area_m: Bounds to cover at most, in `crs`; None for the whole scene.
        may_miss: An area that the scene does not reach gives an observation without a pixel instead of an error.
    """

    dem: str
    dem_height: str = "auto"
    geoid_dirs: tuple[Path, ...] = ()
    orbits: Path | None = None
    backscatter: Backscatter = "gamma0_rtc"
    speckle: str = "refined_lee"
    speckle_options: Mapping[str, Any] = field(default_factory=dict)
    polarisations: tuple[str, ...] = ()
    denoise: Denoise = "auto"
    layers: tuple[str, ...] = ()
    crs: str | None = None
    gsd_m: float | None = None
    area_m: Bounds | None = None
    may_miss: bool = False


@dataclass(frozen=True)
class S1Execution:
    """How it is done; changes no byte.

    Attributes:
        workers: Threads.
        memory_bytes: Working memory; fewer threads are used where all of them would not fit.
        block_px: Edge of a map block.
        progress: Called as ``progress(done, total, text)``.
        check: Called per block; raises to stop.
    """

    workers: int = 1
    memory_bytes: int = 2 * 1024**3
    block_px: int = BLOCK_PX
    progress: Callable[[float, float, str], None] = lambda done, total, text: None
    check: Callable[[], None] = lambda: None


@dataclass(frozen=True, eq=False)
class PreparedS1:
    """A product that can be processed: everything is read but pixels.

    Attributes:
        settings: As given.
        channels: One per polarisation.
        model: Geometry of the image.
        dem: Terrain.
        speckle: Filter; None for none.
        plan: What to read and to compute; None where the scene does not reach the area.
        block: The pixels on the plan's lattice.
        about: Description of the observation.
        footprint: Ground that the scene covers within the area, in the observation's CRS.
    """

    settings: S1Settings
    channels: tuple[S1Channel, ...]
    model: RadarModel
    dem: Dem
    speckle: SpeckleFilter | None
    plan: ScenePlan | None
    block: Block
    about: Observation
    footprint: BaseGeometry

    @property
    def reads_px(self) -> tuple[int, int]:
        """Lines and pixels of the image that are read."""
        if self.plan is None:
            return 0, 0
        return self.plan.lines[1] - self.plan.lines[0], self.plan.pixels[1] - self.plan.pixels[0]


def prepare_s1(product: S1Product, settings: S1Settings, block_px: int = BLOCK_PX) -> PreparedS1:
    """Check a product, its orbit and its terrain, and plan the work.

    Args:
        product: A GRD product.
        settings: Grid, terrain, radiometry.
        block_px: Edge of a map block.

    Returns:
        All that `preprocess_s1` needs.

    Raises:
        UsageError: A setting makes no sense.
        InputError: A polarisation, table or measurement is missing or damaged; no orbit file fits; the DEM is missing,
            without CRS or datum, of another datum than said, or does not cover the area; the area lies off the scene.
    """
    speckle = _speckle(settings)
    channels = _channels(product, settings)
    annotation = channels[0].annotation
    crs, gsd_m = _grid(annotation, settings)
    outline = _outline(annotation.geolocation, crs)
    bounds = _bounds(product.meta.product_id, outline, settings, gsd_m)
    model, orbit = _model(annotation, settings.orbits)
    dem = open_dem(settings.dem, settings.dem_height, geoid_dirs=settings.geoid_dirs)
    datum = check_datum(dem, annotation.geolocation, settings.geoid_dirs)
    whole = settings.area_m if bounds is None else bounds
    assert whole is not None
    lattice, block = lattice_of(geobox_from_bounds(whole, gsd_m, crs))
    plan = None
    if bounds is not None:
        flatten = settings.backscatter == "gamma0_rtc"
        plan = plan_scene(model, dem, lattice, block, flatten=flatten, what=product.meta.product_id, block_px=block_px)
    facts = {
        **_product_facts(annotation),
        "orbit": orbit,
        "dem": {"name": dem.name, "heights": dem.height_kind, **datum},
        "backscatter": settings.backscatter,
        "denoise": {c.annotation.polarisation: noise_state(c.annotation, c.noise, settings.denoise) for c in channels},
        "border_noise": "masked" if has_border_noise(annotation.meta) else "none left by the processor",
        "speckle": _speckle_facts(speckle),
        "resampling": "bilinear",
        "layers": sorted(settings.layers),
    }
    about = Observation(
        id=product.meta.product_id,
        sensor=SENSOR.name,
        datetime=f"{annotation.meta.start.astype('datetime64[us]')}Z",
        bands=tuple(c.annotation.polarisation for c in channels),
        units=UNITS[settings.backscatter],
        scale=1.0,
        offset=0.0,
        gsd_m=gsd_m,
        crs=crs,
        bounds_m=whole,
        dtype="float32",
        # Consecutive slices of one data take overlap by some lines: one look.
        group=f"{annotation.meta.mission}_{annotation.meta.datatake_id:06X}",
        facts=facts,
    )
    ground = outline.intersection(shapely.box(*whole))
    return PreparedS1(settings, channels, model, dem, speckle, plan, block, about, ground)


def _speckle(settings: S1Settings) -> SpeckleFilter | None:
    unknown = sorted(set(settings.layers) - set(LAYERS))
    if unknown:
        raise UsageError(f"layer {unknown[0]!r} is unknown", remedy=f"choose among {', '.join(LAYERS)}")
    if settings.backscatter not in UNITS:
        raise UsageError(f"backscatter {settings.backscatter!r} is unknown", remedy=f"choose one of {', '.join(UNITS)}")
    if settings.speckle == "none":
        return None
    speckle = create(settings.speckle, **settings.speckle_options)
    if speckle.axes != "yx":
        raise UsageError(
            f"speckle filter {settings.speckle!r} needs a stack of dates, a product is one",
            remedy="choose a filter of one image, such as refined_lee",
        )
    return speckle


def _speckle_facts(speckle: SpeckleFilter | None) -> dict[str, Any]:
    if speckle is None:
        return {"name": "none"}
    values = dataclasses.asdict(speckle) if dataclasses.is_dataclass(speckle) else {}  # type: ignore[call-overload, unused-ignore]
    return {"name": speckle.name, **{k: "scene" if v is None else v for k, v in sorted(values.items())}}


def _channels(product: S1Product, settings: S1Settings) -> tuple[S1Channel, ...]:
    meta = product.meta
    if meta.product_type != "GRD":
        raise InputError(
            f"{meta.product_id} is an {meta.product_type} product; a GRD is needed here", remedy="give the GRD product"
        )
    wanted = tuple(p.upper() for p in settings.polarisations) or product.polarisations
    need_noise = settings.denoise != "off"
    channels = tuple(product.channel(p, need_noise=need_noise) for p in wanted)
    for channel in channels:
        with open_measurement(channel):  # size, type and truncation show in the header
            pass
    return channels


def _grid(annotation: S1Annotation, settings: S1Settings) -> tuple[str, float]:
    ties = annotation.geolocation
    middle = int(np.argmin(np.hypot(ties.line - ties.line.mean(), ties.pixel - ties.pixel.mean())))
    text = settings.crs or f"EPSG:{utm_epsg(float(ties.lon_deg[middle]), float(ties.lat_deg[middle]))}"
    try:
        crs = pyproj.CRS.from_user_input(text)
    except pyproj.exceptions.CRSError:
        raise UsageError(f"CRS {text!r} is unknown", remedy="write e.g. EPSG:32633") from None
    if not crs.is_projected or any(axis.unit_name != "metre" for axis in crs.axis_info):
        raise UsageError(f"CRS {text!r} is not projected in metres", remedy="choose e.g. the UTM zone of the scene")
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else crs.to_wkt(), settings.gsd_m or float(round(annotation.image.range_spacing_m))


def _outline(ties: GeolocationGrid, crs: str) -> BaseGeometry:
    """Hull of the tie points in the grid's CRS."""
    x, y = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(ties.lon_deg, ties.lat_deg)
    seen = np.isfinite(x) & np.isfinite(y)
    return shapely.convex_hull(shapely.multipoints(np.column_stack([x[seen], y[seen]])))


def _bounds(name: str, outline: BaseGeometry, settings: S1Settings, gsd_m: float) -> Bounds | None:
    """Bounds to write; None where the scene does not reach the area and may miss it."""
    left, bottom, right, top = outline.bounds
    scene = snap_out((left - _RIM_M, bottom - _RIM_M, right + _RIM_M, top + _RIM_M), gsd_m)
    if settings.area_m is None:
        return scene
    if not outline.intersects(shapely.box(*settings.area_m)):
        if settings.may_miss:
            return None
        raise InputError(
            f"the area asked for lies off {name}: the scene covers x {left:.0f} to {right:.0f}, "
            f"y {bottom:.0f} to {top:.0f}, the area is at {_spelled(settings.area_m)}",
            remedy="choose an --aoi on the scene's footprint",
        )
    return intersect(scene, snap_out(settings.area_m, gsd_m))


def _spelled(bounds: Bounds) -> str:
    return f"x {bounds[0]:.0f} to {bounds[2]:.0f}, y {bounds[1]:.0f} to {bounds[3]:.0f}"


def _model(annotation: S1Annotation, orbits: Path | None) -> tuple[RadarModel, str]:
    meta, image = annotation.meta, annotation.image
    vectors: OrbitStateVectors = annotation.orbit
    if orbits is not None:
        vectors = find_orbit(orbits, mission=meta.mission, start=meta.start, stop=meta.stop, epoch=annotation.epoch)
    times = annotation.geolocation.azimuth_time_s
    first = min(image.first_line_time_s, float(times.min()))
    last = max(image.last_line_time_s, float(times.max()))
    return radar_model(annotation, interpolate_orbit(vectors, first, last)), vectors.source


def _product_facts(annotation: S1Annotation) -> dict[str, Any]:
    meta, image = annotation.meta, annotation.image
    return {
        "mission": meta.mission,
        "mode": meta.mode,
        "product_type": f"{meta.product_type}{meta.resolution_class}",
        "ipf": f"{meta.ipf_version[0]}.{meta.ipf_version[1]:02d}",
        "orbit_direction": meta.pass_direction.lower(),
        "relative_orbit": meta.relative_orbit,
        "absolute_orbit": meta.absolute_orbit,
        "datatake": f"{meta.datatake_id:06X}",
        "stop": f"{meta.stop.astype('datetime64[us]')}Z",
        "radar_frequency_hz": image.radar_frequency_hz,
        "incidence_mid_deg": image.incidence_mid_deg,
        "range_spacing_m": image.range_spacing_m,
        "azimuth_spacing_m": image.azimuth_spacing_m,
    }


def check_datum(dem: Dem, ties: GeolocationGrid, geoid_dirs: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Compare a DEM with the terrain heights of the product's tie points.

    Args:
        dem: Terrain.
        ties: Geolocation grid; its heights are above the ellipsoid.
        geoid_dirs: Where geoid grids may lie, for the undulation of a DEM that is said to need none.

    Returns:
        What to record: the number of tie points that the DEM holds, and the median difference where there are three.

    Raises:
        InputError: The difference is the geoid's undulation: the datum is not the one given.
    """
    if dem.flat_m is not None:
        return {}
    heights = np.array([_height_at(dem, x, y) for x, y in zip(ties.lon_deg, ties.lat_deg, strict=True)])
    seen = int(np.isfinite(heights).sum())
    geoid = dem.geoid or _any_geoid(geoid_dirs)
    if geoid is None:
        difference = (heights - ties.height_m)[np.isfinite(heights)]
        offset = float(np.median(difference)) if seen >= 3 else float("nan")
        if abs(offset) > 10.0 and float(np.median(np.abs(difference - offset))) < 0.25 * abs(offset):
            _log.warning(
                "DEM %s lies %+.1f m from the heights of the product's own grid: check --dem-height", dem.name, offset
            )
    else:
        undulation = geoid.undulation(ties.lon_deg, ties.lat_deg)
        offset = datum_offset(heights, ties.height_m, undulation)
    return {"tie_points": seen} | ({"tie_offset_m": round(offset, 2)} if np.isfinite(offset) else {})


def _height_at(dem: Dem, lon_deg: float, lat_deg: float) -> float:
    lattice = MapLattice("EPSG:4326", 0.0, 0.0, _TIE_STEP_DEG, -_TIE_STEP_DEG)
    block = Block(int(np.floor(-lat_deg / _TIE_STEP_DEG)), int(np.floor(lon_deg / _TIE_STEP_DEG)), 1, 1)
    return float(dem.heights(lattice, block)[0, 0])


def _any_geoid(folders: tuple[Path, ...]) -> GeoidGrid | None:
    for name in GRID_FILES:
        try:
            return open_geoid(name, None, folders)
        except InputError:
            continue
    return None


def preprocess_s1(prepared: PreparedS1, out: Path, how: S1Execution | None = None) -> Observation:
    """Write one product as an observation.

    Writes ``data.tif`` (linear power), ``mask.tif``, ``observation.json`` and the layers that were asked for.

    Args:
        prepared: From `prepare_s1`.
        out: Existing, empty folder.
        how: Threads, memory, progress.

    Returns:
        The description that was written.

    Raises:
        InputError: A measurement is damaged.
        StorageError: The disk is full.
    """
    how = how or S1Execution()
    work = out / ".work"
    work.mkdir()
    try:
        with gdal_env():
            blocks = _geocode(prepared, work, how)
            return _finish(prepared, blocks, out, how)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _geocode(prepared: PreparedS1, work: Path, how: S1Execution) -> Path:
    """Compute all blocks into scratch rasters; returns their folder."""
    settings, lattice = prepared.settings, prepared.about.lattice
    with ExitStack() as stack:
        bands = [stack.enter_context(create_scratch(work / f"{b}.tif", lattice)) for b in prepared.about.bands]
        extra = {
            name: stack.enter_context(
                create_scratch(work / LAYER_FILES[name], lattice, "uint8" if name == "layover_shadow" else "float32")
            )
            for name in settings.layers
        }
        if prepared.plan is None:
            return work
        backscatter = "beta0" if settings.backscatter == "gamma0_rtc" else settings.backscatter
        sources = grd_sources(prepared.channels, backscatter=backscatter, denoise=settings.denoise)
        parts = geocode_scene(
            prepared.model,
            sources,
            prepared.dem,
            prepared.plan,
            speckle=prepared.speckle,
            layers=settings.layers,
            workers=fitting_workers(prepared, how),
            progress=lambda done, total: how.progress(done, total, f"geocoding {prepared.about.id}"),
        )
        for part in parts:
            how.check()
            _keep(part, prepared, bands, extra)
    return work


def fitting_workers(prepared: PreparedS1, how: S1Execution) -> int:
    """Threads that fit into the memory; at least one.

    Measured: a block in work holds about 25 arrays of float64 with its halo, a strip in work three of float32 per band
    and a sum of areas; strips that blocks still need wait beside it.
    """
    if prepared.plan is None:
        return 1
    lines = max(p.lines[1] - p.lines[0] for p in prepared.plan.blocks)
    strip = STRIP_LINES * prepared.reads_px[1] * 4 * len(prepared.channels)
    fixed = strip * (3 + lines // STRIP_LINES + 1) + 160 * 1024**2
    each = how.block_px**2 * 8 * 25
    fit = int((how.memory_bytes - fixed) // each)
    if fit < how.workers:
        _log.debug("%s: memory for %d of %d threads", prepared.about.id, max(fit, 1), how.workers)
    if fit < 1:
        _log.warning(
            "%s needs about %.1f GB of working memory, %.1f GB are allowed: one thread is used; a smaller area needs "
            "less",
            prepared.about.id,
            (fixed + each) / 1024**3,
            how.memory_bytes / 1024**3,
        )
    return max(1, min(how.workers, fit))


def create_scratch(path: Path, lattice: Lattice, dtype: str = "float32") -> rasterio.io.DatasetWriter:
    """An uncompressed tiled raster of one band that may be written in any order; what is not written is nodata."""
    height, width = lattice.shape_yx
    left, _, _, top = lattice.bounds_m
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "width": width,
        "height": height,
        "count": 1,
        "dtype": dtype,
        "crs": lattice.crs,
        "transform": Affine(lattice.gsd_m, 0, left, 0, -lattice.gsd_m, top),
        "nodata": 255 if dtype == "uint8" else float("nan"),
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "sparse_ok": True,
        "bigtiff": "if_safer",
    }
    return rasterio.open(path, "w", **profile)


def _keep(
    part: SceneBlock,
    prepared: PreparedS1,
    bands: list[rasterio.io.DatasetWriter],
    extra: Mapping[str, rasterio.io.DatasetWriter],
) -> None:
    block = part.block
    window = Window(block.col0 - prepared.block.col0, block.row0 - prepared.block.row0, block.width, block.height)
    for band, dataset in zip(prepared.about.bands, bands, strict=True):
        dataset.write(part.bands[band], 1, window=window)
    for name, values in (("incidence", part.incidence_deg), ("layover_shadow", part.codes)):
        if values is not None and name in extra:
            extra[name].write(values, 1, window=window)


def _finish(prepared: PreparedS1, work: Path, out: Path, how: S1Execution) -> Observation:
    """Scratch rasters into the files that remain, row of blocks by row of blocks."""
    about = prepared.about
    height, width = about.lattice.shape_yx
    common: dict[str, Any] = {"bounds_m": about.bounds_m, "gsd_m": about.gsd_m, "crs": about.crs, "count": 1}
    with ExitStack() as stack:
        bands = [stack.enter_context(rasterio.open(work / f"{b}.tif")) for b in about.bands]
        layers: dict[str, Any] = {}
        for name in prepared.settings.layers:
            codes = name == "layover_shadow"
            profile = {"dtype": "uint8", "nodata": 255.0} if codes else {"dtype": "float32", "nodata": float("nan")}
            made = create_geotiff(out / LAYER_FILES[name], descriptions=(name,), **common, **profile)
            layers[name] = stack.enter_context(rasterio.open(work / LAYER_FILES[name])), stack.enter_context(made)
        data, mask = stack.enter_context(create_observation(out, about))
        for first in range(0, height, STRIP_LINES):
            how.check()
            how.progress(first, height, f"writing {about.id}")
            window = Window(0, first, width, min(STRIP_LINES, height - first))
            seen = np.ones((int(window.height), width), dtype=bool)
            for index, dataset in enumerate(bands, start=1):
                values = dataset.read(1, window=window)
                seen &= np.isfinite(values)
                data.write(values, index, window=window)
            bad: NDArray[np.bool_] = np.zeros_like(seen)
            for name, (source, target) in layers.items():
                values = source.read(1, window=window)
                target.write(values, 1, window=window)
                if name == "layover_shadow":
                    bad = (values > 0) & (values < 255)
            mask.write(
                np.where(seen, np.where(bad, MASK_BAD, MASK_CLEAR), MASK_NODATA).astype(np.uint8), 1, window=window
            )
    return about
