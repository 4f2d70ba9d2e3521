"""Filled gaps against fractions and against a dense solution."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landcover_cli.composites._gaps import fill_linear, fill_whittaker, penalty_bands

CASES = given(st.integers(0, 2**31), st.integers(1, 12), st.sampled_from(["uint16", "float32"]))


def series(seed: int, times: int, dtype: str):
    rng = np.random.default_rng(seed)
    shape = (times, 2, 3, 4)
    data = rng.integers(1, 65536, shape) if dtype == "uint16" else rng.normal(0, 1, shape)
    valid = rng.random((times, 3, 4)) < rng.uniform(0.1, 0.9)
    data = np.where(valid[:, None], data, 0 if dtype == "uint16" else np.nan).astype(dtype)
    day = np.cumsum(rng.integers(1, 40, times))
    return data, valid, day


@CASES
def test_linear_equals_fractions(seed, times, dtype):
    data, valid, day = series(seed, times, dtype)
    found = data.copy()
    fill_linear(found, valid, day, dtype == "uint16")
    for y, x in np.ndindex(3, 4):
        at = [t for t in range(times) if valid[t, y, x]]
        for t, b in np.ndindex(times, 2):
            if not at or valid[t, y, x]:
                np.testing.assert_array_equal(found[t, b, y, x], data[t, b, y, x])
                continue
            a, c = max((s for s in at if s < t), default=None), min((s for s in at if s > t), default=None)
            if a is None or c is None:
                assert found[t, b, y, x] == data[c if a is None else a, b, y, x]
                continue
            share = Fraction(int(day[t] - day[a]), int(day[c] - day[a]))
            ends = (data[a, b, y, x].item(), data[c, b, y, x].item())
            exact = Fraction(ends[0]) * (1 - share) + Fraction(ends[1]) * share
            if dtype == "uint16":
                assert found[t, b, y, x] == (exact + Fraction(1, 2)).__floor__()
            else:
                assert found[t, b, y, x] == pytest.approx(float(exact), rel=1e-6, abs=1e-6)


def dense(values, weights, day, smoothness):
    """(W + λ D'D) z = W y with second divided differences, as a full matrix."""
    times = len(values)
    at = (day - day[0]) / ((day[-1] - day[0]) / (times - 1))
    rows = np.zeros((times - 2, times))
    for t in range(times - 2):
        left, right = at[t + 1] - at[t], at[t + 2] - at[t + 1]
        first = np.array([-1 / left, 1 / left, 0])
        second = np.array([0, -1 / right, 1 / right])
        rows[t, t : t + 3] = (second - first) / ((left + right) / 2)
    matrix = np.diag(weights) + smoothness * rows.T @ rows
    return np.linalg.solve(matrix, weights * np.where(weights > 0, values, 0))


@CASES
def test_whittaker_equals_a_dense_solution(seed, times, dtype):
    data, valid, day = series(seed, times, dtype)
    smoothness = float(np.random.default_rng(seed).uniform(0.1, 20))
    found = data.copy()
    fill_whittaker(found, valid, penalty_bands(day), smoothness, dtype == "uint16")
    for y, x in np.ndindex(3, 4):
        at = np.flatnonzero(valid[:, y, x])
        for b in range(2):
            values = data[:, b, y, x].astype("float64")
            if at.size == 0:
                np.testing.assert_array_equal(found[:, b, y, x], data[:, b, y, x])
                continue
            if at.size == 1:
                expected = np.full(times, values[at[0]])
            elif times == 2:
                expected = values
            else:
                expected = dense(values, valid[:, y, x].astype("float64"), day, smoothness)
            np.testing.assert_array_equal(found[at, b, y, x], data[at, b, y, x])
            gaps = ~valid[:, y, x]
            if dtype == "uint16":
                exact = np.clip(np.floor(expected + 0.5), 1, 65535)
                assert np.abs(found[gaps, b, y, x] - exact[gaps]).max(initial=0) <= 1
            else:
                # A long extrapolation loses digits in either solution.
                scale = np.abs(expected).max() + 1
                np.testing.assert_allclose(found[gaps, b, y, x], expected[gaps], rtol=1e-4, atol=1e-4 * scale)


def test_even_spacing_gives_plain_second_differences():
    bands = penalty_bands(np.array([10, 20, 30, 40, 50]))
    rows = np.array([[1, -2, 1, 0, 0], [0, 1, -2, 1, 0], [0, 0, 1, -2, 1]])
    full = rows.T @ rows
    for band in range(3):
        np.testing.assert_allclose(bands[: 5 - band, band], np.diag(full, band), atol=1e-12)


def test_whittaker_of_a_line_is_the_line():
    data = np.arange(100, 1100, 100, dtype="float32").reshape(10, 1, 1, 1)
    valid = np.ones((10, 1, 1), bool)
    valid[[0, 3, 4, 9]] = False
    found = np.where(valid[:, None], data, np.float32(np.nan))
    fill_whittaker(found, valid, penalty_bands(np.arange(10) * 10), 5.0, False)
    np.testing.assert_allclose(found, data, rtol=1e-5)
