"""Scene-wide statistics: the number of looks, the 98th percentile, and indifference to the split into blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landcover_cli.sar._power_histogram import PowerHistogram
from landcover_cli.sar.speckle import SceneReducer, haloed


def reduce(image: np.ndarray, block: int, order: int = 1) -> SceneReducer:
    parts = []
    for y in range(0, image.shape[0], block):
        for x in range(0, image.shape[1], block):
            rows = slice(y, min(y + block, image.shape[0]))
            columns = slice(x, min(x + block, image.shape[1]))
            parts.append(SceneReducer.empty().feed(haloed(image, rows, columns, SceneReducer.halo_px)))
    total = SceneReducer.empty()
    for part in parts[::order]:
        total = total.merge(part)
    return total


@pytest.mark.parametrize("looks", [1.0, 4.4, 12.0])
def test_looks_of_simulated_speckle_within_ten_percent(looks: float) -> None:
    truth = np.kron(np.random.default_rng(0).uniform(0.01, 0.3, (8, 8)), np.ones((60, 60)))
    image = (truth * np.random.default_rng(1).gamma(looks, 1 / looks, truth.shape)).astype(np.float32)
    result = reduce(image, 480).result()
    assert result.looks == pytest.approx(looks, rel=0.1)


def test_any_split_and_order_give_the_same_values() -> None:
    rng = np.random.default_rng(2)
    image = rng.gamma(4.4, 0.1, (150, 131)).astype(np.float32)
    image[rng.random(image.shape) < 0.0005] = np.nan
    whole = reduce(image, 1000).result()
    assert reduce(image, 64).result() == whole
    assert reduce(image, 37, order=-1).result() == whole


def test_too_small_a_scene_has_no_looks() -> None:
    image = np.ones((12, 12), np.float32)
    assert reduce(image, 12).result().looks is None


@given(seed=st.integers(0, 1000), negatives=st.sampled_from([0.0, 0.3]), percent=st.sampled_from([2.0, 50.0, 98.0]))
def test_percentile_of_the_histogram_is_that_of_the_values(seed: int, negatives: float, percent: float) -> None:
    rng = np.random.default_rng(seed)
    values = rng.gamma(1.0, 0.02, 5000).astype(np.float32)
    values[rng.random(values.size) < negatives] *= -1
    values[:7] = np.nan
    histogram = PowerHistogram.empty().feed(values)
    finite = values[np.isfinite(values)]
    positive = finite[finite > 0]
    # A bin is at most 2⁻¹¹ of its value wide; both are in the bin of the same order statistic.
    expected = np.percentile(positive, percent, method="inverted_cdf")
    assert histogram.percentile(percent) == pytest.approx(expected, rel=2.0**-11)
    expected = np.percentile(finite, percent, method="inverted_cdf")
    if expected > 0:
        assert histogram.percentile(percent, of="valid") == pytest.approx(expected, rel=2.0**-11)
    else:
        assert histogram.percentile(percent, of="valid") == 0.0


def test_percentile_of_nothing_is_nan() -> None:
    assert np.isnan(PowerHistogram.empty().percentile(50))


def test_extreme_powers_have_a_bin() -> None:
    values = np.array([np.finfo(np.float32).tiny, 1e-45, 1.0, np.finfo(np.float32).max, np.inf], np.float32)
    histogram = PowerHistogram.empty().feed(values)
    assert histogram.valid == 4
    assert histogram.counts.sum() == 4
    assert np.isfinite(histogram.percentile(100))
