"""Whole-number resampling against plain loops and against GDAL's warp."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from landcover_cli.optical.resample import downsample, repeat, upsample


def slow_upsample(src: np.ndarray, f: int) -> np.ndarray:
    """Exact bilinear by fractions; nodata 0."""
    rows, cols = src.shape
    out = np.zeros((rows * f, cols * f), src.dtype)
    for y in range(rows * f):
        for x in range(cols * f):
            if src[y // f, x // f] == 0:
                continue
            py, px = Fraction(2 * y + 1 - f, 2 * f), Fraction(2 * x + 1 - f, 2 * f)
            y0, x0 = py.__floor__(), px.__floor__()
            total = weight = Fraction(0)
            for i in (0, 1):
                for j in (0, 1):
                    r, c = y0 + i, x0 + j
                    w = (py - y0 if i else 1 - py + y0) * (px - x0 if j else 1 - px + x0)
                    if 0 <= r < rows and 0 <= c < cols and src[r, c]:
                        total += w * int(src[r, c])
                        weight += w
            out[y, x] = (total / weight + Fraction(1, 2)).__floor__()
    return out


rasters = hnp.arrays("uint16", hnp.array_shapes(min_dims=2, max_dims=2, max_side=6)).map(
    lambda a: np.where(a % 5 == 0, 0, a).astype("uint16")
)


@given(rasters, st.sampled_from([1, 2, 3, 6]))
def test_upsampling_equals_exact_fractions(src, f):
    rows, cols = src.shape
    np.testing.assert_array_equal(upsample(src, f, 0, 0, rows * f, cols * f), slow_upsample(src, f))


@given(rasters, st.sampled_from([2, 6]), st.data())
def test_a_window_is_the_window_of_the_whole(src, f, data):
    rows, cols = src.shape
    whole = slow_upsample(src, f)
    y = data.draw(st.integers(0, rows * f - 1))
    x = data.draw(st.integers(0, cols * f - 1))
    r0, c0 = max(y // f - 1, 0), max(x // f - 1, 0)
    part = src[r0 : (rows * f - 1) // f + 2, c0 : (cols * f - 1) // f + 2]
    found = upsample(part, f, y - r0 * f, x - c0 * f, rows * f - y, cols * f - x)
    np.testing.assert_array_equal(found, whole[y:, x:])


def test_weights_for_two_are_three_quarters_and_one_quarter():
    src = np.array([[100, 200]], "uint16")
    assert upsample(src, 2, 0, 0, 2, 4)[0].tolist() == [100, 125, 175, 200]


def test_outside_is_nodata():
    src = np.array([[7]], "uint16")
    out = upsample(src, 2, -2, -2, 6, 6)
    assert out.sum() == 4 * 7
    assert (out[2:4, 2:4] == 7).all()


def test_floats_follow_the_same_weights():
    src = np.random.default_rng(1).uniform(1, 2, (5, 6)).astype("float32")
    src[2, 3] = np.nan
    scaled = upsample(np.nan_to_num(np.round(src * 10000)).astype("uint16"), 2, 0, 0, 10, 12)
    found = upsample(src, 2, 0, 0, 10, 12)
    np.testing.assert_array_equal(np.isnan(found), scaled == 0)
    np.testing.assert_allclose(np.nan_to_num(found), scaled / 10000, atol=1.1e-4)


def test_it_equals_the_warp_of_gdal():
    from affine import Affine
    from rasterio.warp import Resampling, reproject

    src = np.random.default_rng(2).integers(1, 10000, (60, 70)).astype("uint16")
    src[10:20, 30:50] = 0
    warped = np.zeros((120, 140), "uint16")
    here = {"src_crs": "EPSG:32633", "dst_crs": "EPSG:32633", "src_nodata": 0, "tolerance": 0.0}
    reproject(
        src,
        warped,
        src_transform=Affine(20, 0, 0, 0, -20, 0),
        dst_transform=Affine(10, 0, 0, 0, -10, 0),
        resampling=Resampling.bilinear,
        **here,
    )
    ours = upsample(src, 2, 0, 0, 120, 140)
    # GDAL spreads half a pixel into nodata; we say nothing there.
    np.testing.assert_array_equal(ours[ours > 0], warped[ours > 0])
    np.testing.assert_array_equal(ours > 0, np.repeat(np.repeat(src > 0, 2, 0), 2, 1))


@given(rasters, st.sampled_from([2, 3]))
def test_downsampling_is_the_mean_of_what_is_valid(src, f):
    src = np.repeat(np.repeat(src, f, 0), f, 1)[: src.shape[0] * f]
    src[::2, ::3] = 0
    found = downsample(src, f)
    for y, x in np.ndindex(found.shape):
        block = src[y * f : (y + 1) * f, x * f : (x + 1) * f]
        good = block[block > 0].astype(int)
        expected = 0 if 2 * good.size < f * f else (Fraction(int(good.sum()), good.size) + Fraction(1, 2)).__floor__()
        assert found[y, x] == expected
    floats = downsample(np.where(src > 0, src, np.nan), f)
    np.testing.assert_array_equal(np.isnan(floats), found == 0)


@pytest.mark.parametrize("first", [0, 3])
def test_repeat(first):
    src = np.arange(12, dtype="uint8").reshape(3, 4)
    whole = np.repeat(np.repeat(src, 2, 0), 2, 1)
    np.testing.assert_array_equal(repeat(src, 2, first, first, 3, 4), whole[first : first + 3, first : first + 4])
