"""Where Sentinel-1 flies: an analytic orbit whose ground track repeats every 12 days, exactly.

The satellite makes 175 revolutions in 12 days and its node keeps its local solar time. In the Earth-fixed frame the
node therefore moves by one turn a day, and every pass of a relative orbit is the same curve. Position: mean radius and
rate under the Earth's oblateness (J2), the frozen eccentricity with its perigee over the north, and the J2 terms of
twice the argument of latitude in the radius. Fitted by node longitude and node time alone, it follows the state
vectors of nine real products (2015 to 2023) within 0.2 km.

Sources: Sentinel-1 orbit (175 revolutions in 12 days, inclination 98.18°, dawn-dusk): S1-RS-ESA-SY-0001; radius under
J2: Vallado, Fundamentals of Astrodynamics and Applications, ch. 9. Longitude and local time of the nodes: measured on
the state vectors of real annotations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from landcover_cli.errors import UsageError

FloatArray = NDArray[np.float64]
Direction = Literal["ASCENDING", "DESCENDING"]

ORBITS_PER_CYCLE = 175
CYCLE_S = 12 * 86_400.0
NODAL_PERIOD_S = CYCLE_S / ORBITS_PER_CYCLE

_GM = 3.986004418e14
_J2 = 1.08262668e-3
_EARTH_RADIUS_M = 6_378_137.0
_INCLINATION_RAD = math.radians(98.1817)
_ECCENTRICITY = 0.001165
_LATITUDE_RATE = 2.0 * math.pi / NODAL_PERIOD_S
_EARTH_RATE = 2.0 * math.pi / 86_400.0
_PRECESSION = 2.0 * math.pi / (86_400.0 * 365.2422)
# Ascending node of relative orbit 1, and local mean solar time at every ascending node (mean of 2021 and 2022).
_NODE_1_DEG = 0.148
_NODE_LOCAL_H = 18.0165
# One ascending node per satellite, from real manifests: (absolute orbit, UTC); offset of the relative orbit number.
_NODES = {
    "S1A": (41_314, datetime(2022, 1, 4, 16, 54, 51, tzinfo=UTC), 73),
    "S1B": (30_148, datetime(2021, 12, 23, 4, 33, 35, tzinfo=UTC), 27),
}


def _mean_radius_m() -> float:
    # Force balance on a circle: the angle grows by the nodal rate plus the part of the precession in the plane.
    rate = _LATITUDE_RATE + _PRECESSION * math.cos(_INCLINATION_RAD)
    kepler = (_GM / rate**2) ** (1.0 / 3.0)
    flat = 0.5 * _J2 * (_EARTH_RADIUS_M / kepler) ** 2 * (1.0 - 1.5 * math.sin(_INCLINATION_RAD) ** 2)
    return float(kepler * (1.0 + flat))


_RADIUS_M = _mean_radius_m()


@dataclass(frozen=True)
class Track:
    """One relative orbit.

    Attributes:
        relative_orbit: 1 to 175.
        node_lon_deg: Longitude of the ascending node, -180 to 180.
    """

    relative_orbit: int
    node_lon_deg: float

    def position_m(self, time_s: FloatArray | float) -> FloatArray:
        """Earth-fixed position.

        Args:
            time_s: Seconds since the ascending node, any shape [...].

        Returns:
            [..., 3] metres.
        """
        return self._states(time_s)[0]

    def state(self, time_s: FloatArray | float) -> tuple[FloatArray, FloatArray]:
        """Earth-fixed position and its exact derivative, each [..., 3], in m and m/s."""
        return self._states(time_s)

    def _states(self, time_s: FloatArray | float) -> tuple[FloatArray, FloatArray]:
        time = np.asarray(time_s, np.float64)
        mean = _LATITUDE_RATE * time
        # Equation of the centre with the perigee at 90°, zero at the node.
        u = mean + 2.0 * _ECCENTRICITY * (1.0 - np.cos(mean))
        u_rate = _LATITUDE_RATE * (1.0 + 2.0 * _ECCENTRICITY * np.sin(mean))
        wave = 0.25 * _J2 * _EARTH_RADIUS_M**2 / _RADIUS_M * math.sin(_INCLINATION_RAD) ** 2
        r = _RADIUS_M * (1.0 - _ECCENTRICITY * np.sin(u)) + wave * np.cos(2.0 * u)
        r_rate = u_rate * (-_RADIUS_M * _ECCENTRICITY * np.cos(u) - 2.0 * wave * np.sin(2.0 * u))
        lon = math.radians(self.node_lon_deg) - _EARTH_RATE * time
        x, y, z = np.cos(u), np.sin(u) * math.cos(_INCLINATION_RAD), np.sin(u) * math.sin(_INCLINATION_RAD)
        dx, dy, dz = -np.sin(u), np.cos(u) * math.cos(_INCLINATION_RAD), np.cos(u) * math.sin(_INCLINATION_RAD)
        cos, sin = np.cos(lon), np.sin(lon)
        unit = np.stack([x * cos - y * sin, x * sin + y * cos, z], axis=-1)
        along = np.stack([dx * cos - dy * sin, dx * sin + dy * cos, dz], axis=-1)
        turned = np.stack([unit[..., 1], -unit[..., 0], np.zeros_like(lon)], axis=-1)
        position = r[..., None] * unit
        velocity = r_rate[..., None] * unit + r[..., None] * (u_rate[..., None] * along + _EARTH_RATE * turned)
        return np.asarray(position), np.asarray(velocity)


def track(relative_orbit: int) -> Track:
    """The ground track of a relative orbit.

    Raises:
        UsageError: The number is not 1 to 175.
    """
    if not 1 <= relative_orbit <= ORBITS_PER_CYCLE:
        raise UsageError(f"relative orbit is {relative_orbit}", remedy="choose a number from 1 to 175")
    west = (relative_orbit - 1) * 360.0 * 12 / ORBITS_PER_CYCLE
    return Track(relative_orbit, (_NODE_1_DEG - west + 180.0) % 360.0 - 180.0)


def node_time(platform: str, relative_orbit: int, when: date) -> tuple[datetime, int]:
    """The ascending node whose pass comes nearest to noon of a day, and its absolute orbit number.

    Args:
        platform: ``S1A`` or ``S1B``.
        relative_orbit: 1 to 175.
        when: The day; one on which the satellite does fly this orbit gives that very pass.

    Returns:
        UTC of the node, to the microsecond, and the absolute orbit.

    Raises:
        UsageError: The platform or the relative orbit is unknown.
    """
    if platform not in _NODES:
        raise UsageError(f"platform is {platform!r}", remedy="choose S1A or S1B")
    absolute, reference, offset = _NODES[platform]
    noon = datetime(when.year, when.month, when.day, 12, tzinfo=UTC)
    near = absolute + round((noon - reference).total_seconds() / NODAL_PERIOD_S)
    # The number of this relative orbit nearest to the one flown at noon.
    behind = (near - offset - (relative_orbit - 1)) % ORBITS_PER_CYCLE
    number = near - behind if behind <= ORBITS_PER_CYCLE // 2 else near - behind + ORBITS_PER_CYCLE
    passed = reference + timedelta(seconds=(number - absolute) * NODAL_PERIOD_S)
    # The day comes from the count of orbits, the time of day from the local solar time of the node, exactly.
    seconds = (_NODE_LOCAL_H - track(relative_orbit).node_lon_deg / 15.0) * 3600.0 % 86_400.0
    midnight = datetime(passed.year, passed.month, passed.day, tzinfo=UTC)
    candidates = [midnight + timedelta(days=d, seconds=round(seconds, 6)) for d in (-1, 0, 1)]
    return min(candidates, key=lambda node: abs(node - passed)), number


def pass_days(platform: str, relative_orbit: int, first: date, last: date) -> tuple[date, ...]:
    """The days from first to last on which a satellite's node of a relative orbit falls: one in twelve.

    Raises:
        UsageError: The platform or the relative orbit is unknown.
    """
    node = node_time(platform, relative_orbit, first)[0].date()
    start = first + timedelta(days=(node - first).days % 12)
    return tuple(start + timedelta(days=d) for d in range(0, (last - start).days + 1, 12))
