"""The region is hard enough to mean something, and no harder than a time series can solve."""

from __future__ import annotations

import numpy as np
import pytest

from landcover_cli.demo.region import region
from landcover_cli.demo.simulation import simulate

from . import difficulty


@pytest.mark.slow
@pytest.mark.parametrize("seed", [7, 8, 9])
def test_one_date_is_not_enough_and_a_year_is(seed: int) -> None:
    sim = simulate(region("standard"), seed)
    scenes = difficulty.optical_scenes(sim)
    single, _ = difficulty.best_single_date(sim, scenes)
    # The demand on the demo: a random forest on one cloud-free date, the best of the year, scores at most 0.80.
    assert single <= 0.80
    optical, radar = difficulty.optical_series(scenes), difficulty.radar_series(sim)
    series = difficulty.forest_accuracy(sim, optical, sample=15_000)
    assert 0.92 <= series <= 0.98
    assert 0.76 <= difficulty.forest_accuracy(sim, radar, sample=15_000) <= 0.88
    assert difficulty.forest_accuracy(sim, np.concatenate([optical, radar]), sample=15_000) >= series - 0.01


def test_empty_months_are_filled_linearly() -> None:
    series = np.full((12, 1, 1, 2), np.nan)
    series[2, 0, 0, 0], series[6, 0, 0, 0] = 1.0, 5.0
    filled = difficulty.fill_gaps(series.reshape(12, 1, 2)).reshape(12, 2)
    assert filled[:, 0].tolist() == [1, 1, 1, 2, 3, 4, 5, 5, 5, 5, 5, 5]
    assert np.isnan(filled[:, 1]).all()
