"""Rasters on the product grid's lattice: the same whatever window is asked for."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from landcover_cli.core.lattice import Lattice, intersect, snap_out
from landcover_cli.io.ongrid import read_on
from landcover_cli.io.raster import open_raster

CASES = {
    # name: (EPSG, left, top, width of a pixel, height of a pixel, lattice pixel)
    "same": (32633, 600000, 5000040, 10, 10, 10),
    "twice": (32633, 600000, 5000040, 20, 20, 10),
    "six times": (32633, 600000, 5000040, 60, 60, 10),
    "half": (32633, 600000, 5000040, 10, 10, 20),
    "shifted": (32633, 600005, 5000043, 10, 10, 10),
    "odd": (32633, 600000, 5000040, 15, 15, 10),
    "other zone": (32632, 1066000, 5030000, 20, 20, 10),
    "degrees": (4326, 16.26, 45.15, 1.5 / 3600, 1 / 3600, 10),
    "finer degrees": (4326, 16.26, 45.15, 0.1 / 3600, 0.1 / 3600, 10),
}


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    epsg, left, top, wide, high, gsd = CASES[request.param]
    rng = np.random.default_rng(3)
    values = rng.integers(1, 9000, (90, 110)).astype("uint16")
    values[30:45, 20:60] = 0
    path = tmp_path_factory.mktemp("raster") / "r.tif"
    profile = {"driver": "GTiff", "height": 90, "width": 110, "count": 1, "dtype": "uint16", "crs": f"EPSG:{epsg}"}
    with rasterio.open(path, "w", transform=Affine(wide, 0, left, 0, -high, top), **profile) as dataset:
        dataset.write(values, 1)
    with rasterio.open(path) as dataset:
        bounds = rasterio.warp.transform_bounds(dataset.crs, "EPSG:32633", *dataset.bounds)
    return path, Lattice("EPSG:32633", gsd, snap_out(bounds, gsd)).grown(3)


@settings(max_examples=12)
@given(data=st.data(), method=st.sampled_from(["bilinear", "nearest"]))
def test_a_window_is_the_window_of_the_whole(case, data, method):
    path, whole = case
    height, width = whole.shape_yx
    y0, x0 = data.draw(st.integers(0, height - 2)), data.draw(st.integers(0, width - 2))
    y1, x1 = data.draw(st.integers(y0 + 1, height)), data.draw(st.integers(x0 + 1, width))
    left, _, _, top = whole.bounds_m
    gsd = whole.gsd_m
    part = Lattice(whole.crs, gsd, (left + x0 * gsd, top - y1 * gsd, left + x1 * gsd, top - y0 * gsd))
    with open_raster(path) as dataset:
        np.testing.assert_array_equal(
            read_on(dataset, 1, part, method), read_on(dataset, 1, whole, method)[y0:y1, x0:x1]
        )


def test_every_pixel_has_a_value_where_the_nearest_input_has_one(case):
    path, whole = case
    with open_raster(path) as dataset:
        found = read_on(dataset, 1, whole, "bilinear")
        # Centres of the lattice in the raster's CRS, looked up pixel by pixel.
        left, _, _, top = whole.bounds_m
        height, width = whole.shape_yx
        x = left + (np.arange(width) + 0.5) * whole.gsd_m
        y = top - (np.arange(height) + 0.5) * whole.gsd_m
        gx, gy = np.meshgrid(x, y)
        xs, ys = rasterio.warp.transform(whole.crs, dataset.crs, gx.ravel(), gy.ravel())
        cols = np.floor((np.array(xs) - dataset.transform.c) / dataset.transform.a)
        rows = np.floor((np.array(ys) - dataset.transform.f) / dataset.transform.e)
        values = dataset.read(1)
    inside = (rows >= 0) & (rows < 90) & (cols >= 0) & (cols < 110)
    expected = np.zeros(rows.shape, bool)
    expected[inside] = values[rows[inside].astype(int), cols[inside].astype(int)] > 0
    differ = (found > 0).ravel() != expected
    # Coarser lattices average, and a centre may fall exactly on an edge between two pixels.
    assert differ.mean() < 0.02


def test_same_lattice_means_same_pixels(tmp_path):
    values = np.arange(1, 201, dtype="uint16").reshape(10, 20)
    profile = {"driver": "GTiff", "height": 10, "width": 20, "count": 1, "dtype": "uint16", "crs": "EPSG:32633"}
    with rasterio.open(tmp_path / "a.tif", "w", transform=Affine(10, 0, 500, 0, -10, 900), **profile) as dataset:
        dataset.write(values, 1)
    with open_raster(tmp_path / "a.tif") as dataset:
        found = read_on(dataset, 1, Lattice("EPSG:32633", 10, (490.0, 800.0, 700.0, 910.0)), "bilinear")
        floats = read_on(
            dataset, 1, Lattice("EPSG:32633", 10, (500.0, 800.0, 700.0, 900.0)), "bilinear", as_float=True, nodata=5
        )
    np.testing.assert_array_equal(found[1:, 1:], values)
    assert not found[0].any()
    assert np.isnan(floats[0, 4])
    assert np.isnan(floats).sum() == 1


def test_bounds():
    assert snap_out((3.0, 10.0, 19.9999999, 20.0), 10) == (0.0, 10.0, 20.0, 20.0)
    assert intersect((0, 0, 2, 2), (2, 0, 3, 3)) is None
    assert intersect((0, 0, 2, 2), (1, -1, 3, 1)) == (1, 0, 2, 1)


def test_the_warp_agrees_with_gdal(tmp_path):
    """On a smooth surface, where a thousandth of a pixel of position is a thousandth of a unit."""
    y, x = np.mgrid[0:90, 0:110]
    values = (1000 + 3 * x + 2 * y).astype("float32")
    profile = {"driver": "GTiff", "height": 90, "width": 110, "count": 1, "dtype": "float32", "crs": "EPSG:32632"}
    with rasterio.open(tmp_path / "a.tif", "w", transform=Affine(20, 0, 1066000, 0, -20, 5030000), **profile) as out:
        out.write(values, 1)
    with open_raster(tmp_path / "a.tif") as dataset:
        bounds = snap_out(rasterio.warp.transform_bounds(dataset.crs, "EPSG:32633", *dataset.bounds), 10)
        lattice = Lattice("EPSG:32633", 10, bounds)
        ours = read_on(dataset, 1, lattice, "bilinear", as_float=True)
        theirs = np.full(lattice.shape_yx, np.nan, "float32")
        rasterio.warp.reproject(
            rasterio.band(dataset, 1),
            theirs,
            dst_transform=Affine(10, 0, bounds[0], 0, -10, bounds[3]),
            dst_crs="EPSG:32633",
            dst_nodata=np.nan,
            resampling=rasterio.warp.Resampling.bilinear,
        )
    both = np.isfinite(ours) & np.isfinite(theirs)
    assert both.mean() > 0.8
    inner = both & (ours > 1005)
    assert np.abs(ours - theirs)[inner].max() < 0.01
