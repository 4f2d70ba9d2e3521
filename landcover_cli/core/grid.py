"""The product grid: one CRS and one resolution, cut into square tiles whose edges snap to the grid's origin.

The only room that imports odc-geo's GeoBox; the others take it from here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from odc.geo.geobox import GeoBox

from landcover_cli.errors import ConfigError

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

__all__ = ["GeoBox", "ProductGrid", "Tile", "geobox_from_bounds", "utm_epsg"]

_TILE_ID = re.compile(r"x(-?\d+)_y(-?\d+)")


@dataclass(frozen=True, order=True)
class Tile:
    """A tile of the product grid: column ``ix`` eastwards, row ``iy`` northwards, from the CRS origin (0, 0)."""

    ix: int
    iy: int

    @property
    def id(self) -> str:
        """``x412_y5201``: safe in file names."""
        return f"x{self.ix}_y{self.iy}"

    @classmethod
    def parse(cls, text: str) -> Tile:
        """The tile of an id.

        Raises:
            ValueError: Not a tile id.
        """
        match = _TILE_ID.fullmatch(text)
        if not match:
            raise ValueError(f"not a tile id: {text!r}")
        return cls(int(match[1]), int(match[2]))


@dataclass(frozen=True)
class ProductGrid:
    """A regular grid of square pixels in one projected CRS.

    Attributes:
        crs: ``EPSG:<code>`` or WKT of a projected CRS in metres.
        resolution_m: Pixel edge in metres.
        tile_px: Tile edge in pixels.
    """

    crs: str
    resolution_m: float
    tile_px: int

    @property
    def tile_m(self) -> float:
        """Tile edge in metres."""
        return self.resolution_m * self.tile_px

    def tile_bounds_m(self, tile: Tile) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) of a tile in the grid's CRS."""
        size = self.tile_m
        return tile.ix * size, tile.iy * size, (tile.ix + 1) * size, (tile.iy + 1) * size

    def geobox(self, tile: Tile, gsd_m: float | None = None) -> GeoBox:
        """North-up GeoBox of a tile at the product's resolution, or at another one that divides the tile edge.

        Raises:
            ConfigError: The tile edge is no whole number of pixels of that size.
        """
        return geobox_from_bounds(self.tile_bounds_m(tile), gsd_m or self.resolution_m, self.crs)

    def tiles_over(self, geometry: BaseGeometry) -> tuple[Tile, ...]:
        """Tiles that share area (not just an edge) with a geometry in the grid's CRS, sorted."""
        return tuple(sorted(self._tiles_over(geometry)))

    def _tiles_over(self, geometry: BaseGeometry) -> Iterator[Tile]:
        import shapely

        if geometry.is_empty:
            return
        shapely.prepare(geometry)
        left, bottom, right, top = geometry.bounds
        size = self.tile_m
        for ix in range(math.floor(left / size), math.ceil(right / size)):
            for iy in range(math.floor(bottom / size), math.ceil(top / size)):
                square = shapely.box(*self.tile_bounds_m(Tile(ix, iy)))
                if geometry.intersects(square) and not geometry.touches(square):
                    yield Tile(ix, iy)

    def snap_bounds(
        self, bounds: tuple[float, float, float, float], gsd_m: float | None = None
    ) -> tuple[float, float, float, float]:
        """The smallest grid-aligned bounds that contain the given ones (tolerance: 1e-6 of a pixel)."""
        res = gsd_m or self.resolution_m
        left, bottom, right, top = (value / res for value in bounds)
        tiny = 1e-6
        return (
            math.floor(left + tiny) * res,
            math.floor(bottom + tiny) * res,
            math.ceil(right - tiny) * res,
            math.ceil(top - tiny) * res,
        )

    def to_dict(self) -> dict[str, Any]:
        """The grid as JSON-able values; part of the key of every result on it."""
        return {"crs": self.crs, "resolution_m": self.resolution_m, "tile_px": self.tile_px}


def geobox_from_bounds(bounds: tuple[float, float, float, float], resolution_m: float, crs: str) -> GeoBox:
    """North-up GeoBox of bounds that are whole multiples of the resolution.

    Raises:
        ConfigError: An edge is no whole number of pixels long.
    """
    from affine import Affine

    left, bottom, right, top = bounds
    width, height = (right - left) / resolution_m, (top - bottom) / resolution_m
    shape = (round(height), round(width))
    if abs(height - shape[0]) > 1e-6 or abs(width - shape[1]) > 1e-6:
        raise ConfigError(
            f"{right - left:g} m × {top - bottom:g} m is no whole number of pixels of {resolution_m:g} m",
            remedy="choose tile_px and resolution_m so that every source's resolution divides the tile edge",
        )
    return GeoBox(shape, Affine(resolution_m, 0, left, 0, -resolution_m, top), crs)


def utm_epsg(lon: float, lat: float) -> int:
    """EPSG code of the WGS 84 / UTM zone of a point, with the exceptions for Norway and Svalbard.

    Source: EPSG Guidance Note 7-2 (zones of 6°), MGRS zone exceptions 31V/32V and 31X–37X.
    """
    zone = int((lon + 180) // 6) % 60 + 1
    if 56 <= lat < 64 and 3 <= lon < 12:
        zone = 32
    if 72 <= lat <= 84 and 0 <= lon < 42:
        zone = 31 if lon < 9 else 33 if lon < 21 else 35 if lon < 33 else 37
    return (32600 if lat >= 0 else 32700) + zone


def metric_crs(text: str, what: str) -> str:
    """The CRS of a grid: ``EPSG:<code>`` where it has one, else WKT.

    Args:
        text: What the user wrote.
        what: Where, for messages: ``grid.crs``, ``--crs``.

    Raises:
        ConfigError: No known CRS, or not a projected one in metres.
    """
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        crs = CRS.from_user_input(text)
    except CRSError:
        raise ConfigError(f"{what} {text!r} is no known CRS", remedy="write e.g. EPSG:32633") from None
    if not crs.is_projected or any(axis.unit_name != "metre" for axis in crs.axis_info):
        raise ConfigError(
            f"{what} {text!r} ({crs.name}) is not a projected CRS in metres",
            remedy="choose the UTM zone of the area, or another projected CRS in metres",
        )
    epsg = crs.to_epsg()
    return f"EPSG:{epsg}" if epsg else crs.to_wkt()
