"""Vector and text files of the demo: area of interest, label polygons, legend."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import geopandas
import numpy as np
import pyogrio
import shapely
import yaml
from numpy.typing import NDArray
from pyproj import Transformer
from shapely.geometry.base import BaseGeometry

from landcover_cli.demo.landscape import Landscape
from landcover_cli.demo.region import CLASSES, EPSG, YEAR, Region

# GeoPackages hold the time of their last change; a fixed one keeps the bytes the same.
FIXED_DATE = f"{YEAR}-12-31T00:00:00.000Z"
_INSET_M = 60.0


def write_region(path: Path, region: Region) -> None:
    """Write the area of interest, a rectangle with cut corners 60 m inside the data, in longitude and latitude."""
    left, bottom, right, top = region.bounds_m
    x0, y0, x1, y1 = left + _INSET_M, bottom + _INSET_M, right - _INSET_M, top - _INSET_M
    corner = 0.12 * min(x1 - x0, y1 - y0)
    ring = [(x0, y0), (x1 - corner, y0), (x1, y0 + corner), (x1, y1), (x0 + corner, y1), (x0, y1 - corner), (x0, y0)]
    to_geographic = Transformer.from_crs(EPSG, 4326, always_xy=True)
    lon, lat = to_geographic.transform([x for x, _ in ring], [y for _, y in ring])
    coordinates = [[round(float(o), 7), round(float(a), 7)] for o, a in zip(lon, lat, strict=True)]
    feature = {
        "type": "Feature",
        "properties": {"name": "demo"},
        "geometry": {"type": "Polygon", "coordinates": [coordinates]},
    }
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}, indent=1) + "\n", encoding="utf-8")


def write_labels(path: Path, landscape: Landscape, units: Sequence[int] | NDArray[np.int64]) -> None:
    """Write the polygons of some units with their class, without the farm tracks that cross them."""
    tracks = shapely.union_all([p for p, ok in zip(landscape.polygons, landscape.labelable, strict=True) if not ok])
    polygons = [_areas(landscape.polygons[int(unit)].difference(tracks)) for unit in units]
    classes = [CLASSES[int(landscape.class_of_unit[int(unit)])] for unit in units]
    frame = geopandas.GeoDataFrame(
        {
            "class_code": np.array([entry.code for entry in classes], np.int32),
            "class_name": [entry.name for entry in classes],
        },
        geometry=polygons,
        crs=EPSG,
    )
    before = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": FIXED_DATE})
    try:
        pyogrio.write_dataframe(frame, path, layer="labels", driver="GPKG", geometry_type="MultiPolygon")
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": before})


def _areas(geometry: BaseGeometry) -> shapely.MultiPolygon:
    """The polygons of a difference, without the lines that touching edges leave behind and without slivers."""
    parts = shapely.get_parts(geometry)
    return shapely.MultiPolygon([part for part in parts if part.geom_type == "Polygon" and part.area > 25.0])


def write_legend(path: Path, seed: int) -> None:
    """Write the legend: codes, names, colours and descriptions."""
    classes = [
        {"code": entry.code, "name": entry.name, "color": entry.color, "description": entry.description}
        for entry in CLASSES
    ]
    legend = {"id": f"demo-{seed}", "version": "1", "classes": classes}
    path.write_text(yaml.safe_dump(legend, sort_keys=False, width=120, allow_unicode=True), encoding="utf-8")
