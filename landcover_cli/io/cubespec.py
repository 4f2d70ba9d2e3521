"""What a cube is: its description, the check of a dataset against it, and the dataset made from arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from landcover_cli.core.lattice import Bounds, Lattice
from landcover_cli.core.types import Period
from landcover_cli.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

EPOCH = date(1970, 1, 1)
_NEEDED = ("source", "sensor", "kind", "units", "scale", "offset", "gsd_m", "crs", "bounds_m", "periods", "bands")

LAYERS = {
    "doy": ("uint16", "day of the year of the look that was chosen; 0 where invalid"),
    "filled": ("bool", "no clear observation; the value comes from other periods"),
}
"""Further variables of one value per pixel, which only some cubes hold: type and meaning."""


@dataclass(frozen=True)
class CubeSpec:
    """Everything about a cube but its pixels.

    Attributes:
        source: Name of the source in the pipeline file.
        sensor: Name of the sensor plug-in; empty for static layers.
        kind: ``series`` (one time per period) or ``image`` (time = 1, no period).
        bands: Band names in order.
        units: ``reflectance_dn``, ``gamma0_linear``, ...
        scale: Physical value = stored · scale + offset.
        offset: See `scale`.
        gsd_m: Pixel edge in metres.
        crs: ``EPSG:<code>`` or WKT.
        bounds_m: (left, bottom, right, top); whole multiples of `gsd_m`.
        periods: Composite periods in order; empty for an image.
        dtype: ``uint16`` (0 where invalid) or ``float32`` (NaN where invalid).
        attrs: Further facts: composite method, item ids per period, ...
        layers: Names of `LAYERS` that it holds.
    """

    source: str
    sensor: str
    kind: Literal["series", "image"]
    bands: tuple[str, ...]
    units: str
    scale: float
    offset: float
    gsd_m: float
    crs: str
    bounds_m: Bounds
    periods: tuple[Period, ...]
    dtype: str
    attrs: Mapping[str, Any] = field(default_factory=dict)
    layers: tuple[str, ...] = ()

    @property
    def shape_tbyx(self) -> tuple[int, int, int, int]:
        """(time, band, y, x)."""
        return max(len(self.periods), 1), len(self.bands), *self.lattice.shape_yx

    @property
    def lattice(self) -> Lattice:
        """Pixels on the ground."""
        return Lattice(self.crs, self.gsd_m, self.bounds_m)

    def to_attrs(self) -> dict[str, Any]:
        """Group attributes of the Zarr."""
        return {
            **self.attrs,
            "Conventions": "CF-1.11",
            "source": self.source,
            "sensor": self.sensor,
            "kind": self.kind,
            "bands": list(self.bands),
            "units": self.units,
            "scale": self.scale,
            "offset": self.offset,
            "gsd_m": self.gsd_m,
            "crs": self.crs,
            "bounds_m": list(self.bounds_m),
            "periods": [[p.start.isoformat(), p.end.isoformat()] for p in self.periods],
            "dtype": self.dtype,
            **({"layers": list(self.layers)} if self.layers else {}),
        }

    @classmethod
    def from_attrs(cls, attrs: Mapping[str, Any], name: str) -> CubeSpec:
        """From the group attributes of a Zarr called `name`.

        Raises:
            InputError: An attribute is missing or not what it must be.
        """
        missing = [key for key in (*_NEEDED, "dtype") if key not in attrs]
        if missing:
            raise InputError(f"cube {name}: attribute {missing[0]!r} is missing", remedy="write it with `lc composite`")
        rest = {k: v for k, v in attrs.items() if k not in {*_NEEDED, "dtype", "Conventions", "layers"}}
        try:
            left, bottom, right, top = (float(v) for v in attrs["bounds_m"])
            return cls(
                source=str(attrs["source"]),
                sensor=str(attrs["sensor"]),
                kind=cast(Literal["series", "image"], attrs["kind"]),
                bands=tuple(attrs["bands"]),
                units=str(attrs["units"]),
                scale=float(attrs["scale"]),
                offset=float(attrs["offset"]),
                gsd_m=float(attrs["gsd_m"]),
                crs=str(attrs["crs"]),
                bounds_m=(left, bottom, right, top),
                periods=tuple(Period(date.fromisoformat(a), date.fromisoformat(b)) for a, b in attrs["periods"]),
                dtype=str(attrs["dtype"]),
                attrs=rest,
                layers=tuple(str(name) for name in attrs.get("layers", ())),
            )
        except (TypeError, ValueError) as error:
            raise InputError(f"cube {name}: attributes are damaged ({error})", remedy="make the cube again") from None


@lru_cache(maxsize=16)
def cf_crs(crs: str) -> dict[str, Any]:
    """Attributes of the CF grid mapping of a CRS, with the names that rioxarray and GDAL read, too."""
    from pyproj import CRS

    cf = cast(dict[str, Any], CRS.from_user_input(crs).to_cf())
    cf["spatial_ref"] = cf["crs_wkt"]
    return cf


def make_cube(
    spec: CubeSpec, data_tbyx: np.ndarray, valid_tyx: np.ndarray, n_clear_tyx: np.ndarray, n_obs_tyx: np.ndarray
) -> xr.Dataset:
    """A cube in memory from its arrays, with coordinates and CRS as the store writes them."""
    import xarray as xr

    left, _, _, top = spec.bounds_m
    _, _, height, width = spec.shape_tbyx
    days = np.array([p.middle for p in spec.periods] or [EPOCH], dtype="datetime64[ns]")
    tyx = ("time", "y", "x")
    mapping = {"grid_mapping": "spatial_ref"}
    coords: dict[str, Any] = {
        "time": days,
        "band": list(spec.bands),
        "y": top - spec.gsd_m * (np.arange(height) + 0.5),
        "x": left + spec.gsd_m * (np.arange(width) + 0.5),
        "spatial_ref": ((), 0, cf_crs(spec.crs)),
    }
    variables: dict[str, Any] = {
        "data": (("time", "band", "y", "x"), data_tbyx, mapping),
        "valid": (tyx, valid_tyx, mapping),
        "n_clear": (tyx, n_clear_tyx, mapping),
        "n_obs": (tyx, n_obs_tyx, mapping),
    }
    return xr.Dataset(variables, coords, spec.to_attrs())


def check_cube(ds: xr.Dataset) -> None:
    """Check that a dataset is a cube: names, axis order, types, coordinates, attributes.

    Raises:
        InputError: With the first thing that is not as it must be.
    """

    def refuse(what: str) -> InputError:
        return InputError(f"not a cube: {what}", remedy="see the cube contract in docs/methods/cube.md")

    spec = CubeSpec.from_attrs(ds.attrs, "in memory")
    shape = dict(zip(("time", "band", "y", "x"), spec.shape_tbyx, strict=True))
    for name, dims, types in (
        ("data", ("time", "band", "y", "x"), ("uint16", "float32")),
        ("valid", ("time", "y", "x"), ("bool",)),
        ("n_clear", ("time", "y", "x"), ("uint16",)),
        ("n_obs", ("time", "y", "x"), ("uint16",)),
        *((name, ("time", "y", "x"), (LAYERS[name][0],)) for name in spec.layers if name in LAYERS),
    ):
        if name not in ds:
            raise refuse(f"variable {name!r} is missing")
        if ds[name].dims != dims:
            raise refuse(f"{name} has axes {ds[name].dims}, not {dims}")
        if str(ds[name].dtype) not in types:
            raise refuse(f"{name} has type {ds[name].dtype}, not {' or '.join(types)}")
        found = dict(zip(dims, ds[name].shape, strict=True))
        if found != {dim: shape[dim] for dim in dims}:
            raise refuse(f"{name} has shape {found}, the attributes say {shape}")
    if str(ds["data"].dtype) != spec.dtype:
        raise refuse(f"data has type {ds['data'].dtype}, the attributes say {spec.dtype}")
    if spec.kind not in {"series", "image"} or (spec.kind == "series") != bool(spec.periods):
        raise refuse(f"kind {spec.kind!r} with {len(spec.periods)} periods")
    if any(a.end > b.start for a, b in zip(spec.periods, spec.periods[1:], strict=False)):
        raise refuse("periods overlap or are not in order")
    if [str(b) for b in ds["band"].values] != list(spec.bands):
        raise refuse(f"bands {ds['band'].values} differ from the attribute {spec.bands}")
    if any(abs(edge / spec.gsd_m - round(edge / spec.gsd_m)) > 1e-6 for edge in spec.bounds_m):
        raise refuse(f"bounds {spec.bounds_m} are no multiples of {spec.gsd_m:g} m")
    if "spatial_ref" not in ds.coords:
        raise refuse("coordinate spatial_ref is missing")
    half = spec.gsd_m / 2
    if not math.isclose(ds["x"].values[0], spec.bounds_m[0] + half) or not math.isclose(
        ds["y"].values[0], spec.bounds_m[3] - half
    ):
        raise refuse("x and y are not the pixel centres of the attribute bounds_m")
