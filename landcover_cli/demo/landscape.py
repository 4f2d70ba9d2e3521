"""The map underneath: parcels, stands, villages, lakes and a river as polygons, and their share in every pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import rasterio.features
import shapely
from affine import Affine
from numpy.typing import NDArray
from shapely.affinity import rotate
from shapely.geometry.base import BaseGeometry

from landcover_cli.demo.noise import smooth_field, stream
from landcover_cli.demo.region import (
    BROADLEAF,
    BUILT,
    CLASSES,
    CONIFER,
    GRASS,
    LEFT_M,
    PIXEL_M,
    SUMMER,
    TOP_M,
    WATER,
    WINTER,
    Region,
)

# Pixels are cut into 4 × 4 so that a boundary pixel has 16 levels of mixture and a majority that is rarely a tie.
OVERSAMPLE = 4
FOREST_SHARE, CONIFER_SHARE_OF_FOREST = 0.27, 0.5
BUILT_SHARE = 0.075
LAKE_SHARE = 0.03
# Of the farmland.
FARM_SHARES = {WINTER: 0.36, SUMMER: 0.32, GRASS: 0.32}


@dataclass(frozen=True)
class Landscape:
    """Polygons and the mixture of every pixel.

    Attributes:
        region: Where and how large.
        polygons: One per unit (field, stand, village block, lake, river reach, farm track), EPSG:32633.
        class_of_unit: ``(units,)`` index into ``CLASSES``.
        labelable: ``(units,)`` False for tracks, which no survey would deliver as polygons.
        west: ``(units,)`` True where the unit lies in the western half.
        pixel: ``(entries,)`` flat index of the 10 m pixel of each (pixel, unit) pair, ascending.
        unit: ``(entries,)`` the unit of each pair.
        weight: ``(entries,)`` its share of the pixel; the shares of a pixel add up to 1.
        truth_yx: ``(rows, cols)`` index into ``CLASSES`` of the class with the largest share.
    """

    region: Region
    polygons: tuple[BaseGeometry, ...]
    class_of_unit: NDArray[np.int64]
    labelable: NDArray[np.bool_]
    west: NDArray[np.bool_]
    pixel: NDArray[np.int64]
    unit: NDArray[np.int64]
    weight: NDArray[np.float32]
    truth_yx: NDArray[np.uint8]

    def mix(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Area-weighted mean of per-entry values ``(entries,)`` or ``(entries, bands)`` → ``(bands,) rows, cols``."""
        starts = np.flatnonzero(np.r_[True, np.diff(self.pixel) > 0])
        shape = (self.region.rows, self.region.cols)
        if values.ndim == 1:
            return np.add.reduceat(values * self.weight, starts).astype(np.float32).reshape(shape)
        mixed = np.add.reduceat(values * self.weight[:, None], starts, axis=0)
        return np.ascontiguousarray(mixed.T.astype(np.float32)).reshape(-1, *shape)


def make_landscape(region: Region, seed: int) -> Landscape:
    """Draw the region's map; each half holds every class, in about the same shares."""
    rng = stream(seed, "landscape")
    fields: list[BaseGeometry] = []
    classes: list[int] = []
    west: list[bool] = []
    river = _river(region, rng)
    blocks = _blocks(region, rng)
    for half in (True, False):
        lake = _lake(region, half, rng)
        water = river.union(lake)
        pieces = [
            piece.difference(water) for block in _in_half(blocks, region, half) for piece in _split(block, region, rng)
        ]
        pieces = [part for piece in pieces for part in _parts(piece) if part.area > 400.0]
        fields += pieces
        classes += _assign(pieces, region, rng)
        reach = river.intersection(_half_box(region, half))
        fields += [lake, *_parts(reach.difference(lake))]
        classes += [WATER] * (len(fields) - len(classes))
        west += [half] * (len(fields) - len(west))
    tracks = _tracks(blocks, region, rng)
    n_fields = len(fields)
    fields += tracks
    classes += [BUILT] * len(tracks)
    west += [bool(track.centroid.x < LEFT_M + region.width_m / 2) for track in tracks]
    pixel, unit, weight = _shares(fields, region)
    class_of_unit = np.array(classes)
    return Landscape(
        region=region,
        polygons=tuple(fields),
        class_of_unit=class_of_unit,
        labelable=np.arange(len(fields)) < n_fields,
        west=np.array(west),
        pixel=pixel,
        unit=unit,
        weight=weight,
        truth_yx=_majority(pixel, class_of_unit[unit], weight, region),
    )


def _half_box(region: Region, west: bool) -> BaseGeometry:
    left, bottom, right, top = region.bounds_m
    middle = (left + right) / 2
    return shapely.box(left, bottom, middle, top) if west else shapely.box(middle, bottom, right, top)


def _in_half(blocks: list[BaseGeometry], region: Region, west: bool) -> list[BaseGeometry]:
    box = _half_box(region, west)
    return [part for block in blocks for part in _parts(block.intersection(box)) if part.area > 400.0]


def _parts(geometry: BaseGeometry) -> list[BaseGeometry]:
    """The polygons of whatever a set operation returned, in a fixed order."""
    parts = [part for part in shapely.get_parts(geometry) if part.geom_type == "Polygon" and not part.is_empty]
    return sorted(parts, key=lambda part: (round(part.centroid.x, 3), round(part.centroid.y, 3)))


def _blocks(region: Region, rng: np.random.Generator) -> list[BaseGeometry]:
    """Blocks of land between farm tracks: Voronoi cells of a jittered grid."""
    left, bottom, right, top = region.bounds_m
    step = region.block_m
    xs = np.arange(left - step / 2, right + step, step)
    ys = np.arange(bottom - step / 2, top + step, step)
    x, y = np.meshgrid(xs, ys)
    points = np.stack([x, y], axis=-1).reshape(-1, 2) + rng.uniform(-0.38, 0.38, (x.size, 2)) * step
    cells = shapely.voronoi_polygons(shapely.MultiPoint(points), extend_to=shapely.box(*region.bounds_m))
    frame = shapely.box(*region.bounds_m)
    return sorted(
        (part for cell in shapely.get_parts(cells) for part in _parts(cell.intersection(frame))),
        key=lambda block: (round(block.centroid.x, 3), round(block.centroid.y, 3)),
    )


def _split(block: BaseGeometry, region: Region, rng: np.random.Generator) -> list[BaseGeometry]:
    """Cut a block into strips and rectangles until each is below an area drawn from the field-size distribution."""
    angle = float(rng.uniform(0.0, 180.0))
    centre = block.centroid
    done: list[BaseGeometry] = []
    todo = [rotate(block, -angle, origin=centre)]
    while todo:
        piece = todo.pop()
        limit_m2 = 1e4 * region.parcel_ha * float(np.exp(rng.normal(0.62, 0.5)))
        x0, y0, x1, y1 = piece.bounds
        if piece.area <= limit_m2 or min(x1 - x0, y1 - y0) < 30.0:
            done.append(piece)
            continue
        share = float(rng.uniform(0.36, 0.64))
        # Real fields are about twice as long as wide: cut across the long side, with some preference for strips.
        if (x1 - x0) * 1.3 > (y1 - y0):
            cut = x0 + share * (x1 - x0)
            halves = (shapely.box(x0, y0, cut, y1), shapely.box(cut, y0, x1, y1))
        else:
            cut = y0 + share * (y1 - y0)
            halves = (shapely.box(x0, y0, x1, cut), shapely.box(x0, cut, x1, y1))
        for half in halves:
            todo += _parts(piece.intersection(half))
    return [rotate(piece, angle, origin=centre) for piece in done]


def _river(region: Region, rng: np.random.Generator) -> BaseGeometry:
    """A meandering river from the western to the eastern edge, 30 to 40 m wide."""
    left, bottom, right, _ = region.bounds_m
    x = np.linspace(left - 50.0, right + 50.0, 200)
    base = bottom + region.height_m * rng.uniform(0.35, 0.65)
    y = np.full_like(x, base)
    for wavelength_m, amplitude in ((2600.0, 0.08), (900.0, 0.035), (420.0, 0.012)):
        y += amplitude * region.height_m * np.sin(2 * np.pi * (x - left) / wavelength_m + rng.uniform(0, 2 * np.pi))
    line = shapely.LineString(np.stack([x, y], axis=1))
    return line.buffer(float(rng.uniform(15.0, 20.0))).intersection(shapely.box(*region.bounds_m))


def _lake(region: Region, west: bool, rng: np.random.Generator) -> BaseGeometry:
    """A lake with an irregular shore, wholly inside its half."""
    box = _half_box(region, west)
    x0, y0, x1, y1 = box.bounds
    radius = float(np.sqrt(LAKE_SHARE * box.area / np.pi))
    centre = (rng.uniform(x0 + 1.6 * radius, x1 - 1.6 * radius), rng.uniform(y0 + 1.6 * radius, y1 - 1.6 * radius))
    theta = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    shape = np.ones_like(theta)
    for order in (2, 3, 5):
        shape += rng.uniform(0.05, 0.35) / order * np.cos(order * theta + rng.uniform(0, 2 * np.pi))
    points = np.stack([centre[0] + radius * shape * np.cos(theta), centre[1] + radius * shape * np.sin(theta)], axis=1)
    return shapely.Polygon(points)


def _tracks(blocks: list[BaseGeometry], region: Region, rng: np.random.Generator) -> list[BaseGeometry]:
    """Paved farm roads, 6 m wide, along a third of the block edges: narrower than a pixel, so they only mix."""
    lines = shapely.get_parts(shapely.node(shapely.union_all([block.exterior for block in blocks])))
    frame = shapely.box(*region.bounds_m)
    inside = [line for line in lines if line.length > 60.0 and frame.buffer(-5.0).covers(line)]
    inside.sort(key=lambda line: (round(line.centroid.x, 3), round(line.centroid.y, 3)))
    chosen = rng.random(len(inside)) < 0.3
    return [line.buffer(3.0, cap_style="flat") for line, keep in zip(inside, chosen, strict=True) if keep]


def _assign(pieces: list[BaseGeometry], region: Region, rng: np.random.Generator) -> list[int]:
    """Classes of one half's pieces: a village where it stands, forest in patches, the rest fields."""
    xy = np.array([(piece.centroid.x, piece.centroid.y) for piece in pieces])
    area = np.array([piece.area for piece in pieces])
    x0, y0 = xy.min(axis=0)
    extent = np.ptp(xy, axis=0)
    classes = np.full(len(pieces), -1)

    village = np.array([x0, y0]) + rng.uniform(0.25, 0.75, 2) * extent
    hamlets = rng.random(len(pieces)) < 0.03
    nearness = -np.hypot(*(xy - village).T) / region.block_m + 4.0 * hamlets
    _take(classes, nearness, area, BUILT_SHARE, BUILT)

    woods = _field_at(xy, region, 0.9 * region.block_m, rng) + 0.4 * rng.standard_normal(len(pieces))
    woods -= 2.0 * np.exp(-np.hypot(*(xy - village).T) / region.block_m)
    stands = _take(classes, woods, area, FOREST_SHARE, BROADLEAF)
    conifers = _field_at(xy, region, 0.5 * region.block_m, rng) + 0.5 * rng.standard_normal(len(pieces))
    share = CONIFER_SHARE_OF_FOREST * area[stands].sum() / area.sum()
    conifers[~stands] = -np.inf
    classes[stands] = -1
    _take(classes, conifers, area, share, CONIFER)
    classes[stands & (classes < 0)] = BROADLEAF

    farmland = area[classes < 0].sum() / area.sum()
    for crop, part in FARM_SHARES.items():
        if crop == GRASS:
            classes[classes < 0] = GRASS
        else:
            _take(classes, rng.random(len(pieces)), area, part * farmland, crop)
    return [int(value) for value in classes]


def _take(
    classes: NDArray[np.int64], score: NDArray[np.float64], area: NDArray[np.float64], share: float, value: int
) -> NDArray[np.bool_]:
    """Give ``value`` to the unassigned pieces of highest score until they cover ``share`` of the area; at least two."""
    order = [i for i in np.argsort(-score, kind="stable") if classes[i] < 0 and np.isfinite(score[i])]
    covered = np.cumsum(area[order]) / area.sum()
    n = max(2, int(np.searchsorted(covered, share)) + 1) if order else 0
    chosen = np.zeros(len(classes), bool)
    chosen[order[:n]] = True
    classes[chosen] = value
    return chosen


def _field_at(xy: NDArray[np.float64], region: Region, scale_m: float, rng: np.random.Generator) -> NDArray[np.float64]:
    cell_m = 50.0
    rows, cols = int(region.height_m / cell_m) + 1, int(region.width_m / cell_m) + 1
    field = smooth_field((rows, cols), scale_m / cell_m / 2, rng)
    col = np.clip(((xy[:, 0] - LEFT_M) / cell_m).astype(int), 0, cols - 1)
    row = np.clip(((TOP_M - xy[:, 1]) / cell_m).astype(int), 0, rows - 1)
    return np.asarray(field[row, col], np.float64)


def _shares(
    polygons: list[BaseGeometry], region: Region
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Share of every unit in every 10 m pixel, from a rendering at 2.5 m; later polygons lie on top."""
    step = PIXEL_M / OVERSAMPLE
    fine = rasterio.features.rasterize(
        ((polygon, index + 1) for index, polygon in enumerate(polygons)),
        out_shape=(region.rows * OVERSAMPLE, region.cols * OVERSAMPLE),
        transform=Affine(step, 0, LEFT_M, 0, -step, TOP_M),
        dtype="int32",
    )
    gaps = fine == 0
    if gaps.any():
        # Slivers between polygons that were cut apart: they belong to the nearest unit.
        from scipy import ndimage

        nearest = ndimage.distance_transform_edt(gaps, return_distances=False, return_indices=True)
        fine = fine[tuple(nearest)]
    n_units = len(polygons)
    pixel = np.arange(region.rows * region.cols).reshape(region.rows, region.cols)
    pixel = pixel.repeat(OVERSAMPLE, axis=0).repeat(OVERSAMPLE, axis=1)
    key, count = np.unique(pixel.ravel() * n_units + (fine.ravel().astype(np.int64) - 1), return_counts=True)
    return key // n_units, key % n_units, (count / OVERSAMPLE**2).astype(np.float32)


def _majority(
    pixel: NDArray[np.int64], class_index: NDArray[np.int64], weight: NDArray[np.float32], region: Region
) -> NDArray[np.uint8]:
    n = region.rows * region.cols
    shares = np.zeros((n, len(CLASSES)), np.float32)
    np.add.at(shares, (pixel, class_index), weight)
    return np.asarray(shares.argmax(axis=1), np.uint8).reshape(region.rows, region.cols)
