"""Multitemporal filter: every date borrows the speckle averaging of all dates and keeps its own mean.

S. Quegan, J. J. Yu, "Filtering of multichannel SAR images", IEEE TGRS 39(11), 2001. J_k = ⟨I_k⟩/M · Σ_i I_i/⟨I_i⟩ over
the M dates that are valid at the pixel, ⟨·⟩ the mean of the valid pixels of a window of N pixels. Of independent dates
with L looks the result has about L·M·N/(M + N − 1) looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from landcover_cli.sar.speckle._base import IW_GRDH_LOOKS, SceneStatistics, check_block, check_looks, check_window
from landcover_cli.sar.speckle._windows import box_moments


@dataclass(frozen=True)
class Multitemporal:
    """Multitemporal filter on stacks [T, H, W] of co-registered linear power.

    Where a date is nodata it stays nodata and takes no part. A date whose window mean is at or below zero (possible
    after noise removal) gives no ratio; its own result is still its mean times the ratio of the others.

    Attributes:
        window_px: Odd edge length of the spatial window.
        looks: Not used by the filter; kept so that every filter takes the same settings.
    """

    name: ClassVar[str] = "multitemporal"
    axes: ClassVar[str] = "tyx"
    needs_scene: ClassVar[bool] = False

    window_px: int = 7
    looks: float | None = IW_GRDH_LOOKS

    def __post_init__(self) -> None:
        check_window(self.window_px)
        check_looks(self.looks)

    @property
    def halo_px(self) -> int:
        """Half the window."""
        return self.window_px // 2

    def prepare(self, scene: SceneStatistics) -> Self:
        """Nothing of the scene is needed."""
        return self

    def apply(self, intensity: NDArray[np.float32]) -> NDArray[np.float32]:
        """Filter a haloed stack [T, H + 2·halo, W + 2·halo] to its interior [T, H, W]; see `SpeckleFilter.apply`.

        Raises:
            InputError: The stack is not float32, not 3-D, or not larger than its halo.
        """
        check_block(intensity, self.axes, self.halo_px)
        halo = self.halo_px
        interior = intensity[:, halo:-halo, halo:-halo]
        means = np.empty(interior.shape, np.float64)
        ratio_sum = np.zeros(interior.shape[1:], np.float64)
        dates = np.zeros(interior.shape[1:], np.int64)
        for date, block in enumerate(intensity):
            means[date] = box_moments(np.ascontiguousarray(block), self.window_px)[0]
            use = np.isfinite(interior[date]) & (means[date] > 0)
            ratio_sum[use] += interior[date][use] / means[date][use]
            dates += use
        ratio = np.where(dates > 0, ratio_sum / np.maximum(dates, 1), 1.0)
        out = (means * ratio).astype(np.float32)
        out[~np.isfinite(interior)] = np.nan
        return out


FILTER = Multitemporal
