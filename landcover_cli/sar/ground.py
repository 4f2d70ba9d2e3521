"""Where the pixels of a map grid are on the Earth, from a sparse lattice of exactly projected nodes.

Projecting every pixel would cost more than all of the radar geometry. Between nodes at most `NODE_SPACING_M` apart the
ellipsoid's surface is interpolated linearly in Earth-centred coordinates: the sag is s²/8R per axis, 0.2 mm for 100 m,
far below any radar tolerance. Nodes sit on absolute multiples of the step, counted from the origin of the CRS, so that
the position of a pixel is the same number whichever block or tile it is computed in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numpy.typing import NDArray

from landcover_cli.errors import UsageError

if TYPE_CHECKING:
    import pyproj

    from landcover_cli.core.grid import GeoBox

FloatArray = NDArray[np.float64]

NODE_SPACING_M = 100.0
MAX_NODE_STEP_PX = 64
METRES_PER_DEGREE = 111_319.5
WGS84_A_M = 6_378_137.0
WGS84_E2 = 6.694379990141316e-3  # f(2 - f), f = 1/298.257223563 (NIMA TR8350.2)


@dataclass(frozen=True, slots=True)
class MapLattice:
    """The endless raster that a map grid is cut from; pixel (row, col) has its centre at row + ½, col + ½.

    Attributes:
        crs: Any text that pyproj reads.
        x0: Easting (or longitude) of the left edge of column 0, within one pixel of the CRS origin.
        y0: Northing (or latitude) of the upper edge of row 0.
        dx: Width of a pixel in CRS units, positive.
        dy: Height of a pixel in CRS units, negative (north-up).
    """

    crs: str
    x0: float
    y0: float
    dx: float
    dy: float

    def refined(self, factor: int) -> MapLattice:
        """The lattice with every pixel cut into factor × factor."""
        return MapLattice(self.crs, self.x0, self.y0, self.dx / factor, self.dy / factor)

    @property
    def pixel_m(self) -> float:
        """Edge of a pixel in metres, the larger one; geographic CRS at the equator."""
        unit = METRES_PER_DEGREE if _crs(self.crs).is_geographic else _crs(self.crs).axis_info[0].unit_conversion_factor
        return max(abs(self.dx), abs(self.dy)) * unit

    @property
    def node_step_px(self) -> int:
        """Pixels between nodes: the largest power of two that keeps nodes within `NODE_SPACING_M`."""
        step = 1
        while step < MAX_NODE_STEP_PX and 2 * step * self.pixel_m <= NODE_SPACING_M:
            step *= 2
        return step


@dataclass(frozen=True, slots=True, order=True)
class Block:
    """A rectangle of lattice pixels.

    Attributes:
        row0: First row, counted from the lattice origin; rows grow southwards.
        col0: First column.
        height: Number of rows.
        width: Number of columns.
    """

    row0: int
    col0: int
    height: int
    width: int

    @property
    def shape_yx(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.height, self.width

    def padded(self, halo_px: int) -> Block:
        """The block with a rim of `halo_px` on every side."""
        return Block(self.row0 - halo_px, self.col0 - halo_px, self.height + 2 * halo_px, self.width + 2 * halo_px)

    def cut(self, size_px: int) -> Iterator[Block]:
        """Blocks of at most size × size that cover this one, row by row, from its upper left corner."""
        for row in range(self.row0, self.row0 + self.height, size_px):
            for col in range(self.col0, self.col0 + self.width, size_px):
                yield Block(
                    row,
                    col,
                    min(size_px, self.row0 + self.height - row),
                    min(size_px, self.col0 + self.width - col),
                )


@dataclass(frozen=True, slots=True, eq=False)
class GroundNodes:
    """Exactly projected nodes that enclose a block.

    Attributes:
        step_px: Pixels between nodes.
        row0: Index of the first node row (its pixel row is row0·step_px).
        col0: Index of the first node column.
        lon_deg: [ny, nx] WGS 84 longitude, continuous over the antimeridian (may leave −180..180).
        lat_deg: [ny, nx] WGS 84 latitude.
        surface_m: [ny, nx, 3] Earth-centred position of the ellipsoid's surface.
        normal: [ny, nx, 3] its outward unit normal.
    """

    step_px: int
    row0: int
    col0: int
    lon_deg: FloatArray
    lat_deg: FloatArray
    surface_m: FloatArray
    normal: FloatArray

    @property
    def frame(self) -> tuple[int, int, int]:
        """(step, first node row, first node column), as the kernels take it."""
        return self.step_px, self.row0, self.col0


def lattice_of(geobox: GeoBox) -> tuple[MapLattice, Block]:
    """The lattice and the block of a north-up GeoBox.

    Two GeoBoxes with the same pixel size and the same phase share one lattice, so that neighbouring tiles see the
    same nodes.
    """
    affine = geobox.affine
    crs = geobox.crs
    col0, row0 = round(affine.c / affine.a), round(affine.f / affine.e)
    x0, y0 = affine.c - col0 * affine.a, affine.f - row0 * affine.e
    # A phase that is rounding noise would make tiles differ in the last bit.
    x0 = 0.0 if abs(x0) < 1e-6 * abs(affine.a) else x0
    y0 = 0.0 if abs(y0) < 1e-6 * abs(affine.e) else y0
    if crs is None:
        raise UsageError("the map grid has no coordinate reference system", remedy="give --crs")
    text = f"EPSG:{crs.epsg}" if crs.epsg else crs.to_wkt()
    return MapLattice(text, x0, y0, affine.a, affine.e), Block(row0, col0, *geobox.shape)


def ground_nodes(lattice: MapLattice, block: Block) -> GroundNodes:
    """Project the nodes that enclose a block.

    Args:
        lattice: The map grid.
        block: The pixels that will be asked for.

    Returns:
        Nodes from the one at or before the first pixel to the one after the last.
    """
    return _nodes(lattice, block)


@lru_cache(maxsize=16)
def _nodes(lattice: MapLattice, block: Block) -> GroundNodes:
    """Heights, coordinates and shadows of one block ask for the same nodes one after the other."""
    step = lattice.node_step_px
    row0, col0 = block.row0 // step, block.col0 // step
    rows = np.arange(row0, (block.row0 + block.height - 1) // step + 2, dtype=np.float64)
    cols = np.arange(col0, (block.col0 + block.width - 1) // step + 2, dtype=np.float64)
    x = lattice.x0 + lattice.dx * (cols * step + 0.5)
    y = lattice.y0 + lattice.dy * (rows * step + 0.5)
    xx, yy = np.meshgrid(x, y)
    lon, lat = to_lonlat(lattice.crs, xx, yy)
    surface, normal = ellipsoid_surface(lon, lat)
    lon, lat, surface, normal = (read_only(shared) for shared in (lon, lat, surface, normal))
    return GroundNodes(step, row0, col0, lon, lat, surface, normal)


def read_only(values: FloatArray) -> FloatArray:
    """A contiguous read-only view; a kernel is compiled once for such arrays and once more for others."""
    view = np.ascontiguousarray(values).view()
    view.flags.writeable = False
    return view


def to_lonlat(crs: str, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """WGS 84 longitude and latitude of CRS coordinates; longitudes are continuous within the CRS's own area.

    Source of the continuity: every longitude is taken within ±180° of the middle of the area of use, a constant of
    the CRS, so that a pixel's value does not depend on its neighbours.
    """
    lon, lat = _to_wgs84(crs).transform(x, y)
    area = _crs(crs).area_of_use
    middle = 0.0
    if area is not None and not _crs(crs).is_geographic:
        east = area.east + 360.0 if area.east < area.west else area.east
        middle = 0.5 * (area.west + east)
    wrapped = np.asarray(lon) + 360.0 * np.round((middle - np.asarray(lon)) / 360.0)
    return np.asarray(wrapped, dtype=np.float64), np.asarray(lat, dtype=np.float64)


def ellipsoid_surface(lon_deg: FloatArray, lat_deg: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Earth-centred position on the WGS 84 ellipsoid and its outward normal.

    Args:
        lon_deg: Longitudes, any shape.
        lat_deg: Geodetic latitudes, same shape.

    Returns:
        Position in metres and unit normal, each of shape + (3,). A point at height h is position + h·normal.
    """
    lon, lat = np.radians(lon_deg), np.radians(lat_deg)
    normal = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)
    prime = WGS84_A_M / np.sqrt(1.0 - WGS84_E2 * np.sin(lat) ** 2)
    scale = np.stack([prime, prime, prime * (1.0 - WGS84_E2)], axis=-1)
    return np.ascontiguousarray(scale * normal), np.ascontiguousarray(normal)


@lru_cache(maxsize=32)
def _crs(text: str) -> pyproj.CRS:
    import pyproj

    return pyproj.CRS.from_user_input(text)


@lru_cache(maxsize=32)
def _to_wgs84(text: str) -> Any:
    import pyproj

    return pyproj.Transformer.from_crs(_crs(text), "EPSG:4326", always_xy=True)


@numba.njit(nogil=True, cache=True)
def node_row(nodes: FloatArray, frame: tuple[int, int, int], row: int, out: FloatArray) -> None:
    """Interpolate all node columns at one pixel row.

    Args:
        nodes: [ny, nx, k] values at the nodes.
        frame: `GroundNodes.frame`.
        row: Lattice row of the pixels.
        out: [nx, k] receives the values.
    """
    step, row0, _ = frame
    base = row // step
    weight = (row - base * step) / step
    i = base - row0
    for j in range(nodes.shape[1]):
        for k in range(nodes.shape[2]):
            # The node after the last one is only there to be multiplied by a weight above zero.
            low = nodes[i, j, k]
            out[j, k] = low + weight * (nodes[i + 1, j, k] - low)


def interpolate_nodes(nodes: FloatArray, frame: tuple[int, int, int], block: Block) -> FloatArray:
    """Bilinear values of a node quantity at every pixel of a block.

    Args:
        nodes: [ny, nx] or [ny, nx, k] values at the nodes.
        frame: `GroundNodes.frame`.
        block: Pixels inside the nodes.

    Returns:
        [height, width] or [height, width, k] float64.
    """
    stacked = nodes[..., None] if nodes.ndim == 2 else nodes
    out = np.empty((*block.shape_yx, stacked.shape[2]), dtype=np.float64)
    _interpolate(np.ascontiguousarray(stacked), frame, block.row0, block.col0, out)
    return out[..., 0] if nodes.ndim == 2 else out


@numba.njit(nogil=True, cache=True)
def _interpolate(nodes: FloatArray, frame: tuple[int, int, int], row0: int, col0: int, out: FloatArray) -> None:
    step, _, node_col0 = frame
    line = np.empty((nodes.shape[1], nodes.shape[2]))
    for r in range(out.shape[0]):
        node_row(nodes, frame, row0 + r, line)
        for c in range(out.shape[1]):
            base = (col0 + c) // step
            weight = (col0 + c - base * step) / step
            j = base - node_col0
            for k in range(nodes.shape[2]):
                out[r, c, k] = line[j, k] + weight * (line[j + 1, k] - line[j, k])


def resolution_for(target_m: float, lattice: MapLattice) -> int:
    """Smallest whole factor that cuts the lattice's pixels to at most `target_m`."""
    return max(1, math.ceil(lattice.pixel_m / target_m - 1e-9))


def ground_positions(nodes: GroundNodes, block: Block, height_m: FloatArray) -> FloatArray:
    """Earth-centred positions of the pixels of a block.

    Args:
        nodes: Nodes around the block.
        block: The pixels.
        height_m: [height, width] heights above the ellipsoid, NaN for unknown.

    Returns:
        [height, width, 3] metres, float64.
    """
    out = np.empty((*block.shape_yx, 3))
    height = np.ascontiguousarray(height_m, dtype=np.float64)
    _positions(nodes.surface_m, nodes.normal, nodes.frame, (block.row0, block.col0), height, out)
    return out


@numba.njit(nogil=True, cache=True)
def _positions(
    surface: FloatArray,
    normal: FloatArray,
    frame: tuple[int, int, int],
    origin: tuple[int, int],
    height: FloatArray,
    out: FloatArray,
) -> None:
    step, _, node_col0 = frame
    ground = np.empty((surface.shape[1], 3))
    up = np.empty((surface.shape[1], 3))
    for r in range(height.shape[0]):
        node_row(surface, frame, origin[0] + r, ground)
        node_row(normal, frame, origin[0] + r, up)
        j = origin[1] // step - node_col0
        k = origin[1] - (j + node_col0) * step
        for c in range(height.shape[1]):
            if k == step:
                j, k = j + 1, 0
            w = k / step
            k += 1
            for n in range(3):
                base = ground[j, n] + w * (ground[j + 1, n] - ground[j, n])
                out[r, c, n] = base + height[r, c] * (up[j, n] + w * (up[j + 1, n] - up[j, n]))
