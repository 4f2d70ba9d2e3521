"""Learning rates: a value per update, from its number alone, so that a resumed training needs no state for it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from landcover_cli.config.learning import TrainConfig

__all__ = ["learning_rate_at"]

_DIVISORS = (0.04, 0.001)
"""A one-cycle schedule starts at the first and ends at the second of these shares of the peak."""


def learning_rate_at(step: int, steps: int, config: TrainConfig) -> float:
    """Learning rate of one update of a training, counted from 0.

    ``one_cycle``: up from 4 % of the peak, then down along a cosine to 0.1 % (Smith & Topin, "Super-Convergence", 2018,
    with a cosine in place of the second line). ``cosine``: up from 0, then down along a cosine to 0 (Loshchilov &
    Hutter, "SGDR", 2017, one period). ``poly``: up from 0, then (1 − share)^power (Chen et al., "DeepLab", 2018).
    ``constant``: the peak from the first update on, ``warmup`` counts nothing.
    """
    if config.schedule == "constant":
        return config.learning_rate
    start, end = _DIVISORS if config.schedule == "one_cycle" else (0.0, 0.0)
    rise = max(1, round(config.warmup * steps)) if config.warmup > 0 else 0
    if step < rise:
        return config.learning_rate * (start + (1 - start) * (step + 1) / rise)
    # The last update of a one-cycle is at its end; the others would waste it on a rate of nil.
    last = steps - 1 if config.schedule == "one_cycle" else steps
    share = min((step - rise) / max(1, last - rise), 1.0)
    if config.schedule == "poly":
        return float(config.learning_rate * (1 - share) ** config.poly_power)
    return config.learning_rate * (end + (1 - end) * 0.5 * (1 + math.cos(math.pi * share)))
