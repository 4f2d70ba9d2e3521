"""Scene-wide values for filters: equivalent number of looks and the 98th percentile, as a feed/merge/result reduction.

A value per block would show as seams. Only whole numbers are added up here, so that neither the split into blocks nor
their order changes the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from landcover_cli.errors import InputError
from landcover_cli.sar._power_histogram import PowerHistogram
from landcover_cli.sar.speckle._base import SceneStatistics, check_block
from landcover_cli.sar.speckle._windows import box_moments

# ENL is read off windows of 15 × 15 pixels: many enough for a sharp mode, few enough to lie within one field.
_WINDOW_PX = 15
# Bins of log2(ENL), from 1/4 to 1024 looks, 64 per octave.
_PER_OCTAVE = 64
_LOG2_LOW, _LOG2_HIGH = -2, 10
# The histogram is smoothed over this many bins on each side before its mode is taken.
_SMOOTH = 8
# Fewer whole windows than this say nothing of a scene.
_ENOUGH_WINDOWS = 100


@dataclass(frozen=True, eq=False)
class SceneReducer:
    """Counts seen so far; a value object: `feed` and `merge` return a new one.

    Attributes:
        power: Histogram of the valid power.
        enl_counts: Histogram of log2 of m²/v of windows without nodata.
        negative: Number of finite values below zero.
    """

    halo_px: ClassVar[int] = _WINDOW_PX // 2

    power: PowerHistogram
    enl_counts: NDArray[np.int64]
    negative: int = 0

    @classmethod
    def empty(cls) -> Self:
        """Nothing seen yet."""
        return cls(PowerHistogram.empty(), np.zeros((_LOG2_HIGH - _LOG2_LOW) * _PER_OCTAVE, np.int64))

    def feed(self, intensity_yx: NDArray[np.float32]) -> Self:
        """Add one block of linear power with `halo_px` more pixels on each side (NaN beyond the scene)."""
        halo = self.halo_px
        check_block(intensity_yx, "yx", halo)
        interior = intensity_yx[halo:-halo, halo:-halo]
        mean, variance = box_moments(np.ascontiguousarray(intensity_yx), _WINDOW_PX)
        whole = _windows_without_nodata(intensity_yx, _WINDOW_PX)
        use = whole & (mean > 0) & (variance > 0)
        octave = np.log2(mean[use] ** 2 / variance[use]) - _LOG2_LOW
        bins = np.floor(octave * _PER_OCTAVE).astype(np.int64)
        bins = bins[(bins >= 0) & (bins < self.enl_counts.size)]
        return type(self)(
            self.power.feed(interior),
            self.enl_counts + np.bincount(bins, minlength=self.enl_counts.size),
            self.negative + int((interior < 0).sum()),
        )

    def merge(self, other: SceneReducer) -> Self:
        """Both together."""
        return type(self)(
            self.power.merge(other.power), self.enl_counts + other.enl_counts, self.negative + other.negative
        )

    def result(self) -> SceneStatistics:
        """The scene's values.

        Returns:
            Looks: the mode of m²/v over all windows (Lee's homogeneous areas dominate it), None with fewer than 100
            windows; and the 98th percentile.

        Raises:
            InputError: Most values are below zero, as in decibels and never in linear power.
        """
        if self.power.valid and self.negative > 0.75 * self.power.valid:
            raise InputError(
                f"{self.negative} of {self.power.valid} values are below zero: not linear power",
                remedy="give backscatter as linear power, not in dB",
            )
        looks: float | None = None
        if int(self.enl_counts.sum()) >= _ENOUGH_WINDOWS:
            kernel = np.ones(2 * _SMOOTH + 1, np.int64)
            smooth = np.convolve(self.enl_counts, kernel, mode="same")
            looks = float(2.0 ** ((int(np.argmax(smooth)) + 0.5) / _PER_OCTAVE + _LOG2_LOW))
        return SceneStatistics(looks=looks, p98=self.power.percentile(98.0, of="valid"))


def _windows_without_nodata(intensity_yx: NDArray[np.float32], window: int) -> NDArray[np.bool_]:
    """[H − window + 1, W − window + 1] bool: every pixel of the window is finite; exact, from an integral image."""
    bad = np.zeros((intensity_yx.shape[0] + 1, intensity_yx.shape[1] + 1), np.int64)
    bad[1:, 1:] = np.cumsum(np.cumsum(~np.isfinite(intensity_yx), axis=0), axis=1)
    inside: NDArray[np.bool_] = (
        bad[window:, window:] - bad[:-window, window:] - bad[window:, :-window] + bad[:-window, :-window] == 0
    )
    return inside
