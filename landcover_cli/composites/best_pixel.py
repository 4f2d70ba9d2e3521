"""Best available pixel: the observation with the highest sum of three scores, each 0–1.

- distance to the nearest bad pixel: 1 / (1 + exp(−0.2 · (d/30 m − 25))), d at most 1,500 m (White et al. 2014, CJRS 40,
  whose pixels of 30 m and required distance of 50 pixels are kept in metres);
- day: a Gaussian around the middle of the period, whose standard deviation is a quarter of the period (Griffiths et al.
  2013, IEEE JSTARS 6, for the form);
- coverage: the share of clear pixels of the look over the whole cube.
"""

from __future__ import annotations

import math

import numpy as np

from landcover_cli.composites import Look
from landcover_cli.composites._best import Best

_PIXEL_M = 30.0


class Reducer(Best):
    """Look of the highest score."""

    REACH_M = 1500.0
    COVERAGE = True

    def score(self, data_byx: np.ndarray, look: Look) -> np.ndarray:
        """Sum of the three scores."""
        far = self.REACH_M if look.distance_m_yx is None else look.distance_m_yx
        distance = 1 / (1 + np.exp(-0.2 * (np.asarray(far, np.float64) / _PIXEL_M - 25)))
        return np.broadcast_to(distance + self._day(look) + look.coverage, self.frame.shape_yx)

    def _day(self, look: Look) -> float:
        period = self.frame.period
        if period is None:
            return 1.0
        sigma = max((period.end - period.start).days / 4, 1.0)
        return math.exp(-0.5 * ((look.day - period.middle).days / sigma) ** 2)
