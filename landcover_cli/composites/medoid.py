"""Medoid: the observation with the least sum of distances to all others of its pixel (Flood 2013, Remote Sensing 5).

Distances are Euclidean over the stored values of all bands; of equals the earliest is taken. Every pixel is a spectrum
that was really observed.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from landcover_cli.composites._history import History


@njit(cache=True, nogil=True)
def _medoid(data, clear, doy, out, chosen):  # type: ignore[no-untyped-def]  # pragma: no cover
    times, bands, height, width = data.shape
    values = np.empty((times, bands), np.float64)
    cost = np.empty(times, np.float64)
    who = np.empty(times, np.int64)
    for y in range(height):
        for x in range(width):
            n = 0
            for t in range(times):
                if clear[t, y, x]:
                    for b in range(bands):
                        values[n, b] = data[t, b, y, x]
                    cost[n] = 0.0
                    who[n] = t
                    n += 1
            if n == 0:
                continue
            for i in range(n):
                for j in range(i + 1, n):
                    square = 0.0
                    for b in range(bands):
                        apart = values[i, b] - values[j, b]
                        square += apart * apart
                    far = np.sqrt(square)
                    cost[i] += far
                    cost[j] += far
            best = 0
            for i in range(1, n):
                if cost[i] < cost[best]:
                    best = i
            chosen[y, x] = doy[who[best]]
            for b in range(bands):
                out[b, y, x] = data[who[best], b, y, x]


class Reducer(History):
    """Medoid over observations."""

    CHOOSES = True

    def _reduce(
        self,
        data_tbyx: np.ndarray,
        clear_tyx: np.ndarray,
        out_byx: np.ndarray,
        doy_t: np.ndarray,
        doy_yx: np.ndarray | None,
    ) -> None:
        _medoid(data_tbyx, clear_tyx, doy_t, out_byx, doy_yx)
