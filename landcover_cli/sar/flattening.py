"""Radiometric terrain flattening: how much ground each radar pixel really holds, seen from the satellite.

Every cell of the terrain grid is a facet of two triangles. Its area, projected on the plane normal to the look
direction, is deposited at its place in the radar image; gamma nought is the radar brightness times its reference area
over the sum of what was deposited.

Source: D. Small, Flattening Gamma: Radiometric Terrain Correction for SAR Imagery, IEEE TGRS 49(8), 2011, doi
10.1109/TGRS.2011.2120616, eqs. 8-13. Beyond it: a facet longer than half a radar pixel is deposited in parts, so that
slopes facing away, which spread over many pixels, show no stripes; and a ground-range image's slant spacing follows
its own range polynomial.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from landcover_cli.sar.geocoding import RadarCoordinates, RadarModel, ground_position, satellite_position
from landcover_cli.sar.ground import WGS84_E2
from landcover_cli.sar.rowkernels import ORBIT_STEP_S, ROW_PX, piece_stretch

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]

MAX_PART_PX = 0.5
MAX_PARTS = 64
MIN_AREA_SHARE = 0.05
COARSE_PX = 64

# Scratch of one row of facets: corners above (x, y, z) and below, then times and areas of the facets.
_STRIDE = ROW_PX + 8
_TIME, _AREA, _SLOTS = 6, 7, 8


@dataclass(frozen=True, slots=True, eq=False)
class AreaPatch:
    """Illuminated area that one piece of terrain puts into the radar image.

    Attributes:
        line0: First line of the patch.
        pixel0: First pixel of the patch.
        area_m2: [ny, nx] gamma area, float64.
    """

    line0: int
    pixel0: int
    area_m2: FloatArray


def gamma_area(
    model: RadarModel,
    position_m: FloatArray,
    coordinates: RadarCoordinates,
    in_shadow: NDArray[np.bool_] | None = None,
    window: tuple[int, int, int, int] | None = None,
) -> AreaPatch:
    """Deposit the facets between a grid of places.

    Args:
        model: The product.
        position_m: [h, w, 3] Earth-centred corners of the facets, rows southwards, columns eastwards.
        coordinates: Line, pixel and time of the corners.
        in_shadow: [h, w] corners that the terrain hides; a facet counts by the share of its corners that are lit.
        window: (first line, end, first pixel, end) to keep; the whole reach of the facets if None.

    Returns:
        The patch; of size zero where no facet falls into the window.
    """
    line, pixel = coordinates.line, coordinates.pixel
    box = _reach(line, pixel)
    if box is not None and window is not None:
        box = max(box[0], window[0]), min(box[1], window[1]), max(box[2], window[2]), min(box[3], window[3])
    if box is None or box[0] >= box[1] or box[2] >= box[3]:
        return AreaPatch(0, 0, np.zeros((0, 0)))
    area = np.zeros((box[1] - box[0], box[3] - box[2]))
    shadow = np.zeros(line.shape, dtype=np.bool_) if in_shadow is None else np.ascontiguousarray(in_shadow)
    _deposit(
        model.orbit,
        model.orbit_start_s,
        np.ascontiguousarray(position_m),
        line,
        pixel,
        coordinates.time_s,
        shadow,
        (box[0], box[2]),
        area,
    )
    return AreaPatch(box[0], box[2], area)


def mark_unknown(
    patch: AreaPatch,
    places: tuple[RadarCoordinates, RadarCoordinates],
    unknown: NDArray[np.bool_],
    window: tuple[int, int, int, int],
) -> tuple[AreaPatch, int]:
    """Make the area unknown wherever facets without a height may have put some of theirs.

    Args:
        patch: Areas of the facets that are known.
        places: Coordinates of the corners at the lowest and at the highest height that they may have; for corners that
            are known, their own.
        unknown: [h, w] corners without a height.
        window: (first line, end, first pixel, end) to keep.

    Returns:
        The patch, enlarged where needed, NaN in every pixel that such a facet may reach, and how many of these facets
        reach the window. NaN stays in whatever is added to it, in any order.
    """
    lacking = unknown[:-1, :-1] | unknown[:-1, 1:] | unknown[1:, :-1] | unknown[1:, 1:]
    lines = _facet_spans([place.line for place in places])[:, lacking]
    pixels = _facet_spans([place.pixel for place in places])[:, lacking]
    spans = np.concatenate([lines, pixels])
    spans = spans[:, np.isfinite(spans).all(0)]
    # A bilinear deposit touches the pixel before a place and the one behind it.
    low, high = np.floor(spans[[0, 2]]), np.floor(spans[[1, 3]]) + 2.0
    first = np.maximum(low, np.array([[window[0]], [window[2]]])).astype(np.int64)
    end = np.minimum(high, np.array([[window[1]], [window[3]]])).astype(np.int64)
    reaching = (first < end).all(0)
    if not reaching.any():
        return patch, 0
    first, end = first[:, reaching], end[:, reaching]
    box = [int(first[0].min()), int(end[0].max()), int(first[1].min()), int(end[1].max())]
    ny, nx = patch.area_m2.shape
    if ny:
        box = [min(box[0], patch.line0), max(box[1], patch.line0 + ny), min(box[2], patch.pixel0), box[3]]
        box[3] = max(box[3], patch.pixel0 + nx)
    area = np.zeros((box[1] - box[0], box[3] - box[2]))
    if ny:
        y, x = patch.line0 - box[0], patch.pixel0 - box[2]
        area[y : y + ny, x : x + nx] = patch.area_m2
    _blank(first, end, (box[0], box[2]), area)
    return AreaPatch(box[0], box[2], area), int(reaching.sum())


def _facet_spans(corners: list[FloatArray]) -> FloatArray:
    """[2, h - 1, w - 1] least and largest coordinate among the corners of each facet; NaN if one is not seen."""
    views = [c[i : i + c.shape[0] - 1, j : j + c.shape[1] - 1] for c in corners for i in (0, 1) for j in (0, 1)]
    return np.stack([np.minimum.reduce(views), np.maximum.reduce(views)])


def reference_areas(model: RadarModel, line: FloatArray, pixel: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Areas of a pixel of flat ground: of beta nought (in the slant-range plane), and of gamma nought.

    Aβ is azimuth spacing × slant-range spacing, the spacing being the one that the footprint really moves from line to
    line. The annotated azimuth spacing is nominal (10.0 m for IW GRD lines that lie 10.1 m apart): with it, flat ground
    would come out 0.05 dB too bright. Both areas are therefore measured on the ellipsoid: the ground that one line and
    one pixel span, times the sine and the cosine of its incidence angle.

    Args:
        model: The product.
        line: Lines, any shape.
        pixel: Pixels, a shape that broadcasts with it.

    Returns:
        Aβ and Aγ = Aβ / tan θ in square metres, broadcast shape.
    """
    line, pixel = np.broadcast_arrays(np.asarray(line, np.float64), np.asarray(pixel, np.float64))
    along = ground_position(model, line + 0.5, pixel) - ground_position(model, line - 0.5, pixel)
    across = ground_position(model, line, pixel + 0.5) - ground_position(model, line, pixel - 0.5)
    place = ground_position(model, line, pixel)
    look = satellite_position(model, model.first_line_time_s + line * model.line_interval_s) - place
    normal = place / np.array([1.0, 1.0, 1.0 - WGS84_E2])
    cosine = (look * normal).sum(-1) / (np.linalg.norm(look, axis=-1) * np.linalg.norm(normal, axis=-1))
    ground = np.linalg.norm(np.cross(along, across), axis=-1)
    return np.asarray(ground * np.sqrt(1.0 - cosine**2)), np.asarray(ground * cosine)


def area_ratio(model: RadarModel, area_m2: FloatArray, line0: int, pixel0: int) -> Float32Array:
    """What beta nought is multiplied with to become terrain-flattened gamma nought.

    Args:
        model: The product.
        area_m2: [ny, nx] sum of the gamma areas of all facets.
        line0: First line.
        pixel0: First pixel.

    Returns:
        [ny, nx] float32 Aβ / ΣAγ; NaN where the area is under 5 % of that of flat ground (shadow, or no terrain), or
        NaN itself (`mark_unknown`).
    """
    ny, nx = area_m2.shape
    out = np.empty((ny, nx), dtype=np.float32)
    # Reference areas change slowly: on every 64th pixel, at absolute positions, linear between.
    rows = np.arange(line0 // COARSE_PX, (line0 + ny - 1) // COARSE_PX + 2, dtype=np.float64)
    cols = np.arange(pixel0 // COARSE_PX, (pixel0 + nx - 1) // COARSE_PX + 2, dtype=np.float64)
    beta, gamma = reference_areas(model, COARSE_PX * rows[:, None], COARSE_PX * cols[None, :])
    _ratio(area_m2, beta, gamma, (line0, pixel0), out)
    return out


def flatten(beta0: Float32Array, model: RadarModel, area_m2: FloatArray, line0: int, pixel0: int) -> Float32Array:
    """Terrain-flattened gamma nought.

    Args:
        beta0: [ny, nx] radar brightness, linear power, NaN for nodata.
        model: The product.
        area_m2: [ny, nx] sum of the gamma areas.
        line0: First line of both.
        pixel0: First pixel of both.

    Returns:
        [ny, nx] float32 linear power, NaN for nodata and where `area_ratio` refuses.
    """
    return np.asarray(beta0 * area_ratio(model, area_m2, line0, pixel0), dtype=np.float32)


def _reach(line: FloatArray, pixel: FloatArray) -> tuple[int, int, int, int] | None:
    """Lines and pixels (first, end) that bilinear deposits of these corners can touch."""
    finite = np.isfinite(line) & np.isfinite(pixel)
    if not finite.any():
        return None
    lines, pixels = line[finite], pixel[finite]
    return (
        math.floor(float(lines.min())),
        math.floor(float(lines.max())) + 2,
        math.floor(float(pixels.min())),
        math.floor(float(pixels.max())) + 2,
    )


@numba.njit(nogil=True, cache=True)
def _blank(first: NDArray[np.int64], end: NDArray[np.int64], origin: tuple[int, int], out: FloatArray) -> None:
    for n in range(first.shape[1]):
        for i in range(first[0, n] - origin[0], end[0, n] - origin[0]):
            for j in range(first[1, n] - origin[1], end[1, n] - origin[1]):
                out[i, j] = np.nan


@numba.njit(nogil=True, cache=True)
def _deposit(
    orbit: FloatArray,
    start_s: float,
    position: FloatArray,
    line: FloatArray,
    pixel: FloatArray,
    time_s: FloatArray,
    shadow: NDArray[np.bool_],
    origin: tuple[int, int],
    out: FloatArray,
) -> None:
    columns = line.shape[1] - 1
    scratch = np.empty(_SLOTS * _STRIDE)
    for first in range(0, columns, ROW_PX):
        count = min(ROW_PX, columns - first)
        times = scratch[_TIME * _STRIDE : _TIME * _STRIDE + count]
        for i in range(line.shape[0] - 1):
            _corners(position[i, first : first + count + 1], position[i + 1, first : first + count + 1], scratch)
            for c in range(count):
                times[c] = 0.5 * (time_s[i, first + c] + time_s[i + 1, first + c + 1])
            begin = 0
            while begin < count:
                piece, end = piece_stretch(orbit, start_s, times, begin)
                _facet_areas(orbit[piece], start_s + piece * ORBIT_STEP_S, end - begin, scratch[begin:])
                begin = end
            for c in range(count):
                area = scratch[_AREA * _STRIDE + c]
                j = first + c
                hidden = int(shadow[i, j]) + int(shadow[i, j + 1]) + int(shadow[i + 1, j]) + int(shadow[i + 1, j + 1])
                area *= 1.0 - 0.25 * hidden
                if area > 0.0:
                    _spread(line, pixel, i, j, area, origin, out)


@numba.njit(nogil=True, cache=True)
def _corners(above, below, scratch):  # type: ignore[no-untyped-def]
    """Two rows of positions, one slot per axis."""
    for n in range(3):
        for c in range(above.shape[0]):
            scratch[n * _STRIDE + c] = above[c, n]
            scratch[(3 + n) * _STRIDE + c] = below[c, n]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _facet_areas(p, start_s, count, s):  # type: ignore[no-untyped-def]
    """Area of the two triangles of each facet, projected on the plane normal to the look direction, if lit."""
    x0, x1, x2, x3 = p[0, 0], p[0, 1], p[0, 2], p[0, 3]
    y0, y1, y2, y3 = p[1, 0], p[1, 1], p[1, 2], p[1, 3]
    z0, z1, z2, z3 = p[2, 0], p[2, 1], p[2, 2], p[2, 3]
    for c in range(count):
        u = s[_TIME * _STRIDE + c] - start_s
        ax, ay, az = s[c], s[_STRIDE + c], s[2 * _STRIDE + c]
        bx, by, bz = s[c + 1], s[_STRIDE + c + 1], s[2 * _STRIDE + c + 1]
        ex, ey, ez = s[3 * _STRIDE + c], s[4 * _STRIDE + c], s[5 * _STRIDE + c]
        cx, cy, cz = s[3 * _STRIDE + c + 1], s[4 * _STRIDE + c + 1], s[5 * _STRIDE + c + 1]
        lx = x0 + u * (x1 + u * (x2 + u * x3)) - 0.5 * (ax + cx)
        ly = y0 + u * (y1 + u * (y2 + u * y3)) - 0.5 * (ay + cy)
        lz = z0 + u * (z1 + u * (z2 + u * z3)) - 0.5 * (az + cz)
        norm = 0.5 / math.sqrt(lx * lx + ly * ly + lz * lz)
        # South × east points up.
        sx, sy, sz, tx, ty, tz = ex - ax, ey - ay, ez - az, bx - ax, by - ay, bz - az
        first = lx * (sy * tz - sz * ty) + ly * (sz * tx - sx * tz) + lz * (sx * ty - sy * tx)
        sx, sy, sz, tx, ty, tz = bx - cx, by - cy, bz - cz, ex - cx, ey - cy, ez - cz
        second = lx * (sy * tz - sz * ty) + ly * (sz * tx - sx * tz) + lz * (sx * ty - sy * tx)
        first = first if first > 0.0 else 0.0
        second = second if second > 0.0 else 0.0
        s[_AREA * _STRIDE + c] = norm * (first + second)


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _spread(line, pixel, i, j, area, origin, out):  # type: ignore[no-untyped-def]
    """Deposit a facet, cut into parts no longer than `MAX_PART_PX`."""
    y00, y01, y10, y11 = line[i, j], line[i, j + 1], line[i + 1, j], line[i + 1, j + 1]
    x00, x01, x10, x11 = pixel[i, j], pixel[i, j + 1], pixel[i + 1, j], pixel[i + 1, j + 1]
    if np.isnan(y00 + y01 + y10 + y11 + x00 + x01 + x10 + x11):
        return
    low_y, high_y = min(y00, y01, y10, y11) - origin[0], max(y00, y01, y10, y11) - origin[0]
    low_x, high_x = min(x00, x01, x10, x11) - origin[1], max(x00, x01, x10, x11) - origin[1]
    # With half a pixel to spare for the rounding of parts at a facet's rim.
    inside = low_y >= 0.5 and low_x >= 0.5 and high_y < out.shape[0] - 1.5 and high_x < out.shape[1] - 1.5
    wide = max(abs(y01 - y00), abs(x01 - x00), abs(y11 - y10), abs(x11 - x10))
    tall = max(abs(y10 - y00), abs(x10 - x00), abs(y11 - y01), abs(x11 - x01))
    nu = min(max(math.ceil(wide / MAX_PART_PX), 1), MAX_PARTS)
    nv = min(max(math.ceil(tall / MAX_PART_PX), 1), MAX_PARTS)
    share, step_u, step_v = area / (nu * nv), 1.0 / nu, 1.0 / nv
    for b in range(nv):
        v = (b + 0.5) * step_v
        ya, xa = y00 + v * (y10 - y00), x00 + v * (x10 - x00)
        dy, dx = y01 + v * (y11 - y01) - ya, x01 + v * (x11 - x01) - xa
        for a in range(nu):
            u = (a + 0.5) * step_u
            if inside:
                _add_inside(out, ya + u * dy, xa + u * dx, origin, share)
            else:
                _add(out, ya + u * dy, xa + u * dx, origin, share)


@numba.njit(nogil=True, cache=True, inline="always")
def _add_inside(out, y, x, origin, share):  # type: ignore[no-untyped-def]
    """Bilinear deposit on four pixels that are known to be there."""
    fi, fj = math.floor(y), math.floor(x)
    v, u = y - fi, x - fj
    # Unsigned: the compiler need not think of counting from the end.
    i, j, one = np.uint64(fi - origin[0]), np.uint64(fj - origin[1]), np.uint64(1)
    low, high = share * (1.0 - v), share * v
    out[i, j] += low * (1.0 - u)
    out[i, j + one] += low * u
    out[i + one, j] += high * (1.0 - u)
    out[i + one, j + one] += high * u


@numba.njit(nogil=True, cache=True, inline="always")
def _add(out, y, x, origin, share):  # type: ignore[no-untyped-def]
    """The same, where what falls outside the window is dropped."""
    fi, fj = math.floor(y), math.floor(x)
    v, u = y - fi, x - fj
    i, j = int(fi) - origin[0], int(fj) - origin[1]
    for di in range(2):
        share_y = share * (v if di == 1 else 1.0 - v)
        for dj in range(2):
            p, q = i + di, j + dj
            if 0 <= p < out.shape[0] and 0 <= q < out.shape[1]:
                out[p, q] += share_y * (u if dj == 1 else 1.0 - u)


@numba.njit(nogil=True, cache=True)
def _ratio(area: FloatArray, beta: FloatArray, gamma: FloatArray, origin: tuple[int, int], out: Float32Array) -> None:
    nodes = np.empty((2, beta.shape[1]))
    for r in range(out.shape[0]):
        i = (origin[0] + r) // COARSE_PX - origin[0] // COARSE_PX
        v = ((origin[0] + r) % COARSE_PX) / COARSE_PX
        for j in range(nodes.shape[1]):
            nodes[0, j] = beta[i, j] + v * (beta[i + 1, j] - beta[i, j])
            nodes[1, j] = MIN_AREA_SHARE * (gamma[i, j] + v * (gamma[i + 1, j] - gamma[i, j]))
        first, j = 0, 0
        while first < out.shape[1]:
            begin = (origin[1] + first) % COARSE_PX
            count = min(COARSE_PX - begin, out.shape[1] - first)
            ends = nodes[0, j], nodes[0, j + 1], nodes[1, j], nodes[1, j + 1]
            _ratio_stretch(area[r, first : first + count], begin, ends, out[r, first : first + count])
            first, j = first + count, j + 1


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _ratio_stretch(area, begin, ends, out):  # type: ignore[no-untyped-def]
    """Pixels between two nodes: beta's reference area over the area, where that is enough."""
    beta, beta_end, least, least_end = ends
    for c in range(area.shape[0]):
        u = (begin + c) * (1.0 / COARSE_PX)
        enough = area[c] > 0.0 and area[c] >= least + u * (least_end - least)
        ratio = (beta + u * (beta_end - beta)) / area[c]
        out[c] = np.float32(ratio) if enough else np.float32(np.nan)
