"""Terrain flattening: areas against the analytic ones, and flat backscatter from hilly ground."""

from __future__ import annotations

import numpy as np
import pytest
from flattening_rules import PEER, Rules, ratio_by
from radar_scene import Scene

from landcover_cli.sar.flattening import area_ratio, flatten, gamma_area, reference_areas
from landcover_cli.sar.geocoding import ground_position, locate, satellite_position
from landcover_cli.sar.ground import ellipsoid_surface
from landcover_cli.sar.resample import bilinear_yx
from landcover_cli.sar.terrain import local_incidence_deg, terrain_normals


def _interior(scene: Scene, area: np.ndarray, line0: int, pixel0: int, half: int = 60) -> tuple[slice, slice]:
    """A window of radar pixels in the middle that every facet around them reaches."""
    middle = tuple(n // 2 for n in scene.height.shape)
    row = round(scene.coordinates.line[middle]) - line0
    col = round(scene.coordinates.pixel[middle]) - pixel0
    return slice(row - half, row + half), slice(col - half, col + half)


@pytest.mark.parametrize("origin", [(270_000.0, 4_600_000.0), (330_000.0, 4_640_000.0), (420_000.0, 4_680_000.0)])
@pytest.mark.parametrize("resolution", [10.0, 20.0])
def test_flat_ground_gives_one_over_tan(make_scene, origin: tuple[float, float], resolution: float) -> None:
    scene = make_scene(lambda x, y: 100.0 + 0 * x * y, resolution_m=resolution, origin=origin)
    patch = gamma_area(scene.model, scene.position, scene.coordinates)
    window = _interior(scene, patch.area_m2, patch.line0, patch.pixel0)
    line = patch.line0 + np.arange(patch.area_m2.shape[0])[window[0]]
    pixel = patch.pixel0 + np.arange(patch.area_m2.shape[1])[window[1]]
    beta, _ = reference_areas(scene.model, line[:, None], pixel[None, :])
    incidence = np.radians(local_incidence_deg(scene.model, scene.position, scene.coordinates.time_s[1:-1, 1:-1]))
    ratio_db = 10 * np.log10(patch.area_m2[window] / beta)
    assert abs(ratio_db.mean() - 10 * np.log10(1 / np.tan(np.median(incidence)))) <= 0.02
    smooth = np.poly1d(np.polyfit(pixel, ratio_db.mean(0), 1))(pixel)
    assert np.ptp(ratio_db - smooth) <= 0.1


def test_nothing_is_lost(make_scene) -> None:
    scene = make_scene(lambda x, y: 300 * np.sin(x / 300) * np.cos(y / 400), size_m=2000)
    patch = gamma_area(scene.model, scene.position, scene.coordinates)
    p = scene.position
    satellite = satellite_position(scene.model, scene.coordinates.time_s)[:-1, :-1]
    look = satellite - 0.5 * (p[:-1, :-1] + p[1:, 1:])
    look /= np.linalg.norm(look, axis=-1, keepdims=True)
    first = 0.5 * np.cross(p[1:, :-1] - p[:-1, :-1], p[:-1, 1:] - p[:-1, :-1])
    second = 0.5 * np.cross(p[:-1, 1:] - p[1:, 1:], p[1:, :-1] - p[1:, 1:])
    total = sum(np.maximum((half * look).sum(-1), 0).sum() for half in (first, second))
    assert patch.area_m2.sum() == pytest.approx(total, rel=1e-6)


@pytest.mark.parametrize(("east", "north"), [(0.3, 0.0), (-0.3, 0.0), (0.0, 0.3), (-0.5, 0.2), (0.2, -0.25)])
def test_tilted_planes(make_scene, east: float, north: float) -> None:
    scene = make_scene(lambda x, y: 800 + east * x + north * y, size_m=3000)
    patch = gamma_area(scene.model, scene.position, scene.coordinates)
    window = _interior(scene, patch.area_m2, patch.line0, patch.pixel0, half=20)
    middle = tuple(n // 2 for n in scene.height.shape)
    normal = terrain_normals(scene.position)[middle[0] - 1, middle[1] - 1]
    time = scene.coordinates.time_s[middle]
    satellite = satellite_position(scene.model, np.array(time))
    velocity = satellite_position(scene.model, np.array(time + 0.01)) - satellite
    view = satellite - scene.position[middle]
    view /= np.linalg.norm(view)
    across = np.cross(view, velocity / np.linalg.norm(velocity))
    # Of ground A, |n·p| A is seen in the slant-range plane (normal p) and n·s A against the look direction s.
    expected = (normal @ view) / abs(normal @ across)
    line = patch.line0 + np.arange(patch.area_m2.shape[0])[window[0]]
    pixel = patch.pixel0 + np.arange(patch.area_m2.shape[1])[window[1]]
    beta, _ = reference_areas(scene.model, line[:, None], pixel[None, :])
    got_db = 10 * np.log10(patch.area_m2[window] / beta)
    assert abs(got_db.mean() - 10 * np.log10(expected)) <= 0.05
    assert np.ptp(got_db) <= 0.35


def test_hills_become_flat(make_scene, rome_model) -> None:
    """Backscatter of constant gamma nought over cosine hills, simulated on a four times finer grid."""

    def hills(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return 300 + 150 * np.cos(2 * np.pi * x / 2500) + 0 * y

    fine = make_scene(hills, size_m=6000, resolution_m=2.5)
    normal = np.cross(
        fine.position[2:, 1:-1] - fine.position[:-2, 1:-1], fine.position[1:-1, 2:] - fine.position[1:-1, :-2]
    )
    look = satellite_position(rome_model, fine.coordinates.time_s[1:-1, 1:-1]) - fine.position[1:-1, 1:-1]
    seen = 0.25 * (normal * look).sum(-1) / np.linalg.norm(look, axis=-1)
    line0, pixel0 = int(fine.coordinates.line.min()) - 2, int(fine.coordinates.pixel.min()) - 2
    shape = int(fine.coordinates.line.max()) + 3 - line0, int(fine.coordinates.pixel.max()) + 3 - pixel0
    row = np.rint(fine.coordinates.line[1:-1, 1:-1]).astype(int) - line0
    col = np.rint(fine.coordinates.pixel[1:-1, 1:-1]).astype(int) - pixel0
    power = np.zeros(shape)
    np.add.at(power, (row.ravel(), col.ravel()), np.maximum(seen, 0).ravel())
    lines, pixels = line0 + np.arange(shape[0]), pixel0 + np.arange(shape[1])
    beta0 = (0.2 * power / reference_areas(rome_model, lines[:, None], pixels[None, :])[0]).astype(np.float32)

    coarse = make_scene(hills, size_m=6000)
    window = (line0, line0 + shape[0], pixel0, pixel0 + shape[1])
    patch = gamma_area(rome_model, coarse.position, coarse.coordinates, window=window)
    area = np.zeros(shape)
    inside = slice(patch.line0 - line0, patch.line0 - line0 + patch.area_m2.shape[0])
    area[inside, patch.pixel0 - pixel0 : patch.pixel0 - pixel0 + patch.area_m2.shape[1]] = patch.area_m2
    gamma0 = flatten(beta0, rome_model, area, line0, pixel0)

    keep = (slice(60, -60), slice(60, -60))
    slope = np.zeros(coarse.height.shape)
    slope[:, 1:-1] = coarse.height[:, 2:] - coarse.height[:, :-2]
    r = np.rint(coarse.coordinates.line[keep]).astype(int) - line0
    c = np.rint(coarse.coordinates.pixel[keep]).astype(int) - pixel0
    value, raw = gamma0[r, c], beta0[r, c]
    assert np.isfinite(value).all()
    steep = np.abs(slope[keep]) > 4
    # The radar looks westwards: slopes that fall to the east face it.
    fore, back = steep & (slope[keep] < 0), steep & (slope[keep] > 0)
    before = 10 * np.log10(raw[fore].mean() / raw[back].mean())
    after = 10 * np.log10(value[fore].mean() / value[back].mean())
    assert before > 4 and abs(after) <= 0.2
    assert 10 * np.log10(value.mean() / 0.2) == pytest.approx(0, abs=0.05)


def test_what_sets_sarsen_apart(make_scene, rome_model) -> None:
    """With sarsen's rules switched on one by one, its mean comes out; without them, ours does.

    Side by side with sarsen itself: tests/benchmarks/s1_vs_sarsen.py.
    """
    rng = np.random.default_rng(11)
    waves = [(rng.uniform(60, 600), *rng.uniform(0, 2 * np.pi, 2)) for _ in range(40)]

    def rough(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        parts = (s / 90 * np.sin(2 * np.pi * (x * np.cos(a) + y * np.sin(a)) / s + b) for s, a, b in waves)
        return np.asarray(400 + sum(parts))

    scene = make_scene(rough, size_m=6000)
    place = scene.coordinates
    patch = gamma_area(rome_model, scene.position, place)
    ratio = area_ratio(rome_model, patch.area_m2, patch.line0, patch.pixel0)
    flattened = bilinear_yx(ratio, (patch.line0, patch.pixel0), place.line, place.pixel).astype(np.float64)
    # Away from the rim, and from the few places that face away too far.
    kept = np.zeros(flattened.shape, dtype=bool)
    kept[80:-80, 80:-80] = np.isfinite(flattened[80:-80, 80:-80])
    assert kept[80:-80, 80:-80].mean() > 0.995

    def mean_db(values: np.ndarray) -> float:
        return float(10 * np.log10(values[kept].mean()))

    assert mean_db(flattened) == pytest.approx(mean_db(ratio_by(Rules(), rome_model, scene.position, place)), abs=0.01)
    steps = (Rules(), Rules(slant_grid=True), Rules(slant_grid=True, whole_cells=True), PEER)
    means = [mean_db(ratio_by(rules, rome_model, scene.position, place)) for rules in steps]
    grid, cells, nominal = -np.diff(means)
    # Which cells areas are counted in matters little, as long as all of a facet's bilinear shares are found again.
    assert abs(grid) < 0.01
    # Cells that hold no facet are missed.
    inside = place.line[kept].astype(int), ((place.slant_m - rome_model.near_range_m)[kept] / 10).astype(int)
    middle = tuple(slice(int(np.quantile(k, 0.3)), int(np.quantile(k, 0.7))) for k in inside)
    held = np.zeros([k.max() + 1 for k in inside], dtype=bool)
    held[inside] = True
    missed = -10 * np.log10(held[middle].mean())
    assert 0.02 < missed < 0.05 and cells == pytest.approx(missed, rel=0.25)
    # Lines lie 10.12 m apart where the annotation says 10.0 m.
    here = np.median(place.line) + np.array([-0.5, 0.5]), np.median(place.pixel)
    apart_m = np.linalg.norm(np.diff(ground_position(rome_model, *here, 400.0), axis=0))
    assert rome_model.azimuth_spacing_m == 10.0 and 10.1 < apart_m < 10.2
    assert nominal == pytest.approx(10 * np.log10(apart_m / 10.0), abs=0.001)


def test_patches_of_pieces_add_up_without_a_seam(make_scene) -> None:
    scene = make_scene(lambda x, y: 200 * np.sin(x / 250) * np.sin(y / 350), size_m=2000)
    whole = gamma_area(scene.model, scene.position, scene.coordinates)
    total = np.zeros_like(whole.area_m2)
    for rows in ((0, 70), (69, 200)):
        for cols in ((0, 130), (129, 200)):
            here = (slice(*rows), slice(*cols))
            part = type(scene.coordinates)(
                *(
                    np.ascontiguousarray(getattr(scene.coordinates, n)[here])
                    for n in ("line", "pixel", "time_s", "slant_m")
                )
            )
            patch = gamma_area(scene.model, scene.position[here], part)
            r, c = patch.line0 - whole.line0, patch.pixel0 - whole.pixel0
            total[r : r + patch.area_m2.shape[0], c : c + patch.area_m2.shape[1]] += patch.area_m2
    np.testing.assert_allclose(total, whole.area_m2, rtol=1e-9, atol=1e-9)


def test_window_keeps_the_same_values(make_scene) -> None:
    scene = make_scene(lambda x, y: 100 * np.sin(x / 250), size_m=1000)
    whole = gamma_area(scene.model, scene.position, scene.coordinates)
    window = (whole.line0 + 20, whole.line0 + 50, whole.pixel0 + 30, whole.pixel0 + 44)
    part = gamma_area(scene.model, scene.position, scene.coordinates, window=window)
    assert (part.line0, part.pixel0, part.area_m2.shape) == (window[0], window[2], (30, 14))
    assert np.array_equal(part.area_m2, whole.area_m2[20:50, 30:44])
    empty = gamma_area(scene.model, scene.position, scene.coordinates, window=(0, 5, 0, 5))
    assert empty.area_m2.size == 0


def test_hidden_ground_deposits_nothing(make_scene) -> None:
    scene = make_scene(lambda x, y: 0 * x * y, size_m=500)
    everywhere = np.ones(scene.height.shape, dtype=bool)
    assert gamma_area(scene.model, scene.position, scene.coordinates, everywhere).area_m2.sum() == 0
    away = make_scene(lambda x, y: 2000 + 3.0 * x, size_m=500)
    assert gamma_area(away.model, away.position, away.coordinates).area_m2.sum() == 0


def test_too_little_area_is_refused(rome_model) -> None:
    _, flat = reference_areas(rome_model, np.array([[5000.0]]), np.array([[9000.0]]))
    area = np.array([[0.04, 0.06, 1.0, 0.0, np.nan]]) * flat
    ratio = area_ratio(rome_model, area, 5000, 9000)[0]
    assert np.isnan(ratio[[0, 3, 4]]).all() and np.isfinite(ratio[[1, 2]]).all()


def test_ratio_does_not_depend_on_the_window(rome_model) -> None:
    area = np.random.default_rng(0).uniform(50, 150, (90, 150))
    whole = area_ratio(rome_model, area, 1000, 2000)
    assert np.array_equal(area_ratio(rome_model, area[17:60, 33:140], 1017, 2033), whole[17:60, 33:140])


def test_forward_and_backward_agree(rome_model) -> None:
    line, pixel = np.meshgrid(np.linspace(0, 16_000, 9), np.linspace(0, 26_000, 9))
    for height in (0.0, 3000.0):
        place = ground_position(rome_model, line, pixel, height).reshape(-1, 3)
        back = locate(rome_model, place)
        assert np.abs(back.line - line.ravel()).max() < 1e-5
        # srgr and grsr are each other's inverse to 0.008 pixel.
        assert np.abs(back.pixel - pixel.ravel()).max() < 0.01
        lon, lat = np.degrees(np.arctan2(place[:, 1], place[:, 0])), np.zeros(len(place))
        z, r = place[:, 2], np.hypot(place[:, 0], place[:, 1])
        for _ in range(6):
            surface, normal = ellipsoid_surface(lon, lat)
            # Bowring's idea: seen from the centre of curvature, the direction to the place is the latitude.
            centre = surface - 6.4e6 * normal
            outwards = centre[:, 0] * np.cos(np.radians(lon)) + centre[:, 1] * np.sin(np.radians(lon))
            lat = np.degrees(np.arctan2(z - centre[:, 2], r - outwards))
        surface, normal = ellipsoid_surface(lon, lat)
        assert np.abs(((place - surface) * normal).sum(1) - height).max() < 0.03
