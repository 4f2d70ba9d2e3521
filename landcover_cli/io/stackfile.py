"""One file of a ready-made series: GeoTIFF of one date, NetCDF or Zarr of many. Headers first, pixels by window."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import rasterio
import xarray as xr

from landcover_cli.errors import InputError
from landcover_cli.io.ongrid import Bounds, read_native
from landcover_cli.io.quiet import quiet
from landcover_cli.io.raster import RasterInfo, crs_text, gdal_env, open_raster, raster_info
from landcover_cli.sensors import Sensor

_NAME_DATE = re.compile(
    r"(?<!\d)(?P<year>(?:19|20)\d\d)([-_.]?)(?P<month>0[1-9]|1[0-2])\2(?P<day>0[1-9]|[12]\d|3[01])"
    r"(?:[T_](?P<hour>[01]\d|2[0-3]):?(?P<minute>[0-5]\d):?(?P<second>[0-5]\d))?(?!\d)"
)
_SLAB_BYTES = 8 * 1024**2
_TIME_DIMS = ("time", "t", "timestamp", "date")
_BAND_DIMS = ("band", "bands", "variable", "channel")
_X_DIMS, _Y_DIMS = ("x", "easting", "projection_x_coordinate"), ("y", "northing", "projection_y_coordinate")


@dataclass(frozen=True)
class Hints:
    """What the files do not say themselves.

    Attributes:
        variables: Band → its name in the files.
        file_bands: Bands of each GeoTIFF in order.
        date_pattern: Regular expression on a GeoTIFF's name.
        crs: For files that state none.
        nodata: For files that state none.
    """

    variables: Mapping[str, str] = field(default_factory=dict)
    file_bands: tuple[str, ...] = ()
    date_pattern: str | None = None
    crs: str | None = None
    nodata: float | None = None


@dataclass(frozen=True)
class StackFile:
    """What a file's header says.

    Attributes:
        path: File, or Zarr folder.
        kind: ``raster`` or ``array``.
        info: Size, CRS, pixel size, bounds.
        times: UTC, in the file's order.
        bands: The sensor's names of the bands and layers it holds.
        where: Band → (1-based index in a raster) or (variable, index along its band axis or None).
        orbit: ``ascending``, ``descending`` or empty.
    """

    path: Path
    kind: str
    info: RasterInfo
    times: tuple[datetime, ...]
    bands: tuple[str, ...]
    where: Mapping[str, Any]
    orbit: str


# Many units of one process read the same files; the header of a long series costs more than a small window of it.
_SCANNED: dict[Any, StackFile] = {}
_SCANNED_MAX = 4096


class FileReader(Protocol):
    """An open file."""

    file: StackFile

    def window(self, band: str, t: int, bounds: Bounds, margin_px: int, *, decode: bool) -> tuple[np.ndarray, int, int]:
        """Pixels of a band under some bounds in the file's CRS plus a margin, cut to the file.

        Args:
            band: The sensor's name.
            t: Index of the time.
            bounds: In the file's CRS.
            margin_px: Pixels around.
            decode: Apply the scale and offset that the file states.

        Returns:
            The pixels (NaN is nodata where they are floats), and row and column of the first one.
        """

    def nodata(self, band: str) -> float | None:
        """Value that means nothing among the pixels that `window` returns; None if there is none but NaN."""


def scan_file(path: Path, sensor: Sensor, hints: Hints) -> StackFile:
    """Read a file's header.

    Raises:
        InputError: It is unreadable, has no georeference, or says no date.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}", remedy="check the path") from None
    if path.is_dir():  # its own time says nothing of the files within
        return _scan(path, sensor, hints)
    key = (path, stat.st_mtime_ns, stat.st_size, sensor.name, repr(hints))
    if key not in _SCANNED:
        if len(_SCANNED) >= _SCANNED_MAX:
            _SCANNED.clear()
        _SCANNED[key] = _scan(path, sensor, hints)
    return _SCANNED[key]


def _scan(path: Path, sensor: Sensor, hints: Hints) -> StackFile:
    if path.is_dir() or path.suffix.lower() in {".nc", ".nc4", ".h5", ".zarr"}:
        with _open_arrays(path) as dataset:
            return _scan_arrays(dataset, path, sensor, hints)
    with gdal_env(), open_raster(path) as raster:
        return _scan_raster(raster, path, sensor, hints)


@contextmanager
def open_file(file: StackFile, sensor: Sensor, hints: Hints) -> Iterator[FileReader]:
    """Open a scanned file for reading windows."""
    if file.kind == "array":
        with _open_arrays(file.path) as dataset:
            yield _ArrayFile(file, dataset, hints)
    else:
        with gdal_env(), open_raster(file.path) as raster:
            yield _RasterFile(file, raster, hints)


# --- GeoTIFF: one date per file ---------------------------------------------------------------------------------------


def _scan_raster(raster: rasterio.DatasetReader, path: Path, sensor: Sensor, hints: Hints) -> StackFile:
    info = raster_info(raster)
    where = _raster_bands(info, path, sensor, hints)
    return StackFile(
        path=path,
        kind="raster",
        info=info,
        times=(_raster_time(info, path, hints),),
        bands=tuple(where),
        where=where,
        orbit=_orbit(info.tags),
    )


def _raster_bands(info: RasterInfo, path: Path, sensor: Sensor, hints: Hints) -> dict[str, int]:
    if hints.file_bands:
        if len(hints.file_bands) != info.count:
            raise InputError(
                f"{path}: {info.count} bands, but `file_bands` names {len(hints.file_bands)}",
                remedy="name every band of the file in `file_bands`",
            )
        return {band: i for i, band in enumerate(hints.file_bands, start=1)}
    theirs = {name.lower(): band for band, name in hints.variables.items()}
    found: dict[str, int] = {}
    for i, text in enumerate(info.descriptions, start=1):
        band = theirs.get(text.lower()) or sensor.canonical(text)
        if band:
            found.setdefault(band, i)
    if not found and info.count == 1:
        words = re.split(r"[^A-Za-z0-9]+", path.stem)
        named = sorted({band for word in words if (band := theirs.get(word.lower()) or sensor.canonical(word))})
        if len(named) == 1:
            found[named[0]] = 1
    if not found:
        raise InputError(
            f"{path}: {info.count} bands without a name that sensor {sensor.name!r} knows "
            f"(descriptions: {', '.join(filter(None, info.descriptions)) or 'none'})",
            remedy="name them in order with `file_bands`, or map them with `variables`",
        )
    return found


def _raster_time(info: RasterInfo, path: Path, hints: Hints) -> datetime:
    tag = info.tags.get("ACQUISITION_DATETIME")
    if tag:
        return _parse_time(tag, path)
    match = re.search(hints.date_pattern, path.name) if hints.date_pattern else _NAME_DATE.search(path.name)
    if match:
        parts = match.groupdict()
        numbers = [int(parts.get(key) or 0) for key in ("year", "month", "day", "hour", "minute", "second")]
        try:
            return datetime(*numbers[:3], *numbers[3:], tzinfo=UTC)  # type: ignore[arg-type, misc]
        except ValueError as error:
            raise InputError(f"{path}: no date in the name ({error})", remedy="mend `date_pattern`") from None
    # Last, because many programs write the time of the file's making there.
    tag = info.tags.get("TIFFTAG_DATETIME")
    if tag and not hints.date_pattern:
        return _parse_time(tag, path)
    raise InputError(
        f"{path}: no date in tags or name",
        remedy="set `date_pattern`, or write the tag ACQUISITION_DATETIME into the file",
    )


def _parse_time(text: str, path: Path) -> datetime:
    # TIFF 6.0 writes 2021:03:05 10:11:12.
    text = re.sub(r"^(\d{4}):(\d{2}):(\d{2})", r"\1-\2-\3", text.strip())
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{path}: the date tag is {text!r}", remedy="write it as 2021-03-05T10:11:12Z") from None
    return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)


def _orbit(tags: Mapping[str, Any]) -> str:
    for key in ("ORBIT_DIRECTION", "orbit_direction", "sat:orbit_state", "orbitDirection", "orbit_state", "orbit"):
        value = str(tags.get(key, "")).lower()
        if value.startswith(("asc", "desc")):
            return "ascending" if value.startswith("asc") else "descending"
    return ""


class _RasterFile:
    def __init__(self, file: StackFile, raster: rasterio.DatasetReader, hints: Hints) -> None:
        self.file = file
        self._raster, self._hints = raster, hints

    def window(self, band: str, t: int, bounds: Bounds, margin_px: int, *, decode: bool) -> tuple[np.ndarray, int, int]:
        index = self.file.where[band]
        values, row0, col0 = read_native(self._raster, index, bounds, margin_px)
        scale, offset = self._raster.scales[index - 1], self._raster.offsets[index - 1]
        if decode and (scale, offset) != (1.0, 0.0):
            stated = self._raster.nodatavals[index - 1]
            decoded = values * np.float64(scale) + np.float64(offset)
            values = np.where(values == stated, np.nan, decoded) if stated is not None else decoded
        return values, row0, col0

    def nodata(self, band: str) -> float | None:
        stated = self._raster.nodatavals[self.file.where[band] - 1]
        return self._hints.nodata if stated is None else float(stated)


# --- NetCDF and Zarr: many dates per file -----------------------------------------------------------------------------


@contextmanager
def _open_arrays(path: Path) -> Iterator[xr.Dataset]:
    """Open without any decoding but of time: fill values and scales of real files are applied (or not) by hand."""
    if not path.exists():
        raise InputError(f"{path}: no such file", remedy="check the path")
    options: dict[str, Any] = {"mask_and_scale": False, "decode_coords": False, "chunks": None, "cache": False}
    try:
        with quiet():  # notes of the readers on how a store could be opened faster; nothing for our user to do
            if path.is_dir():
                dataset = xr.open_dataset(path, engine="zarr", backend_kwargs={"consolidated": False}, **options)
            else:
                dataset = xr.open_dataset(path, engine="h5netcdf", **options)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{path} cannot be opened as NetCDF or Zarr ({text})", remedy="check that it is whole; download it again"
        ) from None
    with dataset:
        yield dataset


def _dim(array: xr.DataArray, names: tuple[str, ...]) -> str | None:
    return next((str(dim) for dim in array.dims if str(dim).lower() in names), None)


def _scan_arrays(dataset: xr.Dataset, path: Path, sensor: Sensor, hints: Hints) -> StackFile:
    theirs = {name.lower(): band for band, name in hints.variables.items()}
    where: dict[str, tuple[str, int | None]] = {}
    grid: xr.DataArray | None = None
    for key in sorted(str(name) for name in dataset.data_vars):
        array = dataset[key]
        if not (_dim(array, _X_DIMS) and _dim(array, _Y_DIMS)):
            continue
        axis = _dim(array, _BAND_DIMS)
        names = [(str(v), i) for i, v in enumerate(dataset[axis].values)] if axis in dataset.coords else [(key, None)]
        for name, index in names:
            band = theirs.get(name.lower()) or sensor.canonical(name)
            if band and band not in where:
                where[band] = (key, index)
                grid = array if grid is None else grid
    if grid is None:
        raise InputError(
            f"{path}: no variable is a band of sensor {sensor.name!r} "
            f"(variables: {', '.join(sorted(map(str, dataset.data_vars))) or 'none'})",
            remedy="say with `variables` what the bands are called there",
        )
    attrs = {**dataset.attrs, **grid.attrs}
    return StackFile(
        path=path,
        kind="array",
        info=_array_info(dataset, grid, path, hints),
        times=_array_times(dataset, grid, path),
        bands=tuple(where),
        where=where,
        orbit=_orbit(attrs),
    )


def _array_times(dataset: xr.Dataset, grid: xr.DataArray, path: Path) -> tuple[datetime, ...]:
    dim = _dim(grid, _TIME_DIMS)
    values = dataset[dim].values if dim and dim in dataset.coords else None
    if values is None or values.dtype.kind != "M":
        raise InputError(f"{path}: no time axis with dates", remedy="give a coordinate `time` with CF units")
    seconds = values.astype("datetime64[s]").astype("int64")
    return tuple(datetime.fromtimestamp(int(s), UTC) for s in seconds)


def _array_info(dataset: xr.Dataset, grid: xr.DataArray, path: Path, hints: Hints) -> RasterInfo:
    x_dim, y_dim = _dim(grid, _X_DIMS), _dim(grid, _Y_DIMS)
    if not (x_dim and y_dim and x_dim in dataset.coords and y_dim in dataset.coords):
        raise InputError(f"{path}: no coordinates x and y", remedy="write pixel centres as coordinates x and y")
    x, y = dataset[x_dim].values.astype(float), dataset[y_dim].values.astype(float)
    if x.size < 2 or y.size < 2:
        raise InputError(f"{path}: fewer than two pixels a side", remedy="give a raster")
    gsd_m, step_y = float((x[-1] - x[0]) / (x.size - 1)), float((y[-1] - y[0]) / (y.size - 1))
    tolerance = 1e-3 * abs(gsd_m)
    even = all(np.abs(np.diff(v) - s).max() < tolerance for v, s in ((x, gsd_m), (y, step_y)))
    if not even or gsd_m <= 0 or abs(abs(step_y) - gsd_m) > tolerance:
        raise InputError(f"{path}: x and y are no regular grid of square pixels", remedy="warp it first")
    half = gsd_m / 2
    top = max(y[0], y[-1]) + half
    left = float(x[0]) - half
    # Coordinates that went through float32 or decimal text: snap what is within a thousandth of a pixel.
    left, top = (round(v / half) * half if abs(v / half - round(v / half)) < 1e-3 else v for v in (left, top))
    return RasterInfo(
        path=str(path),
        width=x.size,
        height=y.size,
        count=1,
        dtype=str(grid.dtype),
        crs=_array_crs(dataset, grid, path, hints),
        gsd_m=gsd_m,
        bounds_m=(left, top - y.size * gsd_m, left + x.size * gsd_m, top),
        nodata=None,
        descriptions=(),
    )


def _array_crs(dataset: xr.Dataset, grid: xr.DataArray, path: Path, hints: Hints) -> str:
    mapping = grid.attrs.get("grid_mapping") or grid.encoding.get("grid_mapping") or dataset.attrs.get("grid_mapping")
    candidates: list[Any] = []
    for name in filter(None, (mapping, "spatial_ref", "crs")):
        if name in dataset.variables:
            attrs = dataset[name].attrs
            candidates += [attrs.get(key) for key in ("crs_wkt", "spatial_ref", "epsg_code")]
    for attrs in (grid.attrs, dataset.attrs):
        candidates += [attrs.get("crs"), attrs.get("epsg")]
    candidates.append(hints.crs)
    for value in filter(None, candidates):
        text = str(value).removeprefix("+init=")
        try:
            return crs_text(rasterio.crs.CRS.from_user_input(f"EPSG:{text}" if text.isdigit() else text))
        except rasterio.errors.CRSError:
            continue
    raise InputError(f"{path} states no CRS", remedy="say `crs: EPSG:<code>` for this source")


class _ArrayFile:
    def __init__(self, file: StackFile, dataset: xr.Dataset, hints: Hints) -> None:
        self.file = file
        self._dataset, self._hints = dataset, hints
        self._slabs: dict[str, tuple[Any, int, np.ndarray]] = {}

    def window(self, band: str, t: int, bounds: Bounds, margin_px: int, *, decode: bool) -> tuple[np.ndarray, int, int]:
        info = self.file.info
        r0 = max(math.floor((info.bounds_m[3] - bounds[3]) / info.gsd_m + 1e-6) - margin_px, 0)
        r1 = min(math.ceil((info.bounds_m[3] - bounds[1]) / info.gsd_m - 1e-6) + margin_px, info.height)
        c0 = max(math.floor((bounds[0] - info.bounds_m[0]) / info.gsd_m + 1e-6) - margin_px, 0)
        c1 = min(math.ceil((bounds[2] - info.bounds_m[0]) / info.gsd_m - 1e-6) + margin_px, info.width)
        name, index = self.file.where[band]
        array = self._dataset[name]
        x_dim, y_dim = _dim(array, _X_DIMS), _dim(array, _Y_DIMS)
        assert x_dim and y_dim
        y = self._dataset[y_dim].values
        upside_down = bool(y[0] < y[-1])
        height = info.height
        rows = slice(height - max(r1, r0), height - r0) if upside_down else slice(r0, max(r1, r0))
        at: dict[str, Any] = {y_dim: rows, x_dim: slice(c0, max(c1, c0))}
        if time_dim := _dim(array, _TIME_DIMS):
            at[time_dim] = t
        if index is not None and (band_dim := _dim(array, _BAND_DIMS)):
            at[band_dim] = index
        part = self._slab(array, band, at, (y_dim, x_dim))
        if upside_down:
            part = part[::-1]
        return (self._decoded(part, array) if decode else np.ascontiguousarray(part)), r0, c0

    def _slab(self, array: xr.DataArray, band: str, at: dict[str, Any], yx: tuple[str, str]) -> np.ndarray:
        """One time of a band; the times after it are read along, because they are asked for next."""
        time_dim = _dim(array, _TIME_DIMS)
        t = at.pop(time_dim) if time_dim else 0
        window = tuple((at[dim].start, at[dim].stop) for dim in yx)
        kept = self._slabs.get(band)
        if kept is None or kept[0] != window or not kept[1] <= t < kept[1] + len(kept[2]):
            pixels = max(1, (window[0][1] - window[0][0]) * (window[1][1] - window[1][0]))
            count = max(1, _SLAB_BYTES // (pixels * array.dtype.itemsize))
            if time_dim:
                at[time_dim] = slice(t, t + count)
            try:
                part = array.isel(at)
                values = part.transpose(time_dim, *yx).values if time_dim else part.transpose(*yx).values[None]
            except (OSError, ValueError, RuntimeError, KeyError) as error:
                raise InputError(
                    f"{self.file.path}: variable {array.name!r} cannot be read ({error}); "
                    "a cut-off download looks like this",
                    remedy="download the file again",
                ) from None
            kept = self._slabs[band] = (window, t, values)
        slab: np.ndarray = kept[2][t - kept[1]]
        return slab

    @staticmethod
    def _decoded(values: np.ndarray, array: xr.DataArray) -> np.ndarray:
        """Fill values to NaN, then scale and offset: the order of the CF conventions (section 8.1)."""
        fills = [array.attrs[key] for key in ("_FillValue", "missing_value") if key in array.attrs]
        bad = np.zeros(values.shape, bool)
        for fill in fills:
            bad |= np.isin(values, np.ravel(fill))
        scale, offset = (float(array.attrs.get(key, d)) for key, d in (("scale_factor", 1.0), ("add_offset", 0.0)))
        floats = values.astype(np.float64)
        if (scale, offset) != (1.0, 0.0):
            floats = floats * scale + offset
        return np.where(bad, np.nan, floats)

    def nodata(self, band: str) -> float | None:
        name, _ = self.file.where[band]
        fill = self._dataset[name].attrs.get("_FillValue")
        if fill is None:
            return self._hints.nodata
        value = float(np.ravel(fill)[0])
        # Decoded values have the fill as NaN already; a scaled value may equal it by chance (0 dB).
        scaled = float(self._dataset[name].attrs.get("scale_factor", 1.0)) != 1.0
        return None if scaled else value
