"""What a Sentinel-1 product needs before a pixel is read: geometry, terrain, checks, a plan.

Whatever cannot work is refused here, with its name and a remedy, before anything is written.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyproj
import rasterio
import shapely
from affine import Affine

from landcover_cli.core.grid import geobox_from_bounds, metric_crs, utm_epsg
from landcover_cli.core.lattice import Bounds, Lattice, intersect, snap_out
from landcover_cli.errors import InputError, UsageError
from landcover_cli.io.dem import Dem, open_dem
from landcover_cli.io.eof import check_same_orbit, find_orbit
from landcover_cli.io.observation import Observation
from landcover_cli.io.rasterwrite import whole_raster
from landcover_cli.io.s1_datum import check_datum, check_flat
from landcover_cli.io.s1_plan import BLOCK_PX, ScenePlan, plan_scene
from landcover_cli.io.s1_residual import with_residual
from landcover_cli.io.s1_scene import LAYERS
from landcover_cli.io.safe_s1 import S1Product, open_measurement
from landcover_cli.sar.border import has_border_noise
from landcover_cli.sar.geocoding import RadarModel, radar_model
from landcover_cli.sar.ground import Block, lattice_of
from landcover_cli.sar.noise import Denoise, noise_state
from landcover_cli.sar.orbit import interpolate_orbit
from landcover_cli.sar.pollayers import LAYER_GROUPS, LAYER_INFO, check_product, check_window, needs_covariance
from landcover_cli.sar.slc import slc_grid
from landcover_cli.sar.slices import assemble_annotations
from landcover_cli.sar.speckle import SpeckleFilter, create
from landcover_cli.sar.types import GeolocationGrid, OrbitStateVectors, ProductMeta, S1Annotation, S1Channel
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
LAYER_FILES = {name: f"{name}.tif" for name in (*LAYERS, *LAYER_INFO)}
# Beyond the outermost tie points: half a line of them, and relief.
_RIM_M = 1000.0
# Share of an area off the scene from which it is said; the outline is that of tie points, good to some 100 m.
_OUTSIDE = 0.01


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
        looks: Lines and samples of an SLC to average.
        bistatic: Take the residual of the bistatic correction into account (`landcover_cli.sar.bistatic`).
        layers: Written as files of their own: any of "incidence" and "layover_shadow" (the latter also marks such
            pixels in the mask) and of `landcover_cli.sar.pollayers.LAYER_INFO`.
        polarimetry: Any of `LAYER_INFO`; they become bands of the observation after the polarisations.
        c2_window_px: Odd edge of the window over which the looks of an SLC's C2 are averaged; 1 for the looks alone.
        crs: CRS of the grid; None for the UTM zone of the scene's centre.
        gsd_m: Pixel edge; None for the product's own pixel spacing, 10 m at least.
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
    looks: tuple[int, int] = (1, 4)
    bistatic: bool = False
    layers: tuple[str, ...] = ()
    polarimetry: tuple[str, ...] = ()
    c2_window_px: int = 5
    crs: str | None = None
    gsd_m: float | None = None
    area_m: Bounds | None = None
    may_miss: bool = False


@dataclass(frozen=True, eq=False)
class PreparedS1:
    """A product that can be processed: everything is read but pixels.

    Attributes:
        settings: As given.
        products: One product, or the consecutive slices of a pass, in the order of time.
        channels: Per product, one per polarisation.
        model: Geometry of the image.
        dem: Terrain.
        speckle: Filter; None for none.
        plan: What to read and to compute; None where the scene does not reach the area.
        block: The pixels on the plan's lattice.
        about: Description of the observation.
        footprint: Ground that the scene covers within the area, in the observation's CRS.
        pair: Co-polar and cross-polar channel of the polarimetric layers; None where there are none.
    """

    settings: S1Settings
    products: tuple[S1Product, ...]
    channels: tuple[tuple[S1Channel, ...], ...]
    model: RadarModel
    dem: Dem
    speckle: SpeckleFilter | None
    plan: ScenePlan | None
    block: Block
    about: Observation
    footprint: BaseGeometry
    pair: tuple[str, str] | None = None

    @property
    def polarisations(self) -> tuple[str, ...]:
        """Polarisations that are read, in order."""
        return _polarisations(self.channels)

    @property
    def needs_covariance(self) -> bool:
        """Whether C2 is made beside the powers."""
        wanted = (*self.settings.layers, *self.settings.polarimetry)
        return needs_covariance(wanted, self.products[0].meta.product_type)

    @property
    def reads_px(self) -> tuple[int, int]:
        """Lines and pixels of the image that are read."""
        if self.plan is None:
            return 0, 0
        return self.plan.lines[1] - self.plan.lines[0], self.plan.pixels[1] - self.plan.pixels[0]


def prepare_s1(products: Sequence[S1Product], settings: S1Settings, block_px: int = BLOCK_PX) -> PreparedS1:
    """Check a product, its orbit and its terrain, and plan the work.

    Args:
        products: A GRD or SLC product, or the consecutive GRD slices of one pass, which become one image.
        settings: Grid, terrain, radiometry.
        block_px: Edge of a map block.

    Returns:
        All that `preprocess_s1` needs.

    Raises:
        UsageError: A setting makes no sense.
        InputError: A polarisation, table or measurement is missing or damaged; a layer needs a channel or a phase that
            the product lacks; products are no slices of one pass; no
            orbit file fits; the DEM is missing, without CRS or datum, of another datum than said, or does not cover
            the area; the area lies off the scene.
    """
    ordered = tuple(sorted(products, key=lambda p: p.meta.start))
    speckle = _speckle(settings, ordered[0].meta)
    channels = tuple(_channels(product, settings) for product in ordered)
    meta = ordered[0].meta
    wanted = (*settings.layers, *settings.polarimetry)
    pair = check_product(wanted, meta.product_type, _polarisations(channels), meta.product_id)
    annotation = _annotation(channels, settings)
    crs, gsd_m = _grid(annotation, settings)
    outline = _outline(annotation.geolocation, crs)
    bounds = _bounds(annotation.meta.product_id, outline, settings, gsd_m)
    model, orbit = _model(annotation, settings.orbits)
    if settings.bistatic:
        model = with_residual(model, annotation, channels, settings.looks)
    dem = open_dem(settings.dem, settings.dem_height, geoid_dirs=settings.geoid_dirs)
    datum = check_datum(dem, annotation.geolocation, settings.geoid_dirs, annotation.meta.product_id)
    whole = settings.area_m if bounds is None else bounds
    assert whole is not None
    lattice, block = lattice_of(geobox_from_bounds(whole, gsd_m, crs))
    plan = None
    if bounds is not None:
        plan = plan_scene(
            model,
            dem,
            lattice,
            block,
            flatten=settings.backscatter == "gamma0_rtc",
            what=annotation.meta.product_id,
            block_px=block_px,
            around="layover_shadow" in settings.layers,
        )
    about = _describe(ordered, channels, annotation, settings, speckle, (crs, gsd_m, whole), pair)
    about = replace(
        about, facts={**about.facts, "orbit": orbit, "dem": {"name": dem.name, "heights": dem.height_kind, **datum}}
    )
    ground = outline.intersection(shapely.box(*whole))
    check_flat(dem, annotation.geolocation, ground, crs, annotation.meta.product_id)
    return PreparedS1(settings, ordered, channels, model, dem, speckle, plan, block, about, ground, pair)


def _describe(
    products: tuple[S1Product, ...],
    channels: tuple[tuple[S1Channel, ...], ...],
    annotation: S1Annotation,
    settings: S1Settings,
    speckle: SpeckleFilter | None,
    grid: tuple[str, float, Bounds],
    pair: tuple[str, str] | None,
) -> Observation:
    states = {
        c.annotation.polarisation: noise_state(c.annotation, c.noise, settings.denoise)
        for of_one in channels
        for c in of_one
    }
    facts = {
        **_product_facts(annotation),
        "products": [product.meta.product_id for product in products],
        "backscatter": settings.backscatter,
        "denoise": states,
        "border_noise": "masked" if has_border_noise(annotation.meta) else "none left by the processor",
        "speckle": _speckle_facts(speckle),
        "resampling": "bilinear",
        "layers": sorted(settings.layers),
    }
    if annotation.meta.product_type == "SLC":
        facts |= {"multilook": list(settings.looks), "swaths": annotation.swath.split("+")}
    if settings.bistatic:
        facts["bistatic"] = "residual taken into account"
    if pair is not None:
        facts["polarimetry"] = _polarimetry_facts(pair, annotation.meta.product_type, settings)
    crs, gsd_m, bounds = grid
    return Observation(
        id=pass_id([product.meta.product_id for product in products]),
        sensor=SENSOR.name,
        datetime=f"{annotation.meta.start.astype('datetime64[us]')}Z",
        bands=(*_polarisations(channels), *settings.polarimetry),
        units=UNITS[settings.backscatter],
        scale=1.0,
        offset=0.0,
        gsd_m=gsd_m,
        crs=crs,
        bounds_m=bounds,
        dtype="float32",
        # What one data take saw is one look, where slices that were not assembled overlap.
        group=f"{annotation.meta.mission}_{annotation.meta.datatake_id:06X}",
        facts=facts,
    )


def _polarisations(channels: tuple[tuple[S1Channel, ...], ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(c.annotation.polarisation for c in channels[0]))


def _polarimetry_facts(pair: tuple[str, str], product_type: str, settings: S1Settings) -> dict[str, Any]:
    if product_type == "SLC":
        return {"channel_order": list(pair), "of": "C2, noise subtracted", "c2_window_px": settings.c2_window_px}
    return {"channel_order": list(pair), "of": "filtered backscatter"}


def pass_id(names: Sequence[str]) -> str:
    """Name of an observation: its product, or its first slice and how many follow."""
    return names[0] if len(names) == 1 else f"{names[0]}+{len(names) - 1}"


def _speckle(settings: S1Settings, meta: ProductMeta) -> SpeckleFilter | None:
    unknown = sorted({*settings.layers, *settings.polarimetry} - set(LAYER_FILES))
    if unknown:
        raise UsageError(
            f"layer {unknown[0]!r} is unknown", remedy=f"choose among {', '.join((*LAYER_GROUPS, *LAYER_FILES))}"
        )
    check_window(settings.c2_window_px)
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
    own_looks = (meta.mode, meta.product_type, meta.resolution_class) == ("IW", "GRD", "H")
    if own_looks or "looks" in settings.speckle_options or settings.speckle == "boxcar":
        return speckle
    # The filters' own number of looks is that of IW GRDH; other products get the estimate of their whole scene.
    return create(settings.speckle, **{**settings.speckle_options, "looks": None})


def _speckle_facts(speckle: SpeckleFilter | None) -> dict[str, Any]:
    if speckle is None:
        return {"name": "none"}
    values = {f.name: getattr(speckle, f.name) for f in dataclasses.fields(speckle)}  # type: ignore[arg-type]
    return {"name": speckle.name, **{k: "scene" if v is None else v for k, v in sorted(values.items())}}


def _channels(product: S1Product, settings: S1Settings) -> tuple[S1Channel, ...]:
    """Channels of a product; of an SLC each sub-swath in each polarisation."""
    if not settings.polarisations:
        product.check_whole()
    wanted = tuple(p.upper() for p in settings.polarisations) or product.polarisations
    swaths = product.swaths if product.meta.product_type == "SLC" else (None,)
    need_noise = settings.denoise != "off"
    channels = tuple(product.channel(p, swath, need_noise=need_noise) for p in wanted for swath in swaths)
    for channel in channels:
        with open_measurement(channel):  # size, type and truncation show in the header
            pass
    return channels


def _annotation(channels: tuple[tuple[S1Channel, ...], ...], settings: S1Settings) -> S1Annotation:
    """Annotation of the image that is geocoded."""
    first = channels[0][0].annotation
    if first.meta.product_type != "SLC":
        return assemble_annotations([of_one[0].annotation for of_one in channels]).annotation
    if len(channels) > 1:
        raise InputError(
            f"{first.meta.product_id} and {len(channels) - 1} more: SLC products are not assembled",
            remedy="process them one by one",
        )
    return slc_grid(
        [c.annotation for c in channels[0] if c.annotation.polarisation == first.polarisation], settings.looks
    ).annotation


def _grid(annotation: S1Annotation, settings: S1Settings) -> tuple[str, float]:
    ties = annotation.geolocation
    middle = int(np.argmin(np.hypot(ties.line - ties.line.mean(), ties.pixel - ties.pixel.mean())))
    text = settings.crs or f"EPSG:{utm_epsg(float(ties.lon_deg[middle]), float(ties.lat_deg[middle]))}"
    return metric_crs(text, "--crs"), settings.gsd_m or float(round(max(annotation.image.range_spacing_m, 10.0)))


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
    area = shapely.box(*settings.area_m)
    outside = 1.0 - outline.intersection(area).area / area.area
    if outside > _OUTSIDE and not settings.may_miss:
        _log.warning("%s: %.0f %% of the area asked for lie off the scene and stay empty", name, 100 * outside)
    return intersect(scene, snap_out(settings.area_m, gsd_m))


def _spelled(bounds: Bounds) -> str:
    return f"x {bounds[0]:.0f} to {bounds[2]:.0f}, y {bounds[1]:.0f} to {bounds[3]:.0f}"


def _model(annotation: S1Annotation, orbits: Path | None) -> tuple[RadarModel, str]:
    meta, image = annotation.meta, annotation.image
    vectors: OrbitStateVectors = annotation.orbit
    times = annotation.geolocation.azimuth_time_s
    first = min(image.first_line_time_s, float(times.min()))
    last = max(image.last_line_time_s, float(times.max()))
    if orbits is not None:
        vectors = find_orbit(orbits, mission=meta.mission, start=meta.start, stop=meta.stop, epoch=annotation.epoch)
        check_same_orbit(vectors, annotation.orbit, first, last)
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


@contextmanager
def create_scratch(path: Path, lattice: Lattice, dtype: str = "float32") -> Iterator[rasterio.io.DatasetWriter]:
    """An uncompressed tiled raster of one band that may be written in any order; what is not written is nodata.

    Raises:
        StorageError: It cannot be written, or the disk is full.
    """
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
    with whole_raster(path), rasterio.open(path, "w", **profile) as dataset:
        yield dataset
