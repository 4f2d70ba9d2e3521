from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from landcover_cli.core.grid import GeoBox, geobox_from_bounds
from landcover_cli.errors import InputError
from landcover_cli.labels.rasterise import burn, inside

BOUNDS = (500_000.0, 5_000_000.0, 500_160.0, 5_000_120.0)


@pytest.fixture
def grid() -> GeoBox:
    return geobox_from_bounds(BOUNDS, 10.0, "EPSG:32631")


def centres(grid: GeoBox) -> tuple[np.ndarray, np.ndarray]:
    x = grid.affine.c + (np.arange(grid.shape[1]) + 0.5) * grid.affine.a
    y = grid.affine.f + (np.arange(grid.shape[0]) + 0.5) * grid.affine.e
    return np.meshgrid(x, y)


def of(grid: GeoBox, shapes: list[Any], indices: list[int], **more: Any) -> np.ndarray:
    return burn(shapes, indices, grid, nodata=255, dtype="uint8", **more).index_yx


@given(st.lists(st.tuples(st.floats(-20, 170), st.floats(-20, 130), st.floats(5, 90)), min_size=1, max_size=8))
def test_a_polygon_labels_the_centres_inside_and_the_smaller_one_wins(
    circles: list[tuple[float, float, float]],
) -> None:
    grid = geobox_from_bounds(BOUNDS, 10.0, "EPSG:32631")
    shapes = [shapely.Point(BOUNDS[0] + x, BOUNDS[1] + y).buffer(r) for x, y, r in circles]
    expected = np.full(grid.shape, 255, np.uint8)
    x, y = centres(grid)
    for index in sorted(range(len(shapes)), key=lambda i: (-shapes[i].area, i)):
        expected[shapely.contains_xy(shapes[index], x, y)] = index
    assert np.array_equal(of(grid, shapes, list(range(len(shapes)))), expected)


@given(st.permutations(range(6)))
def test_the_order_of_the_file_decides_nothing(order: list[int]) -> None:
    grid = geobox_from_bounds(BOUNDS, 10.0, "EPSG:32631")
    x0, y0 = BOUNDS[:2]
    shapes: list[Any] = [shapely.box(x0 + 10 * i, y0, x0 + 10 * i + 60, y0 + 60) for i in range(4)]  # equal areas
    shapes += [shapely.Point(x0 + 35, y0 + 35), shapely.Point(x0 + 95, y0 + 95)]
    indices = [3, 1, 2, 1, 5, 4]
    expected = of(grid, shapes, indices)
    assert np.array_equal(of(grid, [shapes[i] for i in order], [indices[i] for i in order]), expected)


def test_all_touched_labels_more(grid: GeoBox) -> None:
    sliver = shapely.box(BOUNDS[0] + 11, BOUNDS[1] + 1, BOUNDS[0] + 14, BOUNDS[1] + 39)
    assert (of(grid, [sliver], [0]) == 0).sum() == 0
    assert (of(grid, [sliver], [0], rule="all_touched") == 0).sum() == 4


def test_a_point_wins_over_polygons_and_contradicting_points_give_no_label(grid: GeoBox) -> None:
    x0, top = BOUNDS[0], BOUNDS[3]
    shapes = [
        shapely.box(*BOUNDS),
        shapely.Point(x0 + 5, top - 5),
        shapely.MultiPoint([(x0 + 15, top - 5), (x0 + 16, top - 6)]),
        shapely.Point(x0 + 25, top - 5),
        shapely.Point(x0 + 26, top - 4),
    ]
    burnt = burn(shapes, [0, 1, 2, 3, 4], grid, nodata=255, dtype="uint8")
    assert burnt.index_yx[0, :4].tolist() == [1, 2, 255, 0]
    assert burnt.contradictory_px == 1


def test_a_point_on_an_edge_lies_in_one_of_two_tiles(grid: GeoBox) -> None:
    point = shapely.Point(BOUNDS[0] + 80, BOUNDS[1] + 60)
    tiles = [grid[:6, :8], grid[:6, 8:], grid[6:, :8], grid[6:, 8:]]
    assert sum(int((of(tile, [point], [0]) == 0).sum()) for tile in tiles) == 1


def test_tiles_together_are_the_whole(grid: GeoBox) -> None:
    rng = np.random.default_rng(1)
    shapes = [shapely.Point(BOUNDS[0] + x, BOUNDS[1] + y).buffer(r) for x, y, r in rng.uniform(5, 120, (20, 3))]
    whole = of(grid, shapes, list(range(20)))
    parts = np.block([[of(grid[r : r + 6, c : c + 8], shapes, list(range(20))) for c in (0, 8)] for r in (0, 6)])
    assert np.array_equal(whole, parts)


def test_a_polygon_that_crosses_itself_is_taken_apart_and_counted(grid: GeoBox) -> None:
    x0, y0 = BOUNDS[:2]
    tie = shapely.Polygon([(x0, y0), (x0 + 100, y0 + 100), (x0 + 100, y0), (x0, y0 + 100)])
    burnt = burn([tie], [0], grid, nodata=255, dtype="uint8")
    assert burnt.repaired == 1
    # Pixel centres on the crossing lines themselves may fall on either side.
    assert 40 <= (burnt.index_yx == 0).sum() <= 60


def test_a_line_is_refused(grid: GeoBox) -> None:
    with pytest.raises(InputError, match="a LineString"):
        of(grid, [shapely.LineString([(0, 0), (1, 1)])], [0])


def test_inside_means_the_centre(grid: GeoBox) -> None:
    area = shapely.Point(BOUNDS[0] + 77, BOUNDS[1] + 61).buffer(43)
    assert np.array_equal(inside(area, grid), shapely.contains_xy(area, *centres(grid)))
    assert not inside(shapely.Polygon(), grid).any()


@given(st.lists(st.tuples(st.floats(0, 150), st.floats(0, 110), st.floats(1, 9)), min_size=1, max_size=12))
def test_polygons_that_label_nothing_are_counted(squares: list[tuple[float, float, float]]) -> None:
    grid = geobox_from_bounds(BOUNDS, 10.0, "EPSG:32631")
    shapes = [shapely.box(BOUNDS[0] + x, BOUNDS[1] + y, BOUNDS[0] + x + e, BOUNDS[1] + y + e) for x, y, e in squares]
    x, y = centres(grid)
    expected = sum(not shapely.intersects_xy(shape, x, y).any() for shape in shapes)
    assert burn(shapes, [0] * len(shapes), grid, nodata=255, dtype="uint8").too_small == expected
    assert burn(shapes, [0] * len(shapes), grid, nodata=255, dtype="uint8", rule="all_touched").too_small == 0
