"""Refined Lee filter: the Lee estimate within the half of the window that lies on the pixel's side of an edge.

J.-S. Lee, "Refined filtering of image noise using local statistics", Computer Graphics and Image Processing 15, 1981.
In a 7×7 window: means of nine 3×3 sub-windows (step 2); the largest of the gradients |W−E|, |NE−SW|, |N−S|, |NW−SE|
gives the direction, the side whose sub-mean is closer to the central one gives one of eight half-windows of 28 pixels.
σv² is the mean of the five smallest v/m² of the nine; on the half-window b = max(v − m²σv², 0)/((1 + σv²)·v) and the
result is m + b(I − m). Where fewer than 49 pixels are valid: the whole window, with σv² = 1/L.

The half is chosen by its likeness to the pixel, and speckle is skewed: on homogeneous speckle the chosen half's mean is
low, by 0.026 dB at 4.4 looks, by 0.12 dB with neighbours correlated as in IW GRDH. `debias` raises it by the mean of
the two (`_HALF_BIAS`).

Equal gradients: the first in the order above. Equal distance to the centre: the second side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from landcover_cli.errors import ConfigError
from landcover_cli.sar.speckle._base import WindowFilter, check_switch
from landcover_cli.sar.speckle._halves import PIXELS, SPANS, WINDOW_PX, read_runs, sum_halves
from landcover_cli.sar.speckle._windows import STRIP_PX, moments_row, new_ring, speckle_share

# How far the chosen half's mean lies below the truth, per unit of v/m² of homogeneous speckle.
_HALF_BIAS = 0.09


@njit(nogil=True, cache=True)
def _order(a: float, b: float) -> tuple[float, float]:
    return (a, b) if a < b else (b, a)


@njit(nogil=True, cache=True)
def _mean_of_five_smallest(r: NDArray[np.float64]) -> float:
    """Mean of the five smallest of nine values, in ascending order; sorts `r` (a network of 25 comparisons)."""
    r0, r1, r2, r3, r4, r5, r6, r7, r8 = r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8]
    r0, r3 = _order(r0, r3)
    r1, r7 = _order(r1, r7)
    r2, r5 = _order(r2, r5)
    r4, r8 = _order(r4, r8)
    r0, r7 = _order(r0, r7)
    r2, r4 = _order(r2, r4)
    r3, r8 = _order(r3, r8)
    r5, r6 = _order(r5, r6)
    r0, r2 = _order(r0, r2)
    r1, r3 = _order(r1, r3)
    r4, r5 = _order(r4, r5)
    r7, r8 = _order(r7, r8)
    r1, r4 = _order(r1, r4)
    r3, r6 = _order(r3, r6)
    r5, r7 = _order(r5, r7)
    r0, r1 = _order(r0, r1)
    r2, r4 = _order(r2, r4)
    r3, r5 = _order(r3, r5)
    r6, r8 = _order(r6, r8)
    r2, r3 = _order(r2, r3)
    r4, r5 = _order(r4, r5)
    r6, r7 = _order(r6, r7)
    r1, r2 = _order(r1, r2)
    r3, r4 = _order(r3, r4)
    r5, r6 = _order(r5, r6)
    return ((((r0 + r1) + r2) + r3) + r4) / 5.0


@njit(nogil=True, cache=True)
def _estimate_about(mean: float, variance: float, noise: float, value: float, centre: float) -> float:
    """As `_estimate`, drawn towards `centre` instead of the mean."""
    signal = variance - mean * mean * noise
    if signal > 0.0 and variance > 0.0:
        return centre + signal / ((1.0 + noise) * variance) * (value - centre)
    return centre


@njit(nogil=True, cache=True)
def _estimate(mean: float, variance: float, noise: float, value: float) -> float:
    """The linear estimate m + b(I − m) with b = max(v − m²σv², 0)/((1 + σv²)·v)."""
    return _estimate_about(mean, variance, noise, value, mean)


@njit(nogil=True, cache=True)
def _side(means: NDArray[np.float64], x: int) -> int:
    """Index of the half-window from the sub-window means [3, ≥ x + 5] whose centres lie at columns x, x + 2, x + 4."""
    west, east, north, south = means[1, x], means[1, x + 4], means[0, x + 2], means[2, x + 2]
    north_east, south_west, north_west, south_east = means[0, x + 4], means[2, x], means[0, x], means[2, x + 4]
    best, first, second, side = abs(west - east), west, east, 0
    if abs(north_east - south_west) > best:
        best, first, second, side = abs(north_east - south_west), north_east, south_west, 2
    if abs(north - south) > best:
        best, first, second, side = abs(north - south), north, south, 4
    if abs(north_west - south_east) > best:
        first, second, side = north_west, south_east, 6
    centre = means[1, x + 2]
    return side if abs(first - centre) < abs(second - centre) else side + 1


@njit(nogil=True, cache=True)
def _ratio(mean: float, variance: float) -> float:
    m2 = mean * mean
    return variance / m2 if m2 > 0.0 else (np.inf if variance > 0.0 else 0.0)


@njit(nogil=True, cache=True)
def _row(
    centre: NDArray[np.float32],
    whole: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    means: NDArray[np.float64],
    ratios: NDArray[np.float64],
    sums: NDArray[np.float64],
    settings: tuple[float, float, float],
    target: NDArray[np.float32],
) -> None:
    """One output row of a strip; `means` and `ratios` are [3, n + 4] of the sub-windows at rows −2, 0, +2."""
    mean, variance, count = whole
    looks, edge_variance, half_bias = settings
    nine = np.empty(9)
    for x in range(target.shape[0]):
        value = float(centre[x])
        if value - value != 0.0:
            target[x] = np.float32(np.nan)
            continue
        if count[x] < WINDOW_PX * WINDOW_PX:
            target[x] = np.float32(_estimate(mean[x], variance[x], 1.0 / looks, value))
            continue
        for k in range(3):
            for j in range(3):
                nine[3 * k + j] = ratios[k, x + 2 * j]
        noise = _mean_of_five_smallest(nine)
        m, v = mean[x], variance[x]
        if v >= edge_variance:
            side = _side(means, x)
            raised = 1.0 + half_bias * speckle_share(m, v, 1.0 / looks)
            m = sums[0, side, x] / PIXELS
            v = (sums[1, side, x] - sums[0, side, x] * m) / (PIXELS - 1)
            target[x] = np.float32(_estimate_about(m, v, noise, value, m * raised))
            continue
        target[x] = np.float32(_estimate(m, v, noise, value))


@njit(nogil=True, cache=True)
def _kernel(
    image: NDArray[np.float32],
    spans: NDArray[np.int64],
    settings: tuple[float, float, float],
    out: NDArray[np.float32],
) -> None:
    ring, small = new_ring(WINDOW_PX), new_ring(3)
    keep_mean, keep_ratio = np.empty((5, STRIP_PX)), np.empty((5, STRIP_PX))
    means, ratios = np.empty((3, STRIP_PX)), np.empty((3, STRIP_PX))
    runs = np.empty((2, WINDOW_PX, WINDOW_PX, STRIP_PX + WINDOW_PX))
    sums = np.empty((2, 8, STRIP_PX))
    # The 3×3 sub-windows reach two columns farther on each side than the strip's pixels.
    step = STRIP_PX - 4
    for x0 in range(0, out.shape[1], step):
        n = min(step, out.shape[1] - x0)
        whole = (ring.mean, ring.variance, ring.number)
        for y in range(out.shape[0]):
            moments_row(image, y, x0, n, WINDOW_PX, ring)
            for row in range(0 if y == 0 else y + 4, y + 5):
                moments_row(image, row, x0, n + 4, 3, small)
                for x in range(n + 4):
                    keep_mean[row % 5, x] = small.mean[x]
                    keep_ratio[row % 5, x] = _ratio(small.mean[x], small.variance[x])
            for k in range(3):
                means[k] = keep_mean[(y + 2 * k) % 5]
                ratios[k] = keep_ratio[(y + 2 * k) % 5]
            for row in range(0 if y == 0 else y + WINDOW_PX - 1, y + WINDOW_PX):
                read_runs(image, row, x0, n, runs)
            sum_halves(runs, y, n, spans, sums)
            centre = image[y + 3, x0 + 3 : x0 + 3 + n]
            _row(centre, whole, means, ratios, sums, settings, out[y, x0 : x0 + n])


@dataclass(frozen=True)
class RefinedLee(WindowFilter):
    """Refined Lee filter on linear power; parameters of `WindowFilter` and two more.

    Attributes:
        window_px: 7; the eight half-windows are defined for this size.
        looks: Used where fewer than 49 pixels of the window are valid, and to tell speckle from edges in `debias`.
        edge_variance: Windows whose variance (power²) is below it are taken whole instead of by halves, as some
            implementations do; 0: always by halves.
        debias: Correct the choice of the half to keep the mean; False: the published estimate.
    """

    name: ClassVar[str] = "refined_lee"

    edge_variance: float = 0.0
    debias: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_switch("debias", self.debias)
        if self.window_px != WINDOW_PX:
            raise ConfigError(f"refined_lee: window_px {self.window_px} is not 7", remedy="leave window_px at 7")
        if not self.edge_variance >= 0:
            raise ConfigError(f"refined_lee: edge_variance {self.edge_variance} is not ≥ 0", remedy="use 0")

    def _run(self, image_yx: NDArray[np.float32], out_yx: NDArray[np.float32]) -> None:
        settings = (self._known_looks(), float(self.edge_variance), _HALF_BIAS if self.debias else 0.0)
        _kernel(image_yx, SPANS, settings, out_yx)


FILTER = RefinedLee
