"""Temporal composites; one file per method, each a ``Reducer`` with feed, merge, result."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Composite:
    """One period of one source.

    Attributes:
        data_byx: Stored values; 0 (uint16) or NaN (float32) where invalid.
        valid_yx: At least one clear observation.
        n_clear_yx: Number of clear observations, uint16.
        n_obs_yx: Number of observations, clear or not, uint16.
    """

    data_byx: np.ndarray
    valid_yx: np.ndarray
    n_clear_yx: np.ndarray
    n_obs_yx: np.ndarray
