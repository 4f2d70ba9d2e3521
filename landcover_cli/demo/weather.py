"""When the satellites came, what the sky was like, and how wet the soil was."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
from numpy.typing import NDArray

from landcover_cli.demo.noise import stream
from landcover_cli.demo.region import LATITUDE_DEG, RELATIVE_ORBIT_S1, YEAR, Region, day_to_datetime
from landcover_cli.demo.sentinel1_orbit import pass_days

# Mean cloud fraction of Landsat and Sentinel-2 scenes over Switzerland, 1984-2021, per season (raw data in
# table 1 of the Swiss snow cover series, doi:10.1038/s41597-025-04961-6).
CLOUD_FRACTION = {"DJF": 0.590, "MAM": 0.577, "JJA": 0.546, "SON": 0.613}
# A search of an archive leaves out what is nearly all cloud; so does this one.
MAX_CLOUD = 0.40

# Two relative orbits see the region in turn; each satellite returns after 10 days, the pair after 5.
_PASSES = (  # platform, first day of the year, relative orbit, absolute orbit of the first pass, hour, minute, second
    ("S2A", 3, 22, 28905, 10, 14, 11),
    ("S2B", 5, 122, 20025, 10, 3, 19),
    ("S2B", 8, 22, 20068, 10, 13, 29),
    ("S2A", 10, 122, 29005, 10, 4, 1),
)
_ORBITS_PER_CYCLE = 143


@dataclass(frozen=True)
class Acquisition:
    """One Sentinel-2 pass.

    Attributes:
        when: Sensing start, UTC.
        day: Day of the year.
        platform: ``S2A`` or ``S2B``.
        relative_orbit: 22 or 122.
        absolute_orbit: Orbit number since launch.
        cloud_cover: Share of the region under opaque cloud that the sky simulation aims at.
        sun_zenith_deg: Solar zenith angle at the region.
        sun_azimuth_deg: Solar azimuth, clockwise from north.
    """

    when: datetime
    day: int
    platform: str
    relative_orbit: int
    absolute_orbit: int
    cloud_cover: float
    sun_zenith_deg: float
    sun_azimuth_deg: float


def season_of(day: int) -> str:
    """Meteorological season of a day of the year."""
    month = day_to_datetime(day).month
    return ("DJF", "MAM", "JJA", "SON")[month % 12 // 3]


def cloud_covers(days: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Cloud cover of a few square kilometres on each day: mostly clear or mostly overcast, right on seasonal average.

    A beta distribution of total weight 0.9, so that both ends are more likely than the middle.
    """
    mean = np.array([CLOUD_FRACTION[season_of(int(day))] for day in days])
    return rng.beta(0.9 * mean, 0.9 * (1 - mean))


def sentinel2_acquisitions(region: Region, seed: int) -> tuple[Acquisition, ...]:
    """The passes that an archive search of the year returns, thinned evenly to the region's number of products."""
    rng = stream(seed, "acquisitions")
    passes = [
        (first + 10 * cycle, platform, relative, absolute + _ORBITS_PER_CYCLE * cycle, time)
        for platform, first, relative, absolute, *time in _PASSES
        for cycle in range(37)
        if first + 10 * cycle <= 365
    ]
    passes.sort()
    covers = cloud_covers(np.array([entry[0] for entry in passes]), rng)
    usable = [(entry, cover) for entry, cover in zip(passes, covers, strict=True) if cover <= MAX_CLOUD]
    keep = np.unique(np.linspace(0, len(usable) - 1, min(region.n_s2, len(usable))).round().astype(int))
    chosen = []
    for (day, platform, relative, absolute, (hour, minute, second)), cover in (usable[i] for i in keep):
        when = day_to_datetime(day, hour, minute, second)
        zenith, azimuth = sun_angles(day, hour + minute / 60 + second / 3600)
        chosen.append(Acquisition(when, day, platform, relative, absolute, float(cover), zenith, azimuth))
    return tuple(chosen)


def sun_angles(day: int, hour_utc: float, longitude_deg: float = 12.92) -> tuple[float, float]:
    """Solar zenith and azimuth (degrees, clockwise from north), from Spencer's 1971 series for declination and time."""
    gamma = 2 * np.pi * (day - 1) / 365
    declination = (
        0.006918
        - 0.399912 * np.cos(gamma)
        + 0.070257 * np.sin(gamma)
        - 0.006758 * np.cos(2 * gamma)
        + 0.000907 * np.sin(2 * gamma)
        - 0.002697 * np.cos(3 * gamma)
        + 0.00148 * np.sin(3 * gamma)
    )
    equation_h = (229.18 / 60) * (
        0.000075
        + 0.001868 * np.cos(gamma)
        - 0.032077 * np.sin(gamma)
        - 0.014615 * np.cos(2 * gamma)
        - 0.040849 * np.sin(2 * gamma)
    )
    hour_angle = np.deg2rad(15 * (hour_utc + longitude_deg / 15 + equation_h - 12))
    latitude = np.deg2rad(LATITUDE_DEG)
    cos_zenith = np.sin(latitude) * np.sin(declination) + np.cos(latitude) * np.cos(declination) * np.cos(hour_angle)
    south = np.arctan2(
        np.sin(hour_angle), np.cos(hour_angle) * np.sin(latitude) - np.tan(declination) * np.cos(latitude)
    )
    return float(np.rad2deg(np.arccos(cos_zenith))), float(180 + np.rad2deg(south))


def sentinel1_days(region: Region) -> tuple[int, ...]:
    """Days of the year of the Sentinel-1A passes that are taken, every one or one in some."""
    days = pass_days("S1A", RELATIVE_ORBIT_S1, date(YEAR, 1, 1), date(YEAR, 12, 31))
    return tuple(day.timetuple().tm_yday for day in days[:: region.s1_step_days // 12])


def soil_wetness(seed: int) -> NDArray[np.float32]:
    """Wetness of the topsoil, 0 (dry) to 1 (wet), for days 0 to 366, as an index of antecedent rain.

    Rain falls on 45 % of the days in spells; the soil dries faster in summer than in winter.
    """
    rng = stream(seed, "weather")
    wet = np.zeros(367, np.float32)
    level, raining = 0.7, False
    for day in range(367):
        raining = rng.random() < (0.65 if raining else 0.29)
        rain_mm = float(rng.gamma(0.8, 5.5)) if raining else 0.0
        warmth = 0.5 - 0.5 * np.cos(2 * np.pi * (day - 15) / 365)
        level = min(level * (0.97 - 0.17 * warmth) + rain_mm / 30.0, 1.0)
        wet[day] = level
    return wet
