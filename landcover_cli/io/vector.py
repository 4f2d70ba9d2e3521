"""Vector files: areas of interest, and features with attributes.

Coordinates are always x (longitude, easting) first. Whatever is wrong with a file is said with the file's name, the
value and the remedy; nothing is repaired in silence.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import shapely
from shapely.geometry.base import BaseGeometry

from landcover_cli.errors import InputError
from landcover_cli.io.geojson import check_range, crs_text, geojson_crs, geojson_features, geojson_shape, load_geojson
from landcover_cli.io.quiet import quiet

_MAX_AOI_FEATURES = 100_000
_STEP_DEGREES = 0.01
_STEP_METRES = 1000.0
"""Edges are cut into pieces of at most about a kilometre before they are reprojected: a straight edge of length L
departs from its image by about L²/(8·R), 2 cm for a kilometre on a sphere of R = 6,371 km."""


@dataclass(frozen=True)
class Aoi:
    """An area of interest.

    Attributes:
        path: The file it came from.
        geometry: Valid (multi)polygon without heights, in `crs`.
        crs: ``EPSG:<code>`` or WKT.
        geometry_4326: The same in longitude and latitude (EPSG:4326, x first).
    """

    path: Path
    geometry: BaseGeometry
    crs: str
    geometry_4326: BaseGeometry


@dataclass(frozen=True)
class Features:
    """Features of a vector file.

    Attributes:
        geometries: Shapely geometries, N; None where a feature has none.
        values: N values of the attribute asked for, or N times None.
        crs: ``EPSG:<code>`` or WKT.
    """

    geometries: list[BaseGeometry | None]
    values: list[Any]
    crs: str


def read_aoi(path: Path, layer: str | None = None) -> Aoi:
    """Read an area of interest: GeoJSON, GeoPackage, GeoParquet, Shapefile, or whatever else GDAL reads.

    Several polygons are one area. GeoJSON may be a FeatureCollection, a Feature or a bare geometry, in longitude and
    latitude or in the CRS that its `crs` member names.

    Args:
        path: The file.
        layer: Layer of a file with several.

    Raises:
        InputError: Missing, unreadable, empty; no CRS; something else than polygons; a polygon that crosses itself
            (names the place); coordinates out of range; an area that crosses the antimeridian.
    """
    features = read_features(path, layer=layer, what="AOI")
    shapes = [shape for shape in features.geometries if shape is not None and not shape.is_empty]
    if not shapes:
        raise InputError(f"AOI {path} is empty: it holds no polygon", remedy="draw at least one polygon")
    if len(shapes) > _MAX_AOI_FEATURES:
        raise InputError(
            f"AOI {path} has {len(shapes):,} polygons; at most {_MAX_AOI_FEATURES:,} are read",
            remedy='dissolve them into one area (QGIS: "Dissolve")',
        )
    polygons = _polygons(shapes, path)
    crs = pyproj.CRS.from_user_input(features.crs)
    if crs.is_geographic:
        _check_degrees(polygons, path)
    for position, polygon in enumerate(polygons):
        _check_valid(polygon, position, len(polygons), path)
    geometry = shapely.union_all(polygons)
    if geometry.area == 0:
        raise InputError(f"AOI {path} is empty: its polygons have no area", remedy="draw at least one polygon")
    shapely.prepare(geometry)
    geometry_4326 = reproject(geometry, features.crs, "EPSG:4326", f"AOI {path}")
    _check_antimeridian(geometry_4326, path)
    return Aoi(Path(path), geometry, features.crs, geometry_4326)


def aoi_on_grid(aoi: Aoi, crs: str) -> BaseGeometry:
    """The area in the CRS of a grid; long edges are cut into pieces first, so that they stay where they were.

    Raises:
        InputError: The area lies where that CRS is not defined.
    """
    return reproject(aoi.geometry, aoi.crs, crs, f"AOI {aoi.path}")


def reproject(geometry: BaseGeometry, source: str, target: str, what: str) -> BaseGeometry:
    """A geometry in another CRS; edges longer than about a kilometre are densified first.

    Args:
        geometry: Any shapely geometry.
        source: CRS of the geometry (``EPSG:<code>`` or WKT).
        target: CRS wanted.
        what: Name for messages.

    Raises:
        InputError: The geometry lies where the target CRS is not defined.
    """
    return reproject_all([geometry], source, target, what)[0]


def reproject_all(geometries: list[BaseGeometry], source: str, target: str, what: str) -> list[BaseGeometry]:
    """Geometries in another CRS, as `reproject`.

    Raises:
        InputError: One of them lies where the target CRS is not defined.
    """
    source_crs, target_crs = pyproj.CRS.from_user_input(source), pyproj.CRS.from_user_input(target)
    if source_crs == target_crs or not geometries:
        return geometries
    step = _STEP_DEGREES if source_crs.is_geographic else _STEP_METRES / _metres_per_unit(source_crs)
    transformer = pyproj.Transformer.from_crs(source_crs, target_crs, always_xy=True)

    def project(coordinates: np.ndarray) -> np.ndarray:
        x, y = transformer.transform(coordinates[:, 0], coordinates[:, 1])
        return np.column_stack([x, y])

    before = np.array(geometries, dtype=object)
    with np.errstate(invalid="ignore"):  # what is not defined is refused below
        after = shapely.transform(shapely.segmentize(before, step), project)
    if not np.isfinite(shapely.get_coordinates(after)).all():
        raise InputError(
            f"{what} lies outside the area where {target_crs.name} is defined", remedy="check its CRS and the grid's"
        )
    # Tiny slivers can fold over when coordinates are rounded; a valid area stays a valid area.
    folded = ~shapely.is_valid(after) & shapely.is_valid(before)
    after[folded] = shapely.make_valid(after[folded])
    return list(after)


def _metres_per_unit(crs: pyproj.CRS) -> float:
    return float(crs.axis_info[0].unit_conversion_factor) if crs.axis_info else 1.0


def read_features(
    path: Path,
    *,
    layer: str | None = None,
    attribute: str | None = None,
    bounds: tuple[float, float, float, float] | None = None,
    bounds_crs: str | None = None,
    what: str = "vector file",
) -> Features:
    """Read geometries, and one attribute, of a vector file.

    Args:
        path: GeoJSON, GeoPackage, GeoParquet, Shapefile, or whatever else GDAL reads.
        layer: Layer of a file with several; default: the only one.
        attribute: Attribute whose values are wanted.
        bounds: Only features whose bounding box meets this one (left, bottom, right, top). A hint that keeps memory
            small: features outside may come along.
        bounds_crs: CRS of `bounds`; default: the file's.
        what: Name of the kind of file, for messages.

    Raises:
        InputError: Missing, unreadable, no CRS, no such layer or attribute (with those that exist).
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{what} {path} does not exist", remedy="check the path")
    if path.suffix.lower() in {".json", ".geojson"}:
        return _read_geojson(path, attribute, what)
    if path.suffix.lower() in {".parquet", ".geoparquet", ".pq"}:
        return _read_parquet(path, attribute, what)
    return _read_gdal(path, layer, attribute, _Box(bounds, bounds_crs), what)


def attributes(path: Path, *, layer: str | None = None, what: str = "vector file") -> tuple[str, ...]:
    """Names of the attributes of a vector file.

    Raises:
        InputError: Missing or unreadable.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{what} {path} does not exist", remedy="check the path")
    if path.suffix.lower() in {".json", ".geojson"}:
        found: dict[str, None] = {}
        for _, properties in geojson_features(load_geojson(path, what), path, what):
            found.update(dict.fromkeys(str(key) for key in properties))
        return tuple(found)
    if path.suffix.lower() in {".parquet", ".geoparquet", ".pq"}:
        frame = _parquet_frame(path, what)
        return tuple(str(name) for name in frame.columns if name != frame.geometry.name)
    return tuple(str(name) for name in _gdal_info(path, layer, what)["fields"])


# --- GeoJSON -----------------------------------------------------------------------------------------------------


def _read_geojson(path: Path, attribute: str | None, what: str) -> Features:
    document = load_geojson(path, what)
    geometries: list[BaseGeometry | None] = []
    values: list[Any] = []
    seen: dict[str, None] = {}
    for position, (geometry, properties) in enumerate(geojson_features(document, path, what)):
        geometries.append(geojson_shape(geometry, position, path, what))
        seen.update(dict.fromkeys(str(key) for key in properties))
        values.append(properties.get(attribute) if attribute else None)
    if attribute and geometries and attribute not in seen:
        raise _no_attribute(path, attribute, seen, what)
    crs = geojson_crs(document, path, what)
    if pyproj.CRS.from_user_input(crs).is_geographic:
        check_range(geometries, path, what, "crs" in document)
    return Features(geometries, values, crs)


# --- GeoParquet --------------------------------------------------------------------------------------------------


def _parquet_frame(path: Path, what: str) -> Any:
    import geopandas

    try:
        with quiet():
            return geopandas.read_parquet(path)
    except Exception as error:  # noqa: BLE001  pyarrow, thrift and geopandas raise many classes for a broken file
        raise InputError(
            f"{what} {path} is not readable as GeoParquet: {reprlib.repr(str(error))}", remedy="save it again"
        ) from None


def _read_parquet(path: Path, attribute: str | None, what: str) -> Features:
    frame = _parquet_frame(path, what)
    columns = [str(name) for name in frame.columns if name != frame.geometry.name]
    if attribute and attribute not in columns:
        raise _no_attribute(path, attribute, columns, what)
    values = _plain(frame[attribute]) if attribute else [None] * len(frame)
    return Features(_flat(frame.geometry), values, _frame_crs(frame.crs, path, what))


# --- everything that GDAL reads ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Box:
    bounds: tuple[float, float, float, float] | None
    crs: str | None


def _gdal_layer(path: Path, layer: str | None, what: str) -> str:
    import pyogrio

    try:
        listed = [(str(name), kind) for name, kind in pyogrio.list_layers(path)]
    except Exception as error:  # noqa: BLE001  pyogrio's classes differ by driver and release
        raise InputError(
            f"{what} {path} is not readable as a vector file: {reprlib.repr(str(error))}",
            remedy="is it GeoJSON, GeoPackage, GeoParquet or a Shapefile (with .shx, .dbf, .prj beside it)?",
        ) from None
    names = [name for name, kind in listed if kind]  # tables without geometry are no choice
    if layer is None and len(names) == 1:
        return names[0]
    if layer in names:
        return str(layer)
    known = ", ".join(repr(name) for name in names) or "none"
    if not names:
        raise InputError(f"{what} {path} has no layer with geometries", remedy="save it again with geometries")
    problem = f"no layer {layer!r}" if layer else f"{len(names)} layers"
    raise InputError(f"{what} {path} has {problem}", remedy=f"name one of its layers: {known}")


def _gdal_info(path: Path, layer: str | None, what: str) -> dict[str, Any]:
    import pyogrio

    name = _gdal_layer(path, layer, what)
    with quiet():
        return {"layer": name, **pyogrio.read_info(path, layer=name)}


def _read_gdal(path: Path, layer: str | None, attribute: str | None, box: _Box, what: str) -> Features:
    import pyogrio

    info = _gdal_info(path, layer, what)
    crs = _frame_crs(info["crs"], path, what)
    if attribute and attribute not in list(info["fields"]):
        raise _no_attribute(path, attribute, [str(name) for name in info["fields"]], what)
    bbox = None
    if box.bounds is not None:
        around = reproject(shapely.box(*box.bounds), box.crs or crs, crs, f"{what} {path}")
        margin = 1e-3 * max(around.bounds[2] - around.bounds[0], around.bounds[3] - around.bounds[1])
        bbox = tuple(np.add(around.bounds, [-margin, -margin, margin, margin]).tolist())
    try:
        with quiet():
            frame = pyogrio.read_dataframe(
                path, layer=info["layer"], columns=[attribute] if attribute else [], bbox=bbox, force_2d=True
            )
    except Exception as error:  # noqa: BLE001  pyogrio, shapely and GDAL raise many classes for a broken file
        raise InputError(
            f"{what} {path} is not readable: {reprlib.repr(str(error))}", remedy="save it again, as GeoPackage"
        ) from None
    values = _plain(frame[attribute]) if attribute else [None] * len(frame)
    geometries = _flat(frame.geometry)
    if pyproj.CRS.from_user_input(crs).is_geographic:
        check_range(geometries, path, what, says_crs=True)
    return Features(geometries, values, crs)


def _flat(series: Any) -> list[BaseGeometry | None]:
    return [None if shape is None else shapely.force_2d(shape) for shape in series]


def _plain(column: Any) -> list[Any]:
    """Values of a column as plain Python values; None where there is none."""
    missing = column.isna().to_numpy()
    return [
        None if gone else getattr(value, "item", lambda v=value: v)()
        for value, gone in zip(column, missing, strict=True)
    ]


def _no_attribute(path: Path, attribute: str, known: Iterable[str], what: str) -> InputError:
    return InputError(
        f"{what} {path} has no attribute {attribute!r}",
        remedy=f"its attributes: {', '.join(repr(name) for name in known) or 'none'}",
    )


# --- CRS ---------------------------------------------------------------------------------------------------------


def _frame_crs(value: Any, path: Path, what: str) -> str:
    """CRS of a data frame or a layer; formats write `undefined` in several ways."""
    if value is not None and "undefined" not in str(value).lower()[:80]:
        crs = crs_text(value, path, what)
        if not pyproj.CRS.from_user_input(crs).is_engineering:
            return crs
    raise InputError(
        f"{what} {path} has no CRS", remedy='set it (QGIS: "Assign projection"; ogr2ogr -a_srs EPSG:<code>)'
    )


# --- checks of an AOI --------------------------------------------------------------------------------------------


def _polygons(shapes: list[BaseGeometry], path: Path) -> list[BaseGeometry]:
    """Polygons of the shapes, collections taken apart.

    Raises:
        InputError: Something else than a polygon is among them.
    """
    polygons: list[BaseGeometry] = []
    for shape in shapes:
        parts = list(shape.geoms) if shape.geom_type == "GeometryCollection" else [shape]
        for part in parts:
            if part.geom_type not in {"Polygon", "MultiPolygon"}:
                raise InputError(
                    f"AOI {path} holds a {part.geom_type}; an area needs polygons only",
                    remedy="draw a polygon, or remove what is none",
                )
            if not part.is_empty:
                polygons.append(part)
    if not polygons:
        raise InputError(f"AOI {path} is empty: it holds no polygon", remedy="draw at least one polygon")
    return polygons


def _check_valid(polygon: BaseGeometry, position: int, count: int, path: Path) -> None:
    reason = shapely.is_valid_reason(polygon)
    if reason == "Valid Geometry":
        return
    which = f"polygon {position + 1} of {count}" if count > 1 else "the polygon"
    problem, _, place = reason.partition("[")
    at = f" at ({', '.join(place.rstrip(']').split())})" if place else ""
    verb = "crosses itself" if "intersection" in problem.lower() else f"is invalid ({problem.strip().lower()})"
    raise InputError(
        f"AOI {path}: {which} {verb}{at}", remedy='mend it (QGIS: "Fix geometries"; shapely: make_valid or buffer(0))'
    )


def _check_degrees(polygons: list[BaseGeometry], path: Path) -> None:
    """Refuse edges across the antimeridian before validity is judged: unwrapped, such a polygon may be valid."""
    _check_antimeridian(shapely.GeometryCollection(polygons), path)


def _check_antimeridian(geometry: BaseGeometry, path: Path) -> None:
    """Refuse an area on both sides of ±180°.

    That is: longitudes beyond ±180°, an edge longer than 180°, or parts that together span more than 180°.
    """
    left, bottom, right, top = geometry.bounds
    if not all(math.isfinite(value) for value in (left, bottom, right, top)):
        raise InputError(f"AOI {path} has coordinates that are no numbers", remedy="mend it")
    tiny = 1e-9
    if left < -180 - tiny or right > 180 + tiny or right - left > 180:
        raise InputError(
            f"AOI {path} crosses the antimeridian, or spans more than half the globe "
            f"(longitudes {left:.4f} … {right:.4f})",
            remedy="cut it at 180° and give each side as a region of its own, with longitudes from -180 to 180",
        )
