"""Improved Lee sigma filter: the mean of the pixels that speckle alone could have made of the pixel's own power.

J.-S. Lee, J.-H. Wen, T. L. Ainsworth, K.-S. Chen, A. J. Chen, "Improved sigma filter for speckle filtering of SAR
imagery", IEEE TGRS 47(1), 2009. Steps per pixel: a bright one (above the scene's 98th percentile) with more than five
such in its 3×3 is kept; the a-priori power m is the Lee estimate in the 3×3; of the window's pixels those within
(I1·m, I2·m) are averaged, with the revised noise ηv of that range.

I1, I2 and ηv are the published ones for four looks; for any other number they follow from the gamma law
(`sigma_range`), which gives the published table back to its 0.4 %.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import gammainc, gammaincinv

from landcover_cli.errors import ConfigError
from landcover_cli.sar.speckle._base import SceneStatistics, WindowFilter, check_switch
from landcover_cli.sar.speckle._windows import STRIP_PX, moments_row, new_ring, speckle_share

# "More than 5 such in the 3×3" makes a target.
_TARGET_NEIGHBOURS = 5

# How far the estimate lies below the truth, per unit of ηv² of homogeneous speckle and pixel of window beyond three.
_RANGE_BIAS = 0.012

# Lee et al. 2009, intensity, four looks: sigma → I1, I2, ηv.
_FOUR_LOOKS = {
    0.5: (0.694, 1.385, 0.1921),
    0.6: (0.630, 1.495, 0.2348),
    0.7: (0.560, 1.627, 0.2825),
    0.8: (0.480, 1.804, 0.3354),
    0.9: (0.378, 2.094, 0.3991),
}


@cache
def sigma_range(looks: float, sigma: float) -> tuple[float, float, float]:
    """The range of speckle that holds a share `sigma` of its values and leaves the mean unbiased.

    For speckle of unit mean, gamma distributed with `looks`: P(I1 ≤ I ≤ I2) = sigma and E(I | I1 ≤ I ≤ I2) = 1.

    Args:
        looks: Equivalent number of looks, > 0.
        sigma: Share of the values, within (0, 1).

    Returns:
        I1, I2 (factors of the mean) and ηv, the standard deviation over the mean within the range.
    """

    def upper(lower: float) -> float:
        return float(gammaincinv(looks, gammainc(looks, looks * lower) + sigma) / looks)

    def share(order: int, lower: float) -> float:
        # ∫ I^order p(I) dI over the range is the distribution function of looks + order, up to a factor.
        k = looks + order
        return float(gammainc(k, looks * upper(lower)) - gammainc(k, looks * lower))

    highest = float(gammaincinv(looks, 1.0 - sigma) / looks)
    low = float(brentq(lambda i: share(1, i) - sigma, 0.0, highest * (1.0 - 1e-12), xtol=1e-14))
    variance = (looks + 1.0) / looks * share(2, low) / sigma - 1.0
    return low, upper(low), float(np.sqrt(variance))


@njit(nogil=True, cache=True)
def _estimate(mean: float, variance: float, noise: float, value: float) -> float:
    """The linear estimate m + b(I − m) with b = max(v − m²η², 0)/((1 + η²)·v)."""
    signal = variance - mean * mean * noise
    if signal > 0.0 and variance > 0.0:
        return mean + signal / ((1.0 + noise) * variance) * (value - mean)
    return mean


@njit(nogil=True, cache=True)
def _select_row(
    image: NDArray[np.float32],
    y: int,
    x0: int,
    window: int,
    limits: tuple[NDArray[np.float64], NDArray[np.float64]],
    sums: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
) -> None:
    """Sum, sum of squares and number of the window's pixels within the limits; the order is fixed by the window."""
    low, high = limits
    total, squares, count = sums
    n = total.shape[0]
    total[:], squares[:], count[:] = 0.0, 0.0, 0.0
    for dy in range(window):
        for dx in range(window):
            row = image[y + dy, x0 + dx : x0 + dx + n]
            for x in range(n):
                sample = float(row[x])
                # NaN compares false: invalid pixels are never within the limits.
                inside = (sample >= low[x]) & (sample <= high[x])
                sample = sample if inside else 0.0
                total[x] += sample
                squares[x] += sample * sample
                count[x] += 1.0 if inside else 0.0


@njit(nogil=True, cache=True)
def _is_target(image: NDArray[np.float32], y: int, x: int, p98: float) -> bool:
    if not image[y, x] > p98:
        return False
    bright = 0
    for dy in range(-1, 2):
        for dx in range(-1, 2):
            bright += 1 if image[y + dy, x + dx] > p98 else 0
    return bright > _TARGET_NEIGHBOURS


@njit(nogil=True, cache=True)
def _kernel(
    image: NDArray[np.float32],
    window: int,
    p98: float,
    noise: tuple[float, float],
    factors: tuple[float, float],
    bias: float,
    out: NDArray[np.float32],
) -> None:
    half = window // 2
    core = image[half - 1 : image.shape[0] - half + 1, half - 1 : image.shape[1] - half + 1]
    ring = new_ring(3)
    low_row, high_row = np.empty(STRIP_PX), np.empty(STRIP_PX)
    total_row, squares_row, count_row = np.empty(STRIP_PX), np.empty(STRIP_PX), np.empty(STRIP_PX)
    for x0 in range(0, out.shape[1], STRIP_PX):
        n = min(STRIP_PX, out.shape[1] - x0)
        low, high = low_row[:n], high_row[:n]
        total, squares, count = total_row[:n], squares_row[:n], count_row[:n]
        for y in range(out.shape[0]):
            moments_row(core, y, x0, n, 3, ring)
            centre = image[y + half, x0 + half : x0 + half + n]
            for x in range(n):
                prior = _estimate(ring.mean[x], ring.variance[x], noise[0], np.float64(centre[x]))
                low[x], high[x] = factors[0] * prior, factors[1] * prior
            _select_row(image, y, x0, window, (low, high), (total, squares, count))
            for x in range(n):
                value = float(centre[x])
                if value - value != 0.0:
                    value = np.nan
                elif count[x] > 0.0 and not _is_target(image, y + half, x0 + x + half, p98):
                    mean = total[x] / count[x]
                    variance = (squares[x] - total[x] * mean) / (count[x] - 1.0) if count[x] > 1.0 else 0.0
                    raised = 1.0 + bias * speckle_share(mean, variance, noise[1])
                    value = raised * _estimate(mean, variance, noise[1], value)
                out[y, x0 + x] = np.float32(value)


@dataclass(frozen=True)
class LeeSigma(WindowFilter):
    """Improved Lee sigma filter on linear power; parameters of `WindowFilter` and three more.

    Attributes:
        sigma: Share of the speckle distribution that is averaged, within (0, 1).
        p98: 98th percentile of the scene's valid power; None: bound by `prepare`. NaN or inf: no target is kept.
        debias: Correct the choice of pixels to keep the mean; False: the published estimate.
    """

    name: ClassVar[str] = "lee_sigma"
    needs_scene: ClassVar[bool] = True

    sigma: float = 0.9
    p98: float | None = None
    debias: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_switch("debias", self.debias)
        if not 0.05 <= self.sigma <= 0.99:
            raise ConfigError(f"lee_sigma: sigma {self.sigma} is not within 0.05 … 0.99", remedy="use 0.9")

    def prepare(self, scene: SceneStatistics) -> Self:
        """Bind the scene's number of looks and 98th percentile where they are not given."""
        ready = super().prepare(scene)
        return ready if self.p98 is not None else replace(ready, p98=scene.p98)

    def _run(self, image_yx: NDArray[np.float32], out_yx: NDArray[np.float32]) -> None:
        if self.p98 is None:
            raise ConfigError(
                "speckle filter 'lee_sigma': the scene's 98th percentile is not known",
                remedy="prepare the filter with the statistics of the scene, or give p98",
            )
        looks = self._known_looks()
        published = _FOUR_LOOKS.get(self.sigma) if looks == 4.0 else None
        low, high, eta = published or sigma_range(looks, self.sigma)
        bias = _RANGE_BIAS * (self.window_px - 3) if self.debias else 0.0
        _kernel(image_yx, self.window_px, float(self.p98), (1.0 / looks, eta * eta), (low, high), bias, out_yx)


FILTER = LeeSigma
