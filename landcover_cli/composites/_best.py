"""Methods that keep the best look so far; memory does not grow with their number."""

from __future__ import annotations

from abc import abstractmethod
from typing import Self

import numpy as np

from landcover_cli.composites import Composite, Frame, Look, Reduction
from landcover_cli.composites._kernels import take_better


class Best(Reduction):
    """Each pixel comes from the clear look with the highest score; of equals the first fed stays."""

    CHOOSES = True

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame)
        shape = (len(frame.bands), *frame.shape_yx)
        whole = frame.dtype == "uint16"
        self._best = np.zeros(shape, np.uint16) if whole else np.full(shape, np.nan, np.float32)
        self._score = np.zeros(frame.shape_yx, np.float64)
        self._doy = np.zeros(frame.shape_yx, np.uint16)

    @classmethod
    def bytes_per_pixel(cls, bands: int, itemsize: int, looks: int) -> int:
        """The best so far, a look being read, scores and distances."""
        return 3 * bands * itemsize + 64

    @abstractmethod
    def score(self, data_byx: np.ndarray, look: Look) -> np.ndarray:
        """Score of every pixel of a look, float64; anything where it is not clear."""

    def _feed(self, data_byx: np.ndarray, mask_yx: np.ndarray, look: Look) -> None:
        doy = np.uint16(look.day.timetuple().tm_yday)
        score = np.ascontiguousarray(self.score(data_byx, look), np.float64)
        take_better(self._best, self._score, self._doy, data_byx, mask_yx, score, doy)

    def _merge(self, other: Self) -> None:
        better = (other._doy > 0) & ((self._doy == 0) | (other._score > self._score))
        self._best[:, better] = other._best[:, better]
        self._score[better] = other._score[better]
        self._doy[better] = other._doy[better]

    def result(self) -> Composite:
        """The composite of what was fed so far."""
        return self._composite(self._best.copy(), self._doy.copy())
