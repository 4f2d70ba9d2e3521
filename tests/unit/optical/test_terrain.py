"""Slope and aspect of planes, whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from landcover_cli.optical.terrain import horn


@pytest.mark.parametrize(
    ("east", "north", "aspect"), [(0.1, 0.0, 270), (0.0, 0.2, 180), (-0.3, 0.0, 90), (0.0, -0.1, 0), (0.1, 0.1, 225)]
)
def test_a_plane(east, north, aspect):
    y, x = np.mgrid[0:8, 0:9]
    z = 100 + east * x * 20.0 - north * y * 20.0
    z[0, 0] = z[4, 8] = np.nan
    found = horn(z, 20.0)
    assert found["slope"].shape == (6, 7)
    np.testing.assert_allclose(found["slope"], np.degrees(np.arctan(np.hypot(east, north))), atol=1e-9)
    np.testing.assert_allclose(found["aspect_sin"], np.sin(np.radians(aspect)), atol=1e-9)
    np.testing.assert_allclose(found["aspect_cos"], np.cos(np.radians(aspect)), atol=1e-9)


def test_flat_ground_has_no_aspect_and_a_hole_stays_one():
    z = np.full((6, 6), 5.0)
    z[2, 2] = np.nan
    found = horn(z, 10.0)
    assert np.isnan(found["slope"][1, 1])
    rest = np.ones((4, 4), bool)
    rest[1, 1] = False
    assert (found["slope"][rest] == 0).all()
    assert (found["aspect_sin"][rest] == 0).all()
    assert (found["aspect_cos"][rest] == 0).all()
