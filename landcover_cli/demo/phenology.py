"""How the leaves of every parcel come and go through the year.

Leaf area follows products of logistic curves, the usual description of seasonal vegetation signals (Zhang et al. 2003,
doi:10.1016/S0034-4257(02)00135-9; Beck et al. 2006, doi:10.1016/j.rse.2005.10.021). Each parcel draws its own dates:
sowing, leaf-out, ripening, harvest, tillage and cuts. The class decides the calendar, the parcel its shift, and so
classes overlap on any single day but differ in timing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landcover_cli.demo.noise import stream
from landcover_cli.demo.region import BROADLEAF, BUILT, CONIFER, GRASS, SUMMER, WINTER

Array = NDArray[np.float32]

Put = Callable[..., None]

# Crop kinds inside the two crop classes; they differ in calendar and in structure (see backscatter.py).
WHEAT, BARLEY, RAPESEED, MAIZE, BEET = range(5)
NO_KIND = -1
MAX_CUTS = 5


@dataclass(frozen=True)
class Canopy:
    """State of every unit on one day.

    Attributes:
        green: Green leaf area index, ``(units,)``.
        brown: Area index of dead or ripe leaves and straw, ``(units,)``.
        flower: Share of the canopy covered by rapeseed flowers, 0 to 1, ``(units,)``.
        upright: Progress of cereals from tillers to upright stems, 0 to 1, ``(units,)``; it drives the radar response.
    """

    green: Array
    brown: Array
    flower: Array
    upright: Array


@dataclass(frozen=True)
class Calendars:
    """The drawn parameters of every unit; days are days of the year, areas are leaf area indices.

    Attributes:
        class_of_unit: Index into the classes, ``(units,)``.
        kind: Crop kind or ``NO_KIND``, ``(units,)``.
        winter_green: Leaf area in January (young crop, catch crop, evergreen ground cover).
        winter_end: Day on which a catch crop is destroyed (summer crops only).
        rise: Middle of green-up.
        rise_width: Width of green-up, days.
        peak: Maximum leaf area.
        fall: Middle of ripening or leaf fall.
        fall_width: Width of it, days.
        harvest: Harvest day (crops).
        till: Day on which stubble is ploughed in.
        after: Leaf area that follows the harvest (catch crop, volunteers or the next winter crop).
        after_rise: Middle of its green-up.
        flower_day: Middle of flowering (rapeseed).
        drought: Share of grass that turns yellow in high summer.
        cuts: ``(units, MAX_CUTS)`` days on which grass is cut; infinite where there is none.
    """

    class_of_unit: NDArray[np.int64]
    kind: NDArray[np.int64]
    winter_green: Array
    winter_end: Array
    rise: Array
    rise_width: Array
    peak: Array
    fall: Array
    fall_width: Array
    harvest: Array
    till: Array
    after: Array
    after_rise: Array
    flower_day: Array
    drought: Array
    cuts: Array

    def at(self, day: float) -> Canopy:
        """Canopy of every unit on a day of the year (1 = 1 January)."""
        crop = self.kind != NO_KIND
        grass = self.class_of_unit == GRASS
        rising = _step(day, self.rise, self.rise_width)
        ripe = _step(day, self.fall, self.fall_width)
        standing = np.where(crop, 1 - _step(day, self.harvest, 1.5), 1.0)
        early = self.winter_green * (1 - _step(day, self.winter_end, 4.0)) * (1 - rising)
        later = self.after * _step(day, self.after_rise, 9.0)
        season = self.peak * rising
        green = early + season * (1 - ripe) * standing + later
        floor = np.where(crop, 0.0, self.winter_green)
        green = np.maximum(green, floor * np.where(crop, 0.0, 1.0))
        brown = 0.75 * season * ripe * np.where(crop, standing, np.exp(-np.maximum(day - self.fall, 0) / 12.0))
        stubble = np.where(crop, 0.7 * (1 - standing) * (1 - _step(day, self.till, 2.0)), 0.0)
        kept, cut = self._after_cuts(day)
        dry = np.minimum(self.drought, 0.9) * np.exp(-(((day - 215.0) / 28.0) ** 2))
        brown = np.where(grass, green * dry + cut + 0.25, brown + stubble)
        green = np.where(grass, green * kept * (1 - dry), green)
        flower = np.where(self.kind == RAPESEED, np.exp(-(((day - self.flower_day) / 9.0) ** 2)), 0.0)
        cereal = (self.kind == WHEAT) | (self.kind == BARLEY)
        upright = np.where(cereal, _step(day, self.rise + 22.0, 7.0) * standing, 0.0)
        return Canopy(*(value.astype(np.float32) for value in (green, brown, flower, upright)))

    def _after_cuts(self, day: float) -> tuple[Array, Array]:
        """Share of the sward left after the cuts so far, and the leaf area of dead stubble they expose."""
        since = np.where(self.cuts <= day, day - self.cuts, np.inf)
        last = since.min(axis=1)
        return 1 - 0.82 * np.exp(-last / 16.0), 0.5 * np.exp(-last / 9.0)


def _step(day: float, middle: Array, width: Array | float) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip((day - middle) / width, -40, 40))), np.float32)


def make_calendars(class_of_unit: NDArray[np.int64], seed: int) -> Calendars:
    """Draw the calendars of all units.

    The dates are our own, of the order that holds in southern Germany: rapeseed flowers in late April and May, barley
    is harvested in early July, wheat in late July and August; maize covers the ground in June and is harvested in
    September.
    """
    rng = stream(seed, "phenology")
    n = len(class_of_unit)
    kind = _kinds(class_of_unit, rng)
    value = {name: np.zeros(n, np.float32) for name in Calendars.__dataclass_fields__ if name not in _NOT_DRAWN}
    for name in ("winter_end", "after_rise", "harvest", "till", "flower_day", "fall"):
        value[name][:] = 999.0
    value["rise"][:], value["rise_width"][:], value["fall_width"][:] = 999.0, 8.0, 8.0
    cuts = np.full((n, MAX_CUTS), np.inf, np.float32)

    def put(where: NDArray[np.bool_], name: str, mean: float, deviation: float, low: float = 0.0) -> None:
        value[name][where] = np.maximum(rng.normal(mean, deviation, int(where.sum())), low)

    _winter_crops(kind, put, value, rng)
    _summer_crops(kind, put, value, rng)
    _grassland(class_of_unit == GRASS, put, cuts, rng)
    _trees_and_gardens(class_of_unit, put)
    return Calendars(class_of_unit=class_of_unit, kind=kind, cuts=cuts, **value)


_NOT_DRAWN = ("class_of_unit", "kind", "cuts")


def _kinds(class_of_unit: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    kind = np.full(len(class_of_unit), NO_KIND)
    pick = rng.random(len(class_of_unit))
    winter, summer = class_of_unit == WINTER, class_of_unit == SUMMER
    kind[winter] = np.where(pick < 0.55, WHEAT, np.where(pick < 0.8, BARLEY, RAPESEED))[winter]
    kind[summer] = np.where(pick < 0.78, MAIZE, BEET)[summer]
    return kind


def _winter_crops(kind: NDArray[np.int64], put: Put, value: dict[str, Array], rng: np.random.Generator) -> None:
    winter = (kind == WHEAT) | (kind == BARLEY) | (kind == RAPESEED)
    put(winter, "winter_green", 0.7, 0.45, 0.1)
    put(winter, "rise", 100.0, 10.0)
    put(winter, "rise_width", 9.0, 1.5, 5.0)
    put(winter, "peak", 4.3, 1.0, 2.0)
    put(winter, "fall_width", 5.5, 1.0, 3.0)
    for which, fall, harvest in ((WHEAT, 188.0, 212.0), (BARLEY, 170.0, 192.0), (RAPESEED, 184.0, 206.0)):
        put(kind == which, "fall", fall, 6.0)
        put(kind == which, "harvest", harvest, 5.0)
    put(kind == RAPESEED, "winter_green", 1.6, 0.5, 0.3)
    put(kind == RAPESEED, "rise", 92.0, 8.0)
    put(kind == RAPESEED, "flower_day", 126.0, 5.0)
    value["harvest"][winter] = np.maximum(value["harvest"][winter], value["fall"][winter] + 12.0)
    value["till"][winter] = value["harvest"][winter] + rng.uniform(3.0, 45.0, int(winter.sum()))
    _follow_up(winter, value, rng, early_share=0.65)


def _summer_crops(kind: NDArray[np.int64], put: Put, value: dict[str, Array], rng: np.random.Generator) -> None:
    summer = (kind == MAIZE) | (kind == BEET)
    covered = summer & (rng.random(len(kind)) < 0.5)
    put(summer, "winter_green", 0.2, 0.15, 0.0)
    put(covered, "winter_green", 1.8, 0.7, 0.5)
    put(summer, "winter_end", 100.0, 14.0)
    put(summer, "rise_width", 7.0, 1.0, 4.0)
    put(summer, "peak", 4.2, 0.9, 2.0)
    put(summer, "fall_width", 8.0, 1.5, 4.0)
    for which, rise, fall, harvest in ((MAIZE, 171.0, 258.0, 268.0), (BEET, 158.0, 300.0, 285.0)):
        put(kind == which, "rise", rise, 9.0)
        put(kind == which, "fall", fall, 8.0)
        put(kind == which, "harvest", harvest, 9.0)
    value["till"][summer] = value["harvest"][summer] + rng.uniform(2.0, 60.0, int(summer.sum()))
    _follow_up(summer, value, rng, early_share=0.0)


def _follow_up(where: NDArray[np.bool_], value: dict[str, Array], rng: np.random.Generator, early_share: float) -> None:
    """What grows after the harvest: a catch crop at once, a young winter crop in October, or nothing."""
    n = int(where.sum())
    choice = rng.random(n)
    catch, sown = choice < early_share, choice > 0.78
    value["after"][where] = np.where(catch, rng.uniform(0.8, 3.2, n), np.where(sown, rng.uniform(0.2, 1.0, n), 0.0))
    start = value["harvest"][where] + rng.uniform(12.0, 42.0, n)
    value["after_rise"][where] = np.where(catch, start, np.maximum(start, rng.normal(300.0, 10.0, n)))


def _grassland(grass: NDArray[np.bool_], put: Put, cuts: Array, rng: np.random.Generator) -> None:
    put(grass, "winter_green", 1.0, 0.45, 0.3)
    put(grass, "rise", 98.0, 10.0)
    put(grass, "rise_width", 10.0, 1.5, 6.0)
    put(grass, "peak", 3.9, 0.9, 1.5)
    put(grass, "fall", 305.0, 10.0)
    put(grass, "fall_width", 14.0, 2.0, 8.0)
    put(grass, "drought", 0.26, 0.22, 0.0)
    n = int(grass.sum())
    number = rng.integers(1, MAX_CUTS + 1, n)
    # Intensive meadows are first cut in mid May and then every five to six weeks, extensive ones from mid June.
    first = np.where(number >= 3, rng.normal(136.0, 8.0, n), rng.normal(166.0, 12.0, n))
    gaps = rng.normal(38.0, 5.0, (n, MAX_CUTS))
    days = first[:, None] + np.concatenate([np.zeros((n, 1)), np.cumsum(gaps, axis=1)[:, :-1]], axis=1)
    days[np.arange(MAX_CUTS) >= number[:, None]] = np.inf
    days[days > 300.0] = np.inf
    cuts[grass] = days


def _trees_and_gardens(class_of_unit: NDArray[np.int64], put: Put) -> None:
    leafy = class_of_unit == BROADLEAF
    put(leafy, "winter_green", 0.6, 0.25, 0.1)
    put(leafy, "rise", 117.0, 5.0)
    put(leafy, "rise_width", 5.5, 1.0, 3.0)
    put(leafy, "peak", 4.6, 0.7, 2.5)
    put(leafy, "fall", 296.0, 6.0)
    put(leafy, "fall_width", 7.0, 1.0, 4.0)
    needles = class_of_unit == CONIFER
    put(needles, "winter_green", 3.6, 0.5, 2.0)
    put(needles, "rise", 135.0, 6.0)
    put(needles, "rise_width", 12.0, 2.0, 6.0)
    put(needles, "peak", 4.4, 0.6, 2.5)
    gardens = class_of_unit == BUILT
    put(gardens, "winter_green", 0.35, 0.15, 0.05)
    put(gardens, "rise", 108.0, 6.0)
    put(gardens, "rise_width", 10.0, 1.5, 6.0)
    put(gardens, "peak", 1.5, 0.6, 0.2)
    put(gardens, "fall", 297.0, 8.0)
    put(gardens, "fall_width", 12.0, 2.0, 6.0)
