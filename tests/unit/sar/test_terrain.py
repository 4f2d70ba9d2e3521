"""Local incidence, layover and shadow over constructed terrain."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pyproj import Transformer
from radar_scene import Scene
from scipy import ndimage
from visibility_oracle import codes_by_marching

from landcover_cli.core.grid import geobox_from_bounds
from landcover_cli.sar import visibility
from landcover_cli.sar.geocoding import RadarCoordinates, RadarModel, satellite_position
from landcover_cli.sar.ground import Block, MapLattice, ground_nodes, lattice_of
from landcover_cli.sar.terrain import local_incidence_deg, range_direction, terrain_normals
from landcover_cli.sar.visibility import CODE_NODATA, LAYOVER, SHADOW, layover_shadow


def _codes(scene: Scene, halo: int) -> np.ndarray:
    """Codes of a scene without its rim."""
    whole = scene.block

    def heights(_lattice: MapLattice, block: Block) -> np.ndarray:
        rows, cols = block.row0 - whole.row0 + np.arange(block.height), block.col0 - whole.col0 + np.arange(block.width)
        known = np.ix_((rows >= 0) & (rows < whole.height), (cols >= 0) & (cols < whole.width))
        out = np.full(block.shape_yx, np.nan)
        out[known] = scene.height[np.ix_(rows.clip(0, whole.height - 1), cols.clip(0, whole.width - 1))][known]
        return out

    relief = float(np.nanmin(scene.height)), float(np.nanmax(scene.height))
    return layover_shadow(scene.model, scene.lattice, whole.padded(-halo), heights, relief)


def test_incidence_on_flat_ground(make_scene) -> None:
    scene = make_scene(lambda x, y: 50 + 0 * x * y, size_m=500)
    got = local_incidence_deg(scene.model, scene.position, scene.coordinates.time_s[1:-1, 1:-1])
    look = satellite_position(scene.model, scene.coordinates.time_s) - scene.position
    up = scene.position / np.array([1, 1, 1 - 6.694379990141316e-3])
    cosine = (look * up).sum(-1) / np.linalg.norm(look, axis=-1) / np.linalg.norm(up, axis=-1)
    np.testing.assert_allclose(got, np.degrees(np.arccos(cosine))[1:-1, 1:-1], atol=0.005)


@pytest.mark.parametrize(("east", "north"), [(0.3, 0.0), (-0.4, 0.1), (0.0, -0.5)])
def test_incidence_on_planes(make_scene, east: float, north: float) -> None:
    scene = make_scene(lambda x, y: 900 + east * x + north * y, size_m=500)
    got = local_incidence_deg(scene.model, scene.position, scene.coordinates.time_s[1:-1, 1:-1])
    normal = terrain_normals(scene.position)
    look = (satellite_position(scene.model, scene.coordinates.time_s) - scene.position)[1:-1, 1:-1]
    expected = np.degrees(np.arccos((normal * look).sum(-1) / np.linalg.norm(look, axis=-1)))
    np.testing.assert_allclose(got, expected, atol=1e-4)
    # The slope itself: between the normal and the ellipsoid's, but for the map's scale (0.04 %).
    up = scene.position[1:-1, 1:-1] / np.array([1, 1, 1 - 6.694379990141316e-3])
    tilt = np.degrees(np.arccos((normal * up).sum(-1) / np.linalg.norm(up, axis=-1)))
    np.testing.assert_allclose(tilt, np.degrees(np.arctan(np.hypot(east, north))), atol=0.05)


def test_unknown_neighbours_make_the_incidence_unknown(make_scene) -> None:
    scene = make_scene(lambda x, y: np.where((abs(x - 5) < 1) & (abs(y - 5) < 1), np.nan, 0 * x * y), size_m=500)
    got = local_incidence_deg(scene.model, scene.position, scene.coordinates.time_s[1:-1, 1:-1])
    assert np.isnan(got).sum() == 5


def test_gentle_hills_hide_nothing(make_scene) -> None:
    scene = make_scene(lambda x, y: 100 * np.sin(x / 400) * np.cos(y / 300), size_m=4000)
    assert (_codes(scene, 70) == 0).all()


def _ridge(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """An endless wall from north to south, 400 m high, both sides at 76° (4 m per m), its crest at x = 0."""
    return np.maximum(0.0, 400 - 4 * np.abs(x)) + 0 * y


def test_wall_throws_layover_before_and_shadow_behind(make_scene) -> None:
    scene = make_scene(_ridge, size_m=5000, resolution_m=5)
    halo = 260
    codes = _codes(scene, halo)
    row = codes[codes.shape[0] // 2]
    x = (np.arange(codes.shape[1]) - codes.shape[1] / 2 + 0.5) * 5
    direction = range_direction(scene.model, scene.nodes, scene.seeds)
    step, metres = direction.step_rc[5, 5], direction.step_m[5, 5]
    assert step[1] < 0  # a descending pass looks westwards
    # Along a row the wall is crossed aslant: a metre of ground range is this much of the row.
    share = abs(step[1]) * 5 / metres
    tangent = direction.tan_incidence[5, 5]
    shadow_end = -400 * tangent * share
    layover_start = 400 / tangent * share
    dark, laid = x[(row & SHADOW) > 0], x[(row & LAYOVER) > 0]
    assert dark.min() == pytest.approx(shadow_end, abs=12) and dark.max() == pytest.approx(0, abs=8)
    assert laid.max() == pytest.approx(layover_start, abs=12)
    # The side that faces the radar is all layover, and so is what lies behind the crest at the ranges before it.
    assert ((row & LAYOVER) > 0)[(x > 5) & (x < 95)].all()
    assert (row[(x > layover_start + 20) | (x < shadow_end - 20)] == 0).all()
    assert (row[(x < -110) & (x > shadow_end + 20)] & SHADOW).all()


def test_all_codes_occur_and_unknown_ground_is_nodata(make_scene) -> None:
    def terrain(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.where(x > 900, np.nan, _ridge(x, y) + np.maximum(0.0, 300 - 4 * np.abs(x + 250)))

    scene = make_scene(terrain, size_m=5000, resolution_m=10)
    codes = _codes(scene, 130)
    assert set(np.unique(codes)) == {0, LAYOVER, SHADOW, LAYOVER | SHADOW, CODE_NODATA}


def _mountains(relief: float, smooth: float, seed: int = 1) -> Callable[[MapLattice, Block], np.ndarray]:
    """Heights of an endless seeded landscape with a lake of unknown height in it."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(512, 512)), smooth, mode="wrap")
    field = (field - field.min()) / np.ptp(field) * relief
    field[200:230, 100:180] = np.nan

    def heights(_lattice: MapLattice, block: Block) -> np.ndarray:
        rows, cols = block.row0 + np.arange(block.height), block.col0 + np.arange(block.width)
        return field[np.ix_(rows % 512, cols % 512)].copy()

    return heights


@pytest.mark.parametrize(("relief", "smooth"), [(1800.0, 12.0), (2500.0, 25.0), (400.0, 30.0)])
@pytest.mark.parametrize(("gsd_m", "epsg"), [(10, 32633), (40, 32633), (20, 32637)])
def test_same_codes_as_on_all_the_ground_around(
    rome_model: RadarModel, relief: float, smooth: float, gsd_m: int, epsg: int
) -> None:
    """A zone four further east turns the range lines by 17°."""
    x, y = Transformer.from_crs(32633, epsg, always_xy=True).transform(332_000, 4_642_000)
    left, bottom = round(x / gsd_m) * gsd_m, round(y / gsd_m) * gsd_m
    lattice, block = lattice_of(
        geobox_from_bounds((left, bottom, left + 190 * gsd_m, bottom + 150 * gsd_m), gsd_m, f"EPSG:{epsg}")
    )
    heights = _mountains(relief * gsd_m / 10, smooth)
    codes = layover_shadow(rome_model, lattice, block, heights, (0.0, relief * gsd_m / 10))
    assert np.array_equal(codes, codes_by_marching(rome_model, lattice, block, heights, relief * gsd_m / 10))
    if relief == 1800.0:
        assert {0, LAYOVER, SHADOW, LAYOVER | SHADOW} <= set(np.unique(codes))
    # Neither a wider range of heights nor the block changes a code.
    wider = layover_shadow(rome_model, lattice, block, heights, (-500.0, 1.5 * relief * gsd_m / 10))
    assert np.array_equal(wider, codes)
    for part in list(block.cut(64))[1::2]:
        r, c = part.row0 - block.row0, part.col0 - block.col0
        own = layover_shadow(rome_model, lattice, part, heights, (0.0, relief * gsd_m / 10))
        assert np.array_equal(own, codes[r : r + part.height, c : c + part.width])


def test_what_skips_the_search_changes_no_code(rome_model: RadarModel, monkeypatch: pytest.MonkeyPatch) -> None:
    lattice, block = lattice_of(geobox_from_bounds((330_000, 4_640_000, 331_000, 4_640_800), 10, "EPSG:32633"))
    heights = _mountains(1800.0, 12.0)
    codes = layover_shadow(rome_model, lattice, block, heights, (0.0, 1800.0))
    monkeypatch.setattr(visibility, "main_step", lambda _: None)
    assert np.array_equal(layover_shadow(rome_model, lattice, block, heights, (0.0, 1800.0)), codes)
    area = visibility.search_area_px(rome_model, lattice, block, (0.0, 1800.0))
    # At 36° of incidence 1.4 metres of ground behind and before per metre of relief, mostly along the rows.
    assert 80 * (100 + 2 * 180) < area < 250 * (100 + 2 * 320)


def test_ground_that_the_radar_does_not_see_is_nodata(rome_model: RadarModel) -> None:
    lattice, block = lattice_of(geobox_from_bounds((330_000, 6_000_000, 330_500, 6_000_400), 10, "EPSG:32633"))
    codes = layover_shadow(rome_model, lattice, block, _mountains(500.0, 20.0), (0.0, 500.0))
    assert (codes == CODE_NODATA).all()
    lattice, block = lattice_of(geobox_from_bounds((330_000, 4_640_000, 330_500, 4_640_400), 10, "EPSG:32633"))
    unknown = layover_shadow(rome_model, lattice, block, lambda _, b: np.full(b.shape_yx, np.nan), (0.0, 500.0))
    assert (unknown == CODE_NODATA).all()


def test_range_direction_keeps_the_azimuth_time(make_scene) -> None:
    scene = make_scene(lambda x, y: 0 * x * y, size_m=2000)
    direction = range_direction(scene.model, scene.nodes, scene.seeds)
    coordinates: RadarCoordinates = scene.coordinates
    r, c = 100, 150
    step = direction.step_rc[10, 10]
    k = 80
    y, x = r + k * step[0], c + k * step[1]
    i, j = int(y), int(x)
    line = coordinates.line[i, j] + (y - i) * (coordinates.line[i + 1, j] - coordinates.line[i, j])
    line += (x - j) * (coordinates.line[i, j + 1] - coordinates.line[i, j])
    assert line == pytest.approx(coordinates.line[r, c], abs=0.3)
    assert coordinates.slant_m[i, j] > coordinates.slant_m[r, c] + 300
    assert ground_nodes(scene.lattice, scene.block).step_px == scene.nodes.step_px
