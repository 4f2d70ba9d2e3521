"""Gamma-MAP filter: the most probable backscatter where both scene and speckle are gamma distributed.

A. Lopes, E. Nezry, R. Touzi, H. Laur, "Structure detection and statistical adaptive speckle filtering in SAR images",
Int. J. Remote Sensing 14(9), 1993. With Ci² = v/m², Cu² = 1/L: Ci ≤ Cu gives m; Cu < Ci < √2·Cu gives
[b·m + √(m²b² + 4αLmI)]/(2α), α = (1 + Cu²)/(Ci² − Cu²), b = α − L − 1; else I.

A mode lies below its mean: on homogeneous speckle the published estimate is low by 0.065 dB for 7×7 and 4.4 looks, by
0.19 dB for a single look. `debias` divides it by its own expectation under the two gamma laws it rests on, a function
of Ci²/Cu² and L alone (`mode_correction`); it is 1 at Ci = Cu, so the change to the mean stays without a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.special import gammaincinv, roots_legendre

from landcover_cli.sar.speckle._base import WindowFilter, check_switch
from landcover_cli.sar.speckle._windows import STRIP_PX, moments_row, new_ring

# Nodes of the correction from Ci² = Cu² to 2·Cu², and of the quadrature over each law; with twice as many of either the
# correction changes by less than 0.002 dB.
_NODES = 65
_QUADRATURE = 160


@cache
def mode_correction(looks: float) -> NDArray[np.float64]:
    """What the published estimate has to be multiplied by to be unbiased under its own laws.

    The scene is gamma distributed of order α and mean m, speckle of order L and mean 1; the correction is m over the
    expectation of the estimate. Computed by Gauss-Legendre quadrature over the quantiles of both laws.

    Args:
        looks: Equivalent number of looks, > 0.

    Returns:
        [65] factors ≥ 1 at Ci²/Cu² from 1 to 2 in even steps, the first exactly 1; not to be written to.
    """
    nodes, weights = roots_legendre(_QUADRATURE)
    quantiles, weights = (nodes + 1) / 2, weights / 2
    speckle = gammaincinv(looks, quantiles) / looks
    factors = np.ones(_NODES)
    for k in range(1, _NODES):
        alpha = (looks + 1.0) / (k / (_NODES - 1))
        b = alpha - looks - 1.0
        scene = gammaincinv(alpha, quantiles) / alpha
        power = scene[:, None] * speckle
        estimate = (b + np.sqrt(b * b + 4.0 * alpha * looks * power)) / (2.0 * alpha)
        factors[k] = 1.0 / float(weights @ estimate @ weights)
    factors.flags.writeable = False
    return factors


@njit(nogil=True, cache=True)
def _kernel(
    image: NDArray[np.float32],
    window: int,
    looks: float,
    correction: NDArray[np.float64],
    out: NDArray[np.float32],
) -> None:
    half = window // 2
    cu2 = 1.0 / looks
    steps = correction.size - 1
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
                m2 = m * m
                if v <= cu2 * m2 or m <= 0.0:
                    # A mean at or below zero holds no signal that a gamma law could describe.
                    value = m
                elif v < 2.0 * cu2 * m2:
                    alpha = (1.0 + cu2) / (v / m2 - cu2)
                    b = alpha - looks - 1.0
                    root = m2 * b * b + 4.0 * alpha * looks * m * value
                    value = (b * m + np.sqrt(root if root > 0.0 else 0.0)) / (2.0 * alpha)
                    place = (v / m2 * looks - 1.0) * steps
                    k = min(int(place), steps - 1)
                    value *= correction[k] + (place - k) * (correction[k + 1] - correction[k])
                target[x] = np.float32(value) if centre[x] - centre[x] == 0.0 else np.float32(np.nan)


@dataclass(frozen=True)
class GammaMap(WindowFilter):
    """Gamma-MAP filter on linear power; parameters of `WindowFilter` and one more.

    Attributes:
        debias: Correct the mode to keep the mean; False: the published estimate.
    """

    name: ClassVar[str] = "gamma_map"

    debias: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_switch("debias", self.debias)

    def _run(self, image_yx: NDArray[np.float32], out_yx: NDArray[np.float32]) -> None:
        looks = self._known_looks()
        correction = mode_correction(looks) if self.debias else np.ones(_NODES)
        _kernel(image_yx, self.window_px, looks, correction, out_yx)


FILTER = GammaMap
