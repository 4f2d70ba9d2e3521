"""Boxcar: the mean of the valid pixels of a window. The most smoothing, and no edge survives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from landcover_cli.sar.speckle._base import WindowFilter
from landcover_cli.sar.speckle._windows import STRIP_PX, moments_row, new_ring


@njit(nogil=True, cache=True)
def _kernel(image: NDArray[np.float32], window: int, out: NDArray[np.float32]) -> None:
    half = window // 2
    ring = new_ring(window)
    for x0 in range(0, out.shape[1], STRIP_PX):
        n = min(STRIP_PX, out.shape[1] - x0)
        mean = ring.mean[:n]
        for y in range(out.shape[0]):
            moments_row(image, y, x0, n, window, ring)
            centre, target = image[y + half, x0 + half : x0 + half + n], out[y, x0 : x0 + n]
            for x in range(n):
                target[x] = np.float32(mean[x]) if centre[x] - centre[x] == 0.0 else np.float32(np.nan)


@dataclass(frozen=True)
class Boxcar(WindowFilter):
    """Window mean; `looks` is not used and kept so that every filter takes the same settings."""

    name: ClassVar[str] = "boxcar"

    def _run(self, image_yx: NDArray[np.float32], out_yx: NDArray[np.float32]) -> None:
        _kernel(image_yx, self.window_px, out_yx)


FILTER = Boxcar
