"""Layers without a date: mosaic, holes, slope that does not stop at tile edges."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine

from landcover_cli.core.lattice import Lattice
from landcover_cli.errors import InputError
from landcover_cli.io.static import StaticSettings, read_static, static_covers

LATTICE = Lattice("EPSG:32633", 10.0, (600000.0, 4999000.0, 601000.0, 5000000.0))


def dem(path, values, left=600000, top=5000000, gsd=20, nodata=None):
    profile = {
        "driver": "GTiff",
        "height": values.shape[0],
        "width": values.shape[1],
        "count": 1,
        "dtype": values.dtype,
    }
    with rasterio.open(
        path, "w", crs="EPSG:32633", transform=Affine(gsd, 0, left, 0, -gsd, top), nodata=nodata, **profile
    ) as dataset:
        dataset.write(values, 1)
    return path


def plane(rows=60, cols=60, east=0.1, gsd=20):
    return (500 + east * gsd * (np.arange(cols) + 0.5) * np.ones((rows, 1))).astype("float32")


def test_slope_of_a_plane_in_degrees(tmp_path):
    path = dem(tmp_path / "a.tif", plane())
    settings = StaticSettings("dem", ("elevation",), ("slope", "aspect_sin"))
    found = read_static([path], LATTICE, settings)
    assert found.shape == (3, 100, 100)
    np.testing.assert_allclose(found[0], 500 + 0.1 * (np.arange(100) * 10 + 5) * np.ones((100, 1)), atol=1.1)
    np.testing.assert_allclose(found[1][:, 2:], np.degrees(np.arctan(0.1)), atol=0.01)
    np.testing.assert_allclose(found[2][:, 2:], -1, atol=1e-5)


def test_tiles_fit_together(tmp_path):
    rng = np.random.default_rng(0)
    path = dem(tmp_path / "a.tif", rng.uniform(100, 200, (60, 60)).astype("float32"))
    settings = StaticSettings("dem", ("elevation",), ("slope", "aspect_cos"))
    whole = read_static([path], LATTICE, settings)
    left = Lattice("EPSG:32633", 10.0, (600000.0, 4999000.0, 600500.0, 5000000.0))
    right = Lattice("EPSG:32633", 10.0, (600500.0, 4999000.0, 601000.0, 5000000.0))
    both = np.concatenate([read_static([path], part, settings) for part in (left, right)], axis=2)
    np.testing.assert_array_equal(both, whole)


def test_files_fill_each_others_holes_in_the_order_of_their_names(tmp_path):
    first = np.full((60, 60), 7, "int16")
    first[10:20] = -32768
    a = dem(tmp_path / "a.tif", first, nodata=-32768)
    b = dem(tmp_path / "b.tif", np.full((60, 60), 9, "uint8"))
    settings = StaticSettings("dem", ("elevation",), (), "nearest")
    found = read_static([b, a], LATTICE, settings)[0]
    assert (found[20:40] == 9).all()
    assert (found[:20] == 7).all()


def test_a_stated_hole_is_one_and_zero_is_not(tmp_path):
    values = np.full((60, 60), 30, "uint8")
    values[:5] = 0
    path = dem(tmp_path / "a.tif", values)
    assert not np.isnan(read_static([path], LATTICE, StaticSettings("dem", ("elevation",)))).any()
    found = read_static([path], LATTICE, StaticSettings("dem", ("elevation",), nodata=0.0))
    assert np.isnan(found[0][:10]).all()
    assert (found[0][10:] == 30).all()


def test_which_files_are_needed(tmp_path):
    a = dem(tmp_path / "a.tif", plane())
    b = dem(tmp_path / "b.tif", plane(), left=700000)
    settings = StaticSettings("dem", ("elevation",))
    assert list(static_covers([b, a], LATTICE, settings)) == [a]
    with pytest.raises(InputError, match=r"'dem'.*a\.tif has 1 bands, `bands` names 2"):
        static_covers([a], LATTICE, StaticSettings("dem", ("elevation", "soil")))
