"""The cube store: pieces of a cube as Zarr, written whole and read as one.

A piece holds one source over one tile and one or more periods; a merged cube is the same thing over a whole area. Group
attributes carry what a plan needs (bands, bounds, periods), so that opening a thousand pieces reads a thousand small
JSON files and no chunk.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from landcover_cli.core.lattice import Bounds
from landcover_cli.core.types import Period
from landcover_cli.errors import InputError
from landcover_cli.io.atomic import storage_error
from landcover_cli.io.cubespec import EPOCH, LAYERS, CubeSpec, cf_crs, check_cube, make_cube

if TYPE_CHECKING:
    import xarray as xr
    import zarr

__all__ = ["CubeSeries", "CubeSpec", "CubeWindow", "CubeWriter", "check_cube", "make_cube", "write_cube"]

CHUNK_PX = 256


class CubeWriter:
    """Writes one cube window by window; nothing is held but one window.

    The arrays are created at once, chunks follow with `write`, and `close` adds the group's summary of all arrays.
    """

    def __init__(self, path: Path, spec: CubeSpec) -> None:
        import zarr
        from zarr.codecs import BloscCodec

        self.spec = spec
        self._path = path
        time, band, height, width = spec.shape_tbyx
        # A fixed item size keeps the bytes the same whatever library version guesses it.
        codec = {
            size: BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle", typesize=size, blocksize=0)
            for size in (1, 2, 4)
        }
        chunk = (1, min(height, CHUNK_PX), min(width, CHUNK_PX))
        dtype = np.dtype(spec.dtype)
        try:
            self._group = zarr.create_group(path, zarr_format=3, attributes=spec.to_attrs())
            self._arrays: dict[str, zarr.Array] = {
                "data": self._group.create_array(
                    "data",
                    shape=spec.shape_tbyx,
                    dtype=dtype,
                    chunks=(1, band, *chunk[1:]),
                    compressors=codec[dtype.itemsize],
                    fill_value=np.nan if dtype.kind == "f" else 0,
                    dimension_names=["time", "band", "y", "x"],
                    attributes=_data_attrs(spec),
                )
            }
            for name, kind, text in _planes(spec):
                self._arrays[name] = self._group.create_array(
                    name,
                    shape=(time, height, width),
                    dtype=kind,
                    chunks=chunk,
                    compressors=codec[np.dtype(kind).itemsize],
                    fill_value=0,
                    dimension_names=["time", "y", "x"],
                    attributes={"grid_mapping": "spatial_ref", "long_name": text},
                )
            self._write_coordinates()
        except OSError as error:
            raise storage_error(path, error) from error

    @classmethod
    def attach(cls, path: Path, spec: CubeSpec) -> CubeWriter:
        """A second writer of a cube that another process created, for chunks that nobody else writes."""
        import zarr

        self = cls.__new__(cls)
        self.spec, self._path = spec, path
        self._group = zarr.open_group(path, mode="r+", zarr_format=3)
        names = ("data", "valid", "n_clear", "n_obs", *spec.layers)
        self._arrays = {name: zarr.open_array(path / name, mode="r+", zarr_format=3) for name in names}
        return self

    def write(
        self,
        t: int,
        y0: int,
        x0: int,
        data_byx: np.ndarray,
        valid_yx: np.ndarray,
        n_clear_yx: np.ndarray,
        n_obs_yx: np.ndarray,
        **layers_yx: np.ndarray,
    ) -> None:
        """Write one window of one period; windows that start at multiples of `CHUNK_PX` touch no chunk twice.

        Args:
            t: Index of the period.
            y0: First row.
            x0: First column.
            data_byx: Stored values.
            valid_yx: Whether there are any.
            n_clear_yx: Clear observations.
            n_obs_yx: Observations.
            layers_yx: The further variables of the cube, by name.

        Raises:
            StorageError: The target cannot be written.
        """
        self.update(t, y0, x0, data=data_byx, valid=valid_yx, n_clear=n_clear_yx, n_obs=n_obs_yx, **layers_yx)

    def update(self, t: int, y0: int, x0: int, **values: np.ndarray) -> None:
        """Write one window of some variables, as `write`.

        Args:
            t: Index of the period.
            y0: First row.
            x0: First column.
            values: (band, y, x) or (y, x) by name of the variable.

        Raises:
            StorageError: The target cannot be written.
        """
        try:
            for name, value in values.items():
                height, width = value.shape[-2:]
                self._arrays[name][t, ..., y0 : y0 + height, x0 : x0 + width] = value
        except OSError as error:
            raise storage_error(self._path, error) from error

    def read(self, name: str, y: slice, x: slice) -> np.ndarray:
        """One window of a variable over all periods."""
        return np.asarray(self._arrays[name][..., y, x])

    def close(self) -> None:
        """Add the consolidated metadata, in sorted order, so that one small file opens the cube."""
        root = self._path / "zarr.json"
        arrays = {p.parent.name: json.loads(p.read_text()) for p in sorted(self._path.glob("*/zarr.json"))}
        head = json.loads(root.read_text())
        head["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": arrays}
        try:
            root.write_text(json.dumps(head, indent=1, sort_keys=True) + "\n")
        except OSError as error:
            raise storage_error(self._path, error) from error

    def _write_coordinates(self) -> None:
        spec = self.spec
        left, _, _, top = spec.bounds_m
        _, _, height, width = spec.shape_tbyx
        days = [(p.middle - EPOCH).days for p in spec.periods] or [0]
        units = {"units": "days since 1970-01-01", "calendar": "proleptic_gregorian"}
        time_attrs: dict[str, Any] = {"standard_name": "time", **units, "axis": "T"}
        if spec.periods:
            time_attrs["bounds"] = "time_bounds"
            edges = [[(p.start - EPOCH).days, (p.end - EPOCH).days] for p in spec.periods]
            self._coordinate("time_bounds", np.array(edges, "int64"), ["time", "bounds"], {})
        self._coordinate("time", np.array(days, "int64"), ["time"], time_attrs)
        self._coordinate("band", np.array(spec.bands, dtype=object), ["band"], {})
        y = top - spec.gsd_m * (np.arange(height) + 0.5)
        x = left + spec.gsd_m * (np.arange(width) + 0.5)
        for name, value, axis in (("y", y, "Y"), ("x", x, "X")):
            attrs = {"standard_name": f"projection_{name}_coordinate", "units": "m", "axis": axis}
            self._coordinate(name, value, [name], attrs)
        geotransform = f"{left!r} {spec.gsd_m!r} 0.0 {top!r} 0.0 {-spec.gsd_m!r}"
        self._coordinate("spatial_ref", np.array(0, "int64"), [], {**cf_crs(spec.crs), "GeoTransform": geotransform})

    def _coordinate(self, name: str, value: np.ndarray, dims: list[str], attrs: dict[str, Any]) -> None:
        array = self._group.create_array(
            name,
            shape=value.shape,
            dtype=str if value.dtype == object else value.dtype,
            chunks=value.shape,
            compressors=None,
            dimension_names=dims,
            attributes=attrs,
        )
        array[...] = value


VALID = "at least one clear observation of every band"
VALID_FILLED = "a value of every band, observed or filled"


def _planes(spec: CubeSpec) -> list[tuple[str, str, str]]:
    """Name, type and meaning of the variables of one value per pixel."""
    return [
        ("valid", "bool", VALID_FILLED if "filled" in spec.layers else VALID),
        ("n_clear", "uint16", "number of clear observations"),
        ("n_obs", "uint16", "number of observations"),
        *((name, *LAYERS[name]) for name in spec.layers),
    ]


def _data_attrs(spec: CubeSpec) -> dict[str, Any]:
    attrs: dict[str, Any] = {"grid_mapping": "spatial_ref", "long_name": spec.units}
    if spec.dtype != "float32":
        attrs["_FillValue"] = 0
        attrs["scale_factor"] = spec.scale
        attrs["add_offset"] = spec.offset
    return attrs


def write_cube(path: Path, ds: xr.Dataset) -> None:
    """Write a checked cube as Zarr (format 3), the same bytes for the same values.

    Args:
        path: New folder, ``*.zarr``.
        ds: As `check_cube` demands.

    Raises:
        InputError: `ds` breaks the cube contract.
        StorageError: The target cannot be written.
    """
    check_cube(ds)
    spec = CubeSpec.from_attrs(ds.attrs, str(path))
    writer = CubeWriter(path, spec)
    for t in range(spec.shape_tbyx[0]):
        planes = (ds[name].values[t] for name in ("data", "valid", "n_clear", "n_obs"))
        writer.write(t, 0, 0, *planes, **{name: ds[name].values[t] for name in spec.layers})
    writer.close()


@dataclass(frozen=True)
class CubeWindow:
    """Pixels of one source over a rectangle.

    Attributes:
        data_tbyx: Stored values in their own type; 0 where invalid.
        valid_tyx: Whether every band holds a value.
        n_clear_tyx: Number of clear observations.
        periods: One per time; empty for an image (time = 1).
    """

    data_tbyx: np.ndarray
    valid_tyx: np.ndarray
    n_clear_tyx: np.ndarray
    periods: tuple[Period, ...]


@dataclass(frozen=True)
class _Piece:
    path: Path
    spec: CubeSpec


class CubeSeries:
    """Many pieces of one source (tiles × periods), or one merged cube, seen as one cube.

    Attributes:
        source: Name of the source.
        sensor: Name of the sensor plug-in.
        kind: ``series`` or ``image``.
        bands: Band names in order.
        units: What stored · scale + offset means.
        scale: See `units`.
        offset: See `units`.
        gsd_m: Pixel edge in metres.
        crs: ``EPSG:<code>`` or WKT.
        dtype: Type of the stored values.
        periods: Sorted union of the pieces' periods; empty for an image.
        bounds_m: Union of the pieces' bounds.
    """

    def __init__(self, pieces: Sequence[_Piece]) -> None:
        first = pieces[0].spec
        self.source, self.sensor, self.kind = first.source, first.sensor, first.kind
        self.bands, self.units, self.scale, self.offset = first.bands, first.units, first.scale, first.offset
        self.gsd_m, self.crs, self.dtype = first.gsd_m, first.crs, np.dtype(first.dtype)
        self.periods: tuple[Period, ...] = tuple(sorted({p for piece in pieces for p in piece.spec.periods}))
        edges = np.array([piece.spec.bounds_m for piece in pieces])
        low, high = edges.min(axis=0), edges.max(axis=0)
        self.bounds_m: Bounds = (float(low[0]), float(low[1]), float(high[2]), float(high[3]))
        self._pieces = tuple(pieces)

    @classmethod
    def open(cls, pieces: Iterable[Path]) -> CubeSeries:
        """Open pieces; reads metadata only.

        Args:
            pieces: Folders ``*.zarr``; their order decides nothing.

        Raises:
            InputError: No piece, one is unreadable, or two differ in source, bands, resolution, CRS, units or type.
        """
        found = [_Piece(path, _read_spec(path)) for path in sorted(pieces)]
        if not found:
            raise InputError("no cube piece to open", remedy="run `lc composite` first")
        first = found[0]
        for other in found[1:]:
            for name in ("source", "sensor", "kind", "bands", "gsd_m", "crs", "units", "scale", "offset", "dtype"):
                mine, theirs = getattr(first.spec, name), getattr(other.spec, name)
                if mine != theirs:
                    raise InputError(
                        f"cubes {first.path} and {other.path} differ in {name}: {mine!r} and {theirs!r}",
                        remedy="open only pieces of one source, made by one run",
                    )
        return cls(found)

    def read(self, bounds_m: Bounds, time: int | None = None) -> CubeWindow:
        """Read a window that lies on the cube's pixel lattice; it may reach beyond the cube.

        Args:
            bounds_m: (left, bottom, right, top), whole multiples of `gsd_m`.
            time: Index of the one period wanted; None for all.

        Returns:
            The window; ground that no piece covers is invalid, with data 0.

        Raises:
            InputError: The bounds are off the lattice or empty, or a piece is damaged.
        """
        left, bottom, right, top = (round(edge / self.gsd_m) for edge in bounds_m)
        on_lattice = all(abs(e / self.gsd_m - round(e / self.gsd_m)) < 1e-6 for e in bounds_m)
        if not on_lattice or right <= left or top <= bottom:
            raise InputError(
                f"window {bounds_m} is empty or not on the {self.gsd_m:g} m lattice of cube {self.source!r}",
                remedy="use bounds that are whole multiples of the cube's resolution",
            )
        periods = self.periods if time is None else self.periods[time : time + 1]
        times = {period: t for t, period in enumerate(periods)}
        height, width = top - bottom, right - left
        count = max(len(periods), 1)
        data = np.zeros((count, len(self.bands), height, width), self.dtype)
        valid = np.zeros((count, height, width), bool)
        n_clear = np.zeros((count, height, width), "uint16")
        for piece in self._pieces:
            p_left, p_bottom, p_right, p_top = (round(edge / self.gsd_m) for edge in piece.spec.bounds_m)
            x0, x1 = max(left, p_left), min(right, p_right)
            y0, y1 = min(top, p_top), max(bottom, p_bottom)
            if x0 >= x1 or y0 <= y1:
                continue
            to = (slice(top - y0, top - y1), slice(x0 - left, x1 - left))
            of = (slice(p_top - y0, p_top - y1), slice(x0 - p_left, x1 - p_left))
            # (time in the piece, time in the window); an image has one of each.
            pairs = [(i, times[p]) for i, p in enumerate(piece.spec.periods) if p in times]
            if not piece.spec.periods:
                pairs = [(0, 0)]
            if not pairs:
                continue
            span = slice(pairs[0][0], pairs[-1][0] + 1)
            arrays = {name: _read_array(piece.path, name, span, of) for name in ("data", "valid", "n_clear")}
            for i, t in pairs:
                ok = arrays["valid"][i - span.start]
                _refuse_lost(piece.path, arrays["data"][i - span.start], ok)
                data[t][:, *to] = np.where(ok, arrays["data"][i - span.start], 0)
                valid[t][to] = ok
                n_clear[t][to] = arrays["n_clear"][i - span.start]
        return CubeWindow(data, valid, n_clear, periods)


def _read_spec(path: Path) -> CubeSpec:
    try:
        attrs = json.loads((path / "zarr.json").read_text())["attributes"]
    except OSError as error:
        raise InputError(
            f"{path} is no cube (zarr.json: {error.strerror or error})",
            remedy="give a cube.zarr folder of `lc composite`",
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is no cube: zarr.json is damaged ({error})", remedy="give a cube.zarr folder of `lc composite`"
        ) from None
    return CubeSpec.from_attrs(attrs, str(path))


@lru_cache(maxsize=512)
def _open_array(path: Path, name: str, stamp: int) -> zarr.Array:
    import zarr

    return zarr.open_array(path / name, mode="r", zarr_format=3)


def _refuse_lost(path: Path, data_byx: np.ndarray, valid_yx: np.ndarray) -> None:
    """Refuse pixels that are called valid and hold nothing: a chunk whose file is gone reads as fill, without a word.

    A chunk holds every band of its pixels, so that the first band tells.
    """
    first = data_byx[0]
    lost = valid_yx & (np.isnan(first) if first.dtype.kind == "f" else first == 0)
    if lost.any():
        raise InputError(
            f"cube {path}: {int(lost.sum())} valid pixels hold no data; a file below {path / 'data'} is gone",
            remedy="make the cube again",
        )


def _read_array(path: Path, name: str, t: slice, yx: tuple[slice, slice]) -> np.ndarray:
    try:
        # The stamp keeps a cube that was made again under the same path from being read through an old handle.
        array = _open_array(path, name, (path / name / "zarr.json").stat().st_mtime_ns)
        return np.asarray(array[t, ..., yx[0], yx[1]])
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise InputError(f"cube {path}: {name} is damaged ({error})", remedy="make the cube again") from None
