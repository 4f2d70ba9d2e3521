"""Range-Doppler: which line and pixel of a radar image shows a place on the ground.

For a place X the zero-Doppler time t solves (X − P(t))·V(t) = 0. With the acceleration in the derivative, Newton's
method doubles its digits at each step: two steps from a seed interpolated between the nodes of the map lattice leave
less than 1e-11 s. The number of steps is fixed and the seeds sit on absolute nodes, so that the answer depends on the
place alone.

Source: Sentinel-1 Level 1 Detailed Algorithm Definition (DI-MPC-IPFDPM), ch. 9 (geolocation, SRGR); the Newton step is
d/dt[(X − P)·V] = (X − P)·A − |V|².
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landcover_cli.errors import InputError
from landcover_cli.sar.bistatic import BistaticResidual
from landcover_cli.sar.ground import WGS84_A_M, WGS84_E2, Block, GroundNodes, read_only
from landcover_cli.sar.orbit import OrbitInterpolator
from landcover_cli.sar.rangedoppler import (
    Conversions,
    geocode_kernel,
    locate_kernel,
    position_kernel,
    seed_kernel,
)
from landcover_cli.sar.rowkernels import ORBIT_STEP_S
from landcover_cli.sar.srgr import SrgrMode, SrgrTable, ground_to_slant, slant_to_ground, srgr_table
from landcover_cli.sar.types import SPEED_OF_LIGHT_MS, S1Annotation

FloatArray = NDArray[np.float64]

# How far beyond the first and last line places still get a time: the halo of any window, and bounded extrapolation.
ORBIT_MARGIN_S = 3.0
# IPF 2.36 gives polynomials of degree 4 whose two directions differ by up to 4.6 pixels, and resampled the image with
# grsr: its own grid agrees with grsr to 1 mm of slant range. Since IPF 2.70 they differ by less than 0.01 pixel.
MAX_DISAGREEMENT_PX = 0.05
FORWARD_STEPS = 5


@dataclass(frozen=True, slots=True, eq=False)
class RadarModel:
    """Orbit and image grid of one product as plain arrays that compiled kernels take.

    Attributes:
        orbit: [n, 3, 4] cubic pieces of the position, constant first, in metres and powers of (t − start of piece).
        orbit_start_s: Start of the first piece, seconds since the product epoch.
        first_line_time_s: Zero-Doppler time of line 0.
        line_interval_s: Time between lines.
        shape_yx: Lines and pixels of the image (for SLC: of the deburst time line).
        near_range_m: Slant range of pixel 0; GRD ranges follow the polynomials instead.
        pixel_spacing_m: Ground spacing for GRD, slant spacing for SLC.
        azimuth_spacing_m: Spacing of lines on the ground.
        conversions: Slant to ground range and back; None for SLC.
        nearest_record: Use the nearest conversion instead of the two neighbours.
        invert_grsr: Take pixels from the inverse of `grsr` instead of from `srgr`.
        bistatic: Residual by which the times of the lines are wrong; None to take them as they are.
    """

    orbit: FloatArray
    orbit_start_s: float
    first_line_time_s: float
    line_interval_s: float
    shape_yx: tuple[int, int]
    near_range_m: float
    pixel_spacing_m: float
    azimuth_spacing_m: float
    conversions: SrgrTable | None
    nearest_record: bool
    invert_grsr: bool
    bistatic: BistaticResidual | None = None

    @property
    def is_ground_range(self) -> bool:
        """Whether pixels count ground range (GRD)."""
        return self.conversions is not None

    def slant_spacing_m(self, line: FloatArray, pixel: FloatArray) -> FloatArray:
        """Slant range between neighbouring pixels; for GRD the ground spacing times dR/dg there.

        Args:
            line: Lines, any shape.
            pixel: Pixels, a shape that broadcasts with `line`.

        Returns:
            Metres, float64, broadcast shape.
        """
        if self.conversions is None:
            return np.full(np.broadcast_shapes(np.shape(line), np.shape(pixel)), self.pixel_spacing_m)
        return self._ground_to_slant(self.conversions, line, pixel)[1] * self.pixel_spacing_m

    def slant_range_m(self, line: FloatArray, pixel: FloatArray) -> FloatArray:
        """Slant range of image positions, the inverse of the pixel mapping up to the fit of the polynomials (mm)."""
        if self.conversions is None:
            line, pixel = np.broadcast_arrays(np.asarray(line, np.float64), np.asarray(pixel, np.float64))
            return self.near_range_m + pixel * self.pixel_spacing_m
        return self._ground_to_slant(self.conversions, line, pixel)[0]

    def _ground_to_slant(self, table: SrgrTable, line: FloatArray, pixel: FloatArray) -> tuple[FloatArray, FloatArray]:
        time_s = self.first_line_time_s + np.asarray(line, np.float64) * self.line_interval_s
        ground_m = np.asarray(pixel, np.float64) * self.pixel_spacing_m
        return ground_to_slant(table, ground_m, time_s, mode="nearest" if self.nearest_record else "linear")


@dataclass(frozen=True, slots=True, eq=False)
class RadarCoordinates:
    """Where the pixels of a map block lie in the radar image; every array is [height, width] float64, NaN for nowhere.

    Attributes:
        line: Fractional line.
        pixel: Fractional pixel.
        time_s: Zero-Doppler time, seconds since the product epoch.
        slant_m: Slant range.
    """

    line: FloatArray
    pixel: FloatArray
    time_s: FloatArray
    slant_m: FloatArray


def radar_model(annotation: S1Annotation, orbit: OrbitInterpolator, *, srgr: SrgrMode = "linear") -> RadarModel:
    """Gather what geocoding needs of a product.

    Args:
        annotation: Annotation of any polarisation; its image grid is the one positions refer to. An SLC is seen on its
            deburst time line: line 0 at the first line of the first burst, one line per azimuth time interval.
        orbit: Interpolator with the epoch of the annotation.
        srgr: "linear" between the two neighbouring conversions, or "nearest" (as the processor's own grid is made).

    Returns:
        The model.

    Raises:
        InputError: The orbit counts time from another epoch.
    """
    if orbit.epoch != annotation.epoch:
        raise InputError(
            f"orbit {orbit.source!r} counts from {orbit.epoch}, the product from {annotation.epoch}",
            remedy="rebase the orbit to the product epoch",
        )
    image = annotation.image
    lines, samples = image.shape_yx
    last_s = image.first_line_time_s + (lines - 1) * image.azimuth_time_interval_s
    spacing = image.range_spacing_m
    if annotation.swath_timing.bursts:
        last_burst = annotation.swath_timing.bursts[-1]
        span = last_burst.azimuth_time_s - image.first_line_time_s
        lines = round(span / image.azimuth_time_interval_s) + annotation.swath_timing.lines_per_burst
        last_s = image.first_line_time_s + (lines - 1) * image.azimuth_time_interval_s
    if not annotation.srgr:
        spacing = SPEED_OF_LIGHT_MS / (2.0 * image.range_sampling_rate_hz)
    start_s = image.first_line_time_s - ORBIT_MARGIN_S
    table = srgr_table(annotation.srgr, product_id=annotation.meta.product_id) if annotation.srgr else None
    return RadarModel(
        orbit=_cubic_orbit(orbit, start_s, last_s + ORBIT_MARGIN_S),
        orbit_start_s=start_s,
        first_line_time_s=image.first_line_time_s,
        line_interval_s=image.azimuth_time_interval_s,
        shape_yx=(lines, samples),
        near_range_m=0.5 * SPEED_OF_LIGHT_MS * image.slant_range_time_s,
        pixel_spacing_m=spacing,
        azimuth_spacing_m=image.azimuth_spacing_m,
        conversions=table,
        nearest_record=srgr == "nearest",
        invert_grsr=_disagreement_px(table, samples, spacing) > MAX_DISAGREEMENT_PX,
    )


def _disagreement_px(table: SrgrTable | None, samples: int, spacing_m: float) -> float:
    """How far srgr is from the inverse of grsr, at most, in pixels."""
    if table is None:
        return 0.0
    ground = np.linspace(0.0, (samples - 1) * spacing_m, 64)[None, :]
    time_s = table.time_s[:, None]
    slant, _ = ground_to_slant(table, ground, time_s, mode="nearest")
    back, _ = slant_to_ground(table, slant, time_s, mode="nearest", polynomial="srgr")
    return float(np.abs(back - ground).max()) / spacing_m


def _cubic_orbit(orbit: OrbitInterpolator, start_s: float, stop_s: float) -> FloatArray:
    """Cubic pieces through positions and velocities every half second.

    The error of a cubic Hermite piece is h⁴/384·|P''''|; with |P''''| ≈ 1e-5 m/s⁴ on this orbit, 2e-9 m.
    """
    count = math.ceil((stop_s - start_s) / ORBIT_STEP_S)
    position, velocity, _ = orbit.state(start_s + ORBIT_STEP_S * np.arange(count + 1, dtype=np.float64))
    p0, p1, v0, v1 = position[:-1], position[1:], velocity[:-1], velocity[1:]
    h = ORBIT_STEP_S
    rise = (p1 - p0) / h
    square = (3.0 * rise - 2.0 * v0 - v1) / h
    cube = (v0 + v1 - 2.0 * rise) / h**2
    return np.ascontiguousarray(np.stack([p0, v0, square, cube], axis=-1))


def seed_times(model: RadarModel, nodes: GroundNodes) -> FloatArray:
    """Zero-Doppler times of the nodes on the ellipsoid.

    Args:
        model: The product.
        nodes: Nodes of the map lattice.

    Returns:
        [ny, nx] seconds since the product epoch; NaN on the left of the track, and further than the product from it.
    """
    out = np.empty(nodes.lon_deg.shape)
    middle = model.first_line_time_s + 0.5 * model.shape_yx[0] * model.line_interval_s
    seed_kernel(model.orbit, model.orbit_start_s, middle, read_only(nodes.surface_m), out)
    return out


def geocode(
    model: RadarModel, nodes: GroundNodes, seeds_s: FloatArray, block: Block, height_m: FloatArray
) -> RadarCoordinates:
    """Line, pixel, zero-Doppler time and slant range of every pixel of a map block.

    Args:
        model: The product.
        nodes: Nodes around the block.
        seeds_s: `seed_times` of the nodes.
        block: The pixels.
        height_m: [height, width] heights above the ellipsoid, NaN for unknown.

    Returns:
        Coordinates in the image; they may lie outside of it. NaN where the height is unknown or the place is not seen.
    """
    out = np.empty((4, *block.shape_yx))
    geocode_kernel(
        model.orbit,
        model.orbit_start_s,
        _grid_numbers(model),
        _conversions(model),
        nodes.surface_m,
        nodes.normal,
        read_only(seeds_s[..., None]),
        nodes.frame,
        (block.row0, block.col0),
        np.ascontiguousarray(height_m, dtype=np.float64),
        out,
    )
    _stamp(model, out)
    return RadarCoordinates(out[0], out[1], out[2], out[3])


def _stamp(model: RadarModel, out: FloatArray) -> None:
    """Move lines from the zero-Doppler time to the time that the processor stamped."""
    if model.bistatic is not None:
        out[0] -= model.bistatic.seconds(out[0], out[1], out[3]) / model.line_interval_s


def locate(model: RadarModel, position_m: FloatArray, seed_s: FloatArray | float | None = None) -> RadarCoordinates:
    """The same for places given one by one.

    Args:
        model: The product.
        position_m: [N, 3] Earth-centred metres.
        seed_s: First guess of the time; the middle of the product if None.

    Returns:
        Coordinates, each [N].
    """
    out = np.empty((4, 1, position_m.shape[0]))
    middle = model.first_line_time_s + 0.5 * model.shape_yx[0] * model.line_interval_s
    seeds = np.empty((1, position_m.shape[0]))
    if seed_s is None:
        seed_kernel(model.orbit, model.orbit_start_s, middle, read_only(position_m[None]), seeds)
    else:
        seeds[:] = seed_s
    locate_kernel(
        model.orbit,
        model.orbit_start_s,
        _grid_numbers(model),
        _conversions(model),
        np.ascontiguousarray(position_m),
        seeds[0],
        out[:, 0],
    )
    _stamp(model, out)
    return RadarCoordinates(out[0, 0], out[1, 0], out[2, 0], out[3, 0])


def ground_position(model: RadarModel, line: FloatArray, pixel: FloatArray, height_m: float = 0.0) -> FloatArray:
    """The place that an image position shows, at a height above the ellipsoid; the inverse of `locate`.

    Newton on three equations: the slant range, the zero-Doppler plane, and the ellipsoid grown by the height (an
    ellipsoid whose both axes are longer by h: within 2 cm of constant height for heights below 9 km).

    Args:
        model: The product.
        line: Lines, any shape [...].
        pixel: Pixels, a shape that broadcasts with it.
        height_m: Height above the ellipsoid.

    Returns:
        [..., 3] Earth-centred metres, on the right of the track.
    """
    line, pixel = np.broadcast_arrays(np.asarray(line, np.float64), np.asarray(pixel, np.float64))
    time = model.first_line_time_s + line * model.line_interval_s
    slant = model.slant_range_m(line, pixel)
    if model.bistatic is not None:
        time = time + model.bistatic.seconds(line, pixel, slant)
    satellite = satellite_position(model, time)
    velocity = (satellite_position(model, time + 0.01) - satellite_position(model, time - 0.01)) / 0.02
    radius = np.linalg.norm(satellite, axis=-1)
    earth = WGS84_A_M * (1.0 - 0.5 * WGS84_E2 * (satellite[..., 2] / radius) ** 2) + height_m
    up = satellite / radius[..., None]
    right = np.cross(velocity, up)
    right /= np.linalg.norm(right, axis=-1)[..., None]
    cosine = np.clip((radius**2 + slant**2 - earth**2) / (2.0 * radius * slant), -1.0, 1.0)
    sine = np.sqrt(1.0 - cosine**2)
    place = satellite + slant[..., None] * (sine[..., None] * right - cosine[..., None] * up)
    axes = np.array([WGS84_A_M, WGS84_A_M, WGS84_A_M * math.sqrt(1.0 - WGS84_E2)]) + height_m
    for _ in range(FORWARD_STEPS):
        look = place - satellite
        wrong = np.stack(
            [
                (look * look).sum(-1) - slant**2,
                (look * velocity).sum(-1),
                WGS84_A_M**2 * (((place / axes) ** 2).sum(-1) - 1.0),
            ],
            axis=-1,
        )
        slope = np.stack([2.0 * look, velocity, 2.0 * WGS84_A_M**2 * place / axes**2], axis=-2)
        place = place - np.linalg.solve(slope, wrong[..., None])[..., 0]
    return np.asarray(place)


def burst_of(annotation: S1Annotation, time_s: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
    """Burst and line of an SLC image, before debursting; overlaps are cut in the middle.

    Args:
        annotation: Annotation of an SLC.
        time_s: Zero-Doppler times, any shape.

    Returns:
        Burst index (−1 outside every burst's valid lines) and line of the measurement, same shape; NaN outside.
    """
    timing, step = annotation.swath_timing, annotation.image.azimuth_time_interval_s
    starts = np.array([b.azimuth_time_s for b in timing.bursts])
    valid = [np.flatnonzero(b.first_valid_sample >= 0) for b in timing.bursts]
    first = starts + np.array([v[0] for v in valid]) * step
    last = starts + np.array([v[-1] for v in valid]) * step
    cuts = 0.5 * (first[1:] + last[:-1])
    time = np.asarray(time_s, dtype=np.float64)
    index = np.searchsorted(cuts, time, side="right")
    outside = ~((time >= first[0] - 0.5 * step) & (time <= last[-1] + 0.5 * step))
    first_line = np.array([b.first_line for b in timing.bursts], dtype=np.float64)
    line = first_line[index] + (time - starts[index]) / step
    return np.where(outside, -1, index).astype(np.int64), np.where(outside, np.nan, line)


def satellite_position(model: RadarModel, time_s: FloatArray) -> FloatArray:
    """[..., 3] Earth-centred position of the satellite, metres, at zero-Doppler times of any shape."""
    out = np.empty((time_s.size, 3))
    position_kernel(model.orbit, model.orbit_start_s, np.ascontiguousarray(time_s).ravel(), out)
    return out.reshape((*time_s.shape, 3))


def _conversions(model: RadarModel) -> Conversions:
    table = model.conversions
    if table is None:
        none, nothing = np.empty(0), np.empty((0, 1))
        return none, none, nothing, none, nothing, False, False
    return table.time_s, table.sr0_m, table.srgr, table.gr0_m, table.grsr, model.nearest_record, model.invert_grsr


def _grid_numbers(model: RadarModel) -> tuple[float, float, float, float]:
    """Time of line 0, lines per second, near range, pixels per metre."""
    return model.first_line_time_s, 1.0 / model.line_interval_s, model.near_range_m, 1.0 / model.pixel_spacing_m
