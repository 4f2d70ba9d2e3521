"""The simulated orbit against the state vectors and nodes of real products."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from landcover_cli.demo.sentinel1_orbit import NODAL_PERIOD_S, node_time, pass_days, track
from landcover_cli.errors import UsageError
from landcover_cli.io.safe_s1 import open_s1_product
from landcover_cli.io.safe_s1_xml import parse_time

REAL = {
    "pyrosar_grd_meta/S1A_IW_GRDH_1SDV_20210119T031653_20210119T031718_036201_043ED0_8255.zip": date(2021, 1, 19),
    "pyrosar_grd_meta/S1A_IW_GRDH_1SDV_20150222T170750_20150222T170815_004739_005DD8_3768.zip": date(2015, 2, 22),
    "sarsen_rome/S1B_IW_GRDH_1SDV_20211223T051122_20211223T051147_030148_039993_5371.SAFE": date(2021, 12, 23),
    "xarray_sentinel/S1B_IW_GRDH_1SDV_20210401T052623_20210401T052648_026269_032297_ECC8.SAFE": date(2021, 4, 1),
}


@pytest.mark.parametrize("name", REAL)
def test_follows_real_satellites(name: str, shared_data: Callable[[str], Path]) -> None:
    """Within 1 km of the real positions, whose own control tube has a radius of 120 m, and 0.1 % of the speed."""
    product = open_s1_product(shared_data(f"s1/{name}"))
    orbit = product.annotation("VV", product.swaths[0]).orbit
    texts = [e.text for e in product.archive.read_xml("manifest.safe").iter() if e.tag.endswith("ascendingNodeTime")]
    node_s = float((parse_time(texts[0] or "", "node") - product.epoch) / np.timedelta64(1, "ns")) * 1e-9
    position, velocity = track(product.meta.relative_orbit).state(orbit.time_s - node_s)
    assert np.linalg.norm(position - orbit.position_m, axis=1).max() < 2000
    assert np.linalg.norm(velocity - orbit.velocity_ms, axis=1).max() < 8
    height_km = (np.linalg.norm(position, axis=1) - np.linalg.norm(orbit.position_m, axis=1)) / 1e3
    assert np.abs(height_km).max() < 0.5


@pytest.mark.parametrize("name", REAL)
def test_nodes_and_numbers_of_real_passes(name: str, shared_data: Callable[[str], Path]) -> None:
    product = open_s1_product(shared_data(f"s1/{name}"))
    texts = [e.text for e in product.archive.read_xml("manifest.safe").iter() if e.tag.endswith("ascendingNodeTime")]
    real = parse_time(texts[0] or "", "node")
    node, number = node_time(product.meta.mission, product.meta.relative_orbit, REAL[name])
    assert number == product.meta.absolute_orbit
    assert abs(np.datetime64(node.replace(tzinfo=None), "ns") - real) < np.timedelta64(60, "s")


def test_velocity_is_the_derivative_and_the_track_repeats() -> None:
    time = np.linspace(0, NODAL_PERIOD_S, 50)
    position, velocity = track(44).state(time)
    ahead, behind = track(44).position_m(time + 0.5), track(44).position_m(time - 0.5)
    np.testing.assert_allclose(velocity, ahead - behind, atol=1e-3)
    again = track(44).position_m(time + 12 * 86_400.0)
    np.testing.assert_allclose(again, position, atol=1e-3)


def test_gravity_holds_the_orbit() -> None:
    """The inertial acceleration is the attraction of a flattened Earth to 5e-4 of it; a round one leaves 2e-3."""
    turn = 2 * np.pi / 86_164.0905
    time = np.arange(0.0, NODAL_PERIOD_S, 60.0)

    def inertial(t: np.ndarray) -> np.ndarray:
        x, y, z = np.moveaxis(track(1).position_m(t), -1, 0)
        return np.stack(
            [x * np.cos(turn * t) - y * np.sin(turn * t), x * np.sin(turn * t) + y * np.cos(turn * t), z], -1
        )

    found = (inertial(time + 1) - 2 * inertial(time) + inertial(time - 1)) / 1.0
    place = inertial(time)
    r = np.linalg.norm(place, axis=-1, keepdims=True)
    flat = 1.5 * 1.08262668e-3 * (6_378_137.0 / r) ** 2
    ratio = 5 * (place[:, 2:] / r) ** 2
    round_earth = -3.986004418e14 / r**3 * place
    attraction = round_earth * (1 + flat * (np.array([1.0, 1.0, 3.0]) - ratio))
    assert np.linalg.norm(found - attraction, axis=-1).max() < 5e-4 * 8.0
    assert np.linalg.norm(found - round_earth, axis=-1).max() > 2e-3 * 8.0


def test_pass_days_are_every_twelfth() -> None:
    days = pass_days("S1A", 44, date(2021, 1, 1), date(2021, 12, 31))
    assert days[:2] == (date(2021, 1, 4), date(2021, 1, 16)) and len(days) == 31
    assert all(b - a == timedelta(days=12) for a, b in pairwise(days))
    assert all(node_time("S1A", 44, day)[0].date() == day for day in days)
    assert [(node_time("S1A", 44, day)[1] - 73) % 175 + 1 for day in days] == [44] * 31
    # The second satellite follows half a cycle later.
    assert pass_days("S1B", 44, date(2021, 1, 1), date(2021, 1, 12)) == (date(2021, 1, 10),)


def test_unknown_orbits_are_refused() -> None:
    with pytest.raises(UsageError, match="relative orbit is 176"):
        track(176)
    with pytest.raises(UsageError, match="S1X"):
        node_time("S1X", 1, date(2021, 1, 1))
