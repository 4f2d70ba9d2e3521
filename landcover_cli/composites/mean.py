"""Mean of all clear observations: integer sums and exact rounding for digital numbers, linear power for radar."""

from __future__ import annotations

import numpy as np
from numba import njit

from landcover_cli.composites import Composite
from landcover_cli.core.types import MASK_CLEAR, MASK_NODATA

_CLEAR, _NODATA = MASK_CLEAR, MASK_NODATA


@njit(cache=True, nogil=True)
def _feed(total, n_clear, n_obs, data, mask):  # type: ignore[no-untyped-def]  # pragma: no cover
    bands, height, width = data.shape
    for y in range(height):
        for x in range(width):
            code = mask[y, x]
            if code != _NODATA:
                n_obs[y, x] += 1
            if code == _CLEAR:
                n_clear[y, x] += 1
    for b in range(bands):
        for y in range(height):
            for x in range(width):
                if mask[y, x] == _CLEAR:
                    total[b, y, x] += data[b, y, x]


class Reducer:
    """Mean over observations; memory does not grow with their number.

    Integers: sums are exact, the mean is rounded half up, so order and grouping decide nothing. Floats: sums are
    float64 in the order of feeding; feed (and merge) in a fixed order for the same bytes.
    """

    def __init__(self, bands: int, shape_yx: tuple[int, int], dtype: str) -> None:
        """Start empty.

        Args:
            bands: Number of bands.
            shape_yx: (rows, columns).
            dtype: ``uint16`` or ``float32``.
        """
        self._float = dtype == "float32"
        self._total = np.zeros((bands, *shape_yx), np.float64 if self._float else np.uint32)
        self._n_clear = np.zeros(shape_yx, np.uint16)
        self._n_obs = np.zeros(shape_yx, np.uint16)

    def feed(self, data_byx: np.ndarray, mask_yx: np.ndarray) -> None:
        """Add one observation.

        Args:
            data_byx: Stored values; anything where the mask is not clear, a number where it is.
            mask_yx: Codes of `core.types`.
        """
        _feed(self._total, self._n_clear, self._n_obs, data_byx, mask_yx)

    def merge(self, other: Reducer) -> None:
        """Add what another reducer of the same shape was fed."""
        self._total += other._total
        self._n_clear += other._n_clear
        self._n_obs += other._n_obs

    def result(self) -> Composite:
        """The composite of what was fed so far."""
        valid = self._n_clear > 0
        count = np.maximum(self._n_clear, 1)
        if self._float:
            mean = (self._total / count).astype(np.float32)
            mean[:, ~valid] = np.nan
        else:
            mean = self._total // count
            # 2·remainder ≥ count rounds half up.
            remainder = self._total - mean * count
            mean = (mean + (2 * remainder >= count)).astype(np.uint16)
            mean[:, ~valid] = 0
        return Composite(mean, valid, self._n_clear.copy(), self._n_obs.copy())
