"""Enhanced Lee filter: mean in homogeneous areas, the pixel itself on targets, a blend between.

A. Lopes, R. Touzi, E. Nezry, "Adaptive speckle filters and scene heterogeneity", IEEE TGRS 28(6), 1990. With
Ci = √v/m, Cu = 1/√L, Cmax = √(1 + 2/L): Ci ≤ Cu gives m; Cu < Ci < Cmax gives m·W + I(1 − W) with
W = exp(−K(Ci − Cu)/(Cmax − Ci)); else I.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from landcover_cli.errors import ConfigError
from landcover_cli.sar.speckle._base import WindowFilter
from landcover_cli.sar.speckle._windows import STRIP_PX, moments_row, new_ring


@njit(nogil=True, cache=True)
def _kernel(image: NDArray[np.float32], window: int, looks: float, damping: float, out: NDArray[np.float32]) -> None:
    half = window // 2
    cu, cmax = np.sqrt(1.0 / looks), np.sqrt(1.0 + 2.0 / looks)
    ring = new_ring(window)
    for x0 in range(0, out.shape[1], STRIP_PX):
        n = min(STRIP_PX, out.shape[1] - x0)
        mean, variance = ring.mean[:n], ring.variance[:n]
        for y in range(out.shape[0]):
            moments_row(image, y, x0, n, window, ring)
            centre, target = image[y + half, x0 + half : x0 + half + n], out[y, x0 : x0 + n]
            for x in range(n):
                m, v = mean[x], variance[x]
                value = np.float64(centre[x])
                # The mean can be at or below zero after noise removal; its size is what speckle scales with.
                ci = np.sqrt(v) / abs(m) if m != 0.0 else (np.inf if v > 0.0 else 0.0)
                if ci <= cu:
                    value = m
                elif ci < cmax:
                    weight = np.exp(-damping * (ci - cu) / (cmax - ci))
                    value = m * weight + value * (1.0 - weight)
                target[x] = np.float32(value) if centre[x] - centre[x] == 0.0 else np.float32(np.nan)


@dataclass(frozen=True)
class EnhancedLee(WindowFilter):
    """Enhanced Lee filter on linear power; parameters of `WindowFilter` and one more.

    Attributes:
        damping: K of the blend, ≥ 0; larger keeps more of the pixel.
    """

    name: ClassVar[str] = "enhanced_lee"

    damping: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (np.isfinite(self.damping) and self.damping >= 0):
            raise ConfigError(f"damping {self.damping} is not a number ≥ 0", remedy="use 1, as published")

    def _run(self, image_yx: NDArray[np.float32], out_yx: NDArray[np.float32]) -> None:
        _kernel(image_yx, self.window_px, self._known_looks(), self.damping, out_yx)


FILTER = EnhancedLee
