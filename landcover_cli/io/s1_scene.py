"""From a radar image to the map, strip by strip and block by block, in bounded memory.

The image is read once, from top to bottom, in strips of lines: calibrated, filtered, and divided by the illuminated
area of the terrain. Map blocks are taken in the order of their first line, so that only the strips that the blocks at
hand can touch are kept. What a pixel becomes depends on the pixel alone: no size of strip or block and no number of
workers changes a bit. The facets of a radar pixel are summed up in an order that belongs to the facets.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from landcover_cli.errors import InputError, UsageError
from landcover_cli.io.dem import Dem
from landcover_cli.io.s1_plan import PlannedBlock, ScenePlan
from landcover_cli.io.s1_source import STRIP_LINES, IntensitySource, LineFeed, prepared
from landcover_cli.sar.flattening import AreaPatch, area_ratio, gamma_area, mark_unknown
from landcover_cli.sar.geocoding import RadarModel, geocode, seed_times
from landcover_cli.sar.ground import Block, MapLattice, ground_nodes, ground_positions
from landcover_cli.sar.resample import bilinear_yx
from landcover_cli.sar.shadow import cast_shadow
from landcover_cli.sar.speckle import SpeckleFilter
from landcover_cli.sar.terrain import local_incidence_deg
from landcover_cli.sar.visibility import CODE_NODATA, layover_shadow

Float32Array = NDArray[np.float32]
_log = logging.getLogger("lc")
# How far around a cell, in facets, the known ground beside a hole is sought; what lies deeper in it reaches none.
HOLE_RIM_PX = (32, 128, 512)
# No hole is thought to hold slopes steeper than 45°, beyond the heights of its rim not at all.
HOLE_SLOPE = 1.0
LAYERS = ("incidence", "layover_shadow")


@dataclass(frozen=True, slots=True, eq=False)
class SceneBlock:
    """One finished block of the map.

    Attributes:
        block: Its pixels on the lattice.
        bands: {polarisation: [h, w] float32 linear power, NaN for nodata}.
        incidence_deg: [h, w] float32 local incidence angle, if asked for.
        codes: [h, w] uint8 layover and shadow codes, if asked for.
    """

    block: Block
    bands: dict[str, Float32Array]
    incidence_deg: Float32Array | None
    codes: NDArray[np.uint8] | None


def geocode_scene(
    model: RadarModel,
    sources: Mapping[str, IntensitySource],
    dem: Dem,
    plan: ScenePlan,
    *,
    speckle: SpeckleFilter | Mapping[str, SpeckleFilter | None] | None = None,
    layers: Sequence[str] = (),
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[SceneBlock]:
    """Bring an image onto the map.

    Args:
        model: Orbit and image grid.
        sources: {polarisation: image}; beta nought if the plan holds facets (the result is terrain-flattened gamma
            nought), any other backscatter if not.
        dem: Terrain.
        plan: `plan_scene` of the same model and DEM.
        speckle: Filter applied to the image, before terrain and resampling; or {polarisation: prepared filter}.
        layers: Any of "incidence" and "layover_shadow".
        workers: Threads; changes no value.
        progress: Called with (finished, all) after each block.

    Yields:
        Finished blocks. Blocks of the map that are not among them are nodata.

    Raises:
        UsageError: An unknown layer.
        InputError: An image of another size, or something cannot be read.
    """
    unknown = sorted(set(layers) - set(LAYERS))
    if unknown:
        raise UsageError(f"layer {unknown[0]!r} is unknown", remedy=f"choose among {', '.join(LAYERS)}")
    for name, source in sources.items():
        if source.shape_yx != model.shape_yx:
            raise InputError(
                f"{name}: image of {source.shape_yx} lines and pixels, its geometry says {model.shape_yx}",
                remedy="give the geometry of the same (assembled or deburst) image",
            )
    filters = speckle if isinstance(speckle, Mapping) else prepared(speckle, sources)
    feeds = {name: LineFeed(source, plan.pixels, filters[name]) for name, source in sources.items()}
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        strips = _Strips(model, dem, plan, feeds, pool)
        group = max(1, 2 * workers)
        done = 0
        for first in range(0, len(plan.blocks), group):
            batch = plan.blocks[first : first + group]
            rest = plan.blocks[first:]
            strips.need(min(p.lines[0] for p in rest), max(p.lines[1] for p in batch))

            def finish(planned: PlannedBlock) -> SceneBlock:
                return _map_block(model, dem, plan, strips, planned.block, layers)

            for finished in pool.map(finish, batch):
                done += 1
                if progress is not None:
                    progress(done, len(plan.blocks))
                yield finished
        strips.warn_of_holes()


def _map_block(
    model: RadarModel, dem: Dem, plan: ScenePlan, strips: _Strips, block: Block, layers: Sequence[str]
) -> SceneBlock:
    halo = 1 if "incidence" in layers else 0
    wide = block.padded(halo)
    nodes = ground_nodes(plan.lattice, wide)
    height = dem.heights(plan.lattice, wide)
    place = geocode(model, nodes, seed_times(model, nodes), wide, height)
    inner = slice(halo, halo + block.height), slice(halo, halo + block.width)
    line, pixel = place.line[inner], place.pixel[inner]
    bands = strips.sample(line, pixel)
    incidence: Float32Array | None = None
    codes: NDArray[np.uint8] | None = None
    if "incidence" in layers:
        incidence = local_incidence_deg(model, ground_positions(nodes, wide, height), place.time_s[inner])
        incidence[~_inside(model, line, pixel)] = np.nan
    if "layover_shadow" in layers:
        codes = layover_shadow(model, plan.lattice, block, dem.heights, plan.height_range_m)
        codes[~_inside(model, line, pixel)] = CODE_NODATA
    return SceneBlock(block, bands, incidence, codes)


def _inside(model: RadarModel, line: NDArray[np.float64], pixel: NDArray[np.float64]) -> NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        rows = (line >= 0.0) & (line <= model.shape_yx[0] - 1)
        return np.asarray(rows & (pixel >= 0.0) & (pixel <= model.shape_yx[1] - 1))


class _Strips:
    """The strips of the image that the blocks at hand need, ready to be sampled."""

    def __init__(
        self, model: RadarModel, dem: Dem, plan: ScenePlan, feeds: Mapping[str, LineFeed], pool: ThreadPoolExecutor
    ) -> None:
        self._model = model
        self._plan = plan
        self._feeds = feeds
        self._pool = pool
        self._areas = _Areas(model, dem, plan, pool) if plan.cells else None
        self._ready: dict[int, dict[str, Float32Array]] = {}
        self._next = plan.lines[0] // STRIP_LINES

    def need(self, first_line: int, end_line: int) -> None:
        """Make all strips up to a line, forget those before another one."""
        for k in [k for k in self._ready if (k + 1) * STRIP_LINES <= first_line - 1]:
            del self._ready[k]
        end = min(end_line, self._plan.lines[1])
        while self._next * STRIP_LINES < end:
            k = self._next
            made = self._pool.map(lambda item: (item[0], item[1].strip(k)), self._feeds.items())  # noqa: B023
            bands = dict(made)
            if self._areas is not None:
                ratio = self._areas.ratio(k)
                for power in bands.values():
                    np.multiply(power, ratio, out=power)
            if (k + 1) * STRIP_LINES > first_line - 1:
                self._ready[k] = bands
            self._next += 1

    def warn_of_holes(self) -> None:
        """Say how much terrain was missing, if any."""
        if self._areas is not None:
            self._areas.warn_of_holes()

    def sample(self, line: NDArray[np.float64], pixel: NDArray[np.float64]) -> dict[str, Float32Array]:
        """Bilinear power of every band at the places of a block."""
        first_pixel, end_pixel = self._plan.pixels
        with np.errstate(invalid="ignore"):
            seen = (line >= self._plan.lines[0]) & (line <= self._plan.lines[1] - 1)
            seen &= (pixel >= first_pixel) & (pixel <= end_pixel - 1)
        if not seen.any():
            return {name: np.full(line.shape, np.nan, dtype=np.float32) for name in self._feeds}
        top, bottom = int(np.floor(line[seen].min())), int(np.floor(line[seen].max())) + 2
        left, right = int(np.floor(pixel[seen].min())), int(np.floor(pixel[seen].max())) + 2
        columns = slice(left - first_pixel, min(right, end_pixel) - first_pixel)
        out = {}
        for name in self._feeds:
            window = self._window(name, top, min(bottom, self._plan.lines[1]), columns)
            out[name] = bilinear_yx(window, (top, left), line, pixel)
        return out

    def _window(self, name: str, top: int, bottom: int, columns: slice) -> Float32Array:
        parts = []
        for k in range(top // STRIP_LINES, (bottom - 1) // STRIP_LINES + 1):
            start = k * STRIP_LINES
            parts.append(self._ready[k][name][max(top - start, 0) : bottom - start, columns])
        return np.concatenate(parts) if len(parts) > 1 else np.ascontiguousarray(parts[0])


class _Areas:
    """Illuminated areas, strip by strip; cells of facets are computed once and added in their own order."""

    def __init__(self, model: RadarModel, dem: Dem, plan: ScenePlan, pool: ThreadPoolExecutor) -> None:
        self._model = model
        self._plan = plan
        self._pool = pool
        self._dem = dem
        self._sums: dict[int, NDArray[np.float64]] = {}
        self._added = 0
        self._lacking = 0
        self._facets = 0
        self._done = -1
        # The first line that the cells from a given one on can still touch.
        firsts = [c.lines[0] for c in plan.cells]
        self._remaining = [*np.minimum.accumulate(firsts[::-1])[::-1].tolist(), model.shape_yx[0]]

    def ratio(self, index: int) -> Float32Array:
        """[lines, pixels] what beta nought of a strip is multiplied with. Ask in increasing order."""
        end = min((index + 1) * STRIP_LINES, self._model.shape_yx[0])
        stop = self._added
        while stop < len(self._plan.cells) and self._remaining[stop] < end:
            stop += 1
        self._done = index - 1
        cells = self._plan.cells[self._added : stop]
        for first in range(0, len(cells), 16):
            batch = cells[first : first + 16]
            for cell, (patch, lacking) in zip(batch, self._pool.map(self._patch, batch), strict=True):
                self._add(patch)
                self._lacking += lacking
                self._facets += (cell.block.height - 1) * (cell.block.width - 1)
        self._added = stop
        area = self._sums.pop(index, None)
        if area is None:
            area = self._empty(index)
        return area_ratio(self._model, area, index * STRIP_LINES, self._plan.pixels[0])

    def warn_of_holes(self) -> None:
        if self._lacking:
            _log.warning(
                "DEM %s has no height at %d of %d terrain cells (%.3g %%): pixels that these may reach are nodata; "
                "fill the holes (for example with `gdal_fillnodata.py`), or use another DEM",
                self._dem.name,
                self._lacking,
                self._facets,
                100.0 * self._lacking / self._facets,
            )

    def _patch(self, cell: PlannedBlock) -> tuple[AreaPatch, int]:
        highest = self._plan.height_range_m[1]
        lattice, needed = self._plan.facet_lattice, (*self._plan.lines, *self._plan.pixels)
        return marked_area(self._model, self._dem, lattice, cell.block, self._window(), highest, needed)

    def _window(self) -> tuple[int, int, int, int]:
        return 0, self._model.shape_yx[0], self._plan.pixels[0], self._plan.pixels[1]

    def _empty(self, index: int) -> NDArray[np.float64]:
        lines = min(STRIP_LINES, self._model.shape_yx[0] - index * STRIP_LINES)
        return np.zeros((lines, self._plan.pixels[1] - self._plan.pixels[0]))

    def _add(self, patch: AreaPatch) -> None:
        ny, nx = patch.area_m2.shape
        if not ny:
            return
        column = patch.pixel0 - self._plan.pixels[0]
        for k in range(patch.line0 // STRIP_LINES, (patch.line0 + ny - 1) // STRIP_LINES + 1):
            if k <= self._done or k * STRIP_LINES >= self._plan.lines[1]:
                continue
            total = self._sums.setdefault(k, self._empty(k)) if k not in self._sums else self._sums[k]
            start = k * STRIP_LINES
            top, bottom = max(patch.line0, start), min(patch.line0 + ny, start + total.shape[0])
            rows = slice(top - start, bottom - start)
            total[rows, column : column + nx] += patch.area_m2[top - patch.line0 : bottom - patch.line0]


def cell_area(
    model: RadarModel,
    dem: Dem,
    facets: MapLattice,
    cell: Block,
    window: tuple[int, int, int, int],
    highest_m: float | None = None,
) -> AreaPatch:
    """Illuminated area of one cell of facets.

    Facets that face away are dark, and so are those that something nearer to the satellite hides; a facet at the rim of
    such a shadow counts by the share of its corners that are lit.

    Args:
        model: The product.
        dem: Terrain.
        facets: The grid of facet corners.
        cell: The corners.
        window: (first line, end, first pixel, end) to keep.
        highest_m: Height that no ground within reach exceeds; None where no shadow is sought.

    Returns:
        The patch.
    """
    nodes = ground_nodes(facets, cell)
    height = dem.heights(facets, cell)
    place = geocode(model, nodes, seed_times(model, nodes), cell, height)
    hidden = None
    if highest_m is not None:
        hidden = cast_shadow(model, facets, cell, height, dem.heights, highest_m)
    return gamma_area(model, ground_positions(nodes, cell, height), place, hidden, window=window)


def marked_area(
    model: RadarModel,
    dem: Dem,
    facets: MapLattice,
    cell: Block,
    window: tuple[int, int, int, int],
    highest_m: float | None = None,
    needed: tuple[int, int, int, int] | None = None,
) -> tuple[AreaPatch, int]:
    """`cell_area`, NaN wherever facets that the DEM has no height for may lie, and how many of them there are.

    Args:
        model: The product.
        dem: Terrain.
        facets: The grid of facet corners.
        cell: The corners.
        window: (first line, end, first pixel, end) to keep.
        highest_m: As for `cell_area`.
        needed: Part of the window in which holes matter; all of it if None.

    Returns:
        The patch, and the number of facets without a height that may reach the window.
    """
    patch = cell_area(model, dem, facets, cell, window, highest_m)
    height = dem.heights(facets, cell)
    unknown = np.isnan(height)
    bounds = hole_heights(dem, facets, cell) if unknown.any() else None
    if bounds is None:
        return patch, 0
    nodes = ground_nodes(facets, cell)
    seeds = seed_times(model, nodes)
    low, high = (geocode(model, nodes, seeds, cell, bound) for bound in bounds)
    return mark_unknown(patch, (low, high), unknown, needed or window)


def hole_heights(dem: Dem, facets: MapLattice, cell: Block) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Lowest and highest height that each corner of a cell may have, by the known ground around the holes.

    They depend on the cell and the DEM alone, so that the same pixels are marked whatever area is mapped.

    Args:
        dem: Terrain.
        facets: The grid of facet corners.
        cell: The corners.

    Returns:
        Two [h, w] arrays in metres, both the height itself where it is known; None where no ground is known far around.
    """
    for rim in HOLE_RIM_PX:
        wide = dem.heights(facets, cell.padded(rim))
        unknown = np.isnan(wide)
        if not unknown.all():
            break
    else:
        return None
    distance, nearest = ndimage.distance_transform_edt(unknown, return_indices=True)
    beside = wide[tuple(nearest)]
    holes, count = ndimage.label(unknown, structure=np.ones((3, 3)))
    # Every corner of a hole brings the nearest height of its rim.
    low, high = beside.copy(), beside.copy()
    names = np.arange(1, count + 1)
    slack = HOLE_SLOPE * facets.pixel_m * distance[unknown]
    least = np.asarray(ndimage.minimum(beside, holes, names))[holes[unknown] - 1]
    most = np.asarray(ndimage.maximum(beside, holes, names))[holes[unknown] - 1]
    low[unknown] = np.maximum(least, beside[unknown] - slack)
    high[unknown] = np.minimum(most, beside[unknown] + slack)
    inner = slice(rim, rim + cell.height), slice(rim, rim + cell.width)
    return np.ascontiguousarray(low[inner]), np.ascontiguousarray(high[inner])
