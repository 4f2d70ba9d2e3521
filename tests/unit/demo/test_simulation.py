"""The parts of the simulation against what physics and the brief of the region demand."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landcover_cli.demo.backscatter import from_db, speckle
from landcover_cli.demo.clouds import Sky, make_sky, swath
from landcover_cli.demo.noise import power_law_field, smooth_field, stream
from landcover_cli.demo.phenology import BEET, MAIZE, RAPESEED, make_calendars
from landcover_cli.demo.reflectance import BANDS
from landcover_cli.demo.region import (
    BROADLEAF,
    CLASSES,
    CONIFER,
    GRASS,
    LEFT_M,
    SUMMER,
    TOP_M,
    WATER,
    WINTER,
    region,
)
from landcover_cli.demo.simulation import Simulation, labelled_units, simulate
from landcover_cli.demo.terrain import make_terrain
from landcover_cli.demo.weather import (
    CLOUD_FRACTION,
    MAX_CLOUD,
    cloud_covers,
    season_of,
    sentinel2_acquisitions,
    soil_wetness,
    sun_angles,
)


@pytest.fixture(scope="module")
def tiny() -> Simulation:
    return simulate(region("tiny"), 7)


@pytest.fixture(scope="module")
def standard() -> Simulation:
    return simulate(region("standard"), 7)


def test_streams_are_independent_and_repeatable() -> None:
    a, b, c = stream(7, "a").random(3), stream(7, "a").random(3), stream(7, "b").random(3)
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
    assert not np.array_equal(a, stream(8, "a").random(3))


def test_fields_have_unit_variance() -> None:
    assert smooth_field((400, 400), 3.0, stream(1)).std() == pytest.approx(1.0, abs=0.1)
    field = power_law_field((300, 301), 8 / 3, stream(2))
    assert field.shape == (300, 301)
    assert field.std() == pytest.approx(1.0, abs=1e-3)


# --- map


def test_shares_of_a_pixel_add_up(tiny: Simulation) -> None:
    land = tiny.landscape
    total = land.mix(np.ones(len(land.pixel), np.float32))
    assert np.allclose(total, 1.0, atol=1e-6)
    assert np.all(np.diff(land.pixel) >= 0)


def test_truth_is_the_majority(tiny: Simulation) -> None:
    land = tiny.landscape
    shares = np.stack([land.mix((land.class_of_unit[land.unit] == k).astype(np.float32)) for k in range(len(CLASSES))])
    assert np.array_equal(shares.argmax(axis=0), land.truth_yx)


def test_field_sizes_and_mixture(standard: Simulation) -> None:
    land = standard.landscape
    crops = np.isin(land.class_of_unit, (WINTER, SUMMER, GRASS))
    hectares = np.array([p.area for p, crop in zip(land.polygons, crops, strict=True) if crop]) / 1e4
    assert 2.0 < np.median(hectares) < 3.1
    assert np.percentile(hectares, 90) < 8
    shares = np.stack([land.mix((land.class_of_unit[land.unit] == k).astype(np.float32)) for k in range(len(CLASSES))])
    # Even a classifier that got every second strongly mixed pixel wrong would lose less than 4 %.
    assert (shares.max(axis=0) < 0.999).mean() < 0.10
    assert (shares.max(axis=0) < 0.7).mean() < 0.05


def test_halves_have_like_shares(standard: Simulation) -> None:
    truth = standard.landscape.truth_yx
    west, east = np.hsplit(truth, 2)
    for k in range(len(CLASSES)):
        assert (west == k).mean() == pytest.approx((east == k).mean(), abs=0.03)
        assert (west == k).mean() > 0.03


@settings(max_examples=10)
@given(st.integers(0, 60))
def test_any_seed_gives_every_class_in_both_halves(seed: int) -> None:
    sim = simulate(region("tiny"), seed)
    for half in np.hsplit(sim.landscape.truth_yx, 2):
        assert set(np.unique(half)) == set(range(len(CLASSES)))
    units = labelled_units(sim.landscape, seed)
    assert sim.landscape.west[units].all()
    assert sim.landscape.labelable[units].all()
    assert set(sim.landscape.class_of_unit[units]) == set(range(len(CLASSES)))


def test_tiles_line_up() -> None:
    for size in ("standard", "tiny"):
        place = region(size)
        edge = 10 * place.tile_px
        assert LEFT_M % edge == 0
        assert TOP_M % edge == 0
        assert place.width_m % edge == 0
        assert place.height_m % edge == 0
        assert place.width_m / edge * (place.height_m / edge) >= 2


def test_slope_is_the_derivative_of_height() -> None:
    terrain = make_terrain(7)
    east, north = np.array([100.0, 900.0]), np.array([50.0, 700.0])
    to_east, to_north = terrain.gradient(east, north)
    step = 0.01
    assert to_east == pytest.approx(
        (terrain.height_m(east + step, north) - terrain.height_m(east, north)) / step, abs=1e-4
    )
    assert to_north == pytest.approx(
        (terrain.height_m(east, north + step) - terrain.height_m(east, north)) / step, abs=1e-4
    )


# --- leaves and light


def mean_ndvi(sim: Simulation, day: int, kind: int) -> float:
    value = sim.surface.reflectance(day, 0.3)
    red, nir = value[BANDS.index("B04")], value[BANDS.index("B08")]
    return float(((nir - red) / (nir + red))[sim.landscape.truth_yx == kind].mean())


def test_classes_follow_their_calendars(standard: Simulation) -> None:
    def at(kind: int, *days: int) -> list[float]:
        return [mean_ndvi(standard, day, kind) for day in days]

    may, july, august = 130, 200, 215
    assert at(WINTER, may)[0] > at(SUMMER, may)[0] + 0.3
    assert at(SUMMER, august)[0] > at(WINTER, august)[0] + 0.25
    assert at(BROADLEAF, july)[0] > at(BROADLEAF, 60)[0] + 0.15
    conifer = at(CONIFER, 30, 120, 200, 300)
    assert max(conifer) - min(conifer) < 0.1
    assert at(WATER, july)[0] < 0


def test_within_class_spread_exceeds_the_distance_of_means(standard: Simulation) -> None:
    """On one summer day, maize and grass overlap: the overlap that makes one date insufficient."""
    nir = standard.surface.reflectance(205, 0.3)[BANDS.index("B08")]
    truth = standard.landscape.truth_yx
    maize, grass = nir[truth == SUMMER], nir[truth == GRASS]
    assert abs(maize.mean() - grass.mean()) < maize.std() + grass.std()


@given(st.integers(1, 366))
def test_canopies_stay_in_range(day: int) -> None:
    calendars = make_calendars(np.arange(7).repeat(30), 11)
    canopy = calendars.at(day)
    assert np.all((canopy.green >= 0) & (canopy.green < 10))
    assert np.all((canopy.brown >= 0) & (canopy.brown < 8))
    assert np.all((canopy.flower >= 0) & (canopy.flower <= 1))
    assert np.all(canopy.flower[calendars.kind != RAPESEED] == 0)
    assert np.all(canopy.upright[np.isin(calendars.kind, (MAIZE, BEET))] == 0)


# --- sky


def test_sun_at_solstice_noon() -> None:
    # Solar noon is where the azimuth passes 180°; there the zenith is latitude - declination.
    hours = np.linspace(10.5, 11.8, 200)
    angles = np.array([sun_angles(172, hour) for hour in hours])
    noon = int(np.abs(angles[:, 1] - 180).argmin())
    assert angles[noon, 0] == pytest.approx(48.55 - 23.44, abs=0.1)
    # Longitude 12.92° east and 1.8 minutes of equation of time on 21 June.
    assert hours[noon] == pytest.approx(12 - 12.92 / 15 + 1.8 / 60, abs=0.03)


def test_cloud_statistics_are_those_cited() -> None:
    days = np.tile(np.arange(1, 366), 60)
    covers = cloud_covers(days, stream(5))
    seasons = np.array([season_of(int(day)) for day in days])
    for season, fraction in CLOUD_FRACTION.items():
        assert covers[seasons == season].mean() == pytest.approx(fraction, abs=0.02)
    assert ((covers < 0.1) | (covers > 0.9)).mean() > ((covers > 0.3) & (covers < 0.7)).mean()


def test_acquisitions_are_real_passes() -> None:
    passes = sentinel2_acquisitions(region("standard"), 7)
    assert 30 <= len(passes) <= 40
    assert all(one.when < two.when for one, two in itertools.pairwise(passes))
    for one in passes:
        # Relative orbits of Sentinel-2: 2A (absolute + 2) mod 143 + 1, 2B (absolute - 27) mod 143 + 1.
        shift = 2 if one.platform == "S2A" else -27
        assert (one.absolute_orbit + shift) % 143 + 1 == one.relative_orbit
        assert one.cloud_cover <= MAX_CLOUD
        assert 20 < one.sun_zenith_deg < 75
        assert 140 < one.sun_azimuth_deg < 180
    assert {one.relative_orbit for one in passes} == {22, 122}


def test_cloud_cover_is_met_and_shadows_lie_opposite_to_the_sun() -> None:
    place = region("standard")
    passes = sentinel2_acquisitions(place, 7)
    summer = next(one for one in passes if 150 < one.day < 240)
    aim = dataclasses.replace(summer, cloud_cover=0.12, sun_zenith_deg=40.0, sun_azimuth_deg=180.0)
    sky = make_sky(place, aim, 3)
    cloud, shadow = sky.cloud > 0.5, sky.sunlight < 0.8
    assert (sky.cloud > 0).mean() == pytest.approx(0.12, abs=1e-3)
    # The sun stands in the south: shadows are clouds shifted to the north, by 600 to 2,000 m times tan 40°.
    best = max(range(-200, 201, 4), key=lambda rows: float((np.roll(cloud, -rows, axis=0) & shadow).mean()))
    assert 45 <= best <= 170


def test_clear_sky_only_scales() -> None:
    nothing = np.zeros((4, 4), np.float32)
    sky = Sky(nothing, nothing, nothing + 1, 0.0, np.ones(10, np.float32))
    surface = np.full((10, 4, 4), 0.3, np.float32)
    assert sky.clear.all()
    assert sky.through(surface, stream(1)) == pytest.approx(surface, abs=0.03)
    cloudy = dataclasses.replace(sky, cloud=nothing + 20)
    assert cloudy.through(surface, stream(1))[0].min() > 0.4
    assert not cloudy.clear.any()


def test_scl_is_mostly_right_but_not_always(tiny: Simulation) -> None:
    bad = missed = agree = total = 0
    for acquisition in tiny.acquisitions:
        scene = tiny.optical(acquisition)
        hidden = (scene.sky.cloud > 0.5).reshape(48, 2, 96, 2).mean(axis=(1, 3)) > 0.5
        inside = scene.scl != 0
        flagged = np.isin(scene.scl, (3, 8, 9, 10))
        bad += int((hidden & inside).sum())
        missed += int((hidden & inside & ~flagged).sum())
        clear = scene.clear.reshape(48, 2, 96, 2).all(axis=(1, 3)) & inside
        agree += int((clear & ~flagged).sum())
        total += int(clear.sum())
    assert 0.0 < missed / bad < 0.2
    assert 0.9 < agree / total < 1.0


def test_swath_edge_is_a_wedge() -> None:
    inside = swath(region("standard"), 122)
    assert swath(region("standard"), 22).all()
    width = inside.sum(axis=1)
    assert np.all(np.diff(width) <= 0)
    assert 0.03 < 1 - inside.mean() < 0.2


# --- radar


def test_speckle_has_the_looks_of_grd() -> None:
    field = speckle((600, 600), stream(4))
    assert field.mean() == pytest.approx(1.0, abs=0.01)
    # Sentinel-1 Product Definition, IW GRD high resolution: 4.4 equivalent looks.
    assert field.mean() ** 2 / field.var() == pytest.approx(4.4, abs=0.15)
    neighbours = np.corrcoef(field[:, 1:].ravel(), field[:, :-1].ravel())[0, 1]
    assert 0.25 < neighbours < 0.55
    assert abs(np.corrcoef(field[:, 4:].ravel(), field[:, :-4].ravel())[0, 1]) < 0.03


def test_radar_seasons(standard: Simulation) -> None:
    truth = standard.landscape.truth_yx

    def db(day: int, kind: int) -> np.ndarray:
        power = standard.scatterer.gamma0(day, 0.4, 0.0)
        return 10 * np.log10(power[:, truth == kind].mean(axis=1))

    winter, summer = 30, 200
    # Dubois et al. 2020: VH of broadleaf forest falls in summer, of conifers rises.
    assert db(summer, BROADLEAF)[1] < db(winter, BROADLEAF)[1] - 0.5
    assert db(summer, CONIFER)[1] > db(winter, CONIFER)[1] + 0.5
    # Veloso et al. 2017: cereals lose VV between tillering and heading, maize gains in summer.
    assert db(150, WINTER)[0] < db(60, WINTER)[0] - 1.0
    assert db(215, SUMMER)[1] > db(140, SUMMER)[1] + 1.5
    assert db(summer, WATER)[0] < -15


def test_from_db() -> None:
    assert from_db(3.0) == pytest.approx(1.9953, abs=1e-4)


def test_radar_days_are_passes_of_the_orbit(tiny: Simulation, standard: Simulation) -> None:
    # Real products of relative orbit 44 by Sentinel-1A: one on 16 January 2021, and every 12 days around it.
    assert standard.radar_days == tuple(range(4, 366, 12))
    assert tiny.radar_days == tuple(range(4, 366, 48))
    assert tiny.radar(100).gamma0.shape == (2, 96, 192)


def test_soil_dries_and_gets_wet() -> None:
    wet = soil_wetness(7)
    assert wet.shape == (367,)
    assert np.all((wet >= 0) & (wet <= 1))
    assert wet.std() > 0.1
    assert wet[152:244].mean() < wet[:59].mean()
