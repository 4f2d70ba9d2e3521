"""Rectangles of pixels on the product grid, and arithmetic with their bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass

Bounds = tuple[float, float, float, float]
"""(left, bottom, right, top) in the grid's CRS."""


@dataclass(frozen=True)
class Lattice:
    """A rectangle of pixels of the product grid.

    Attributes:
        crs: ``EPSG:<code>`` or WKT.
        gsd_m: Pixel edge.
        bounds_m: (left, bottom, right, top), whole multiples of `gsd_m`.
    """

    crs: str
    gsd_m: float
    bounds_m: Bounds

    @property
    def shape_yx(self) -> tuple[int, int]:
        """(rows, columns)."""
        left, bottom, right, top = self.bounds_m
        return round((top - bottom) / self.gsd_m), round((right - left) / self.gsd_m)

    def rows(self, first: int, after: int) -> Lattice:
        """The part between two rows."""
        left, _, right, top = self.bounds_m
        return Lattice(self.crs, self.gsd_m, (left, top - after * self.gsd_m, right, top - first * self.gsd_m))

    def grown(self, pixels: int) -> Lattice:
        """With a margin on every side."""
        left, bottom, right, top = self.bounds_m
        m = pixels * self.gsd_m
        return Lattice(self.crs, self.gsd_m, (left - m, bottom - m, right + m, top + m))


def snap_out(bounds: Bounds, gsd_m: float) -> Bounds:
    """The smallest bounds on the lattice of `gsd_m` that contain the given ones (tolerance 1e-6 of a pixel)."""
    left, bottom, right, top = (edge / gsd_m for edge in bounds)
    tiny = 1e-6
    return (
        float(math.floor(left + tiny) * gsd_m),
        float(math.floor(bottom + tiny) * gsd_m),
        float(math.ceil(right - tiny) * gsd_m),
        float(math.ceil(top - tiny) * gsd_m),
    )


def intersect(a: Bounds, b: Bounds) -> Bounds | None:
    """Common part of two rectangles; None if they share no area."""
    left, bottom, right, top = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    return (left, bottom, right, top) if left < right and bottom < top else None
