"""Lee filter: the linear estimate with the least mean square error under multiplicative speckle.

J.-S. Lee, "Digital image enhancement and noise filtering by use of local statistics", IEEE PAMI 2(2), 1980. With the
window's mean m and variance v, Ci² = v/m² and Cu² = 1/L: the mean where Ci < Cu, else m + (1 − Cu²/Ci²)(I − m).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from landcover_cli.sar.speckle._base import WindowFilter
from landcover_cli.sar.speckle._windows import STRIP_PX, moments_row, new_ring


@njit(nogil=True, cache=True)
def _kernel(image: NDArray[np.float32], window: int, cu2: float, out: NDArray[np.float32]) -> None:
    half = window // 2
    ring = new_ring(window)
    for x0 in range(0, out.shape[1], STRIP_PX):
        n = min(STRIP_PX, out.shape[1] - x0)
        mean, variance = ring.mean[:n], ring.variance[:n]
        for y in range(out.shape[0]):
            moments_row(image, y, x0, n, window, ring)
            centre, target = image[y + half, x0 + half : x0 + half + n], out[y, x0 : x0 + n]
            for x in range(n):
                m, v = mean[x], variance[x]
                noise = cu2 * m * m
                # Written with v and m² instead of Ci: no root, and it holds for means at or below zero too.
                weight = 1.0 - noise / v if v > noise else 0.0
                value = m + weight * (np.float64(centre[x]) - m)
                target[x] = np.float32(value) if centre[x] - centre[x] == 0.0 else np.float32(np.nan)


@dataclass(frozen=True)
class Lee(WindowFilter):
    """Lee filter on linear power; parameters of `WindowFilter`."""

    name: ClassVar[str] = "lee"

    def _run(self, image_yx: NDArray[np.float32], out_yx: NDArray[np.float32]) -> None:
        _kernel(image_yx, self.window_px, 1.0 / self._known_looks(), out_yx)


FILTER = Lee
