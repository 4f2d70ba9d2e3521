"""Class rasters (GeoTIFF and whatever GDAL reads, NetCDF) brought to a grid by nearest neighbour.

The value of a pixel is that of the source pixel that its centre lies in, by the exact coordinate transformation: the
result does not depend on how the area was cut, and class codes are never averaged.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
from affine import Affine

from landcover_cli.errors import InputError

if TYPE_CHECKING:
    from landcover_cli.core.grid import GeoBox

_NETCDF = {".nc", ".nc4", ".cdf"}
_MAX_SOURCE_PX = 16 * 1024**2
"""Source pixels held at a time; a fine source under a coarse grid is read in more strips."""
_TIE = 1e-6
"""A centre that lies on an edge between source pixels, but for rounding, belongs to the right and lower one."""

ReadWindow = Callable[[int, int, int, int], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class ClassRaster:
    """An open class raster.

    Attributes:
        what: Name for messages.
        crs: CRS as pyproj sees it.
        affine: Pixel (column, row) → CRS coordinates; any orientation.
        shape_yx: (height, width).
        read: ``read(row0, col0, row1, col1) -> (codes, valid)``.
    """

    what: str
    crs: pyproj.CRS
    affine: Affine
    shape_yx: tuple[int, int]
    read: ReadWindow

    def bounds(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) in its CRS."""
        height, width = self.shape_yx
        corners = [self.affine * corner for corner in ((0, 0), (width, 0), (0, height), (width, height))]
        x, y = zip(*corners, strict=True)
        return min(x), min(y), max(x), max(y)


@contextmanager
def open_class_raster(path: Path, layer: str | None = None, what: str = "labels") -> Iterator[ClassRaster]:
    """Open a class raster.

    Args:
        path: GeoTIFF, COG, or another raster that GDAL reads; or NetCDF.
        layer: Variable of a NetCDF, or number or description of a band; default: the only one.
        what: Name of the kind of file, for messages.

    Raises:
        InputError: Missing, unreadable, several layers and none named, no CRS, no georeference, a complex type.
    """
    if not path.exists():
        raise InputError(f"{what} {path} does not exist", remedy="check the path")
    opened = _open_netcdf if path.suffix.lower() in _NETCDF else _open_gdal
    with opened(path, layer, f"{what} {path}") as raster:
        yield raster


def codes_on_grid(raster: ClassRaster, geobox: GeoBox) -> tuple[np.ndarray, np.ndarray]:
    """Class codes of a raster on a grid, by nearest neighbour.

    Returns:
        (codes int64, valid bool), each of the grid's shape; codes are 0 where not valid.

    Raises:
        InputError: Unreadable, or a value that is no whole number.
    """
    height, width = geobox.shape
    codes = np.zeros((height, width), np.int64)
    valid = np.zeros((height, width), bool)
    row = 0
    rows = min(256, height)
    while row < height:
        end = min(row + rows, height)
        source_row, source_col = _source_pixels(raster, geobox, row, end)
        inside = (source_row >= 0) & (source_col >= 0)
        if inside.any():
            top, left = int(source_row[source_row >= 0].min()), int(source_col[source_col >= 0].min())
            bottom, right = int(source_row.max()) + 1, int(source_col.max()) + 1
            if (bottom - top) * (right - left) > _MAX_SOURCE_PX and rows > 1:
                rows = max(1, rows // 2)
                continue
            found, known = raster.read(top, left, bottom, right)
            picked = np.maximum(source_row - top, 0), np.maximum(source_col - left, 0)
            ok = inside & known[picked]
            codes[row:end], valid[row:end] = _whole(found[picked], ok, raster.what), ok
        row = end
    return codes, valid


def _source_pixels(raster: ClassRaster, geobox: GeoBox, row0: int, row1: int) -> tuple[np.ndarray, np.ndarray]:
    """Source row and column under each pixel centre of some rows of a grid; -1 where there is no source pixel.

    Shapes (rows, 1) and (1, columns) where both are north-up in one CRS, else (rows, columns) each.
    """
    to_xy, to_pixel = geobox.affine, ~raster.affine
    columns = (np.arange(geobox.shape[1]) + 0.5)[None, :]
    lines = (np.arange(row0, row1) + 0.5)[:, None]
    height, width = raster.shape_yx
    grid_crs = pyproj.CRS.from_user_input(str(geobox.crs))
    if grid_crs == raster.crs and not (to_xy.b or to_xy.d or to_pixel.b or to_pixel.d):
        return (
            _pixel(to_pixel.e * (to_xy.e * lines + to_xy.f) + to_pixel.f, height),
            _pixel(to_pixel.a * (to_xy.a * columns + to_xy.c) + to_pixel.c, width),
        )
    x, y = to_xy.a * columns + to_xy.b * lines + to_xy.c, to_xy.d * columns + to_xy.e * lines + to_xy.f
    if grid_crs != raster.crs:
        x, y = pyproj.Transformer.from_crs(grid_crs, raster.crs, always_xy=True).transform(x, y)
    with np.errstate(invalid="ignore"):  # infinite where the raster's CRS is not defined
        source_row = _pixel(to_pixel.d * x + to_pixel.e * y + to_pixel.f, height)
        source_col = _pixel(to_pixel.a * x + to_pixel.b * y + to_pixel.c, width)
    outside = (source_row < 0) | (source_col < 0)
    source_row[outside], source_col[outside] = -1, -1
    return source_row, source_col


def _pixel(position: np.ndarray, size: int) -> np.ndarray:
    """The pixel that a position lies in; -1 outside, where a cast would not be defined."""
    pixel = np.floor(position + _TIE)
    return np.where((pixel >= 0) & (pixel < size), pixel, -1).astype(np.int64)


def _whole(values: np.ndarray, valid: np.ndarray, what: str) -> np.ndarray:
    """Values as int64, 0 where not valid.

    Raises:
        InputError: A valid value is no whole number within int64.
    """
    if np.issubdtype(values.dtype, np.integer) or values.dtype == bool:
        return np.where(valid, values, 0).astype(np.int64)
    with np.errstate(invalid="ignore"):
        bad = valid & ~((values == np.floor(values)) & (np.abs(values) < 2.0**53))
    if bad.any():
        raise InputError(
            f"{what} holds {float(values[bad][0]):g}, which is no class code",
            remedy="give a raster of whole-number class codes",
        )
    return np.where(valid, values, 0).astype(np.int64)


@contextmanager
def _open_gdal(path: Path, layer: str | None, what: str) -> Iterator[ClassRaster]:
    import rasterio
    from rasterio.errors import RasterioError
    from rasterio.windows import Window

    from landcover_cli.io.raster import refuse_truncated

    if path.is_file():
        refuse_truncated(path)
    try:
        source = rasterio.open(path)
    except RasterioError as error:
        raise InputError(
            f"{what} is not readable as a raster: {reprlib.repr(str(error))}", remedy="is it a raster, and whole?"
        ) from None
    with source:
        band = _band(source, layer, what)
        if source.crs is None or source.transform.is_identity:
            raise InputError(f"{what} has no {'CRS' if source.crs is None else 'georeference'}", remedy="assign it")
        if np.issubdtype(np.dtype(source.dtypes[band - 1]), np.complexfloating):
            raise InputError(f"{what} holds complex numbers", remedy="give a raster of class codes")

        def read(row0: int, col0: int, row1: int, col1: int) -> tuple[np.ndarray, np.ndarray]:
            window = Window(col0, row0, col1 - col0, row1 - row0)
            try:
                values = source.read(band, window=window)
                valid = source.read_masks(band, window=window) > 0
            except RasterioError as error:
                raise InputError(
                    f"{what} is truncated or damaged: {reprlib.repr(str(error.__cause__ or error))}",
                    remedy="copy or download it again",
                ) from None
            return values, valid & np.isfinite(values) if values.dtype.kind == "f" else valid

        crs = pyproj.CRS.from_wkt(source.crs.to_wkt())
        yield ClassRaster(what, crs, source.transform, (source.height, source.width), read)


def _band(source: Any, layer: str | None, what: str) -> int:
    """1-based band number."""
    names = [name or "" for name in source.descriptions]
    if layer is None and source.count == 1:
        return 1
    if layer in names:
        return names.index(str(layer)) + 1
    if layer is not None and layer.isdigit() and 1 <= int(layer) <= source.count:
        return int(layer)
    listed = ", ".join(f"{number} {name!r}" if name else str(number) for number, name in enumerate(names, 1))
    problem = f"has no band {layer!r}" if layer else f"has {source.count} bands"
    raise InputError(f"{what} {problem}", remedy=f"name one as layer: {listed}")


@contextmanager
def _open_netcdf(path: Path, layer: str | None, what: str) -> Iterator[ClassRaster]:
    import xarray

    try:
        dataset = xarray.open_dataset(path, engine="h5netcdf", mask_and_scale=False, decode_times=False)
    except Exception as error:  # noqa: BLE001  h5netcdf, h5py and xarray raise many classes for a broken file
        raise InputError(
            f"{what} is not readable as NetCDF: {reprlib.repr(str(error))}", remedy="is it NetCDF, and whole?"
        ) from None
    with dataset:
        variable = _variable(dataset, layer, what)
        affine = _affine(variable, what)
        fill = [variable.attrs[name] for name in ("_FillValue", "missing_value") if name in variable.attrs]

        def read(row0: int, col0: int, row1: int, col1: int) -> tuple[np.ndarray, np.ndarray]:
            try:
                values = variable[row0:row1, col0:col1].to_numpy()
            except OSError as error:
                raise InputError(
                    f"{what} is truncated or damaged: {reprlib.repr(str(error))}", remedy="copy or download it again"
                ) from None
            valid = np.isfinite(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)
            for value in fill:
                valid &= values != value
            return values, valid

        height, width = variable.shape
        yield ClassRaster(
            f"{what} ({variable.name})", _netcdf_crs(dataset, variable, what), affine, (height, width), read
        )


def _variable(dataset: Any, layer: str | None, what: str) -> Any:
    """The variable asked for, without dimensions of length one."""
    flat = {
        str(name): array.squeeze(drop=True)
        for name, array in dataset.data_vars.items()
        if array.squeeze(drop=True).ndim == 2 and array.dtype.kind in "iufb"
    }
    if layer is None and len(flat) == 1:
        return next(iter(flat.values()))
    if layer in flat:
        return flat[str(layer)]
    listed = ", ".join(repr(name) for name in flat) or "none with two dimensions"
    problem = f"has no class variable {layer!r}" if layer else f"has {len(flat)} class variables"
    raise InputError(f"{what} {problem}", remedy=f"name one as layer: {listed}")


def _affine(variable: Any, what: str) -> Affine:
    """Georeference from the coordinates of the pixel centres."""
    y_name, x_name = variable.dims
    if x_name not in variable.coords or y_name not in variable.coords:
        raise InputError(f"{what}: {variable.name} has no coordinates {y_name}, {x_name}", remedy="add them")
    y, x = (np.asarray(variable.coords[name].to_numpy(), np.float64) for name in (y_name, x_name))
    steps = []
    for name, axis in ((x_name, x), (y_name, y)):
        step = (axis[-1] - axis[0]) / (len(axis) - 1) if len(axis) > 1 else math.nan
        even = len(axis) > 1 and bool(np.all(np.abs(np.diff(axis) - step) <= 1e-3 * abs(step))) and step != 0
        if not even:
            raise InputError(f"{what}: coordinate {name} is not evenly spaced", remedy="bring it to a regular grid")
        steps.append(float(step))
    return Affine(steps[0], 0, float(x[0]) - steps[0] / 2, 0, steps[1], float(y[0]) - steps[1] / 2)


def _netcdf_crs(dataset: Any, variable: Any, what: str) -> pyproj.CRS:
    """CRS by the CF grid mapping, else by plain attributes that tools write (``crs``, ``epsg``)."""
    texts: list[Any] = []
    mapping = variable.attrs.get("grid_mapping", variable.encoding.get("grid_mapping", "spatial_ref"))
    for name in (mapping, "spatial_ref", "crs"):
        if isinstance(name, str) and name in dataset.variables:
            attrs = dataset.variables[name].attrs
            texts += [attrs[key] for key in ("crs_wkt", "spatial_ref") if key in attrs]
    for attrs in (variable.attrs, dataset.attrs):
        texts += [attrs[key] for key in ("crs", "epsg") if key in attrs]
    for text in texts:
        try:
            return _crs_of(text)
        except (pyproj.exceptions.CRSError, ValueError):
            continue
    raise InputError(f"{what}: {variable.name} has no CRS", remedy="add a CF grid mapping or an attribute `epsg`")


def _crs_of(text: Any) -> pyproj.CRS:
    """A CRS from WKT, a number, or the old ``+init=epsg:<code>``, which PROJ only reads with a warning."""
    plain = str(text).strip()
    if plain.lower().startswith("+init="):
        plain = plain[6:]
    crs = pyproj.CRS.from_user_input(int(plain) if plain.isdigit() else plain)
    code = crs.to_epsg(min_confidence=100)
    return pyproj.CRS.from_epsg(code) if code else crs
