from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import mapping

from landcover_cli.errors import InputError
from landcover_cli.io.vector import aoi_on_grid, attributes, read_aoi, read_features, reproject

SQUARE = shapely.box(4.0, 51.0, 4.1, 51.1)


def write_json(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def save(path: Path, geometries: list[Any], crs: str | None = "EPSG:4326", **columns: Any) -> Path:
    frame = geopandas.GeoDataFrame(columns, geometry=geometries, crs=crs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # writing without a CRS, on purpose
        if path.suffix == ".parquet":
            frame.to_parquet(path)
        else:
            frame.to_file(path)
    return path


@pytest.mark.parametrize("form", ["bare", "feature", "collection"])
def test_geojson_in_its_three_forms(tmp_path: Path, form: str) -> None:
    feature = {"type": "Feature", "properties": None, "geometry": mapping(SQUARE)}
    documents = {
        "bare": mapping(SQUARE),
        "feature": feature,
        "collection": {"type": "FeatureCollection", "features": [feature]},
    }
    aoi = read_aoi(write_json(tmp_path / "a.geojson", documents[form]))
    assert aoi.crs == "EPSG:4326"
    assert aoi.geometry.equals(SQUARE)


@pytest.mark.parametrize("name", ["a.gpkg", "a.parquet", "a.shp", "a.fgb"])
def test_other_formats_give_the_same_area(tmp_path: Path, name: str) -> None:
    moved = reproject(SQUARE, "EPSG:4326", "EPSG:32631", "x")
    aoi = read_aoi(save(tmp_path / name, [moved], "EPSG:32631"))
    assert aoi.crs == "EPSG:32631"
    assert aoi.geometry_4326.symmetric_difference(SQUARE).area < 1e-9


def test_geojson_with_a_crs_member(tmp_path: Path) -> None:
    moved = reproject(SQUARE, "EPSG:4326", "EPSG:32631", "x")
    document = {"crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32631"}}, **mapping(moved)}
    aoi = read_aoi(write_json(tmp_path / "a.geojson", document))
    assert aoi.crs == "EPSG:32631"
    assert aoi.geometry_4326.symmetric_difference(SQUARE).area < 1e-9
    document["crs"] = {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}
    document.update(mapping(SQUARE))
    assert read_aoi(write_json(tmp_path / "b.json", document)).crs == "EPSG:4326"


def test_several_polygons_are_one_area(tmp_path: Path) -> None:
    other = shapely.box(4.05, 51.0, 4.3, 51.1)
    aoi = read_aoi(save(tmp_path / "a.gpkg", [SQUARE, other, None]))
    assert aoi.geometry.equals(SQUARE.union(other))


BOW_TIE = shapely.Polygon([(4, 51), (4.1, 51.1), (4.1, 51), (4, 51.1)])
BAD = {
    "empty collection": ({"type": "FeatureCollection", "features": []}, "is empty"),
    "empty polygon": ({"type": "Polygon", "coordinates": []}, "is empty"),
    "no geometry": ({"type": "Feature", "geometry": None, "properties": {}}, "is empty"),
    "point": ({"type": "Point", "coordinates": [4, 51]}, "holds a Point"),
    "line": ({"type": "LineString", "coordinates": [[4, 51], [5, 51]]}, "holds a LineString"),
    "bow tie": (mapping(BOW_TIE), r"crosses itself at \(4\.05, 51\.05\)"),
    "no area": ({"type": "Polygon", "coordinates": [[[4, 51], [5, 51], [4, 51], [4, 51]]]}, "AOI .* (crosses|invalid)"),
    "metres": (mapping(shapely.box(5e5, 5.6e6, 5.1e5, 5.61e6)), "no longitude and latitude .* no CRS is named"),
    "swapped": (mapping(shapely.box(51, 104, 52, 105)), "no longitude and latitude"),
    "edge over 180": (mapping(shapely.box(-179, 0, 179, 1)), "antimeridian"),
    "beyond 180": (mapping(shapely.box(179, 0, 181, 1)), "antimeridian"),
    "both sides": (
        mapping(shapely.MultiPolygon([shapely.box(179, 0, 180, 1), shapely.box(-180, 0, -179, 1)])),
        "antimeridian",
    ),
    "short ring": ({"type": "Polygon", "coordinates": [[[4, 51], [5, 51]]]}, "no geometry"),
    "words": ({"type": "Polygon", "coordinates": [[["a", "b"], [5, 51], [5, 52]]]}, "no geometry"),
    "nan": ({"type": "Polygon", "coordinates": [[[4, 51], [float("nan"), 51], [5, 52], [4, 51]]]}, "no numbers"),
    "not geojson": ({"a": 1}, "no GeoJSON object"),
    "strange type": ({"type": "Blob", "coordinates": []}, "no geometry"),
    "features missing": ({"type": "FeatureCollection"}, "no `features`"),
    "features wrong": ({"type": "FeatureCollection", "features": [3]}, "is no object"),
    "unknown crs": ({"crs": {"type": "name", "properties": {"name": "EPSG:999999"}}, **mapping(SQUARE)}, "not known"),
    "linked crs": ({"crs": {"type": "link", "properties": {"href": "x"}}, **mapping(SQUARE)}, "names no CRS"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_aoi_is_refused_with_file_value_and_remedy(tmp_path: Path, case: str) -> None:
    document, words = BAD[case]
    with pytest.raises(InputError, match=words) as caught:
        read_aoi(write_json(tmp_path / "region.geojson", document))
    assert "region.geojson" in caught.value.problem
    assert caught.value.remedy


def test_projected_aoi_across_the_antimeridian(tmp_path: Path) -> None:
    across = shapely.box(780_000, 10_000, 900_000, 20_000)  # zone 60, eastern edge beyond 180°
    with pytest.raises(InputError, match="antimeridian"):
        read_aoi(save(tmp_path / "a.gpkg", [across], "EPSG:32660"))


@pytest.mark.parametrize("name", ["a.gpkg", "a.shp", "a.parquet"])
def test_no_crs_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"{name} has no CRS"):
        read_aoi(save(tmp_path / name, [SQUARE], None))


@pytest.mark.parametrize("name", ["a.geojson", "a.gpkg", "a.parquet", "a.shp", "a.xyz"])
def test_missing_truncated_and_garbage_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(InputError, match="does not exist"):
        read_aoi(path)
    for content in (b"", b"\x00\x01garbage\xff" * 20):
        path.write_bytes(content)
        with pytest.raises(InputError, match=name):
            read_aoi(path)
    if name in {"a.gpkg", "a.parquet"}:
        save(tmp_path / f"whole{path.suffix}", [SQUARE])
        whole = (tmp_path / f"whole{path.suffix}").read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(InputError, match=name):
            read_aoi(path)


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.geojson"
    path.write_text('{"type": "Polygon", "coordinates": ' + "[" * 100_000 + "]" * 100_000 + "}")
    with pytest.raises(InputError, match="deep"):
        read_aoi(path)


def test_a_layer_must_be_named_where_there_are_several(tmp_path: Path) -> None:
    path = tmp_path / "two.gpkg"
    for layer in ("one", "two"):
        geopandas.GeoDataFrame(geometry=[SQUARE], crs="EPSG:4326").to_file(path, layer=layer)
    with pytest.raises(InputError, match="2 layers") as caught:
        read_aoi(path)
    assert "'one', 'two'" in caught.value.remedy
    assert read_aoi(path, layer="two").geometry.equals(SQUARE)
    with pytest.raises(InputError, match="no layer 'three'"):
        read_aoi(path, layer="three")


def test_long_edges_stay_where_they_were() -> None:
    # The northern edge of 6° in longitude lies on a parallel, which is an arc in UTM: its middle is 11.3 km south
    # of the chord between its ends. Without densification the chord would be the edge.
    wide = shapely.box(0, 50, 6, 51)
    moved = reproject(wide, "EPSG:4326", "EPSG:32631", "x")
    back = reproject(moved, "EPSG:32631", "EPSG:4326", "x")
    assert back.symmetric_difference(wide).area < 1e-6
    chord = shapely.transform(wide, lambda xy: np.column_stack(_utm(xy)))
    assert moved.symmetric_difference(chord).area > 1e9


def _utm(xy: np.ndarray) -> Any:
    import pyproj

    return pyproj.Transformer.from_crs(4326, 32631, always_xy=True).transform(xy[:, 0], xy[:, 1])


def test_an_aoi_outside_the_grids_crs(tmp_path: Path) -> None:
    aoi = read_aoi(write_json(tmp_path / "a.geojson", mapping(shapely.box(-100, -89.9, -90, -80))))
    assert aoi_on_grid(aoi, "EPSG:4326").equals(aoi.geometry)
    with pytest.raises(InputError, match="outside the area"):
        aoi_on_grid(aoi, "+proj=gnom +lat_0=80 +lon_0=0 +datum=WGS84")


@given(st.floats(-179, 170), st.floats(-70, 70), st.floats(0.01, 3), st.floats(0.01, 3))
def test_reprojection_there_and_back_keeps_the_area(lon: float, lat: float, width: float, height: float) -> None:
    square = shapely.box(lon, lat, lon + width, lat + height)
    crs = f"+proj=laea +lat_0={lat} +lon_0={lon} +datum=WGS84"
    back = reproject(reproject(square, "EPSG:4326", crs, "x"), crs, "EPSG:4326", "x")
    assert back.symmetric_difference(square).area <= 1e-6 * square.area + 1e-12


@pytest.mark.parametrize("name", ["f.geojson", "f.gpkg", "f.parquet"])
def test_features_with_an_attribute(tmp_path: Path, name: str) -> None:
    points = [shapely.Point(4, 51), shapely.Point(5, 52), shapely.Point(40, 10)]
    path = save(tmp_path / name, points, kind=[1, 2, 3], word=["a", None, "c"])
    assert read_features(path, attribute="kind").values == [1, 2, 3]
    assert read_features(path, attribute="word").values == ["a", None, "c"]
    assert set(attributes(path)) >= {"kind", "word"}
    with pytest.raises(InputError, match="no attribute 'class'") as caught:
        read_features(path, attribute="class")
    assert "'kind', 'word'" in caught.value.remedy


def test_bounds_leave_far_features_out(tmp_path: Path) -> None:
    path = save(tmp_path / "f.gpkg", [shapely.Point(4, 51), shapely.Point(40, 10)], kind=[1, 2])
    near = read_features(path, attribute="kind", bounds=(5e5, 5.6e6, 7e5, 5.8e6), bounds_crs="EPSG:32631")
    assert near.values == [1]
