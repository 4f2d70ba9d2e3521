"""The values of an annotation: one time axis, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landcover_cli.errors import InputError
from landcover_cli.sar.types import OrbitStateVectors, instant, seconds_since

EPOCH = np.datetime64("2021-12-23T05:11:22.594441", "ns")


@given(st.integers(-(10**14), 10**14))
def test_an_instant_survives_the_way_to_seconds_and_back_to_the_nanosecond(nanoseconds: int) -> None:
    time = EPOCH + np.timedelta64(nanoseconds, "ns")
    assert abs(int((instant(EPOCH, seconds_since(EPOCH, time)) - time).astype(np.int64))) <= abs(nanoseconds) // 10**15
    assert seconds_since(EPOCH, time) == pytest.approx(nanoseconds * 1e-9, abs=1e-12, rel=1e-15)


def vectors(time_s: list[float], shape: tuple[int, ...] = (4, 3)) -> OrbitStateVectors:
    return OrbitStateVectors(EPOCH, np.array(time_s), np.ones(shape), np.ones(shape), "made up")


def test_rebasing_moves_the_times_and_nothing_else() -> None:
    orbit = vectors([0.0, 1.0, 2.0, 3.0])
    moved = orbit.rebased(EPOCH + np.timedelta64(10, "s"))
    np.testing.assert_allclose(moved.time_s, [-10, -9, -8, -7])
    np.testing.assert_array_equal(moved.position_m, orbit.position_m)


@pytest.mark.parametrize("time_s", [[0.0, 1.0, 1.0, 2.0], [0.0, 2.0, 1.0, 3.0], [0.0, 1.0, 2.0, np.nan]])
def test_times_that_do_not_increase_are_refused(time_s: list[float]) -> None:
    with pytest.raises(InputError, match="made up"):
        vectors(time_s)


def test_shapes_that_disagree_are_refused() -> None:
    with pytest.raises(InputError, match="shapes"):
        vectors([0.0, 1.0, 2.0, 3.0], shape=(3, 3))
