"""Backscatter whose values contradict the units that were said."""

from __future__ import annotations

import numpy as np
import pytest

from landcover_cli.errors import InputError
from landcover_cli.io.stack import StackSettings, to_stored
from landcover_cli.registry import load


def settings(units: str) -> StackSettings:
    return StackSettings("s1", load("sensor", "sentinel1"), ("VV",), units, load("mask", "none"))


LINEAR = np.random.default_rng(1).gamma(4.4, 0.1 / 4.4, (40, 40)).astype(np.float32)


def test_linear_power_called_decibels_is_refused() -> None:
    with pytest.raises(InputError, match=r"x\.tif: units are said to be db"):
        to_stored(LINEAR, None, settings("db"), "x.tif")


def test_decibels_called_linear_are_refused() -> None:
    with pytest.raises(InputError, match=r"x\.tif: units are said to be linear"):
        to_stored(10 * np.log10(LINEAR), None, settings("linear"), "x.tif")


def test_right_units_pass_and_agree() -> None:
    linear = to_stored(LINEAR, None, settings("linear"))
    decibels = to_stored(10 * np.log10(LINEAR), None, settings("db"))
    np.testing.assert_allclose(decibels, linear, rtol=1e-5)
    # Noise removal leaves a few negative powers; a handful of values cannot be judged.
    few = to_stored(np.float32([[-0.01, 0.2]]), None, settings("linear"))
    assert np.isnan(few[0, 0])
    assert few[0, 1] == np.float32(0.2)
