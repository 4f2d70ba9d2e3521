"""Where the satellite is: interpolation of state vectors, with velocity and acceleration.

Both interpolators end in one representation, a piecewise polynomial of degree 7 whose coefficients compiled kernels
evaluate directly (`orbit_state`):

- Hermite: through the positions and velocities of the four state vectors around each interval;
- least squares: one polynomial of degree 5 to 7 through all positions.

Source: Sentinel-1 POD Product File Format (GMES-GSEG-EOPG-FS-10-0075) for the vectors; Hermite interpolation by divided
differences, e.g. Burden & Faires, Numerical Analysis, ch. 3.4.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numba
import numpy as np

from landcover_cli.errors import InputError
from landcover_cli.sar.types import FloatArray, OrbitStateVectors

DEGREE = 7
# State vectors of IPF 2.36 end up to 0.7 s before the last line; at 1 s spacing the end polynomial stays within
# centimetres for about one interval beyond its last node.
MAX_EXTRAPOLATION_S = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class OrbitInterpolator:
    """Piecewise polynomial of the satellite's position; velocity and acceleration are its derivatives.

    Interval m is used for breaks_s[m] ≤ t < breaks_s[m + 1], the first and the last also beyond their ends.

    Attributes:
        epoch: Reference of every time, datetime64[ns], UTC.
        breaks_s: [M + 1] increasing interval ends.
        center_s: [M] origin of each polynomial.
        scale_s: [M] unit of each polynomial: u = (t − center) / scale.
        coefficients_m: [M, 3, 8] coefficients of u^k, constant first, metres.
        source: Source of the state vectors, for provenance.
    """

    epoch: np.datetime64
    breaks_s: FloatArray
    center_s: FloatArray
    scale_s: FloatArray
    coefficients_m: FloatArray
    source: str

    def state(self, time_s: FloatArray | float) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Position, velocity and acceleration.

        Args:
            time_s: Seconds since the epoch, any shape [...].

        Returns:
            Position in metres, velocity in m/s and acceleration in m/s², each [..., 3], Earth-fixed frame.
        """
        time = np.asarray(time_s, dtype=np.float64)
        flat_s = np.ascontiguousarray(time.ravel())
        out = _states(flat_s, self.breaks_s, self.center_s, self.scale_s, self.coefficients_m)
        shape = (*time.shape, 3)
        return out[:, 0:3].reshape(shape), out[:, 3:6].reshape(shape), out[:, 6:9].reshape(shape)


@numba.njit(cache=True, nogil=True)
def orbit_state(time_s, breaks_s, center_s, scale_s, coefficients_m):  # type: ignore[no-untyped-def]
    """State at one time, for use inside compiled kernels; arguments as in `OrbitInterpolator`.

    Returns:
        (x, y, z, vx, vy, vz, ax, ay, az) in m, m/s, m/s².
    """
    m = 0
    last = center_s.shape[0] - 1
    while m < last and time_s >= breaks_s[m + 1]:
        m += 1
    inverse = 1.0 / scale_s[m]
    u = (time_s - center_s[m]) * inverse
    x = y = z = vx = vy = vz = ax = ay = az = 0.0
    for k in range(coefficients_m.shape[2] - 1, -1, -1):
        ax = ax * u + 2.0 * vx
        ay = ay * u + 2.0 * vy
        az = az * u + 2.0 * vz
        vx = vx * u + x
        vy = vy * u + y
        vz = vz * u + z
        x = x * u + coefficients_m[m, 0, k]
        y = y * u + coefficients_m[m, 1, k]
        z = z * u + coefficients_m[m, 2, k]
    square = inverse * inverse
    return x, y, z, vx * inverse, vy * inverse, vz * inverse, ax * square, ay * square, az * square


@numba.njit(cache=True, nogil=True)
def _states(time_s, breaks_s, center_s, scale_s, coefficients_m):  # type: ignore[no-untyped-def]
    out = np.empty((time_s.shape[0], 9))
    for i in range(time_s.shape[0]):
        state = orbit_state(time_s[i], breaks_s, center_s, scale_s, coefficients_m)
        for j in range(9):
            out[i, j] = state[j]
    return out


def crop_orbit(orbit: OrbitStateVectors, start_s: float, stop_s: float, *, margin_s: float = 80.0) -> OrbitStateVectors:
    """The vectors around an acquisition; never fewer than four where the orbit has as many.

    Args:
        orbit: State vectors, possibly of a whole day.
        start_s: Start of the acquisition, seconds since the orbit's epoch.
        stop_s: Its stop.
        margin_s: How much to keep before and after.

    Returns:
        The vectors from the last one before the margin to the first one after it.
    """
    first = max(int(np.searchsorted(orbit.time_s, start_s - margin_s, side="right")) - 1, 0)
    stop = min(int(np.searchsorted(orbit.time_s, stop_s + margin_s, side="left")) + 1, len(orbit.time_s))
    first, stop = max(min(first, stop - 4), 0), min(max(stop, first + 4), len(orbit.time_s))
    return replace(
        orbit,
        time_s=orbit.time_s[first:stop],
        position_m=orbit.position_m[first:stop],
        velocity_ms=orbit.velocity_ms[first:stop],
    )


def even_times(orbit: OrbitStateVectors) -> OrbitStateVectors:
    """Undo the rounding of annotation times to whole microseconds, where the vectors are evenly spaced.

    A microsecond is 7.6 mm along the track: left in, it makes neighbouring vectors disagree by several millimetres.
    The spacing is a whole number of seconds; the common offset is the mean of the rounded ones.

    Args:
        orbit: State vectors.

    Returns:
        The vectors with even times; unchanged where they deviate by more than a microsecond from any even grid.
    """
    index = np.arange(len(orbit.time_s))
    step_s = float(np.round(np.median(np.diff(orbit.time_s))))
    offset_s = float(np.mean(orbit.time_s - index * step_s))
    even_s: FloatArray = np.asarray(offset_s + index * step_s, dtype=np.float64)
    if np.abs(even_s - orbit.time_s).max() > 1.001e-6:
        return orbit
    return replace(orbit, time_s=even_s)


def check_cover(orbit: OrbitStateVectors, start_s: float, stop_s: float) -> None:
    """Make sure that an orbit reaches over an acquisition.

    Args:
        orbit: State vectors.
        start_s: First zero-Doppler time needed, seconds since the orbit's epoch.
        stop_s: Last zero-Doppler time needed.

    Raises:
        InputError: More than one second would have to be extrapolated.
    """
    before, after = orbit.time_s[0] - start_s, stop_s - orbit.time_s[-1]
    if max(before, after) > MAX_EXTRAPOLATION_S:
        raise InputError(
            f"orbit {orbit.source!r} misses {max(before, 0.0):.1f} s before and {max(after, 0.0):.1f} s after "
            f"the acquisition; at most {MAX_EXTRAPOLATION_S} s is extrapolated",
            remedy="use a POEORB or RESORB file of that day",
        )


def fit_hermite(orbit: OrbitStateVectors) -> OrbitInterpolator:
    """Interpolate through positions and velocities of the four vectors around each interval (degree 7).

    Args:
        orbit: At least four state vectors.

    Returns:
        One polynomial per interval between vectors; position and velocity are continuous and equal the vectors.

    Raises:
        InputError: There are fewer than four vectors.
    """
    n = len(orbit.time_s)
    if n < 4:
        raise InputError(
            f"orbit {orbit.source!r}: {n} state vectors, four are needed", remedy="use a POEORB or RESORB file"
        )
    center = 0.5 * (orbit.time_s[:-1] + orbit.time_s[1:])
    scale = np.empty(n - 1)
    coefficients = np.empty((n - 1, 3, DEGREE + 1))
    for m in range(n - 1):
        first = min(max(m - 1, 0), n - 4)
        nodes = slice(first, first + 4)
        scale[m] = 0.5 * (orbit.time_s[first + 3] - orbit.time_s[first])
        u = (orbit.time_s[nodes] - center[m]) / scale[m]
        # Unknowns are the eight coefficients: four equations for the position, four for its derivative by u.
        powers = np.vander(u, DEGREE + 1, increasing=True)
        slopes = np.zeros_like(powers)
        slopes[:, 1:] = powers[:, :-1] * np.arange(1, DEGREE + 1)
        # Relative to the mean position the right-hand side keeps all its digits.
        origin = orbit.position_m[nodes].mean(axis=0)
        right = np.vstack([orbit.position_m[nodes] - origin, orbit.velocity_ms[nodes] * scale[m]])
        solution = np.linalg.solve(np.vstack([powers, slopes]), right)
        solution[0] += origin
        coefficients[m] = solution.T
    return OrbitInterpolator(
        epoch=orbit.epoch,
        breaks_s=np.ascontiguousarray(orbit.time_s, dtype=np.float64),
        center_s=center,
        scale_s=scale,
        coefficients_m=coefficients,
        source=orbit.source,
    )


def fit_polynomial(orbit: OrbitStateVectors, *, degree: int = DEGREE) -> OrbitInterpolator:
    """Fit one polynomial through all positions by least squares; crop the orbit to the acquisition first.

    Args:
        orbit: At least degree + 1 state vectors, over a few minutes at most.
        degree: 5 to 7.

    Returns:
        One polynomial.

    Raises:
        InputError: The degree is out of range or there are too few vectors.
    """
    n = len(orbit.time_s)
    if not 5 <= degree <= DEGREE or n < degree + 1:
        raise InputError(
            f"orbit {orbit.source!r}: a polynomial of degree {degree} (5 to {DEGREE}) through {n} state vectors",
            remedy="use interpolation by Hermite polynomials, or a POEORB or RESORB file",
        )
    center = 0.5 * (orbit.time_s[0] + orbit.time_s[-1])
    scale = 0.5 * (orbit.time_s[-1] - orbit.time_s[0])
    u = (orbit.time_s - center) / scale
    origin = orbit.position_m.mean(axis=0)
    coefficients = np.zeros((1, 3, DEGREE + 1))
    for axis in range(3):
        # Legendre polynomials are near-orthogonal on evenly spaced nodes: the fit loses no digits.
        series = np.polynomial.legendre.Legendre.fit(
            u, orbit.position_m[:, axis] - origin[axis], degree, domain=[-1, 1]
        )
        coefficients[0, axis, : degree + 1] = np.polynomial.legendre.leg2poly(series.coef)
        coefficients[0, axis, 0] += origin[axis]
    return OrbitInterpolator(
        epoch=orbit.epoch,
        breaks_s=np.array([orbit.time_s[0], orbit.time_s[-1]]),
        center_s=np.array([center]),
        scale_s=np.array([scale]),
        coefficients_m=coefficients,
        source=orbit.source,
    )


def interpolate_orbit(
    orbit: OrbitStateVectors,
    start_s: float,
    stop_s: float,
    *,
    method: Literal["hermite", "polynomial"] = "hermite",
) -> OrbitInterpolator:
    """Prepare an orbit for one acquisition: check its cover, crop it, interpolate it.

    Args:
        orbit: State vectors, possibly of a whole day.
        start_s: First zero-Doppler time of the acquisition, seconds since the orbit's epoch.
        stop_s: Its last zero-Doppler time.
        method: "hermite" (degree 7 through four vectors) or "polynomial" (least squares, degree 7). They agree within
            1 mm per axis where the vectors are precise (EOF files, auxiliary orbits from IPF 2.70 on), within 25 mm
            at IPF 2.36, whose velocities do not match its positions better than that.

    Returns:
        The interpolator.

    Raises:
        InputError: The orbit does not cover the acquisition or has too few vectors.
    """
    check_cover(orbit, start_s, stop_s)
    cropped = even_times(crop_orbit(orbit, start_s, stop_s))
    return fit_hermite(cropped) if method == "hermite" else fit_polynomial(cropped)
