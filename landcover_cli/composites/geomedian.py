"""Geometric median: the point with the least sum of distances to all clear observations.

Used for composites by Roberts et al. 2017 (IEEE TGRS 55). Weiszfeld's iteration, mended for iterates that hit an
observation (Vardi and Zhang 2000, PNAS 97), from the mean, in float64 over the stored values of all bands. It ends when
a step is shorter than a 10,000th of the spread of the observations, or after 200 steps. Integers are rounded half up.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from landcover_cli.composites._history import History

_STEPS = 200
_SHORT = 1e-4


@njit(cache=True, nogil=True)
def _geomedian(data, clear, whole, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    times, bands, height, width = data.shape
    values = np.empty((times, bands), np.float64)
    at = np.empty(bands, np.float64)
    step = np.empty(bands, np.float64)
    for y in range(height):
        for x in range(width):
            n = 0
            at[:] = 0.0
            for t in range(times):
                if clear[t, y, x]:
                    for b in range(bands):
                        values[n, b] = data[t, b, y, x]
                        at[b] += values[n, b]
                    n += 1
            if n == 0:
                continue
            spread = 0.0
            for b in range(bands):
                at[b] /= n
                for i in range(n):
                    spread += (values[i, b] - at[b]) ** 2
            spread = np.sqrt(spread / n)
            if n > 2:  # of one or two the mean is a geometric median
                _walk(values, n, at, step, spread * _SHORT)
            for b in range(bands):
                out[b, y, x] = np.floor(at[b] + 0.5) if whole else at[b]


@njit(cache=True, nogil=True)
def _walk(values, n, at, step, short):  # type: ignore[no-untyped-def]  # pragma: no cover
    bands = at.size
    for _ in range(_STEPS):
        weights = 0.0
        here = 0
        step[:] = 0.0
        for i in range(n):
            square = 0.0
            for b in range(bands):
                square += (values[i, b] - at[b]) ** 2
            far = np.sqrt(square)
            if far <= 1e-3 * short:
                here += 1
                continue
            weights += 1 / far
            for b in range(bands):
                step[b] += (values[i, b] - at[b]) / far
        if weights == 0.0:
            return
        pull = 0.0
        for b in range(bands):
            pull += step[b] * step[b]
        pull = np.sqrt(pull)
        if pull <= here:  # the observation it stands on is the median
            return
        length = 0.0
        for b in range(bands):
            move = (1 - here / pull) * step[b] / weights
            at[b] += move
            length += move * move
        if np.sqrt(length) <= short:
            return


class Reducer(History):
    """Geometric median over observations."""

    def _reduce(
        self,
        data_tbyx: np.ndarray,
        clear_tyx: np.ndarray,
        out_byx: np.ndarray,
        doy_t: np.ndarray,
        doy_yx: np.ndarray | None,
    ) -> None:
        _geomedian(data_tbyx, clear_tyx, out_byx.dtype.kind == "u", out_byx)
