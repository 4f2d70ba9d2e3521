"""From a map to the radar image, and back: the view of one relative orbit, the same for every date.

All facets of the ground together are one sparse matrix from map pixels to image pixels: a date then costs one product
of matrix and map, and foreshortening, layover and shadow come by themselves.

On purpose this shares no code with `landcover_cli.sar`: it computes forwards what the other computes backwards, from
the analytic orbit and exact ranges on the ellipsoid, so that the two check each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from landcover_cli.demo.sentinel1_facets import deposit, facet_edges
from landcover_cli.demo.sentinel1_ground import (
    Heights,
    LocalOrbit,
    MapGrid,
    dot,
    ecef,
    geodetic,
    ground_point,
    lonlat,
    surface,
)
from landcover_cli.demo.sentinel1_orbit import NODAL_PERIOD_S, Direction, FloatArray, Track, track
from landcover_cli.demo.sentinel1_ranges import LINE_INTERVAL_S, PIXEL_SPACING_M, RangeScale, range_scale
from landcover_cli.errors import UsageError

_INCIDENCE_DEG = (29.0, 46.5)
_TIES_YX = (7, 9)


@dataclass(frozen=True)
class TiePoint:
    """A point of the geolocation grid.

    Attributes:
        line: Image line.
        pixel: Image pixel.
        time_s: Zero-Doppler time, seconds since the ascending node.
        slant_m: Slant range.
        lon_deg: Longitude.
        lat_deg: Geodetic latitude.
        height_m: Height above the ellipsoid.
        incidence_deg: Incidence on the ellipsoid.
        elevation_deg: Angle at the satellite from the downward vertical.
    """

    line: int
    pixel: int
    time_s: float
    slant_m: float
    lon_deg: float
    lat_deg: float
    height_m: float
    incidence_deg: float
    elevation_deg: float


@dataclass(frozen=True, eq=False)
class Geometry:
    """One relative orbit over one map; the same for every date.

    Attributes:
        track: The orbit.
        direction: Of the pass.
        grid: The map.
        heights: Its terrain.
        first_line_s: Zero-Doppler time of line 0 in seconds since the ascending node, whole microseconds.
        shape_yx: Lines and pixels of the image.
        ranges: Ground and slant range.
        area_m2: Sparse [lines·pixels, rows·cols]: gamma area that each map pixel deposits in each image pixel. Map
            pixels of the rim stand for everything beyond it.
        beta_area_m2: [pixels] area of an image pixel in the slant-range plane.
        incidence_deg: [pixels] incidence on the ellipsoid at the mean height, for the calibration tables.
        cos_incidence_yx: [rows, cols] cosine of the incidence on the ellipsoid, on the map.
        mean_height_m: Of the map's terrain.
    """

    track: Track
    direction: Direction
    grid: MapGrid
    heights: Heights
    first_line_s: float
    shape_yx: tuple[int, int]
    ranges: RangeScale
    area_m2: Any
    beta_area_m2: FloatArray
    incidence_deg: FloatArray
    cos_incidence_yx: NDArray[np.float32]
    mean_height_m: float

    @property
    def last_line_s(self) -> float:
        """Zero-Doppler time of the last line, seconds since the ascending node."""
        return self.first_line_s + (self.shape_yx[0] - 1) * LINE_INTERVAL_S

    @property
    def bounds_lonlat(self) -> tuple[float, float, float, float]:
        """(west, south, east, north) of the image: what a terrain model must cover to process all of it."""
        lon, lat = ([getattr(tie, name) for tie in self.ties] for name in ("lon_deg", "lat_deg"))
        return min(lon), min(lat), max(lon), max(lat)

    def line_s(self, line: FloatArray | float) -> FloatArray:
        """Zero-Doppler time of lines, seconds since the ascending node."""
        return np.asarray(self.first_line_s + np.asarray(line, np.float64) * LINE_INTERVAL_S)

    def beta0(self, gamma0_yx: NDArray[Any]) -> FloatArray:
        """Radar brightness of the image without speckle and noise.

        Args:
            gamma0_yx: [rows, cols] terrain-flattened gamma nought on the map, linear power.

        Returns:
            [lines, pixels] linear power; 0 where no ground is seen.
        """
        power = self.area_m2 @ np.asarray(gamma0_yx, np.float64).ravel()
        return np.asarray(power.reshape(self.shape_yx) / self.beta_area_m2)

    def where(self, east_m: FloatArray, north_m: FloatArray, height_m: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Line and pixel of places given by map coordinates and height above the ellipsoid, arrays of one shape."""
        position, _ = ecef(*lonlat(self.grid.epsg, east_m, north_m), height_m)
        middle = 0.5 * (self.first_line_s + self.last_line_s)
        seen = LocalOrbit(self.track, middle, 3.0).see(position)
        line = (seen.time_s - self.first_line_s) / LINE_INTERVAL_S
        return line, self.ranges.ground_m(seen.time_s, seen.slant_m) / PIXEL_SPACING_M

    @cached_property
    def ties(self) -> tuple[TiePoint, ...]:
        """The geolocation grid: 7 × 9 points from the first to the last line and pixel."""
        rows, cols = (np.rint(np.linspace(0, n - 1, k)) for n, k in zip(self.shape_yx, _TIES_YX, strict=True))
        line, pixel = (v.ravel() for v in np.meshgrid(rows, cols, indexing="ij"))
        lon, lat, height = self.place(line, pixel)
        time = self.line_s(line)
        position = self.track.position_m(time)
        place, up = ecef(lon, lat, height)
        look = position - place
        slant = np.sqrt(dot(look, look))
        incidence = np.degrees(np.arccos(dot(look, up) / slant))
        elevation = np.degrees(np.arccos(dot(look, position) / slant / np.linalg.norm(position, axis=-1)))
        columns = (time, slant, lon, lat, height, incidence, elevation)
        return tuple(
            TiePoint(int(y), int(x), *(float(c[k]) for c in columns))
            for k, (y, x) in enumerate(zip(line, pixel, strict=True))
        )

    def place(self, line: FloatArray, pixel: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Longitude, latitude and height above the ellipsoid of the terrain at image positions [N].

        On a slope steeper than the look direction one position shows several places; one of them, or one between,
        is returned. Position and height always fit the image coordinates.
        """
        time = self.line_s(line)
        slant = np.concatenate(
            [self.ranges.slant_m(t, np.atleast_1d(p * PIXEL_SPACING_M)) for t, p in zip(time, pixel, strict=True)]
        )
        to_map = Transformer.from_crs(4326, self.grid.epsg, always_xy=True)
        height = np.full(time.shape, self.mean_height_m)
        for _ in range(15):
            lon, lat, _h = geodetic(ground_point(self.track, time, slant, height))
            height = 0.5 * (height + self.heights(*(np.asarray(v) for v in to_map.transform(lon, lat))))
        return geodetic(ground_point(self.track, time, slant, height))


def make_geometry(
    relative_orbit: int, grid: MapGrid, heights: Heights, *, margin_px: int = 24, facet_m: float = 5.0
) -> Geometry:
    """Prepare the view of a map from a relative orbit.

    Args:
        relative_orbit: 1 to 175; one that sees the map within the swath of the IW mode.
        grid: The map.
        heights: Terrain of the map and of some kilometres around it; called with arrays of one shape.
        margin_px: Image pixels around the map.
        facet_m: Edge of the facets, a whole part of the map's pixel; below 10 m, or the image shows ripples.

    Returns:
        The geometry.

    Raises:
        UsageError: The orbit does not see the map, or facets and pixels do not fit.
    """
    parts = round(grid.pixel_m / facet_m)
    if parts < 1 or abs(parts * facet_m - grid.pixel_m) > 1e-9:
        raise UsageError(f"facets of {facet_m} m do not fill pixels of {grid.pixel_m} m", remedy="choose a whole part")
    orbit = track(relative_orbit)
    left, _bottom, _right, top = grid.bounds_m
    middle = _pass_time(orbit, grid)
    east: FloatArray = left + (np.arange(grid.cols, dtype=np.float64) + 0.5) * grid.pixel_m
    north: FloatArray = top - (np.arange(grid.rows, dtype=np.float64) + 0.5) * grid.pixel_m
    position, up, height = surface(grid, heights, east, north)
    local = LocalOrbit(orbit, middle, 4.0)
    seen = local.see(position)
    cosine = dot(seen.look, up)
    incidence = np.degrees(np.arccos([cosine.max(), cosine.min()]))
    if incidence[0] < _INCIDENCE_DEG[0] or incidence[1] > _INCIDENCE_DEG[1]:
        raise UsageError(
            f"relative orbit {relative_orbit} sees the map at {incidence[0]:.1f}° to {incidence[1]:.1f}°, outside of "
            f"the swath of {_INCIDENCE_DEG[0]}° to {_INCIDENCE_DEG[1]}°",
            remedy="choose another relative orbit",
        )
    ranges, pixels = range_scale(orbit, seen, margin_px)
    # Products tell times in whole microseconds: the first line lies on one.
    first_line = round(float(seen.time_s.min()) - margin_px * LINE_INTERVAL_S, 6)
    lines = int(np.ceil((float(seen.time_s.max()) - first_line) / LINE_INTERVAL_S)) + margin_px + 1
    beta_area, angle = _columns(ranges, first_line + 0.5 * lines * LINE_INTERVAL_S, pixels, float(height.mean()))
    ground = facet_edges(grid, ranges, (first_line, lines, pixels), height, facet_m)
    velocity = orbit.state(middle)[1]
    return Geometry(
        track=orbit,
        direction="ASCENDING" if velocity[2] > 0 else "DESCENDING",
        grid=grid,
        heights=heights,
        first_line_s=first_line,
        shape_yx=(lines, pixels),
        ranges=ranges,
        area_m2=deposit(grid, heights, local, ranges, (first_line, lines, pixels), ground),
        beta_area_m2=beta_area,
        incidence_deg=angle,
        cos_incidence_yx=cosine.astype(np.float32),
        mean_height_m=float(height.mean()),
    )


def _pass_time(orbit: Track, grid: MapGrid) -> float:
    """When the middle of the map is abeam on the right, seconds since the ascending node."""
    left, bottom, right, top = grid.bounds_m
    lon, lat = lonlat(grid.epsg, np.array(0.5 * (left + right)), np.array(0.5 * (bottom + top)))
    place, _ = ecef(lon, lat, np.array(0.0))
    time = np.arange(0.0, NODAL_PERIOD_S)
    position, velocity = orbit.state(time)
    look = place - position
    before = dot(look, velocity) > 0
    on_right = dot(np.cross(velocity, position), look) > 0
    near = dot(look, look) < 1.2e6**2
    found = np.flatnonzero(before[:-1] & ~before[1:] & on_right[:-1] & near[:-1])
    if not len(found):
        raise UsageError(
            f"relative orbit {orbit.relative_orbit} does not pass the map", remedy="choose another relative orbit"
        )
    return float(time[found[0]])


def _columns(ranges: RangeScale, time_s: float, pixels: int, height_m: float) -> tuple[FloatArray, FloatArray]:
    """Slant-plane area of a pixel (footprint speed × line interval × slant spacing) and incidence, per column."""
    ground: FloatArray = np.arange(pixels, dtype=np.float64) * PIXEL_SPACING_M
    slant = ranges.slant_m(time_s, ground)
    time = np.full(pixels, time_s)
    slope = 1.0 / ranges.spline.ev(time, slant, dy=1)
    step = 0.05
    moved = ground_point(ranges.track, time + step, slant, 0.0) - ground_point(ranges.track, time - step, slant, 0.0)
    speed = np.linalg.norm(moved, axis=-1) / (2.0 * step)
    place = ground_point(ranges.track, time, slant, height_m)
    lon, lat, _ = geodetic(place)
    look = ranges.track.position_m(time) - place
    cosine = dot(look, ecef(lon, lat, np.zeros(pixels))[1]) / np.linalg.norm(look, axis=-1)
    area = speed * LINE_INTERVAL_S * slope * PIXEL_SPACING_M
    return np.asarray(area), np.asarray(np.degrees(np.arccos(cosine)))
