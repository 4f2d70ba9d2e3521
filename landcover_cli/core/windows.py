"""Sliding windows on the product grid, and the weights that join them.

Pixels are counted from the CRS origin (0, 0): column ``x / gsd`` eastwards, row ``-y / gsd`` southwards. Windows lie at
whole multiples of the stride from there, never from the corner of a tile, a block or an AOI; that alone makes the value
of a pixel independent of how the work was cut.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from landcover_cli.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Blend", "PixelBox", "WindowLattice", "axis_weights"]

Blend = Literal["linear", "hann", "trim"]

_UNITS = 4096
"""Weights of one axis are whole multiples of 1/4096: products of two are multiples of 2^-24, which float32 holds
exactly, so that the weights over a pixel sum to one without any rounding."""


@dataclass(frozen=True, order=True)
class PixelBox:
    """A half-open rectangle of pixels of the product grid, counted from the CRS origin; rows grow southwards.

    Attributes:
        row0: First row.
        col0: First column.
        row1: First row after.
        col1: First column after.
    """

    row0: int
    col0: int
    row1: int
    col1: int

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.row1 - self.row0

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.col1 - self.col0

    @property
    def empty(self) -> bool:
        """Whether no pixel is inside."""
        return self.height <= 0 or self.width <= 0

    @classmethod
    def from_bounds(cls, bounds_m: tuple[float, float, float, float], gsd_m: float) -> PixelBox:
        """The smallest box that contains (left, bottom, right, top) in metres (tolerance: 1e-6 of a pixel)."""
        left, bottom, right, top = (value / gsd_m for value in bounds_m)
        tiny = 1e-6
        return cls(math.floor(-top + tiny), math.floor(left + tiny), math.ceil(-bottom - tiny), math.ceil(right - tiny))

    def bounds_m(self, gsd_m: float) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) in metres of the grid's CRS."""
        return self.col0 * gsd_m, -self.row1 * gsd_m, self.col1 * gsd_m, -self.row0 * gsd_m

    def intersect(self, other: PixelBox) -> PixelBox:
        """The pixels of both; may be `empty`."""
        return PixelBox(
            max(self.row0, other.row0),
            max(self.col0, other.col0),
            min(self.row1, other.row1),
            min(self.col1, other.col1),
        )

    def slices_in(self, outer: PixelBox) -> tuple[slice, slice]:
        """Row and column slices of this box in an array that covers `outer`, which contains it."""
        return (
            slice(self.row0 - outer.row0, self.row1 - outer.row0),
            slice(self.col0 - outer.col0, self.col1 - outer.col0),
        )


@dataclass(frozen=True)
class WindowLattice:
    """All windows of one size and stride over the plane.

    Window ``(ky, kx)`` covers rows ``[ky·stride, ky·stride + patch)`` and columns likewise.

    Attributes:
        patch_px: Edge of a window in pixels.
        stride_px: Step between windows in pixels, 1..patch_px.
        blend: How windows are joined; `trim` uses only the middle ``stride_px`` pixels of each.
        halo_px: Pixels at a window's rim that lack context and get the least weight.
    """

    patch_px: int
    stride_px: int
    blend: Blend = "linear"
    halo_px: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.stride_px <= self.patch_px:
            raise ConfigError(
                f"stride of {self.stride_px} px does not fit windows of {self.patch_px} px",
                remedy=f"choose a stride from 1 to {self.patch_px}; three quarters of the patch is a good one",
            )

    @property
    def support(self) -> tuple[int, int]:
        """First pixel of a window's axis with weight, and the first after the last."""
        if self.blend != "trim":
            return 0, self.patch_px
        margin = (self.patch_px - self.stride_px) // 2
        return margin, margin + self.stride_px

    @property
    def overlap(self) -> int:
        """The most windows that one pixel takes part in."""
        first, after = self.support
        return math.ceil((after - first) / self.stride_px) ** 2

    def indices(self, low: int, high: int) -> range:
        """Window indices along one axis whose weighted part meets the pixels ``[low, high)``."""
        if high <= low:
            return range(0)
        first, after = self.support
        return range((low - after) // self.stride_px + 1, (high - 1 - first) // self.stride_px + 1)

    def rows(self, box: PixelBox) -> range:
        """Indices ``ky`` of the window rows that a box needs."""
        return self.indices(box.row0, box.row1)

    def columns(self, box: PixelBox) -> range:
        """Indices ``kx`` of the window columns that a box needs."""
        return self.indices(box.col0, box.col1)

    def window(self, ky: int, kx: int) -> PixelBox:
        """Pixels of one window."""
        row, col = ky * self.stride_px, kx * self.stride_px
        return PixelBox(row, col, row + self.patch_px, col + self.patch_px)

    def windows(self, box: PixelBox) -> Iterator[tuple[int, int]]:
        """Windows ``(ky, kx)`` that a box needs, row by row: the order in which they are always added up."""
        for ky in self.rows(box):
            for kx in self.columns(box):
                yield ky, kx

    def reach(self, box: PixelBox) -> PixelBox:
        """Ground that has to be read for a box: the hull of its windows."""
        rows, columns = self.rows(box), self.columns(box)
        if not rows or not columns:
            return PixelBox(box.row0, box.col0, box.row0, box.col0)
        first, last = self.window(rows[0], columns[0]), self.window(rows[-1], columns[-1])
        return PixelBox(first.row0, first.col0, last.row1, last.col1)

    @property
    def reach_px(self) -> int:
        """The furthest that a pixel's windows go beyond it, in pixels; context of that width makes a map whole."""
        first, after = self.support
        return max(after - 1, self.patch_px - 1 - first)

    def weights_yx(self) -> np.ndarray:
        """Weight of every pixel of a window, ``[patch, patch]`` float32; over any pixel they sum to one exactly."""
        import numpy as np

        axis = axis_weights(self.patch_px, self.stride_px, self.blend, self.halo_px)
        return np.outer(axis, axis).astype(np.float32)


@lru_cache(maxsize=32)
def axis_weights(patch_px: int, stride_px: int, blend: Blend, halo_px: int = 0) -> np.ndarray:
    """Blend weights along one axis, ``[patch]`` float64, whole multiples of 1/4096.

    The weights of all windows over a pixel sum to one exactly. `linear` falls from the middle to the rim, `hann` as a
    raised cosine; both stay above zero wherever a window reaches, so that no pixel is lost at any stride. `trim` is 1
    on the middle ``stride`` pixels and 0 elsewhere.

    Raises:
        ConfigError: More windows over a pixel than the weights can tell apart (patch / stride > 4096).
    """
    import numpy as np

    position = np.arange(patch_px, dtype=np.float64)
    if blend == "trim":
        margin = (patch_px - stride_px) // 2
        return ((position >= margin) & (position < margin + stride_px)).astype(np.float64)
    if math.ceil(patch_px / stride_px) > _UNITS:
        raise ConfigError(
            f"stride of {stride_px} px puts more than {_UNITS} windows over a pixel", remedy="choose a larger stride"
        )
    halo = min(halo_px, (patch_px - 1) // 2)
    inner = patch_px - 2 * halo
    depth = np.minimum(position - halo + 1, patch_px - halo - position)
    raw = np.clip(depth / ((inner + 1) / 2), 0.0, 1.0)
    if blend == "hann":
        raw = np.sin(raw * (np.pi / 2)) ** 2
    raw = np.maximum(raw, 1e-6)
    units = np.zeros(patch_px, np.int64)
    for phase in range(stride_px):
        units[phase::stride_px] = _share_out(raw[phase::stride_px])
    return units / _UNITS


def _share_out(raw: np.ndarray) -> np.ndarray:
    """4096 units shared out in proportion to `raw`, at least one each; the largest remainders get what is left."""
    import numpy as np

    exact = raw / raw.sum() * _UNITS
    units = np.maximum(np.floor(exact), 1).astype(np.int64)
    left = _UNITS - int(units.sum())
    # Stable sorts: equal remainders are served in the order of the pixels.
    if left > 0:
        units[np.argsort(units - exact, kind="stable")[:left]] += 1
    while left < 0:
        units[np.argmax(units)] -= 1
        left += 1
    return units
