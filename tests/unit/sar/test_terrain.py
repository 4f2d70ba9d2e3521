"""Local incidence, layover and shadow over constructed terrain."""

from __future__ import annotations

import numpy as np
import pytest
from radar_scene import Scene, scene_of

from landcover_cli.sar.geocoding import RadarCoordinates, satellite_position
from landcover_cli.sar.ground import Block, ground_nodes
from landcover_cli.sar.terrain import (
    CODE_NODATA,
    LAYOVER,
    SHADOW,
    layover_shadow,
    local_incidence_deg,
    range_direction,
    search_halo_px,
    terrain_normals,
)


def _codes(scene: Scene, halo: int) -> np.ndarray:
    inner = Block(
        scene.block.row0 + halo, scene.block.col0 + halo, scene.block.height - 2 * halo, scene.block.width - 2 * halo
    )
    direction = range_direction(scene.model, scene.nodes, scene.seeds)
    return layover_shadow(
        scene.model, scene.nodes, direction, inner, halo, scene.height, scene.coordinates, scene.position
    )


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
    assert (_codes(scene, search_halo_px(200, 10)) == 0).all()


def _ridge(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """An endless wall from north to south, 400 m high, both sides at 76° (4 m per m), its crest at x = 0."""
    return np.maximum(0.0, 400 - 4 * np.abs(x)) + 0 * y


def test_wall_throws_layover_before_and_shadow_behind(make_scene) -> None:
    scene = make_scene(_ridge, size_m=5000, resolution_m=5)
    halo = search_halo_px(400, 5)
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
    codes = _codes(scene, search_halo_px(400, 10))
    assert set(np.unique(codes)) == {0, LAYOVER, SHADOW, LAYOVER | SHADOW, CODE_NODATA}


def test_codes_do_not_depend_on_the_block(make_scene, rome_model) -> None:
    def terrain(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return 400 * np.abs(np.sin(x / 170) * np.cos(y / 260)) + 0 * y

    halo = search_halo_px(400, 10)
    scene = make_scene(terrain, size_m=4500)
    whole = _codes(scene, halo)
    middle = (330_000 + 2250.0, 4_640_000 + 2250.0)
    for r, c, h, w in ((0, 0, 40, 60), (37, 51, 33, 20)):
        part = Block(scene.block.row0 + r, scene.block.col0 + c, h + 2 * halo, w + 2 * halo)
        assert np.array_equal(
            _codes(scene_of(rome_model, scene.lattice, part, terrain, middle), halo), whole[r : r + h, c : c + w]
        )


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
