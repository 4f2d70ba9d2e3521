"""Methods that need all looks of a block at once."""

from __future__ import annotations

from abc import abstractmethod
from typing import Self

import numpy as np

from landcover_cli.composites import Composite, Frame, Look, Reduction
from landcover_cli.core.types import MASK_CLEAR

_ROWS = 32


class History(Reduction):
    """Keeps every look that has a clear pixel, as it was fed; memory grows with their number."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame)
        self._data: list[np.ndarray] = []
        self._clear: list[np.ndarray] = []
        self._doy: list[int] = []

    @classmethod
    def bytes_per_pixel(cls, bands: int, itemsize: int, looks: int) -> int:
        """All looks, the result and one more look being read."""
        return bands * itemsize * (looks + 3) + looks + 16

    def _feed(self, data_byx: np.ndarray, mask_yx: np.ndarray, look: Look) -> None:
        self._data.append(data_byx)
        self._clear.append(mask_yx == MASK_CLEAR)
        self._doy.append(look.day.timetuple().tm_yday)

    def _merge(self, other: Self) -> None:
        self._data += other._data
        self._clear += other._clear
        self._doy += other._doy

    def result(self) -> Composite:
        """The composite of what was fed so far."""
        height, width = self.frame.shape_yx
        shape = (len(self.frame.bands), height, width)
        out = np.zeros(shape, np.uint16) if self.frame.dtype == "uint16" else np.full(shape, np.nan, np.float32)
        doy = np.zeros((height, width), np.uint16) if self.CHOOSES else None
        doys = np.array(self._doy, np.uint16)
        # A few rows of all looks side by side: they stay in the processor's cache, and nothing large is copied.
        for first in range(0, height if self._data else 0, _ROWS):
            rows = slice(first, first + _ROWS)
            data = np.stack([one[:, rows] for one in self._data])
            clear = np.stack([one[rows] for one in self._clear])
            self._reduce(data, clear, out[:, rows], doys, None if doy is None else doy[rows])
        return self._composite(out, doy)

    @abstractmethod
    def _reduce(
        self,
        data_tbyx: np.ndarray,
        clear_tyx: np.ndarray,
        out_byx: np.ndarray,
        doy_t: np.ndarray,
        doy_yx: np.ndarray | None,
    ) -> None:
        """Fill some rows of `out_byx` where something is clear; it holds nodata elsewhere; `doy_yx` if it chooses."""
