"""Mean of all clear observations: integer sums and exact rounding for digital numbers, linear power for radar."""

from __future__ import annotations

from typing import Self

import numpy as np
from numba import njit

from landcover_cli.composites import Composite, Frame, Look, Reduction
from landcover_cli.core.types import MASK_CLEAR

_CLEAR = MASK_CLEAR


@njit(cache=True, nogil=True)
def _add_integer(total, data, mask):  # type: ignore[no-untyped-def]  # pragma: no cover
    bands, height, width = data.shape
    for b in range(bands):
        for y in range(height):
            for x in range(width):
                # A product instead of a branch: the loop becomes vector instructions.
                total[b, y, x] += np.uint32(data[b, y, x]) * np.uint32(mask[y, x] == _CLEAR)


@njit(cache=True, nogil=True)
def _add_float(total, data, mask):  # type: ignore[no-untyped-def]  # pragma: no cover
    bands, height, width = data.shape
    for b in range(bands):
        for y in range(height):
            for x in range(width):
                if mask[y, x] == _CLEAR:
                    total[b, y, x] += data[b, y, x]


@njit(cache=True, nogil=True)
def _divide(total, n_clear):  # type: ignore[no-untyped-def]  # pragma: no cover
    bands, height, width = total.shape
    mean = np.zeros((bands, height, width), np.uint16)
    for b in range(bands):
        for y in range(height):
            for x in range(width):
                n = np.float64(n_clear[y, x])
                # ⌊(2·sum + n) / 2n⌋ rounds half up. In doubles it is exact: below 2³³ a quotient that is no whole
                # number lies at least 2⁻¹⁷ from one. They divide several at a time, integers do not.
                mean[b, y, x] = np.uint32((2 * np.float64(total[b, y, x]) + n) / (2 * max(n, 1.0)))
    return mean


class Reducer(Reduction):
    """Mean over observations; memory does not grow with their number.

    Integers: sums are exact, the mean is rounded half up, so order and grouping decide nothing. Floats: sums are
    float64 in the order of feeding; feed (and merge) in a fixed order for the same bytes.
    """

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame)
        self._float = frame.dtype == "float32"
        kind = np.float64 if self._float else np.uint32
        self._total = np.zeros((len(frame.bands), *frame.shape_yx), kind)

    def _feed(self, data_byx: np.ndarray, mask_yx: np.ndarray, look: Look) -> None:
        (_add_float if self._float else _add_integer)(self._total, data_byx, mask_yx)

    def _merge(self, other: Self) -> None:
        self._total += other._total

    def result(self) -> Composite:
        """The composite of what was fed so far."""
        if not self._float:
            return self._composite(_divide(self._total, self._n_clear))
        mean = (self._total / np.maximum(self._n_clear, 1)).astype(np.float32)
        mean[:, self._n_clear == 0] = np.nan
        return self._composite(mean)
