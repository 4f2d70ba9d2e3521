"""The map and its terrain in Earth-centred coordinates, and how the satellite sees places of it.

On purpose this shares no code with `landcover_cli.sar`: the two check each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer
from scipy import ndimage
from scipy.interpolate import RectBivariateSpline

from landcover_cli.demo.sentinel1_orbit import FloatArray, Track

# Heights above the ellipsoid at eastings and northings of the map's CRS.
Heights = Callable[[FloatArray, FloatArray], FloatArray]

_A_M = 6_378_137.0
_F = 1.0 / 298.257223563
_E2 = _F * (2.0 - _F)
_B_M = _A_M * (1.0 - _F)
_EXACT_NODE_M = 200.0


@dataclass(frozen=True)
class MapGrid:
    """The map that holds the truth.

    Attributes:
        epsg: A metric CRS.
        left_m: Left edge.
        top_m: Upper edge.
        rows: Height in pixels.
        cols: Width in pixels.
        pixel_m: Pixel size.
    """

    epsg: int
    left_m: float
    top_m: float
    rows: int
    cols: int
    pixel_m: float = 10.0

    @property
    def bounds_m(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top)."""
        return (
            self.left_m,
            self.top_m - self.rows * self.pixel_m,
            self.left_m + self.cols * self.pixel_m,
            self.top_m,
        )


@dataclass(frozen=True, eq=False)
class Seen:
    """How the satellite sees places: time, slant range and the unit vector towards it."""

    time_s: FloatArray
    slant_m: FloatArray
    look: FloatArray


class LocalOrbit:
    """The orbit around one time as one polynomial of degree 5, and what it sees.

    Within 4 s of the middle the remainder, r·(n·t)⁶/6!, is below 1e-10 m.
    """

    def __init__(self, orbit: Track, middle_s: float, half_s: float) -> None:
        self.middle_s = middle_s
        self.half_s = half_s
        nodes = np.cos(np.pi * (np.arange(12) + 0.5) / 12)
        position = orbit.position_m(middle_s + half_s * nodes)
        fit = [np.polynomial.Chebyshev.fit(nodes, position[:, k], 5, domain=[-1, 1]) for k in range(3)]
        self.power = np.stack([f.convert(kind=np.polynomial.Polynomial).coef for f in fit], axis=1)

    def see(self, place_m: FloatArray) -> Seen:
        """[..., 3] Earth-centred places → how they are seen, by two Newton steps from the middle.

        One second away the first step leaves 6e-5 s, the second 2e-13 s.
        """
        u = np.zeros(place_m.shape[:-1])
        for _ in range(2):
            position, speed, change = (self._at(u, order) for order in range(3))
            look = place_m - position
            u = u + dot(look, speed) / (dot(speed, speed) - dot(look, change))
        look = self._at(u, 0) - place_m
        slant = np.sqrt(dot(look, look))
        return Seen(self.middle_s + self.half_s * u, slant, look / slant[..., None])

    def _at(self, u: FloatArray, order: int) -> FloatArray:
        power = np.polynomial.polynomial.polyder(self.power, order) if order else self.power
        out: FloatArray = np.zeros((*u.shape, 3)) + power[-1]
        for row in power[-2::-1]:
            out *= u[..., None]
            out += row
        return out


def dot(a: FloatArray, b: FloatArray) -> FloatArray:
    """Scalar product over the last axis."""
    return np.asarray(np.einsum("...k,...k->...", a, b))


def lonlat(epsg: int, east_m: FloatArray, north_m: FloatArray) -> tuple[FloatArray, FloatArray]:
    """WGS 84 longitude and latitude of map coordinates."""
    lon, lat = Transformer.from_crs(epsg, 4326, always_xy=True).transform(east_m, north_m)
    return np.asarray(lon, np.float64), np.asarray(lat, np.float64)


def ecef(lon_deg: FloatArray, lat_deg: FloatArray, height_m: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Earth-centred position and upward normal, [..., 3] each."""
    lon, lat = np.radians(lon_deg), np.radians(lat_deg)
    cos = np.cos(lat)
    up = np.stack([cos * np.cos(lon), cos * np.sin(lon), np.sin(lat)], axis=-1)
    curve = _A_M / np.sqrt(1.0 - _E2 * up[..., 2] ** 2)
    along = np.stack([curve + height_m, curve + height_m, curve * (1.0 - _E2) + height_m], axis=-1)
    return np.asarray(along * up), np.asarray(up)


def geodetic(position_m: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Longitude, latitude and height above the ellipsoid of Earth-centred positions [..., 3]."""
    x, y, z = np.moveaxis(position_m, -1, 0)
    lon, lat, height = Transformer.from_crs(4978, 4979, always_xy=True).transform(x, y, z)
    return np.asarray(lon), np.asarray(lat), np.asarray(height)


def ground_point(orbit: Track, time_s: FloatArray, slant_m: FloatArray, height_m: FloatArray | float) -> FloatArray:
    """The place on the right of the track at a zero-Doppler time, a slant range and a height.

    The height is that of an ellipsoid with both axes longer by it; the geodetic height of the result is within
    centimetres of it.

    Args:
        orbit: The orbit.
        time_s: Seconds since the ascending node, shape [...].
        slant_m: Slant ranges, same shape.
        height_m: Heights, a shape that broadcasts with them.

    Returns:
        [..., 3] Earth-centred metres.
    """
    position, velocity = orbit.state(time_s)
    ahead = velocity / np.linalg.norm(velocity, axis=-1, keepdims=True)
    down = -position / np.linalg.norm(position, axis=-1, keepdims=True)
    down -= dot(down, ahead)[..., None] * ahead
    down /= np.linalg.norm(down, axis=-1, keepdims=True)
    right = np.cross(down, ahead)
    # In the zero-Doppler plane only the angle from `down` is free: Newton on the ellipsoid's equation in it.
    angle = np.full(np.shape(time_s), np.radians(33.0))
    axes = np.stack(np.broadcast_arrays(*(np.asarray(a + height_m) for a in (_A_M, _A_M, _B_M))), axis=-1)
    for _ in range(12):
        cos, sin = np.cos(angle)[..., None], np.sin(angle)[..., None]
        place = position + slant_m[..., None] * (cos * down + sin * right)
        turn = slant_m[..., None] * (cos * right - sin * down)
        angle = angle - ((place**2 / axes**2).sum(-1) - 1.0) / (2.0 * place * turn / axes**2).sum(-1)
    cos, sin = np.cos(angle)[..., None], np.sin(angle)[..., None]
    return np.asarray(position + slant_m[..., None] * (cos * down + sin * right))


def surface(
    grid: MapGrid, heights: Heights, east: FloatArray, north: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Position, normal and height on the lattice of eastings × northings; north falls with the row."""
    east_nodes = np.linspace(east[0], east[-1], max(int(np.ptp(east) / _EXACT_NODE_M), 4) + 1)
    north_nodes = np.linspace(north[-1], north[0], max(int(np.ptp(north) / _EXACT_NODE_M), 4) + 1)
    # Map projections are smooth: a cubic spline through exact nodes is right to 1e-6 m, and ten times as quick.
    exact = lonlat(grid.epsg, *np.meshgrid(east_nodes, north_nodes))
    lon, lat = (RectBivariateSpline(north_nodes, east_nodes, v)(north[::-1], east)[::-1] for v in exact)
    yy, xx = np.broadcast_arrays(north[:, None], east[None, :])
    height = np.asarray(heights(xx, yy), np.float64)
    position, up = ecef(lon, lat, height)
    return position, up, height


def dem_heights(values_m: NDArray[Any], transform: Any, crs: str, epsg: int) -> Heights:
    """Heights by bilinear interpolation in a raster, those of its rim continued outside.

    Args:
        values_m: [rows, cols] heights above the ellipsoid at pixel centres.
        transform: Affine of the raster, north-up.
        crs: Its CRS, any text that pyproj reads.
        epsg: CRS of the coordinates that will be asked for.
    """
    to_dem = Transformer.from_crs(epsg, crs, always_xy=True)
    grid = np.asarray(values_m, np.float64)

    def at(east_m: FloatArray, north_m: FloatArray) -> FloatArray:
        x, y = to_dem.transform(east_m, north_m)
        index = np.stack([(np.asarray(y) - transform.f) / transform.e, (np.asarray(x) - transform.c) / transform.a])
        return np.asarray(ndimage.map_coordinates(grid, index - 0.5, order=1, mode="nearest"))

    return at
