"""The product grid."""

from __future__ import annotations

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from landcover_cli.core.grid import ProductGrid, Tile, utm_epsg
from landcover_cli.errors import ConfigError

GRID = ProductGrid("EPSG:32633", 10.0, 96)


def test_a_tile_knows_its_place() -> None:
    assert GRID.tile_bounds_m(Tile(2, -1)) == (1920.0, -960.0, 2880.0, 0.0)
    box = GRID.geobox(Tile(2, -1))
    assert box.shape == (96, 96)
    assert tuple(box.affine)[:6] == (10.0, 0.0, 1920.0, 0.0, -10.0, 0.0)
    assert GRID.geobox(Tile(2, -1), 20.0).shape == (48, 48)


def test_a_resolution_that_does_not_divide_the_tile_is_refused() -> None:
    with pytest.raises(ConfigError, match="whole number"):
        GRID.geobox(Tile(0, 0), 70.0)


@given(left=st.floats(-5e4, 5e4), bottom=st.floats(-5e4, 5e4), width=st.floats(0.5, 5e3), height=st.floats(0.5, 5e3))
def test_tiles_over_a_box_are_those_that_share_area(left: float, bottom: float, width: float, height: float) -> None:
    box = shapely.box(left, bottom, left + width, bottom + height)
    tiles = GRID.tiles_over(box)
    squares = shapely.union_all([shapely.box(*GRID.tile_bounds_m(tile)) for tile in tiles])
    assert squares.buffer(1e-6).contains(box)
    assert all(shapely.box(*GRID.tile_bounds_m(tile)).intersection(box).area > 0 for tile in tiles)


def test_an_aligned_box_does_not_reach_into_its_neighbours() -> None:
    assert GRID.tiles_over(shapely.box(960, 960, 1920, 1920)) == (Tile(1, 1),)
    assert GRID.tiles_over(shapely.Polygon()) == ()


@given(ix=st.integers(-9999, 9999), iy=st.integers(-9999, 9999))
def test_tile_ids_round_trip(ix: int, iy: int) -> None:
    assert Tile.parse(Tile(ix, iy).id) == Tile(ix, iy)


@pytest.mark.parametrize(
    ("lon", "lat", "epsg"),
    [
        (12.5, 41.9, 32633),
        (5.3, 60.4, 32632),
        (8.0, 78.0, 32631),
        (25.0, 78.0, 32635),
        (-180.0, -10.0, 32701),
        (180.0, 10.0, 32601),
        (4.4, 51.0, 32631),
    ],
)
def test_utm_zones(lon: float, lat: float, epsg: int) -> None:
    assert utm_epsg(lon, lat) == epsg
