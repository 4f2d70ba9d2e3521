"""Statistics equal numpy's on the valid pixels, however they were fed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landcover_cli.learn.statistics import BandStatistics
from landcover_cli.learn.values import physical_values


@given(seed=st.integers(0, 1000), parts=st.integers(1, 6), offset=st.sampled_from([0.0, 1e4, -3e5]), nan=st.booleans())
def test_equals_numpy_on_valid_pixels(seed: int, parts: int, offset: float, nan: bool) -> None:
    rng = np.random.default_rng(seed)
    values = (offset + rng.normal(0, 3, (4, 3, 6, 5))).astype(np.float32)
    valid = rng.random((4, 6, 5)) < 0.6
    valid[0, 0, 0] = True
    if nan:  # what stands where nothing is valid must not matter
        values = np.where(valid[:, None], values, np.nan)
    total = BandStatistics(3)
    for t in np.array_split(np.arange(4), parts):
        part = BandStatistics(3)
        part.feed(values[t], valid[t])
        total.merge(part)
    found = total.result()
    pixels = np.moveaxis(values, 1, 0)[:, valid].astype(np.float64)
    assert found.count == valid.sum()
    np.testing.assert_allclose(found.mean, pixels.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(found.std, pixels.std(axis=1), rtol=1e-7, atol=1e-9)
    np.testing.assert_array_equal(found.minimum, pixels.min(axis=1))
    np.testing.assert_array_equal(found.maximum, pixels.max(axis=1))


def test_a_constant_band_divides_safely() -> None:
    one = BandStatistics(1)
    one.feed(np.full((1, 1, 3, 3), 7.0), np.ones((1, 3, 3), bool))
    assert one.result().std == (1.0,)
    assert BandStatistics(2).result().std == (1.0, 1.0)


def test_physical_values() -> None:
    dn = np.array([[[[1000, 3000]]]], np.uint16)
    values, valid = physical_values(dn, np.ones((1, 1, 2), bool), scale=1e-4, offset=-0.1, transform="none")
    assert values[0, 0, 0] == pytest.approx([0.0, 0.2], abs=1e-7)
    assert valid.all()
    power = np.array([[[[0.1, 0.0, np.nan, -1.0]], [[1.0, 1.0, 1.0, 1.0]]]], np.float32)
    values, valid = physical_values(power, np.ones((1, 1, 4), bool), scale=1.0, offset=0.0, transform="db")
    assert valid[0, 0].tolist() == [True, False, False, False]
    assert values[0, :, 0, 0] == pytest.approx([-10.0, 0.0])
    assert (values[:, :, :, 1:] == 0).all()


def test_only_powers_become_decibels() -> None:
    """Among bands of linear power an index keeps its values, zero and below included."""
    bands = ("VV", "rvi", "alpha", "c12_real")
    data = np.array([[0.1, 0.0, 30.0, -0.2], [0.0, 0.5, 30.0, 0.2], [1.0, np.nan, 30.0, 0.2]], np.float32)
    stored = np.moveaxis(data[None, None], -1, 1)
    values, valid = physical_values(
        stored, np.ones((1, 1, 3), bool), scale=1.0, offset=0.0, transform="db", bands=bands
    )
    assert valid.tolist() == [[[True, False, False]]]
    np.testing.assert_allclose(values[0, :, 0, 0], [-10.0, 0.0, 30.0, -0.2], rtol=1e-6)
    assert not values[0, :, 0, 1:].any()
