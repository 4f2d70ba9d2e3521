"""Which parts of a radar image and of a DEM a map needs, before anything is read.

Line and pixel of a place change with its height almost linearly, so that the corners and some places inside of a block,
at the lowest and the highest height of the scene, bound everything that the block can ask for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landcover_cli.errors import InputError
from landcover_cli.io.dem import Dem
from landcover_cli.sar.geocoding import RadarModel, locate
from landcover_cli.sar.ground import Block, MapLattice, ellipsoid_surface, resolution_for, to_lonlat

FloatArray = NDArray[np.float64]

BLOCK_PX = 512
CELL_PX = 256
# Facets no larger than the finest ground pixel of a radar image; `gamma_area` cuts them further where it must.
FACET_M = 10.0
MARGIN_PX = 8
SAMPLES = 5
# The steepest incidence of IW and EW is 18°: relief moves a place by up to 1/tan 18° = 3.1 of its height.
LAYOVER_REACH = 3.1


@dataclass(frozen=True, slots=True)
class PlannedBlock:
    """A block of the map (or a cell of facets) and the part of the image it may touch; ends are exclusive.

    Attributes:
        block: The pixels.
        lines: First line and end, with a margin, not clipped to the image.
        pixels: First pixel and end, likewise.
        order: Line of its middle on the ellipsoid: a number of the place alone, by which facets are summed up.
    """

    block: Block
    lines: tuple[int, int]
    pixels: tuple[int, int]
    order: float


@dataclass(frozen=True, slots=True)
class ScenePlan:
    """What is to be done, in the order of the lines.

    Attributes:
        lattice: The map grid.
        blocks: Blocks of the map that see the image, by first line.
        facet_lattice: The grid of facets.
        cells: Cells of facets that reach into the needed part of the image, by `order`; empty without flattening.
        lines: First line and end that are needed, within the image.
        pixels: First pixel and end that are needed.
        height_range_m: Lowest and highest height above the ellipsoid.
    """

    lattice: MapLattice
    blocks: tuple[PlannedBlock, ...]
    facet_lattice: MapLattice
    cells: tuple[PlannedBlock, ...]
    lines: tuple[int, int]
    pixels: tuple[int, int]
    height_range_m: tuple[float, float]


def plan_scene(
    model: RadarModel,
    dem: Dem,
    lattice: MapLattice,
    block: Block,
    *,
    flatten: bool,
    what: str = "the scene",
    block_px: int = BLOCK_PX,
    around: bool = False,
) -> ScenePlan:
    """Plan a map of one image.

    Args:
        model: The product.
        dem: Terrain.
        lattice: The map grid.
        block: The part of it that is wanted.
        flatten: Whether facets are needed.
        what: Name of the product for messages.
        block_px: Size of the map blocks.
        around: Whether the range of heights must hold for the ground around the map too, which may lay over it or
            shade it; with `flatten` it always does.

    Returns:
        The plan.

    Raises:
        InputError: The map does not meet the image, or the DEM does not cover what is needed (how much is missing).
    """
    heights = dem.height_range(_lonlat_bounds(lattice, block))
    inside = (0, model.shape_yx[0]), (0, model.shape_yx[1])
    planned = [p for p in _reach(model, lattice, list(block.cut(block_px)), heights) if _meets(p, inside[0], inside[1])]
    if not planned:
        raise InputError(
            f"the area asked for does not meet {what}", remedy="choose an --aoi that lies on the scene's footprint"
        )
    lines, pixels = _union(planned, model.shape_yx)
    _require_cover(model, dem, lattice, [p.block for p in planned], (lines, pixels), what)
    facet_lattice = lattice.refined(resolution_for(FACET_M, lattice))
    cells: list[PlannedBlock] = []
    if flatten or around:
        wide, heights = _around(dem, lattice, block, heights)
    if flatten:
        cells = _cells(model, facet_lattice, round(lattice.dx / facet_lattice.dx), wide, (lines, pixels), heights)
        _require_cover(model, dem, facet_lattice, [c.block for c in cells], (lines, pixels), what)
    return ScenePlan(
        lattice=lattice,
        blocks=tuple(sorted(planned, key=lambda p: (p.lines[0], p.block))),
        facet_lattice=facet_lattice,
        cells=tuple(sorted(cells, key=lambda c: (c.order, c.block))),
        lines=lines,
        pixels=pixels,
        height_range_m=heights,
    )


def _around(
    dem: Dem, lattice: MapLattice, block: Block, heights: tuple[float, float]
) -> tuple[Block, tuple[float, float]]:
    """The block with all ground that can lay over it, and the heights there."""
    rim = (heights[1] - heights[0] + 50.0) * LAYOVER_REACH + 20.0 * FACET_M
    wide = block.padded(int(rim / lattice.pixel_m) + 1)
    low, high = dem.height_range(_lonlat_bounds(lattice, wide))
    return wide, (min(heights[0], low), max(heights[1], high))


def _cells(
    model: RadarModel,
    facets: MapLattice,
    factor: int,
    wide: Block,
    window: tuple[tuple[int, int], tuple[int, int]],
    heights: tuple[float, float],
) -> list[PlannedBlock]:
    """Cells of a wide block of the map, whose pixels are factor × factor facets, that reach into the window."""
    first_row, first_col = wide.row0 * factor // CELL_PX, wide.col0 * factor // CELL_PX
    last_row = ((wide.row0 + wide.height) * factor - 1) // CELL_PX
    last_col = ((wide.col0 + wide.width) * factor - 1) // CELL_PX
    # One row and column more than the facets: neighbouring cells share the corners on their border.
    candidates = [
        Block(row * CELL_PX, col * CELL_PX, CELL_PX + 1, CELL_PX + 1)
        for row in range(first_row, last_row + 1)
        for col in range(first_col, last_col + 1)
    ]
    reached = _reach(model, facets, candidates, heights)
    return [c for c in reached if _meets(c, window[0], window[1])]


def sample_places(lattice: MapLattice, blocks: Sequence[Block]) -> tuple[FloatArray, FloatArray]:
    """[blocks, 5, 5] longitudes and latitudes over each block, its outermost pixel centres included."""
    share = np.linspace(0.0, 1.0, SAMPLES)
    rows = np.array([b.row0 + (b.height - 1) * share for b in blocks])
    cols = np.array([b.col0 + (b.width - 1) * share for b in blocks])
    x = lattice.x0 + lattice.dx * (cols + 0.5)
    y = lattice.y0 + lattice.dy * (rows + 0.5)
    shape = (len(blocks), SAMPLES, SAMPLES)
    return to_lonlat(
        lattice.crs,
        np.ascontiguousarray(np.broadcast_to(x[:, None, :], shape)),
        np.ascontiguousarray(np.broadcast_to(y[:, :, None], shape)),
    )


def _reach(
    model: RadarModel, lattice: MapLattice, blocks: Sequence[Block], heights: tuple[float, float]
) -> list[PlannedBlock]:
    """Lines and pixels that each block can touch; blocks that the radar does not see are left out."""
    surface, normal = ellipsoid_surface(*sample_places(lattice, blocks))
    lines, pixels = [], []
    for height in (0.0, *heights):
        found = locate(model, (surface + height * normal).reshape(-1, 3))
        lines.append(found.line.reshape(len(blocks), -1))
        pixels.append(found.pixel.reshape(len(blocks), -1))
    order = lines[0][:, (SAMPLES * SAMPLES) // 2]
    line, pixel = np.concatenate(lines[1:], axis=1), np.concatenate(pixels[1:], axis=1)
    out = []
    for k, block in enumerate(blocks):
        seen = np.isfinite(line[k]) & np.isfinite(pixel[k])
        if seen.any():
            y, x = line[k][seen], pixel[k][seen]
            span_y = (int(np.floor(y.min())) - MARGIN_PX, int(np.ceil(y.max())) + MARGIN_PX + 1)
            span_x = (int(np.floor(x.min())) - MARGIN_PX, int(np.ceil(x.max())) + MARGIN_PX + 1)
            out.append(PlannedBlock(block, span_y, span_x, float(np.nan_to_num(order[k], nan=y.min()))))
    return out


def _meets(planned: PlannedBlock, lines: tuple[int, int], pixels: tuple[int, int]) -> bool:
    return (
        planned.lines[0] < lines[1]
        and planned.lines[1] > lines[0]
        and planned.pixels[0] < pixels[1]
        and planned.pixels[1] > pixels[0]
    )


def _union(planned: Sequence[PlannedBlock], shape_yx: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    lines = max(0, min(p.lines[0] for p in planned)), min(shape_yx[0], max(p.lines[1] for p in planned))
    pixels = max(0, min(p.pixels[0] for p in planned)), min(shape_yx[1], max(p.pixels[1] for p in planned))
    return lines, pixels


def _require_cover(
    model: RadarModel,
    dem: Dem,
    lattice: MapLattice,
    blocks: Sequence[Block],
    window: tuple[tuple[int, int], tuple[int, int]],
    what: str,
) -> None:
    """Of the places sampled in the blocks, those that the window shows must have a height."""
    lon, lat = sample_places(lattice, blocks)
    surface, _ = ellipsoid_surface(lon, lat)
    found = locate(model, surface.reshape(-1, 3))
    with np.errstate(invalid="ignore"):
        shown = (found.line >= window[0][0]) & (found.line < window[0][1])
        shown &= (found.pixel >= window[1][0]) & (found.pixel < window[1][1])
    if shown.any():
        dem.require_cover(lon.ravel()[shown], lat.ravel()[shown], what)


def _lonlat_bounds(lattice: MapLattice, block: Block) -> tuple[float, float, float, float]:
    lon, lat = sample_places(lattice, list(block.cut(max(64, max(block.shape_yx) // 8 + 1))))
    pad = 0.01
    west, east = float(np.nanmin(lon)) - pad, float(np.nanmax(lon)) + pad
    return west, max(float(np.nanmin(lat)) - pad, -90.0), east, min(float(np.nanmax(lat)) + pad, 90.0)
