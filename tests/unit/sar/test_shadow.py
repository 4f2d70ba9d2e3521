"""Cast shadow on facets: the same places as the codes of the map, whatever skips the search."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage
from visibility_oracle import codes_by_marching

from landcover_cli.sar import shadow
from landcover_cli.sar.flattening import gamma_area, reference_areas
from landcover_cli.sar.geocoding import RadarModel, geocode, seed_times
from landcover_cli.sar.ground import Block, MapLattice, ground_nodes, ground_positions
from landcover_cli.sar.shadow import cast_shadow, main_step, running_extreme
from landcover_cli.sar.terrain import range_direction
from landcover_cli.sar.visibility import SHADOW

LATTICE = MapLattice("EPSG:32633", 0.0, 0.0, 10.0, -10.0)
CELL = Block(-464_000, 33_000, 97, 97)


def _terrain(relief: float, smooth: float, seed: int = 1) -> Callable[[MapLattice, Block], np.ndarray]:
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(512, 512)), smooth, mode="wrap")
    field = (field - field.min()) / np.ptp(field) * relief

    def heights(_lattice: MapLattice, block: Block) -> np.ndarray:
        rows, cols = block.row0 + np.arange(block.height), block.col0 + np.arange(block.width)
        return field[np.ix_(rows % 512, cols % 512)].copy()

    return heights


def _codes(model: RadarModel, heights: Callable[[MapLattice, Block], np.ndarray], relief: float) -> np.ndarray:
    return codes_by_marching(model, LATTICE, CELL, heights, relief)


@pytest.mark.parametrize(("relief", "smooth"), [(800.0, 12.0), (1500.0, 20.0), (300.0, 30.0)])
def test_same_places_as_the_codes(rome_model: RadarModel, relief: float, smooth: float) -> None:
    heights = _terrain(relief, smooth)
    found = cast_shadow(rome_model, LATTICE, CELL, heights(LATTICE, CELL), heights, relief)
    expected = _codes(rome_model, heights, relief) & SHADOW != 0
    if relief == 300.0:
        assert found is None and not expected.any()
    else:
        assert expected.mean() > 0.01 and np.array_equal(found, expected)


def test_neither_bound_nor_cell_changes_a_place(rome_model: RadarModel, monkeypatch: pytest.MonkeyPatch) -> None:
    heights = _terrain(1000.0, 15.0)
    whole = cast_shadow(rome_model, LATTICE, CELL, heights(LATTICE, CELL), heights, 1000.0)
    assert whole is not None and whole.any()
    higher = cast_shadow(rome_model, LATTICE, CELL, heights(LATTICE, CELL), heights, 4000.0)
    assert np.array_equal(higher, whole)
    part = Block(CELL.row0 + 40, CELL.col0 + 23, 30, 50)
    found = cast_shadow(rome_model, LATTICE, part, heights(LATTICE, part), heights, 1000.0)
    assert np.array_equal(found if found is not None else np.zeros(part.shape_yx, bool), whole[40:70, 23:73])
    # Without any of the two short cuts every line is followed.
    monkeypatch.setattr(shadow, "main_step", lambda _direction: None)
    assert np.array_equal(cast_shadow(rome_model, LATTICE, CELL, heights(LATTICE, CELL), heights, 1000.0), whole)


def test_a_wall_darkens_flat_ground(rome_model: RadarModel) -> None:
    """A wall of 200 m throws 200 m × tan(incidence) of shadow; the ground there deposits nothing."""
    # The radar looks westwards: shadow lies west of the wall.
    wall = CELL.col0 + 60

    def heights(_lattice: MapLattice, block: Block) -> np.ndarray:
        cols = block.col0 + np.arange(block.width)
        return np.broadcast_to(np.where(np.abs(cols - wall) <= 1, 200.0, 0.0), block.shape_yx).copy()

    height = heights(LATTICE, CELL)
    hidden = cast_shadow(rome_model, LATTICE, CELL, height, heights, 200.0)
    nodes = ground_nodes(LATTICE, CELL)
    seeds = seed_times(rome_model, nodes)
    direction = range_direction(rome_model, nodes, seeds)
    long = 200.0 * float(direction.tan_incidence.mean()) * abs(float(direction.step_rc[0, 0, 1]))
    length = hidden[48, : 60 - 1].sum() * 10.0
    assert length == pytest.approx(long / float(direction.step_m.mean()) * 10.0, abs=15)
    assert not hidden[:, 62:].any()
    place = geocode(rome_model, nodes, seeds, CELL, height)
    position = ground_positions(nodes, CELL, height)
    lit, dark = (gamma_area(rome_model, position, place, mask) for mask in (None, hidden))
    assert dark.area_m2.sum() < lit.area_m2.sum() * 0.9
    # In the middle of the shadow nothing is left, and the ratio is refused there.
    column = 60 - int(length / 20.0)
    line, pixel = round(place.line[48, column]) - dark.line0, round(place.pixel[48, column]) - dark.pixel0
    gamma = reference_areas(rome_model, np.array([[place.line[48, column]]]), np.array([[place.pixel[48, column]]]))[1]
    assert dark.area_m2[line, pixel] < 0.05 * gamma[0, 0] < lit.area_m2[line, pixel]


def test_unknown_ground_hides_nothing(rome_model: RadarModel) -> None:
    nothing = np.full(CELL.shape_yx, np.nan)
    assert cast_shadow(rome_model, LATTICE, CELL, nothing, lambda _l, b: np.full(b.shape_yx, np.nan), 0.0) is None


@pytest.mark.parametrize("step", [(0, 1), (0, -1), (1, 0), (-1, 0)])
def test_running_extreme_is_the_cone_before(step: tuple[int, int]) -> None:
    values = np.random.default_rng(2).normal(size=(12, 15))
    values[3, 4] = np.nan
    out = np.empty(values.shape)
    running_extreme(values, step, out)
    rows, cols = np.mgrid[:12, :15]
    for r, c in ((0, 0), (5, 7), (11, 14), (3, 4), (6, 1)):
        ahead = step[0] * (r - rows) + step[1] * (c - cols)
        aside = np.abs(step[1] * (r - rows)) + np.abs(step[0] * (c - cols))
        cone = values[(ahead > 0) & (aside <= ahead)]
        assert out[r, c] == (np.nanmax(cone) if np.isfinite(cone).any() else -np.inf)


def test_direction_of_this_scene(rome_model: RadarModel) -> None:
    nodes = ground_nodes(LATTICE, CELL)
    assert main_step(range_direction(rome_model, nodes, seed_times(rome_model, nodes))) == (0, -1)
