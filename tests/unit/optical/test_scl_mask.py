"""The SCL mask against loops over every pair of pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landcover_cli.core.types import MASK_BAD, MASK_CLEAR, MASK_NODATA
from landcover_cli.errors import ConfigError
from landcover_cli.optical.masks.scl import MASK


def near(where: np.ndarray, radius: float, gsd: float) -> np.ndarray:
    """Every pixel within a radius of a true one, the slow way."""
    out = where.copy()
    if radius < gsd:
        return out
    ys, xs = np.nonzero(where)
    for y, x in np.ndindex(*where.shape):
        out[y, x] = bool((np.hypot(ys - y, xs - x) * gsd <= radius + 1e-6).any()) if ys.size else False
    return out


def slow(scl: np.ndarray, gsd: float, o: dict) -> np.ndarray:
    cloudy = np.isin(scl, (8, 9, 10))
    opened = near(~near(~cloudy, o["opening_m"], gsd), o["opening_m"], gsd) & cloudy
    bad = scl == 1
    if not o["keep_snow"]:
        bad |= scl == 11
    if o["strict"]:
        bad |= np.isin(scl, (2, 7)) | (scl > 11)
    bad |= near(opened & (scl != 10), o["cloud_m"], gsd)
    bad |= near(opened & (scl == 10), o["cirrus_m"], gsd)
    bad |= near(scl == 3, o["shadow_m"], gsd)
    out = np.where(bad, MASK_BAD, MASK_CLEAR).astype("uint8")
    out[near(scl == 0, o["nodata_m"], gsd)] = MASK_NODATA
    return out


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from([20.0, 60.0, 120.0]), st.booleans(), st.booleans())
def test_it_equals_the_slow_way(seed, gsd, strict, keep_snow):
    rng = np.random.default_rng(seed)
    scl = rng.choice([4, 4, 4, 4, 4, 4, 5, 6, 2, 7, 8, 9, 10, 11, 3, 0, 1, 12], (14, 15)).astype("uint8")
    scl[3:6, 4:8] = 9
    options = MASK.options({"strict": strict, "keep_snow": keep_snow, "cloud_m": 60.0, "shadow_m": 40.0})
    np.testing.assert_array_equal(MASK.compute({"SCL": scl}, gsd, options), slow(scl, gsd, options))


@pytest.mark.parametrize("first", [0, 17])
def test_a_window_with_the_stated_margin_gives_the_mask_of_the_whole(first):
    rng = np.random.default_rng(5)
    scl = np.full((120, 120), 4, "uint8")
    for y, x in rng.integers(0, 116, (30, 2)):
        scl[y : y + 4, x : x + 4] = rng.choice([3, 8, 9, 10, 0])
    options = MASK.options({})
    whole = MASK.compute({"SCL": scl}, 20.0, options)
    margin = int(MASK.reach_m(options) / 20) + 1
    y0, y1 = 40 + first, 70 + first
    a = max(y0 - margin, 0)
    part = MASK.compute({"SCL": scl[a : y1 + margin, a : y1 + margin]}, 20.0, options)
    np.testing.assert_array_equal(part[y0 - a :, y0 - a :][: y1 - y0, : y1 - y0], whole[y0:y1, y0:y1])


def test_a_lone_cloud_pixel_is_noise_but_a_lone_shadow_is_not():
    scl = np.full((40, 40), 4, "uint8")
    scl[10, 10] = 9
    scl[30, 30] = 3
    mask = MASK.compute({"SCL": scl}, 20.0, MASK.options({}))
    assert mask[10, 10] == MASK_CLEAR
    assert mask[30, 30] == MASK_BAD


@pytest.mark.parametrize("given_", [{"cloud": 3}, {"cloud_m": "far"}, {"strict": 1.0}, {"cloud_m": -1.0}])
def test_wrong_options_are_refused(given_):
    with pytest.raises(ConfigError, match="scl"):
        MASK.options(given_)
