"""Tables whose every line has its own nodes, against numpy's interpolation."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from landcover_cli.sar.luts import blend, bracket, line_table, rows_at, rows_for

NODES = st.lists(st.integers(-50, 400), min_size=1, max_size=12).map(sorted)


@given(st.lists(NODES, min_size=1, max_size=4), st.integers(-60, 300), st.integers(1, 120), st.integers(0, 2**32 - 1))
def test_rows_equal_numpys_interpolation_on_distinct_nodes(
    pixels: list[list[int]], first: int, count: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    grids = [np.unique(p) for p in pixels]
    values = [rng.uniform(1, 1000, len(g)) for g in grids]
    table = line_table(range(len(grids)), grids, values)
    got = rows_at(table, np.arange(len(grids)), first, count)
    at = np.arange(first, first + count)
    for row, grid, value in zip(got, grids, values, strict=True):
        np.testing.assert_allclose(row, np.interp(at, grid, value), rtol=1e-13)


def test_two_nodes_at_one_pixel_are_a_step_and_no_division_by_zero() -> None:
    table = line_table([0.0], [np.array([0, 10, 10, 20, 20])], [np.array([1.0, 2.0, 5.0, 6.0, 9.0])])
    with np.errstate(all="raise"):
        row = rows_at(table, np.array([0]), 0, 25)[0]
    np.testing.assert_allclose(row[[0, 9, 10, 15, 19, 20, 24]], [1.0, 1.9, 5.0, 5.5, 5.9, 9.0, 9.0])


@given(NODES, st.lists(st.floats(-100, 500), min_size=1, max_size=20))
def test_brackets_blend_like_numpys_interpolation(nodes: list[int], at: list[float]) -> None:
    grid = np.unique(nodes).astype(float)
    low, high, weight = bracket(grid, np.array(at))
    value = np.sin(grid)
    got = value[low] + weight * (value[high] - value[low])
    np.testing.assert_allclose(got, np.interp(at, grid, value), rtol=1e-12, atol=1e-12)
    assert (weight >= 0).all() and (weight <= 1).all()


def test_lines_beyond_the_table_take_its_end_and_doubled_times_do_no_harm() -> None:
    low, high, weight = bracket(np.array([0.0, 1.0, 1.0]), np.array([-1.0, 0.5, 1.0, 7.0]))
    assert low.tolist() == [0, 0, 2, 2] and high.tolist() == [1, 1, 2, 2] and weight.tolist() == [0, 0.5, 0, 0]


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 40))
def test_a_window_is_the_same_bits_as_the_whole(seed: int, line: int, column: int) -> None:
    rng = np.random.default_rng(seed)
    table = line_table(
        [0.0, 10.0, 25.0], [np.array([0, 7, 50]), np.array([-3, 60]), np.array([5])], [rng.random(n) for n in (3, 2, 1)]
    )

    def window(y0: int, x0: int, shape: tuple[int, int]) -> np.ndarray:
        low, high, weight = bracket(table.time_s, np.arange(y0, y0 + shape[0], dtype=float))
        pair = rows_for(table, low, high, weight, x0, shape[1])
        out = np.empty(shape)
        blend(pair.row, pair.low, pair.high, pair.weight, out)
        return out

    whole = window(0, 0, (31, 41))
    np.testing.assert_array_equal(window(line, column, (31 - line, 41 - column)), whole[line:, column:])
