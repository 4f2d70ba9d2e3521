"""Burning labelled geometries into a grid.

Rules, so that the result depends on the labels alone and not on the order of a file or on how the area was cut:

- A polygon labels the pixels whose centre lies in it (``centre``), or every pixel it touches (``all_touched``).
- Where polygons overlap, the smaller one wins (detail lies on top of background); equal areas: the higher class index,
  then the geometry's bytes.
- A point labels the pixel that it lies in and wins over polygons. Points of different classes in one pixel contradict
  each other: the pixel gets no label, and is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import shapely
from rasterio.features import geometry_mask, rasterize
from shapely.geometry.base import BaseGeometry

from landcover_cli.errors import InputError

if TYPE_CHECKING:
    from landcover_cli.core.grid import GeoBox

Rule = Literal["centre", "all_touched"]
_Polygon = tuple[BaseGeometry, int, float]


@dataclass(frozen=True)
class Burnt:
    """Labels on a grid.

    Attributes:
        index_yx: Class indices; nodata where there is no label.
        contradictory_px: Pixels left without a label because points in them disagree.
        repaired: Polygons that crossed themselves and were taken apart (even-odd rule).
        weight_yx: What each pixel's label counts, float32; None where no weights were given.
        too_small: Polygons within the grid that hold no pixel centre and so label nothing (rule ``centre``).
    """

    index_yx: np.ndarray
    contradictory_px: int
    repaired: int
    weight_yx: np.ndarray | None = None
    too_small: int = 0


def burn(
    geometries: Sequence[BaseGeometry],
    indices: Sequence[int],
    geobox: GeoBox,
    *,
    nodata: int,
    dtype: str,
    rule: Rule = "centre",
    weights: Sequence[float] | None = None,
    what: str = "labels",
) -> Burnt:
    """Class indices of labelled polygons and points on a north-up grid.

    Args:
        geometries: Polygons and points (multi-geometries and collections of them) in the grid's CRS.
        indices: Class index of each.
        geobox: The grid.
        nodata: Value where there is no label.
        dtype: ``uint8`` or ``uint16``.
        rule: Which pixels a polygon labels.
        weights: What each geometry's label counts; None for all alike. Of points of one class in a pixel the greatest.
        what: Name for messages.

    Raises:
        InputError: A line among the geometries.
    """
    polygons, points, repaired = _sorted_out(geometries, indices, weights or [1.0] * len(indices), what)
    out: np.ndarray = np.full(tuple(geobox.shape), nodata, dtype)
    weight_yx = None if weights is None else np.ones(out.shape, np.float32)
    if polygons:
        ordered = _in_order(polygons)
        layers = [(out, 1)] if weight_yx is None else [(out, 1), (weight_yx, 2)]
        for layer, column in layers:
            rasterize(
                [(item[0], item[column]) for item in ordered],
                out=layer,
                transform=geobox.affine,
                all_touched=rule == "all_touched",
            )
    contradictory = _burn_points(points, geobox, out, nodata, weight_yx)
    too_small = _without_centre([item[0] for item in polygons], geobox) if rule == "centre" else 0
    return Burnt(out, contradictory, repaired, weight_yx, too_small)


def _without_centre(polygons: Sequence[BaseGeometry], geobox: GeoBox) -> int:
    """How many polygons lie within the grid and hold no pixel centre. Only small ones are looked at: few centres in
    their bounds."""
    if not polygons:
        return 0
    shapes = np.array(polygons, object)
    to_pixel = ~geobox.affine
    left, bottom, right, top = shapely.bounds(shapes).T
    # Centres lie at whole numbers.
    col0, col1 = to_pixel.a * left + to_pixel.c - 0.5, to_pixel.a * right + to_pixel.c - 0.5
    row0, row1 = to_pixel.e * top + to_pixel.f - 0.5, to_pixel.e * bottom + to_pixel.f - 0.5
    height, width = geobox.shape
    within = (col0 >= -0.5) & (col1 <= width - 0.5) & (row0 >= -0.5) & (row1 <= height - 0.5)
    columns, rows = np.floor(col1) - np.ceil(col0) + 1, np.floor(row1) - np.ceil(row0) + 1
    count = 0
    for i in np.flatnonzero(within & (columns * rows <= _FEW_CENTRES)).tolist():
        x, y = np.meshgrid(np.arange(np.ceil(col0[i]), col1[i] + 1), np.arange(np.ceil(row0[i]), row1[i] + 1))
        centre_x = geobox.affine.c + (x + 0.5) * geobox.affine.a
        centre_y = geobox.affine.f + (y + 0.5) * geobox.affine.e
        count += not shapely.intersects_xy(shapes[i], centre_x, centre_y).any()
    return count


_FEW_CENTRES = 64


def inside(geometry: BaseGeometry, geobox: GeoBox) -> np.ndarray:
    """Which pixels of a grid have their centre in an area (bool, the grid's shape)."""
    shape = tuple(geobox.shape)
    if geometry.is_empty:
        return np.zeros(shape, bool)
    mask: np.ndarray = geometry_mask([geometry], out_shape=shape, transform=geobox.affine, invert=True)
    return mask


def _sorted_out(
    geometries: Sequence[BaseGeometry], indices: Sequence[int], weights: Sequence[float], what: str
) -> tuple[list[_Polygon], list[tuple[float, float, int, float]], int]:
    """(polygons with index and weight, points as x, y, index, weight, number of polygons repaired)."""
    polygons: list[_Polygon] = []
    points: list[tuple[float, float, int, float]] = []
    repaired = 0
    for geometry, index, weight in zip(geometries, indices, weights, strict=True):
        for part in shapely.get_parts(geometry) if geometry.geom_type == "GeometryCollection" else [geometry]:
            if part.is_empty:
                continue
            if part.geom_type in {"Polygon", "MultiPolygon"}:
                if not part.is_valid:
                    part = shapely.make_valid(part)  # noqa: PLW2901
                    repaired += 1
                if part.area > 0:
                    polygons.append((part, index, weight))
            elif part.geom_type in {"Point", "MultiPoint"}:
                points.extend((x, y, index, weight) for x, y in shapely.get_coordinates(part))
            else:
                raise InputError(
                    f"{what}: a {part.geom_type} has no pixels of its own",
                    remedy="label with polygons or points (buffer lines first)",
                )
    return polygons, points, repaired


def _in_order(polygons: list[_Polygon]) -> list[_Polygon]:
    """Background first: larger areas before smaller ones, ties settled without the file's order."""
    return sorted(polygons, key=lambda item: (-item[0].area, item[1], shapely.normalize(item[0]).wkb, item[2]))


def _burn_points(
    points: list[tuple[float, float, int, float]],
    geobox: GeoBox,
    out: np.ndarray,
    nodata: int,
    weight_yx: np.ndarray | None,
) -> int:
    """Write points over polygons; returns the number of contradictory pixels.

    A pixel owns its left and its upper edge, so that no point lies in two pixels or in two tiles.
    """
    if not points:
        return 0
    x, y, index, weight = (np.array(column) for column in zip(*points, strict=True))
    to_pixel = ~geobox.affine
    col = np.floor(to_pixel.a * x + to_pixel.c).astype(np.int64)
    row = np.floor(to_pixel.e * y + to_pixel.f).astype(np.int64)
    height, width = geobox.shape
    inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
    flat, label, weight = (row * width + col)[inside], index[inside].astype(out.dtype), weight[inside]
    order = np.lexsort((label, flat))
    flat, label, weight = flat[order], label[order], weight[order]
    pixels, first = np.unique(flat, return_index=True)
    if not len(pixels):
        return 0
    last = np.append(first[1:], len(flat)) - 1
    agree = label[first] == label[last]
    out.reshape(-1)[pixels] = np.where(agree, label[first], nodata)
    if weight_yx is not None:
        weight_yx.reshape(-1)[pixels] = np.maximum.reduceat(weight, first)
    return int((~agree).sum())
