"""Statistics per band in one pass: feed, merge, result."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["BandStatistics", "BandSummary"]


@dataclass(frozen=True)
class BandSummary:
    """What was found, per band; all bands of a pixel are valid together, so there is one count.

    Attributes:
        count: Valid pixels, all dates together.
        mean: Mean; 0 where there is no value.
        std: Standard deviation of the population; 1 where it is nil or there is no value, so that dividing is safe.
        minimum: Least value; 0 where there is none.
        maximum: Greatest value; 0 where there is none.
    """

    count: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    minimum: tuple[float, ...]
    maximum: tuple[float, ...]


class BandStatistics:
    """Running mean, variance and range per band, from valid pixels alone.

    Parts are joined by the pairwise update of Chan, Golub & LeVeque (1983), which loses no digits where the mean is
    large against the spread.
    """

    def __init__(self, n_bands: int) -> None:
        self._count = 0
        self._mean = np.zeros(n_bands)
        self._squares = np.zeros(n_bands)
        self._low = np.full(n_bands, np.inf)
        self._high = np.full(n_bands, -np.inf)

    def feed(self, values_tbyx: np.ndarray, valid_tyx: np.ndarray) -> None:
        """Add the valid pixels of a window: values ``[T, C, H, W]``, validity ``[T, H, W]``."""
        pixels = np.moveaxis(values_tbyx, 1, 0)[:, valid_tyx].astype(np.float64)
        if not pixels.size:
            return
        part = BandStatistics(len(self._mean))
        part._count = pixels.shape[1]
        part._mean = pixels.mean(axis=1)
        part._squares = ((pixels - part._mean[:, None]) ** 2).sum(axis=1)
        part._low, part._high = pixels.min(axis=1), pixels.max(axis=1)
        self.merge(part)

    def merge(self, other: BandStatistics) -> None:
        """Add what another one was fed."""
        total = self._count + other._count
        if other._count == 0:
            return
        delta = other._mean - self._mean
        self._mean = self._mean + delta * (other._count / total)
        self._squares = self._squares + other._squares + delta**2 * (self._count * other._count / total)
        self._count = total
        self._low = np.minimum(self._low, other._low)
        self._high = np.maximum(self._high, other._high)

    def result(self) -> BandSummary:
        """The statistics of everything fed so far."""
        if self._count == 0:
            zeros = (0.0,) * len(self._mean)
            return BandSummary(0, zeros, (1.0,) * len(zeros), zeros, zeros)
        std = np.sqrt(self._squares / self._count)
        flat = std <= 1e-7 * np.maximum(np.abs(self._mean), 1e-30)
        return BandSummary(
            self._count,
            tuple(self._mean.tolist()),
            tuple(np.where(flat, 1.0, std).tolist()),
            tuple(self._low.tolist()),
            tuple(self._high.tolist()),
        )
