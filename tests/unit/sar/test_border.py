"""Border noise: what connects to the edge goes, what lies inside stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from landcover_cli.io.safe_s1 import open_s1_product
from landcover_cli.sar.border import (
    SIDES,
    Side,
    edge_windows,
    has_border_noise,
    join_strips,
    mask_strip,
    noise_scale,
)
from landcover_cli.sar.noise import noise_model, noise_power, noise_state
from landcover_cli.sar.types import ProductMeta

RNG = np.random.default_rng(0)
TIME = np.datetime64("2015-01-01", "ns")


def meta(version: tuple[int, int], mode: str = "IW", kind: str = "GRD") -> ProductMeta:
    return ProductMeta("P", "S1A", mode, kind, "H", "ASCENDING", version, 1, 1, 1, TIME, TIME, ())


def ground(shape: tuple[int, int], level: float = 300.0) -> np.ndarray:
    """Speckled land."""
    return np.maximum(level * np.sqrt(RNG.gamma(4.4, 1 / 4.4, shape)), 60).astype(np.uint16)


def turned(strip: np.ndarray, side: Side) -> np.ndarray:
    """A strip drawn with the edge on the left, turned to lie on another side."""
    return {"left": strip, "right": strip[:, ::-1], "top": strip.T, "bottom": strip.T[::-1]}[side]


@pytest.mark.parametrize(
    ("version", "mode", "expected"),
    [
        ((2, 70), "IW", 1.0),
        ((2, 51), "IW", 1.0),
        ((2, 50), "IW", 75088.7 * 474.0**2),
        ((2, 34), "EW", 56065.87 * 474.0**2),
        ((2, 33), "IW", 75088.7 * 474.0),
        ((2, 36), "SM", 1.0),
    ],
)
def test_the_noise_scale_follows_the_version(version: tuple[int, int], mode: str, expected: float) -> None:
    assert noise_scale(meta(version, mode), 474.0) == pytest.approx(expected)


def test_only_ground_range_products_before_290_have_border_noise() -> None:
    assert has_border_noise(meta((2, 84))) and has_border_noise(meta((2, 36)))
    assert not has_border_noise(meta((2, 90))) and not has_border_noise(meta((3, 40)))
    assert not has_border_noise(meta((2, 36), kind="SLC"))


@pytest.mark.parametrize("side", SIDES)
def test_noise_at_any_edge_goes_and_dark_water_inside_stays(side: Side) -> None:
    dn = ground((400, 200))
    dn[:, :20] = RNG.integers(0, 35, (400, 20))  # border noise: low, with single values above the threshold
    dn[:, :3] = 0
    dn[100:160, 60:120] = RNG.integers(0, 20, (60, 60))  # a lake
    noise = np.full(dn.shape, 40.0**2)
    mask = mask_strip(turned(dn, side), turned(noise, side), side)
    expected = np.zeros(dn.shape, dtype=bool)
    expected[:, :20] = True
    np.testing.assert_array_equal(mask, turned(expected, side))


def test_a_value_below_the_noise_is_suspect_and_its_islands_go_too() -> None:
    dn = ground((50, 60))
    dn[:, :10] = 38  # above 30, but nothing remains once 40² is subtracted
    dn[20:23, 4:6] = 500  # an island within the border noise
    assert mask_strip(dn, np.full(dn.shape, 1600.0), "left")[:, :10].all()
    assert not mask_strip(dn, np.zeros(dn.shape), "left").any()
    assert mask_strip(dn, np.full(dn.shape, 160.0), "left", scale=10.0)[:, :10].all()


def test_an_edge_without_border_noise_is_left_alone() -> None:
    assert not mask_strip(ground((300, 100)), np.full((300, 100), 900.0), "right").any()


@pytest.mark.parametrize("side", SIDES)
def test_without_noise_vectors_the_data_trim_the_edge(side: Side) -> None:
    dn = ground((640, 500))
    depth = 40
    dn[:, :depth] = RNG.integers(0, 50, (640, depth))  # border noise of IPF 2.36 reaches above 30
    mask = mask_strip(turned(dn, side), None, side)
    drawn = turned(mask, {"left": "left", "right": "right", "top": "top", "bottom": "bottom"}[side])
    drawn = drawn if side != "bottom" else mask[::-1].T
    assert drawn[:, :36].all() and not drawn[:, depth + 4 :].any()


def test_the_trim_keeps_water_at_the_edge_of_a_scene() -> None:
    # Sea at -18 dB beside land at -8 dB: 10 dB apart, far from the 14 dB that mark border noise.
    dn = ground((640, 500))
    dn[:, :150] = np.maximum(95 * np.sqrt(RNG.gamma(4.4, 1 / 4.4, (640, 150))), 31).astype(np.uint16)
    assert not mask_strip(dn, None, "left").any()


def test_the_trim_does_nothing_where_the_strip_holds_no_ground() -> None:
    dn = np.zeros((128, 500), dtype=np.uint16)
    assert mask_strip(dn, None, "left").all()  # all zeros, all connected to the edge
    dn[:] = 31
    assert not mask_strip(dn, None, "left").any()


def test_strips_join_into_one_mask_that_any_window_can_ask() -> None:
    shape = (120, 90)
    windows = edge_windows(shape, 20)
    masks = {side: RNG.random(window[2]) < 0.5 for side, window in windows.items()}
    joined = join_strips(shape, masks)
    whole = joined.window(0, 0, shape)
    expected = np.zeros(shape, dtype=bool)
    for side, (y, x, (height, width)) in windows.items():
        expected[y : y + height, x : x + width] |= masks[side]
    np.testing.assert_array_equal(whole, expected)
    assert not whole[20:100, 20:70].any()
    np.testing.assert_array_equal(joined.window(7, 63, (50, 27)), whole[7:57, 63:90])
    assert not join_strips(shape, {}).window(0, 0, shape).any()


def test_an_image_smaller_than_the_strips_is_covered() -> None:
    assert edge_windows((30, 40))["right"] == (0, 0, (30, 40))


@pytest.mark.parametrize(
    "name",
    [
        "S1A_IW_GRDH_1SDV_20150203T043109_20150203T043134_004454_00574F_6D00.zip",
        "S1A_IW_GRDH_1SDV_20150203T043109_20150203T043134_004454_00574F_FEC3.zip",
    ],
)
def test_simulated_borders_under_real_annotation(name: str, shared_data: Callable[[str], Path]) -> None:
    """IPF 2.70, whose noise vectors serve, and IPF 2.36, whose vectors are all zero."""
    product = open_s1_product(shared_data(f"s1/pyrosar_grd_meta/{name}"))
    channel = product.channel("VV", need_measurement=False)
    line, pixel, shape = edge_windows(channel.annotation.image.shape_yx)["right"]
    noise = None
    if noise_state(channel.annotation, channel.noise) == "removed":
        noise = noise_power(noise_model(channel.annotation, channel.noise), 0, pixel, shape)
    dn = ground(shape)
    depth = 30 + (20 * np.sin(np.arange(shape[0]) / 900)).astype(int)  # a border that wanders along the track
    border = np.arange(shape[1])[None, ::-1] < depth[:, None]
    # At the far end the vectors are zero too, so that there only the threshold of 30 is left.
    level = np.maximum(25.0, 0.0 if noise is None else 0.95 * np.sqrt(noise)) * np.ones(shape)
    dn[border] = (RNG.random(border.sum()) * level[border]).astype(np.uint16)
    scale = noise_scale(product.meta, float(channel.calibration.vectors[0].dn[0]))
    mask = mask_strip(dn, noise, "right", scale=scale)
    assert mask[border].mean() > 0.999
    assert mask[~border].mean() < 0.001 if noise is not None else mask[~border].mean() < 0.02
    assert (line, pixel) == (0, channel.annotation.image.shape_yx[1] - 500)
