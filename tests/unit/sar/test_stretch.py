"""Decibels, stretch to 8 bits and overviews in linear power."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landcover_cli.errors import ConfigError, InputError
from landcover_cli.sar.stretch import (
    PowerHistogram,
    StretchLimits,
    from_db,
    halve_power,
    percentile_limits,
    stretch_to_uint8,
    to_db,
)


def test_zero_negative_and_not_finite_power_is_nodata_in_decibels() -> None:
    power = np.array([1.0, 0.1, 0.0, -0.1, np.nan, np.inf], np.float32)
    np.testing.assert_allclose(to_db(power), [0, -10, np.nan, np.nan, np.nan, np.nan], atol=1e-6)
    assert to_db(power).dtype == np.float32


@given(st.floats(-60, 30))
def test_decibels_and_back(db: float) -> None:
    assert to_db(from_db(np.array([db])))[0] == pytest.approx(db, abs=1e-5)


@given(low=st.floats(-40, -10), span=st.floats(0.1, 40), seed=st.integers(0, 1000))
def test_stretch_follows_its_formula(low: float, span: float, seed: int) -> None:
    db = np.random.default_rng(seed).uniform(-60, 40, (13, 7)).astype(np.float32)
    db[0, :3] = np.nan
    out = stretch_to_uint8(db, StretchLimits(low, low + span))
    share = np.clip((db.astype(np.float64) - low) / (low + span - low), 0, 1)
    np.testing.assert_array_equal(out, np.where(np.isnan(db), 0, 1 + np.round(254 * np.nan_to_num(share))))
    assert (out[np.isfinite(db)] >= 1).all()


def test_ends_of_the_stretch() -> None:
    limits = StretchLimits(-25, 0)
    db = np.array([-30, -25, 0, 5, np.nan])
    np.testing.assert_array_equal(stretch_to_uint8(db, limits), [1, 1, 255, 255, 0])
    np.testing.assert_array_equal(stretch_to_uint8(db, limits, full_range=True), [0, 0, 255, 255, 0])


def test_constant_image_is_shown_mid_grey() -> None:
    power = np.full((5, 5), 0.1, np.float32)
    limits = percentile_limits(PowerHistogram.empty().feed(power))
    assert limits.high_db - limits.low_db < 0.003
    np.testing.assert_array_equal(stretch_to_uint8(np.full((2, 2), -10.0), StretchLimits(-10, -10)), 128)


def test_percentile_limits_of_a_scene_in_blocks() -> None:
    rng = np.random.default_rng(0)
    power = rng.gamma(4.4, 0.02, (300, 300)).astype(np.float32)
    power[:50] = np.nan
    power[60, :] = -0.1
    whole = percentile_limits(PowerHistogram.empty().feed(power))
    parts = PowerHistogram.empty()
    for row in range(299, -1, -1):
        parts = parts.merge(PowerHistogram.empty().feed(power[row]))
    assert percentile_limits(parts) == whole
    expected = np.nanpercentile(to_db(power), [2, 98])
    np.testing.assert_allclose([whole.low_db, whole.high_db], expected, atol=0.005)


def test_bad_limits_and_empty_scenes_are_refused() -> None:
    with pytest.raises(ConfigError, match="not finite and increasing"):
        StretchLimits(0, -25)
    with pytest.raises(ConfigError, match="percentiles 98"):
        percentile_limits(PowerHistogram.empty(), 98, 2)
    with pytest.raises(InputError, match="no pixel with positive power"):
        percentile_limits(PowerHistogram.empty().feed(np.full(9, np.nan, np.float32)))


def test_overview_is_the_mean_of_valid_linear_power() -> None:
    power = np.array([[1, 3, 5], [np.nan, 2, np.nan], [np.nan, np.nan, 7]], np.float32)
    np.testing.assert_array_equal(halve_power(power), np.array([[2, 5], [np.nan, 7]], np.float32))


@given(height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 100))
def test_overview_keeps_the_mean_of_every_cell(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    power = rng.gamma(1, 1, (height, width)).astype(np.float32)
    power[rng.random(power.shape) < 0.3] = np.nan
    out = halve_power(power)
    assert out.shape == (-(-height // 2), -(-width // 2)) and out.dtype == np.float32
    for y, x in np.ndindex(out.shape):
        cell = power[2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
        cell = cell[np.isfinite(cell)]
        if cell.size:
            assert out[y, x] == pytest.approx(cell.mean(dtype=np.float64), rel=1e-6)
        else:
            assert np.isnan(out[y, x])
