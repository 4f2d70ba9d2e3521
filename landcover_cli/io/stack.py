"""Ready-made series with dates: what the files hold, found from their headers, and their pixels on the product grid.

Many people start from somebody else's analysis-ready data. Each file says (or is told) its bands and dates; files of
one date that complete each other are one look at the ground.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import numpy as np
from rasterio.warp import transform_bounds

from landcover_cli.core.types import MASK_CLEAR, MASK_NODATA, Period
from landcover_cli.errors import ConfigError, InputError
from landcover_cli.io.ongrid import Bounds, Lattice, Method, intersect, margin_of, place
from landcover_cli.io.raster import same_crs
from landcover_cli.io.stackfile import FileReader, Hints, StackFile, open_file, scan_file
from landcover_cli.optical.masking import Mask
from landcover_cli.optical.offset import HARMONISED_DN
from landcover_cli.sensors import Sensor

_log = logging.getLogger("lc")

_ENOUGH_TO_JUDGE = 1000
"""Values in one window from which their units can be doubted."""


@dataclass(frozen=True)
class StackSettings:
    """What the pipeline file says about a stack.

    Attributes:
        name: Name of the source; named in errors.
        sensor: Sensor plug-in.
        bands: Bands in order; empty: all of the sensor's that some file holds.
        units: ``linear``, ``db``, ``reflectance_dn`` or ``reflectance``.
        dn_offset: With ``reflectance_dn``: the number that zero reflectance is stored as.
        orbit: ``ascending``, ``descending``, ``mixed`` or None.
        mask: Mask plug-in.
        mask_options: Options that were given.
        resampling: How values come to the lattice.
        hints: What files do not say themselves.
    """

    name: str
    sensor: Sensor
    bands: tuple[str, ...]
    units: str
    mask: Mask
    dn_offset: int = 0
    orbit: str | None = None
    mask_options: Mapping[str, Any] = field(default_factory=dict)
    resampling: Method = "bilinear"
    hints: Hints = field(default_factory=Hints)


@dataclass(frozen=True)
class StackDate:
    """One look at the ground.

    Attributes:
        when: UTC.
        parts: (index of the file, index of the time in it, bands and layers taken from it).
        bounds_m: Common ground of the parts, in `crs`.
        crs: CRS of the first part.
    """

    when: datetime
    parts: tuple[tuple[int, int, tuple[str, ...]], ...]
    bounds_m: Bounds
    crs: str


@dataclass(frozen=True)
class Stack:
    """A series, without its pixels.

    Attributes:
        settings: As given, `bands` filled in.
        files: In the order of their paths.
        dates: Sorted by time, then files.
    """

    settings: StackSettings
    files: tuple[StackFile, ...]
    dates: tuple[StackDate, ...]

    def within(self, period: Period, bounds: Bounds | None = None, crs: str = "") -> tuple[StackDate, ...]:
        """Dates within a period that touch some ground."""
        return tuple(
            date for date in self.dates if period.contains(date.when) and (bounds is None or touches(date, bounds, crs))
        )


def touches(date: StackDate, bounds: Bounds, crs: str) -> bool:
    """Whether a date covers part of some ground."""
    own = date.bounds_m
    if not same_crs(date.crs, crs):
        own = cast(Bounds, transform_bounds(date.crs, crs, *own, densify_pts=21))
    return intersect(own, bounds) is not None


def scan_stack(paths: Iterable[Path], settings: StackSettings) -> Stack:
    """Read the headers of a stack's files and put the dates together.

    Args:
        paths: Files (or Zarr folders); their order decides nothing.
        settings: From the pipeline file.

    Raises:
        InputError: A file is unreadable or says no date; a band is in none of the files (the error names it); orbit
            directions are mixed unasked.
        ConfigError: A band that the sensor does not have.
    """
    _check_bands(settings)
    if settings.mask.gsd_m is not None:
        raise ConfigError(
            f"mask {settings.mask.name!r} needs a product, not a ready-made stack",
            remedy="use `scl`, `qa_pixel` or `none`",
        )
    files = tuple(scan_file(path, settings.sensor, settings.hints) for path in sorted(paths))
    files = _one_orbit(files, settings)
    held = {band for file in files for band in file.bands}
    bands = settings.bands or tuple(b for b in settings.sensor.band_names() if b in held)
    wanted = (*bands, *settings.mask.layers)
    _require(wanted, held, files, settings)
    filled = StackSettings(**{**settings.__dict__, "bands": bands})
    dates, incomplete = _match(files, bands, settings.mask.layers)
    if not dates:
        raise InputError(
            f"source {settings.name!r}: no date holds all of {', '.join(wanted)}",
            remedy="check that the files' times agree",
        )
    if incomplete:
        _log.warning("source %r: %d dates lack a band or the mask's layer and are left out", settings.name, incomplete)
    return Stack(filled, files, dates)


def _check_bands(settings: StackSettings) -> None:
    known = settings.sensor.band_names()
    for band in settings.bands:
        if band not in known:
            raise ConfigError(
                f"source {settings.name!r}: sensor {settings.sensor.name!r} has no band {band!r}",
                remedy=f"its bands: {', '.join(known)}",
            )


def _one_orbit(files: tuple[StackFile, ...], settings: StackSettings) -> tuple[StackFile, ...]:
    if settings.orbit == "mixed":
        return files
    if settings.orbit:
        kept = tuple(file for file in files if file.orbit == settings.orbit)
        if not kept:
            raise InputError(
                f"source {settings.name!r}: no file states the orbit direction {settings.orbit!r}",
                remedy="leave `orbit` out, or write ORBIT_DIRECTION into the files' metadata",
            )
        return kept
    directions = sorted({file.orbit for file in files if file.orbit})
    if len(directions) > 1:
        raise InputError(
            f"source {settings.name!r} mixes orbit directions: {' and '.join(directions)}",
            remedy="make one source per direction with `orbit:`, or say `orbit: mixed`",
        )
    return files


def _require(wanted: Sequence[str], held: set[str], files: Sequence[StackFile], settings: StackSettings) -> None:
    missing = [band for band in wanted if band not in held]
    if not missing and wanted:
        return
    names = ", ".join(file.path.name for file in files[:3]) + (" ..." if len(files) > 3 else "")
    if not wanted:
        raise InputError(
            f"source {settings.name!r}: no band of sensor {settings.sensor.name!r} in {names}",
            remedy="say with `variables` what the bands are called there",
        )
    raise InputError(
        f"source {settings.name!r}: band {missing[0]} is missing in {names or 'no file'} "
        f"(found: {', '.join(sorted(held)) or 'none'})",
        remedy="give the file that holds it, leave it out of `bands`, or make it a source with `optional: true`",
    )


def _match(
    files: Sequence[StackFile], bands: Sequence[str], layers: Sequence[str]
) -> tuple[tuple[StackDate, ...], int]:
    """Put files of one time together; the number of looks that stay incomplete is returned too."""
    wanted = {*bands, *layers}
    open_looks: dict[datetime, list[list[tuple[int, int, tuple[str, ...]]]]] = {}
    for index, file in enumerate(files):
        useful = tuple(band for band in file.bands if band in wanted)
        if not useful:
            continue
        for t, when in enumerate(file.times):
            looks = open_looks.setdefault(when, [])
            for look in looks:
                taken = {band for _, _, held in look for band in held}
                fresh = tuple(band for band in useful if band not in taken)
                # The mask's layer may come with both the 10 m and the 20 m file; a band twice is another look.
                if fresh and not taken & set(useful) & set(bands) and _near(files, look, file):
                    look.append((index, t, fresh))
                    break
            else:
                looks.append([(index, t, useful)])
    dates, incomplete = [], 0
    for when in sorted(open_looks):
        for look in open_looks[when]:
            if {band for _, _, held in look for band in held} != wanted:
                incomplete += 1
                continue
            first = files[look[0][0]].info
            bounds: Bounds | None = first.bounds_m
            for index, _, _ in look[1:]:
                bounds = intersect(bounds, _bounds_in(files[index], first.crs)) if bounds else None
            if bounds:
                dates.append(StackDate(when, tuple(look), bounds, first.crs))
    return tuple(dates), incomplete


def _bounds_in(file: StackFile, crs: str) -> Bounds:
    if same_crs(file.info.crs, crs):
        return file.info.bounds_m
    return cast(Bounds, transform_bounds(file.info.crs, crs, *file.info.bounds_m, densify_pts=21))


def _near(files: Sequence[StackFile], look: Sequence[tuple[int, int, tuple[str, ...]]], file: StackFile) -> bool:
    first = files[look[0][0]].info
    return intersect(first.bounds_m, _bounds_in(file, first.crs)) is not None


class StackReader:
    """Reads looks of a stack onto a lattice; keeps its files open."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._open: dict[int, FileReader] = {}
        self._exit = ExitStack()

    def __enter__(self) -> StackReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()

    def _file(self, index: int) -> FileReader:
        if index not in self._open:
            settings = self._stack.settings
            file = self._stack.files[index]
            self._open[index] = self._exit.enter_context(open_file(file, settings.sensor, settings.hints))
        return self._open[index]

    def read(self, date: StackDate, lattice: Lattice) -> tuple[np.ndarray, np.ndarray]:
        """One look on a lattice.

        Returns:
            (band, y, x) stored values of the sensor's type, and mask codes (y, x).

        Raises:
            InputError: A file is damaged.
        """
        settings = self._stack.settings
        where = {band: (index, t) for index, t, bands in date.parts for band in bands}
        floating = settings.sensor.dtype == "float32"
        data = np.empty((len(settings.bands), *lattice.shape_yx), settings.sensor.dtype)
        for i, band in enumerate(settings.bands):
            index, t = where[band]
            reader = self._file(index)
            margin = margin_of(reader.file.info, lattice)
            values, row0, col0 = reader.window(band, t, _window(reader.file, lattice), margin, decode=self._decode)
            stored = to_stored(values, reader.nodata(band), settings, str(reader.file.path))
            data[i] = place(stored, reader.file.info, row0, col0, lattice, settings.resampling)
        there = np.isfinite(data).all(axis=0) if floating else (data != 0).all(axis=0)
        codes = self._mask(where, lattice)
        codes[~there] = MASK_NODATA
        return data, codes

    @property
    def _decode(self) -> bool:
        return self._stack.settings.units != "reflectance_dn"

    def _mask(self, where: Mapping[str, tuple[int, int]], lattice: Lattice) -> np.ndarray:
        settings = self._stack.settings
        if not settings.mask.layers:
            return np.full(lattice.shape_yx, MASK_CLEAR, np.uint8)
        options = settings.mask.options(settings.mask_options)
        native: dict[str, np.ndarray] = {}
        row0 = col0 = 0
        reader = self._file(where[settings.mask.layers[0]][0])
        for layer in settings.mask.layers:
            index, t = where[layer]
            reader = self._file(index)
            margin = int(settings.mask.reach_m(options) / reader.file.info.gsd_m) + 3
            native[layer], row0, col0 = reader.window(layer, t, _window(reader.file, lattice), margin, decode=False)
        codes = settings.mask.compute(native, reader.file.info.gsd_m, options)
        return place(codes, reader.file.info, row0, col0, lattice, "nearest").copy()


def _window(file: StackFile, lattice: Lattice) -> Bounds:
    if same_crs(file.info.crs, lattice.crs):
        return lattice.bounds_m
    return cast(Bounds, transform_bounds(lattice.crs, file.info.crs, *lattice.bounds_m, densify_pts=21))


def _refuse_other_units(values: np.ndarray, settings: StackSettings, what: str) -> None:
    """Backscatter in decibels is below zero nearly everywhere; in linear power it is above zero nearly everywhere.

    Raises:
        InputError: The values are plainly of the other kind.
    """
    if values.size < _ENOUGH_TO_JUDGE:
        return
    if settings.units == "db" and float(values.min()) >= 0:
        raise InputError(
            f"{what}: units are said to be db, but none of {values.size} values is below zero",
            remedy="set `units: linear` for this source, or check the files",
        )
    if settings.units == "linear" and float(np.median(values)) < 0:
        raise InputError(
            f"{what}: units are said to be linear, but most of {values.size} values are below zero",
            remedy="set `units: db` for this source, or check the files",
        )


def to_stored(values: np.ndarray, nodata: float | None, settings: StackSettings, what: str = "a series") -> np.ndarray:
    """A file's values as the sensor's cubes store them.

    Args:
        values: As in the file; scale attributes applied unless the units are ``reflectance_dn``; NaN is nodata.
        nodata: Further value that means nothing, or None.
        settings: Units and sensor.
        what: Names the file in errors.

    Raises:
        InputError: Backscatter that is plainly of other units than said.

    Returns:
        uint16 harmonised numbers (0 = nothing) or float32 (NaN = nothing; linear power, never decibels).
    """
    bad = np.zeros(values.shape, bool) if values.dtype.kind in "ui" else ~np.isfinite(values)
    if nodata is not None and np.isfinite(nodata):
        bad |= values == nodata
    if settings.sensor.dtype == "float32":
        power = values.astype(np.float64)
        if settings.sensor.positive:
            _refuse_other_units(power[~bad], settings, what)
        if settings.units == "db":
            power = 10.0 ** (np.where(bad, 0.0, power) / 10.0)
        if settings.sensor.positive:
            bad = bad | ~(power > 0)
        return np.where(bad, np.nan, power).astype(np.float32)
    if settings.units == "reflectance_dn":
        bad = bad | (values == 0)
        numbers = np.where(bad, 0, values).astype(np.float64) + (HARMONISED_DN - settings.dn_offset)
    else:
        numbers = np.floor(np.where(bad, 0.0, values).astype(np.float64) * 1e4 + HARMONISED_DN + 0.5)
    return np.where(bad, 0, np.clip(numbers, 1, 65535)).astype(np.uint16)
