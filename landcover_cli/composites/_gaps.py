"""Filling periods without a clear observation from the other periods of the same pixel and band.

Linear: between the nearest periods before and after, by days; before the first and after the last the nearest value
stands. Integers are exact and rounded half up. Whittaker: the least Σ w (z − y)² + λ Σ (Δ²z)² with second differences
(Eilers 2003, Analytical Chemistry 75), where w is 1 at observed periods and 0 at gaps; differences are divided by the
spacing of the periods in units of their mean spacing, which changes nothing where they are evenly spaced. Observed
values stay as they are.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def fill_linear(data, valid, day, whole):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Fill `data` (t, b, y, x) in place where `valid` (t, y, x) is false and some period is valid."""
    times, bands, height, width = data.shape
    before = np.empty(times, np.int64)
    after = np.empty(times, np.int64)
    for y in range(height):
        for x in range(width):
            if not _neighbours(valid[:, y, x], before, after):
                continue
            for t in range(times):
                a, c = before[t], after[t]
                if valid[t, y, x]:
                    continue
                if a < 0 or c < 0:
                    data[t, :, y, x] = data[max(a, c), :, y, x]
                    continue
                span = day[c] - day[a]
                for b in range(bands):
                    if whole:
                        one, other = np.int64(data[a, b, y, x]), np.int64(data[c, b, y, x])
                        total = one * (day[c] - day[t]) + other * (day[t] - day[a])
                        data[t, b, y, x] = (2 * total + span) // (2 * span)
                    else:
                        share = (day[t] - day[a]) / span
                        data[t, b, y, x] = data[a, b, y, x] * (1 - share) + data[c, b, y, x] * share


@njit(cache=True, nogil=True)
def _neighbours(valid, before, after):  # type: ignore[no-untyped-def]  # pragma: no cover
    """The nearest valid periods on either side, −1 for none; whether there is both a gap and a value."""
    times = valid.size
    last = -1
    seen = 0
    for t in range(times):
        if valid[t]:
            last = t
            seen += 1
        before[t] = last
    last = -1
    for t in range(times - 1, -1, -1):
        if valid[t]:
            last = t
        after[t] = last
    return 0 < seen < times


@njit(cache=True, nogil=True)
def fill_whittaker(data, valid, penalty, smoothness, whole):  # type: ignore[no-untyped-def]  # pragma: no cover
    """As `fill_linear`; `penalty` (t, 3) is the band matrix D'D: diagonal and the two above it."""
    times, bands, height, width = data.shape
    diagonal, first, second, z = np.empty(times), np.empty(times), np.empty(times), np.empty(times)
    for y in range(height):
        for x in range(width):
            seen = 0
            only = -1
            for t in range(times):
                if valid[t, y, x]:
                    seen += 1
                    only = t
            if seen in (0, times):
                continue
            if seen == 1:  # no slope can be known
                for t in range(times):
                    data[t, :, y, x] = data[only, :, y, x]
                continue
            _factorise(valid[:, y, x], penalty, smoothness, diagonal, first, second)
            for b in range(bands):
                _solve(data[:, b, y, x], valid[:, y, x], diagonal, first, second, z)
                for t in range(times):
                    if not valid[t, y, x]:
                        data[t, b, y, x] = min(max(np.floor(z[t] + 0.5), 1.0), 65535.0) if whole else z[t]


@njit(cache=True, nogil=True)
def _factorise(valid, penalty, smoothness, diagonal, first, second):  # type: ignore[no-untyped-def]  # pragma: no cover
    """W + λ D'D = L·diag·L' with two bands below the diagonal of L."""
    times = valid.size
    for t in range(times):
        diagonal[t] = valid[t] + smoothness * penalty[t, 0]
        first[t] = smoothness * penalty[t, 1]
        second[t] = smoothness * penalty[t, 2]
        if t >= 1:
            diagonal[t] -= first[t - 1] ** 2 * diagonal[t - 1]
        if t >= 2:
            diagonal[t] -= second[t - 2] ** 2 * diagonal[t - 2]
        if t >= 1:
            first[t] -= first[t - 1] * second[t - 1] * diagonal[t - 1]
        first[t] /= diagonal[t]
        second[t] /= diagonal[t]


@njit(cache=True, nogil=True)
def _solve(values, valid, diagonal, first, second, z):  # type: ignore[no-untyped-def]  # pragma: no cover
    times = valid.size
    for t in range(times):
        z[t] = values[t] if valid[t] else 0.0
        if t >= 1:
            z[t] -= first[t - 1] * z[t - 1]
        if t >= 2:
            z[t] -= second[t - 2] * z[t - 2]
    for t in range(times):
        z[t] /= diagonal[t]
    for t in range(times - 2, -1, -1):
        z[t] -= first[t] * z[t + 1]
        if t + 2 < times:
            z[t] -= second[t] * z[t + 2]


def penalty_bands(day_t: np.ndarray) -> np.ndarray:
    """D'D of second divided differences: diagonal, first and second band above it, (t, 3).

    Args:
        day_t: Days of the periods, ascending.
    """
    times = len(day_t)
    bands = np.zeros((times, 3))
    if times < 3:
        return bands
    at = (day_t - day_t[0]) / ((day_t[-1] - day_t[0]) / (times - 1))
    for t in range(times - 2):
        left, right = at[t + 1] - at[t], at[t + 2] - at[t + 1]
        half = (left + right) / 2
        row = np.array([1 / (left * half), -(1 / left + 1 / right) / half, 1 / (right * half)])
        for i in range(3):
            for j in range(i, 3):
                bands[t + i, j - i] += row[i] * row[j]
    return bands
