"""Compiled loops that several methods share; none holds the interpreter's lock."""

from __future__ import annotations

import numpy as np
from numba import njit

from landcover_cli.core.types import MASK_CLEAR, MASK_NODATA

_CLEAR, _NODATA = MASK_CLEAR, MASK_NODATA


@njit(cache=True, nogil=True)
def count(n_clear, n_obs, mask):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Count clear and all observations of one look; returns how many pixels are clear."""
    height, width = mask.shape
    total = 0
    for y in range(height):
        for x in range(width):
            clear = mask[y, x] == _CLEAR
            total += clear
            n_clear[y, x] += np.uint16(clear)
            n_obs[y, x] += np.uint16(mask[y, x] != _NODATA)
    return total


@njit(cache=True, nogil=True)
def take_better(best, score, chosen_doy, data, mask, new_score, doy):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Take clear pixels whose score is above the best so far; the first of equals stays."""
    bands, height, width = data.shape
    for y in range(height):
        for x in range(width):
            if mask[y, x] == _CLEAR and (chosen_doy[y, x] == 0 or new_score[y, x] > score[y, x]):
                score[y, x] = new_score[y, x]
                chosen_doy[y, x] = doy
                for b in range(bands):
                    best[b, y, x] = data[b, y, x]
