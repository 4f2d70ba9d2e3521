"""The whole simulation as values: nothing here touches a file, so tests can look at truths that no product tells."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from landcover_cli.demo.backscatter import Scatterer, make_scatterer
from landcover_cli.demo.clouds import Sky, make_sky, scene_classification, swath
from landcover_cli.demo.landscape import Landscape, make_landscape
from landcover_cli.demo.noise import stream
from landcover_cli.demo.phenology import make_calendars
from landcover_cli.demo.reflectance import Surface, make_surface
from landcover_cli.demo.region import Region, day_to_datetime
from landcover_cli.demo.terrain import Terrain, make_terrain
from landcover_cli.demo.weather import Acquisition, sentinel1_days, sentinel2_acquisitions, soil_wetness

Array = NDArray[np.float32]


@dataclass(frozen=True)
class OpticalScene:
    """One Sentinel-2 date.

    Attributes:
        acquisition: The pass.
        reflectance: ``(bands, rows, cols)`` at 10 m as the sensor sees it, in the order of ``reflectance.BANDS``.
        surface: The same without sky and noise.
        scl: ``(rows / 2, cols / 2)`` scene classification at 20 m, 0 outside the swath.
        inside: ``(rows, cols)`` True inside the swath.
        clear: ``(rows, cols)`` the true clear mask: inside, no cloud, cirrus or shadow.
        sky: The true sky.
    """

    acquisition: Acquisition
    reflectance: Array
    surface: Array
    scl: NDArray[np.uint8]
    inside: NDArray[np.bool_]
    clear: NDArray[np.bool_]
    sky: Sky


@dataclass(frozen=True)
class RadarScene:
    """One Sentinel-1 date: ``gamma0`` is ``(2, rows, cols)`` linear power, VV then VH; terrain and speckle to come."""

    when: date
    gamma0: Array


@dataclass(frozen=True)
class Simulation:
    """A drawn region and its year.

    Attributes:
        region: Where and how large.
        seed: The seed of every draw.
        terrain: The hills.
        landscape: The map.
        surface: Optical model of it.
        scatterer: Radar model of it.
        wetness: Topsoil wetness for every day of the year.
        acquisitions: Sentinel-2 passes.
        radar_days: Days of the year of the Sentinel-1 passes.
    """

    region: Region
    seed: int
    terrain: Terrain
    landscape: Landscape
    surface: Surface
    scatterer: Scatterer
    wetness: Array
    acquisitions: tuple[Acquisition, ...]
    radar_days: tuple[int, ...]

    def optical(self, acquisition: Acquisition) -> OpticalScene:
        """What Sentinel-2 delivers for one pass, and the truth behind it."""
        surface = self.surface.reflectance(acquisition.day, float(self.wetness[acquisition.day]))
        sky = make_sky(self.region, acquisition, self.seed)
        seen = sky.through(surface, stream(self.seed, "noise", acquisition.day, acquisition.platform))
        inside = swath(self.region, acquisition.relative_orbit)
        scl = scene_classification(seen, sky, inside, acquisition, self.seed)
        return OpticalScene(acquisition, seen, surface, scl, inside, sky.clear & inside, sky)

    def radar(self, day: int) -> RadarScene:
        """What is on the ground for Sentinel-1 to see on one day of the year."""
        wind_db = float(stream(self.seed, "wind", day).normal(0.0, 1.8))
        gamma0 = self.scatterer.gamma0(day, float(self.wetness[day]), wind_db)
        return RadarScene(day_to_datetime(day).date(), gamma0)


def simulate(region: Region, seed: int) -> Simulation:
    """Draw a region: everything that stays the same over the year, and the calendar of passes."""
    terrain = make_terrain(seed)
    landscape = make_landscape(region, seed)
    calendars = make_calendars(landscape.class_of_unit, seed)
    return Simulation(
        region,
        seed,
        terrain,
        landscape,
        make_surface(landscape, calendars, seed),
        make_scatterer(landscape, calendars, seed),
        soil_wetness(seed),
        sentinel2_acquisitions(region, seed),
        sentinel1_days(region),
    )


def labelled_units(landscape: Landscape, seed: int) -> NDArray[np.int64]:
    """Units that get a label polygon: half of the western ones of each class, at least two, and none in the east."""
    rng = stream(seed, "labels")
    chosen: list[int] = []
    for value in np.unique(landscape.class_of_unit):
        candidates = np.flatnonzero((landscape.class_of_unit == value) & landscape.west & landscape.labelable)
        number = min(len(candidates), max(2, round(len(candidates) / 2)))
        chosen += [int(index) for index in rng.permutation(candidates)[:number]]
    return np.sort(np.array(chosen))
