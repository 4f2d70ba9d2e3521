"""Terrain flattening in plain numpy, with the simplifications of another programme to be switched on one by one.

sarsen 0.9.6 flattens a ground-range image by three rules of its own, read from its source and confirmed by its numbers:

- areas are summed up on a grid of its own: lines × slant ranges as far apart as the *ground* pixels of the image;
- each facet's four bilinear shares are looked up again at the corners of the facet's own cell, so that a place gets the
  sum over the whole cell that holds it, not a bilinear one. On a slope that faces away, where facets lie farther apart
  than cells, some cells then hold none at all: no place meets them and the mean over the map misses them;
- a cell is as long as the annotated azimuth spacing says, 10.0 m where lines lie 10.1 m apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from landcover_cli.sar.flattening import reference_areas
from landcover_cli.sar.geocoding import RadarCoordinates, RadarModel, satellite_position


@dataclass(frozen=True)
class Rules:
    """Which simplifications hold; none of them by default.

    Attributes:
        nominal_spacing: The annotated azimuth spacing instead of the one that the footprint moves by.
        whole_cells: The sum over the cell that holds a place instead of bilinear areas.
        slant_grid: Cells as long in slant range as the pixels are on the ground, instead of the image's own pixels.
    """

    nominal_spacing: bool = False
    whole_cells: bool = False
    slant_grid: bool = False


PEER = Rules(nominal_spacing=True, whole_cells=True, slant_grid=True)


def ratio_by(rules: Rules, model: RadarModel, position_m: np.ndarray, place: RadarCoordinates) -> np.ndarray:
    """[h, w] what beta nought at each place is multiplied with; NaN where no area is.

    Args:
        rules: Simplifications.
        model: A ground-range product.
        position_m: [h, w, 3] places; each is the middle of a facet.
        place: Their coordinates in the image.
    """
    area = facet_areas(model, position_m, place)
    beta = _reference(model, place, true_spacing=not rules.nominal_spacing)
    column = place.pixel
    if rules.slant_grid:
        column = (place.slant_m - model.near_range_m) / model.pixel_spacing_m
        beta = beta / model.slant_spacing_m(place.line, place.pixel) * model.pixel_spacing_m
    row0, col0 = int(np.floor(place.line.min())), int(np.floor(column.min()))
    i, j = np.floor(place.line).astype(int) - row0, np.floor(column).astype(int) - col0
    v, u = place.line - row0 - i, column - col0 - j
    shape = i.max() + 2, j.max() + 2
    if rules.whole_cells:
        cell = _summed(i, j, area, shape)[i, j]
        return np.divide(beta, cell, out=np.full(cell.shape, np.nan), where=cell > 0)
    corners = [(i + di, j + dj, (v if di else 1 - v) * (u if dj else 1 - u)) for di in (0, 1) for dj in (0, 1)]
    total = sum(_summed(p, q, area * share, shape) for p, q, share in corners)
    inverse = np.divide(1.0, total, out=np.full(shape, np.nan), where=np.asarray(total) > 0)
    return beta * sum(inverse[p, q] * share for p, q, share in corners)


def facet_areas(model: RadarModel, position_m: np.ndarray, place: RadarCoordinates) -> np.ndarray:
    """[h, w] area of the facet around each place, projected on the plane normal to the look direction."""
    look = satellite_position(model, place.time_s) - position_m
    look /= np.linalg.norm(look, axis=-1, keepdims=True)
    wide = position_m
    for axis in (0, 1):
        first, last = np.take(wide, [0, 1], axis), np.take(wide, [-1, -2], axis)
        before, after = (2 * np.take(e, [0], axis) - np.take(e, [1], axis) for e in (first, last))
        wide = np.concatenate([before, wide, after], axis)
    corner = 0.25 * (wide[1:, 1:] + wide[1:, :-1] + wide[:-1, 1:] + wide[:-1, :-1])
    south, east = np.diff(corner, axis=0), np.diff(corner, axis=1)
    normal = 0.5 * (np.cross(south[:, 1:], east[:-1]) + np.cross(south[:, :-1], east[1:]))
    return np.maximum((normal * look).sum(-1), 0.0)


def _reference(model: RadarModel, place: RadarCoordinates, *, true_spacing: bool) -> np.ndarray:
    if not true_spacing:
        return model.azimuth_spacing_m * model.slant_spacing_m(place.line, place.pixel)
    lines = np.linspace(place.line.min(), place.line.max(), 5)
    pixels = np.linspace(place.pixel.min(), place.pixel.max(), 65)
    beta, _ = reference_areas(model, lines[:, None], pixels[None, :])
    along = (place.line - lines[0]) / (lines[1] - lines[0])
    k = np.clip(along.astype(int), 0, len(lines) - 2)
    each = np.stack([np.interp(place.pixel, pixels, row) for row in beta])
    low, high = (np.take_along_axis(each, (k + n)[None], axis=0)[0] for n in (0, 1))
    return low + (along - k) * (high - low)


def _summed(row: np.ndarray, col: np.ndarray, weight: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    flat = np.bincount((row * shape[1] + col).ravel(), weights=weight.ravel(), minlength=shape[0] * shape[1])
    return flat.reshape(shape)
