"""Terrain-corrected Sentinel-1 products of others onto the product grid: one pass, mosaicked, as one observation.

Values become linear power before anything is interpolated. Where products of a pass overlap, the first in time that is
clear counts. Held in memory: one strip of all bands, and of one product at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import rasterio
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from landcover_cli.core.types import MASK_BAD, MASK_CLEAR, MASK_NODATA
from landcover_cli.errors import ConfigError, InputError
from landcover_cli.io.observation import Observation, create_observation
from landcover_cli.io.ongrid import Bounds, Lattice, Method, covered, intersect, margin_of, place, read_native, snap_out
from landcover_cli.io.raster import gdal_env, open_raster, raster_info, same_crs
from landcover_cli.sensors.sentinel1 import SENSOR

if TYPE_CHECKING:
    from pathlib import Path

    from landcover_cli.sar.speckle import SpeckleFilter

STRIP_PX = 1024
# From so many values their units can be told: decibels are below zero nearly everywhere, power nearly nowhere.
_ENOUGH = 100
Units = Literal["linear", "db", "amplitude"]


@dataclass(frozen=True)
class RtcPart:
    """One product of a pass.

    Attributes:
        id: Of its item; named in errors.
        bands: Polarisation → raster.
        mask: Raster of layover and shadow (0: neither, 255: nothing), or empty.
        nodata: Polarisation → value that means nothing, where the raster itself says none.
    """

    id: str
    bands: Mapping[str, str]
    mask: str = ""
    nodata: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RtcSettings:
    """What decides an observation besides its products.

    Attributes:
        crs: CRS of the product grid.
        gsd_m: Pixel edge of the observation.
        area_m: Bounds to cover at most, in `crs`.
        polarisations: Bands in order.
        units: Of the products' values.
        speckle: Name of a filter of one image, or ``none``; it works on the products' own pixels.
        speckle_options: Parameters of the filter.
        resampling: How values come to the grid.
    """

    crs: str
    gsd_m: float
    area_m: Bounds
    polarisations: tuple[str, ...]
    units: Units = "linear"
    speckle: str = "none"
    speckle_options: Mapping[str, Any] = field(default_factory=dict)
    resampling: Method = "bilinear"


def rtc_filter(name: str, options: Mapping[str, Any]) -> SpeckleFilter | None:
    """The speckle filter, or None for ``none``.

    Raises:
        ConfigError: It needs a stack of dates, or values of the whole scene, of which only a part is read here.
    """
    if name == "none":
        return None
    from landcover_cli.sar.speckle import create

    speckle = create(name, **options)
    if speckle.axes != "yx":
        raise ConfigError(
            f"speckle filter {name!r} needs a stack of dates, a product is one",
            remedy="choose a filter of one image, such as refined_lee",
        )
    if speckle.needs_scene or speckle.looks is None:
        raise ConfigError(
            f"speckle filter {name!r} needs values of the whole scene, of which only the area is read",
            remedy="give `looks`, or choose refined_lee, lee or gamma_map",
        )
    return speckle


def preprocess_rtc(
    about: Mapping[str, Any],
    parts: Sequence[RtcPart],
    settings: RtcSettings,
    out: Path,
    check: Callable[[], None] = lambda: None,
) -> Observation:
    """Write the products of one pass as an observation.

    Args:
        about: ``id``, ``datetime`` (UTC, ISO 8601) and ``facts`` of the pass.
        parts: Its products, in the order in which they count.
        settings: Grid, bands, units, filter.
        out: Existing, empty folder.
        check: Called per strip; raises to stop.

    Returns:
        The description that was written.

    Raises:
        InputError: A raster is damaged, or its values are plainly of other units than said.
    """
    speckle = rtc_filter(settings.speckle, settings.speckle_options)
    with gdal_env(), ExitStack() as stack:
        opened = [_Opened(part, settings, speckle, stack) for part in parts]
        lattice = _lattice(opened, settings)
        observation = _describe(about, settings, lattice)
        with create_observation(out, observation) as (data, mask):
            height, width = lattice.shape_yx
            for first in range(0, height, STRIP_PX):
                check()
                strip = lattice.rows(first, min(first + STRIP_PX, height))
                values, codes = _mosaic(opened, strip, len(settings.polarisations))
                window = Window(0, first, width, strip.shape_yx[0])
                for index, band in enumerate(values, start=1):
                    data.write(band, index, window=window)
                mask.write(codes, 1, window=window)
            for one in opened:
                one.judge()
    return observation


class _Opened:
    """A product with its rasters open, and what was seen of its values."""

    def __init__(self, part: RtcPart, settings: RtcSettings, speckle: SpeckleFilter | None, stack: ExitStack) -> None:
        self.part, self._settings, self._speckle = part, settings, speckle
        self._bands = {name: stack.enter_context(open_raster(part.bands[name])) for name in settings.polarisations}
        self._mask = stack.enter_context(open_raster(part.mask)) if part.mask else None
        self._valid = self._negative = 0
        bounds: Bounds | None = snap_out(settings.area_m, settings.gsd_m)
        for dataset in self._bands.values():
            bounds = intersect(bounds, covered(raster_info(dataset), settings.crs, settings.gsd_m)) if bounds else None
        self.bounds_m = bounds

    def read(self, lattice: Lattice) -> tuple[np.ndarray, np.ndarray]:
        """(band, y, x) linear power, NaN where there is none, and mask codes (y, x)."""
        data = np.stack([self._power(name, dataset, lattice) for name, dataset in self._bands.items()])
        codes = np.where(np.isfinite(data).all(axis=0), MASK_CLEAR, MASK_NODATA).astype(np.uint8)
        if self._mask is not None:
            info = raster_info(self._mask)
            raw, row0, col0 = read_native(self._mask, 1, _bounds_in(lattice, info.crs), margin_of(info, lattice))
            marked = ((raw > 0) & (raw < 255)).astype(np.uint8)
            codes[(place(marked, info, row0, col0, lattice, "nearest") > 0) & (codes == MASK_CLEAR)] = MASK_BAD
        return data, codes

    def _power(self, name: str, dataset: rasterio.DatasetReader, lattice: Lattice) -> np.ndarray:
        info = raster_info(dataset)
        margin = margin_of(info, lattice) + (self._speckle.halo_px if self._speckle else 0)
        raw, row0, col0 = read_native(dataset, 1, _bounds_in(lattice, info.crs), margin)
        if raw.size == 0:
            return np.full(lattice.shape_yx, np.nan, np.float32)
        nothing = dataset.nodatavals[0]
        nothing = self.part.nodata.get(name) if nothing is None else nothing
        known = np.isfinite(raw)
        if nothing is not None and np.isfinite(nothing):
            known &= raw != nothing
        self._valid += int(np.count_nonzero(known))
        self._negative += int(np.count_nonzero((raw < 0) & known))
        power = self._linear(raw, known)
        # Noise removal leaves values below zero, which a filter may average; a plain zero is fill.
        known &= power != 0 if self._speckle else power > 0
        values = np.where(known, power, np.float32(np.nan)).astype(np.float32, copy=False)
        if self._speckle is not None:
            values = self._speckle.apply(np.pad(values, self._speckle.halo_px, constant_values=np.nan))
            values = np.where(values > 0, values, np.float32(np.nan))
        return place(values, info, row0, col0, lattice, self._settings.resampling)

    def _linear(self, raw: np.ndarray, known: np.ndarray) -> np.ndarray:
        units = self._settings.units
        if units == "linear":
            return raw
        values = np.where(known, raw, 0).astype(np.float64)
        power: np.ndarray = 10.0 ** (values / 10.0) if units == "db" else values**2
        return power

    def judge(self) -> None:
        """Refuse values that are plainly of other units than said.

        Raises:
            InputError: They are.
        """
        if self._valid < _ENOUGH:
            return
        units = self._settings.units
        if units != "db" and self._negative > self._valid / 2:
            raise InputError(
                f"{self.part.id}: {self._negative:,} of {self._valid:,} values are below zero, as in decibels; "
                f"they are said to be {units}",
                remedy="set `units: db` for this source, or check the products",
            )
        if units == "db" and self._negative == 0:
            raise InputError(
                f"{self.part.id}: values are said to be decibels, but none of {self._valid:,} is below zero",
                remedy="set `units: linear` for this source, or check the products",
            )


def _bounds_in(lattice: Lattice, crs: str) -> Bounds:
    if same_crs(lattice.crs, crs):
        return lattice.bounds_m
    return cast(Bounds, transform_bounds(lattice.crs, crs, *lattice.bounds_m, densify_pts=21))


def _lattice(opened: Sequence[_Opened], settings: RtcSettings) -> Lattice:
    """The ground that the products hold, within the area; the area itself where their footprints promised too much."""
    grounds = [one.bounds_m for one in opened if one.bounds_m is not None]
    if not grounds:
        return Lattice(settings.crs, settings.gsd_m, snap_out(settings.area_m, settings.gsd_m))
    lefts, bottoms, rights, tops = zip(*grounds, strict=True)
    return Lattice(settings.crs, settings.gsd_m, (min(lefts), min(bottoms), max(rights), max(tops)))


def _mosaic(opened: Sequence[_Opened], strip: Lattice, bands: int) -> tuple[np.ndarray, np.ndarray]:
    """One strip: the first clear value of a pixel wins, then the first code."""
    data = np.full((bands, *strip.shape_yx), np.nan, np.float32)
    codes = np.full(strip.shape_yx, MASK_NODATA, np.uint8)
    for one in opened:
        ground = intersect(one.bounds_m, strip.bounds_m) if one.bounds_m else None
        if ground is None:
            continue
        part = Lattice(strip.crs, strip.gsd_m, ground)
        more, its = one.read(part)
        row = round((strip.bounds_m[3] - ground[3]) / strip.gsd_m)
        col = round((ground[0] - strip.bounds_m[0]) / strip.gsd_m)
        at = slice(row, row + its.shape[0]), slice(col, col + its.shape[1])
        mine = codes[at]
        take = ((mine != MASK_CLEAR) & (its == MASK_CLEAR)) | ((mine == MASK_NODATA) & (its != MASK_NODATA))
        data[:, at[0], at[1]] = np.where(take, more, data[:, at[0], at[1]])
        codes[at] = np.where(take, its, mine)
    data[:, codes == MASK_NODATA] = np.nan
    return data, codes


def _describe(about: Mapping[str, Any], settings: RtcSettings, lattice: Lattice) -> Observation:
    return Observation(
        id=about["id"],
        sensor=SENSOR.name,
        datetime=about["datetime"],
        bands=settings.polarisations,
        units=SENSOR.units,
        scale=SENSOR.scale,
        offset=SENSOR.offset,
        gsd_m=settings.gsd_m,
        crs=settings.crs,
        bounds_m=lattice.bounds_m,
        dtype=SENSOR.dtype,
        group=about["id"],
        facts={
            **about["facts"],
            "backscatter": "gamma0_rtc",
            "speckle": {"name": settings.speckle, **settings.speckle_options},
            "values": settings.units,
        },
    )
