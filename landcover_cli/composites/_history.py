"""Methods that need all looks of a block at once."""

from __future__ import annotations

from abc import abstractmethod
from typing import Self

import numpy as np

from landcover_cli.composites import Composite, Frame, Look, Reduction
from landcover_cli.core.types import MASK_CLEAR


class History(Reduction):
    """Keeps every look that has a clear pixel; memory grows with their number."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame)
        room = max(frame.looks, 1)
        self._data = np.empty((room, len(frame.bands), *frame.shape_yx), frame.dtype)
        self._clear = np.empty((room, *frame.shape_yx), bool)
        self._doy: list[int] = []

    @classmethod
    def bytes_per_pixel(cls, bands: int, itemsize: int, looks: int) -> int:
        """All looks, the result and one more look being read."""
        return bands * itemsize * (looks + 2) + looks + 16

    def _feed(self, data_byx: np.ndarray, mask_yx: np.ndarray, look: Look) -> None:
        self._append(data_byx, mask_yx == MASK_CLEAR, look.day.timetuple().tm_yday)

    def _append(self, data_byx: np.ndarray, clear_yx: np.ndarray, doy: int) -> None:
        n = len(self._doy)
        if n == len(self._data):
            self._data = np.concatenate([self._data, np.empty_like(self._data)])
            self._clear = np.concatenate([self._clear, np.empty_like(self._clear)])
        self._data[n], self._clear[n] = data_byx, clear_yx
        self._doy.append(doy)

    def _merge(self, other: Self) -> None:
        for n, doy in enumerate(other._doy):
            self._append(other._data[n], other._clear[n], doy)

    def result(self) -> Composite:
        """The composite of what was fed so far."""
        n = len(self._doy)
        shape = (len(self.frame.bands), *self.frame.shape_yx)
        out = np.zeros(shape, self.frame.dtype) if self.frame.dtype == "uint16" else np.full(shape, np.nan, np.float32)
        doy = np.zeros(self.frame.shape_yx, np.uint16) if self.CHOOSES else None
        if n:
            self._reduce(self._data[:n], self._clear[:n], out, np.array(self._doy, np.uint16), doy)
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
        """Fill `out_byx` where something is clear; it holds nodata elsewhere. `doy_yx` where the method chooses."""
