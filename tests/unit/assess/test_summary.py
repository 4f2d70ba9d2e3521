from __future__ import annotations

import csv
import io
import json

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine

from landcover_cli.assess.matrix import ErrorMatrix
from landcover_cli.assess.pixelarea import pixel_area_m2
from landcover_cli.assess.summary import Measured, matrix_csv, summarise
from landcover_cli.core.grid import GeoBox

CLASSES = [{"code": 10 * i, "name": f"c, {i}", "color": "#000000"} for i in range(3)]


def measured(counts: list[list[int]], kind: str = "pixels") -> Measured:
    matrix = ErrorMatrix(3)
    matrix.counts += np.array(counts)
    matrix.unmapped[1] = 4
    return Measured(matrix, np.array([50, 40, 0]), np.array([5000.0, 4000.0, 0.0]), 7, kind)  # type: ignore[arg-type]


def test_a_count_claims_no_sampling_error() -> None:
    document = summarise(measured([[8, 1, 0], [2, 9, 0], [0, 0, 0]]), CLASSES, "none")
    assert document["basis"] == "census"
    assert "no sampling error" in document["basis_note"]
    assert document["estimates"] is None
    assert document["overall_accuracy"] == pytest.approx(17 / 20)
    assert document["without_reference"] == [20]
    assert document["averages_over"] == [0, 10]
    assert (document["without_class_in_map"], document["excluded_training"]) == (4, 7)
    assert document["classes"][2]["users_accuracy"] is None
    json.dumps(document, allow_nan=False)
    assert summarise(measured([[8, 1, 0], [2, 9, 0], [0, 0, 0]], "points"), CLASSES, "none")["basis"] == "none"


def test_a_stated_sample_gives_areas_with_intervals() -> None:
    document = summarise(measured([[80, 20, 0], [15, 85, 0], [0, 0, 0]], "points"), CLASSES, "stratified")
    area = document["estimates"]["classes"][0]["area_m2"]
    assert area["value"] == pytest.approx(5000 * 0.8 + 4000 * 0.15)
    assert area["low"] < area["value"] < area["high"]
    assert area["se"] > 0
    json.dumps(document, allow_nan=False)


def test_the_matrix_as_csv() -> None:
    item = measured([[8, 1, 0], [2, 9, 0], [0, 0, 0]])
    rows = list(csv.reader(io.StringIO(matrix_csv(item.matrix, CLASSES))))
    assert rows[0][1] == "0 c, 0"
    assert rows[1][1:] == ["8", "1", "0"]
    assert rows[-1] == ["no class in the map", "0", "4", "0"]


def test_pixel_area_in_utm_agrees_with_the_geodesic_polygon() -> None:
    for east in (500_000, 750_000):
        box = GeoBox((100, 100), Affine(10, 0, east, 0, -10, 5_600_000), "EPSG:32631")
        square = shapely.segmentize(shapely.box(east, 5_599_000, east + 1000, 5_600_000), 10)
        to_degrees = pyproj.Transformer.from_crs(32631, 4326, always_xy=True)
        lon, lat = to_degrees.transform(*np.array(square.exterior.coords).T)
        true = abs(pyproj.Geod(ellps="WGS84").polygon_area_perimeter(lon, lat)[0])
        assert float(pixel_area_m2(box).sum() * 100) == pytest.approx(true, rel=1e-6)
        assert abs(true / 1e6 - 1) > 4e-4  # the nominal area would be off by that


def test_pixel_area_in_degrees_sums_to_the_sphere() -> None:
    box = GeoBox((180, 360), Affine(1, 0, -180, 0, -1, 90), "EPSG:4326")
    # Area of the WGS 84 ellipsoid: 510,065,621.7 km². Parallels are no geodesics, hence the tolerance at 1° pixels.
    assert float(pixel_area_m2(box).sum() * 360) == pytest.approx(5.100656217e14, rel=1e-4)
