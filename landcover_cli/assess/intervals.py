"""Confidence intervals of shares, and of sums and ratios of independent shares, that hold with few samples.

Sources: Wilson (1927) for one share; Zou and Donner (2008), "Construction of confidence limits about effect measures: a
general approach", Statistics in Medicine 27, for sums (MOVER: method of variance estimates recovery), here with Wilson
limits in each stratum; Donner and Zou (2012), "Closed-form confidence intervals for functions of the normal mean and
standard deviation", Statistical Methods in Medical Research 21, for ratios.
"""

from __future__ import annotations

import numpy as np

Z95 = 1.959963984540054
"""Two-sided 95 % point of the standard normal distribution."""


def wilson(right: np.ndarray, n: np.ndarray, z: float = Z95) -> tuple[np.ndarray, np.ndarray]:
    """Wilson score limits of shares; never of zero width for n ≥ 1, and (0, 1) for n = 0.

    Args:
        right: Counts of hits, any shape.
        n: Counts of trials, same shape.
        z: Normal quantile.

    Returns:
        (lower, upper), within 0..1.
    """
    right, n = np.asarray(right, np.float64), np.asarray(n, np.float64)
    share = np.divide(right, n, out=np.full(n.shape, 0.5), where=n > 0)
    denominator = n + z * z
    centre = (share * n + z * z / 2) / denominator
    half = z * np.sqrt(share * (1 - share) * n + z * z / 4) / denominator
    low, high = np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)
    # At the ends the limits are exact; rounding must not push them inwards.
    return np.where(right == 0, 0.0, low), np.where(right == n, 1.0, high)


def sum_limits(
    weights: np.ndarray, share: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """MOVER limits of Σ weights · share over the first axis, shares independent, weights not negative.

    Args:
        weights: ``[I, 1]`` or ``[I, J]``.
        share: ``[I, J]`` estimates.
        low: ``[I, J]`` lower limits of each share.
        high: ``[I, J]`` upper limits of each share.

    Returns:
        (lower, upper), each ``[J]``.
    """
    value = (weights * share).sum(0)
    below = np.sqrt(((weights * (share - low)) ** 2).sum(0))
    above = np.sqrt(((weights * (high - share)) ** 2).sum(0))
    return np.maximum(value - below, 0.0), np.minimum(value + above, weights.sum(0))


def part_limits(
    x: tuple[np.ndarray, np.ndarray, np.ndarray], y: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """MOVER limits of x / (x + y), x and y independent and not negative.

    The limits are the values P where the MOVER interval of (1 - P)·x - P·y begins and ceases to contain zero; found by
    bisection, which also covers x = 0 and y = 0, where the closed form divides by zero.

    Args:
        x: (estimate, lower, upper), each ``[J]``.
        y: (estimate, lower, upper), each ``[J]``.

    Returns:
        (lower, upper), each ``[J]`` within 0..1.
    """
    (x_hat, x_low, x_high), (y_hat, y_low, y_high) = x, y

    def lower_end(p: np.ndarray) -> np.ndarray:
        spread = np.hypot((1 - p) * (x_hat - x_low), p * (y_high - y_hat))
        return (1 - p) * x_hat - p * y_hat - spread

    def upper_end(p: np.ndarray) -> np.ndarray:
        spread = np.hypot((1 - p) * (x_high - x_hat), p * (y_hat - y_low))
        return (1 - p) * x_hat - p * y_hat + spread

    low = _falling_root(lower_end, x_hat.shape)
    high = _falling_root(upper_end, x_hat.shape)
    return np.where(x_hat <= 0, 0.0, low), np.where(y_hat <= 0, 1.0, high)


def _falling_root(function, shape: tuple[int, ...]) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Where a function on 0..1 falls through zero, elementwise."""
    left, right = np.zeros(shape), np.ones(shape)
    for _ in range(60):
        middle = (left + right) / 2
        positive = function(middle) > 0
        left, right = np.where(positive, middle, left), np.where(positive, right, middle)
    return (left + right) / 2
