"""Histogram of positive power over a scene: exact counts, so that any split into blocks gives the same percentiles.

The bit pattern of a positive float32 grows with its value; its upper 19 bits are a bin number on a nearly logarithmic
scale. A bin is 2⁻¹¹ … 2⁻¹² of its value wide (at most 0.002 dB), over the whole range of float32, in 4 MB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

_SHIFT = 12
_BINS = (0x7F800000 >> _SHIFT) + 1  # up to, not including, infinity


@dataclass(frozen=True, eq=False)
class PowerHistogram:
    """Counts of the positive values seen so far; a value object: `feed` and `merge` return a new one.

    Attributes:
        counts: [bins] int64.
        valid: Number of finite values seen, of any sign.
    """

    counts: NDArray[np.int64]
    valid: int

    @classmethod
    def empty(cls) -> Self:
        """Nothing seen yet."""
        return cls(np.zeros(_BINS, np.int64), 0)

    def feed(self, power: NDArray[np.float32]) -> Self:
        """Add the finite values of a block of linear power; zero and below count as valid but have no bin."""
        flat = np.ascontiguousarray(power, np.float32).ravel()
        finite = flat[np.isfinite(flat)]
        positive = finite[finite > 0]
        bins = positive.view(np.uint32) >> np.uint32(_SHIFT)
        return type(self)(self.counts + np.bincount(bins, minlength=_BINS), self.valid + finite.size)

    def merge(self, other: PowerHistogram) -> Self:
        """Both together."""
        return type(self)(self.counts + other.counts, self.valid + other.valid)

    def percentile(self, percent: float, of: Literal["valid", "positive"] = "positive") -> float:
        """The power below which `percent` % of the values lie, linear within a bin.

        Args:
            percent: Within 0 … 100.
            of: Which values count: those that have a decibel value, or all finite ones (noise removal leaves
                negative ones).

        Returns:
            Linear power, within one bin (0.002 dB) of the exact percentile; 0 where it falls among values at or
            below zero; NaN without values.
        """
        positive = int(self.counts.sum())
        below = self.valid - positive if of == "valid" else 0
        if positive + below == 0:
            return float("nan")
        cumulative = np.cumsum(self.counts)
        rank = percent / 100.0 * (positive + below) - below
        if positive == 0 or rank < 0:
            return 0.0
        index = min(int(np.searchsorted(cumulative, max(rank, 1e-9), side="left")), _BINS - 1)
        edges = (np.array([index, index + 1], np.uint32) << np.uint32(_SHIFT)).view(np.float32).astype(np.float64)
        if not np.isfinite(edges[1]):
            return float(edges[0])
        before = int(cumulative[index]) - int(self.counts[index])
        inside = (rank - before) / int(self.counts[index])
        return float(edges[0] + np.clip(inside, 0.0, 1.0) * (edges[1] - edges[0]))
