"""Bilinear sampling: whole numbers are centres, nodata spreads, windows change nothing."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from landcover_cli.sar.resample import bilinear_yx, nearest_yx


def _oracle(image: np.ndarray, y: float, x: float) -> float:
    i, j = int(np.floor(y)), int(np.floor(x))
    total = 0.0
    for a, wy in ((i, 1 - (y - i)), (i + 1, y - i)):
        for b, wx in ((j, 1 - (x - j)), (j + 1, x - j)):
            if wy * wx == 0 and (wy == 0 or wx == 0):
                continue
            if not (0 <= a < image.shape[0] and 0 <= b < image.shape[1]):
                return np.nan
            total += wy * wx * image[a, b]
    return total


@given(seed=st.integers(0, 1000), holes=st.floats(0, 0.3))
def test_against_a_plain_oracle(seed: int, holes: float) -> None:
    rng = np.random.default_rng(seed)
    image = rng.gamma(4, 0.05, (9, 11)).astype(np.float32)
    image[rng.random(image.shape) < holes] = np.nan
    line = rng.uniform(-1.5, 10, (6, 7))
    pixel = rng.uniform(-1.5, 12, (6, 7))
    line[0], pixel[:, 0] = np.round(line[0]), np.round(pixel[:, 0])
    got = bilinear_yx(image, (0, 0), line, pixel)
    expected = np.array(
        [[_oracle(image, y, x) for y, x in zip(*rows, strict=True)] for rows in zip(line, pixel, strict=True)]
    )
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_whole_numbers_are_sample_centres_up_to_the_rim() -> None:
    image = np.arange(12, dtype=np.float32).reshape(3, 4)
    line, pixel = np.meshgrid(np.arange(3.0), np.arange(4.0), indexing="ij")
    assert np.array_equal(bilinear_yx(image, (0, 0), line, pixel), image)
    assert np.isnan(bilinear_yx(image, (0, 0), line + 2.001, pixel)).all()


def test_one_nodata_neighbour_is_enough() -> None:
    image = np.ones((3, 3), dtype=np.float32)
    image[1, 1] = np.nan
    line = np.array([[0.5, 0.0, 0.0, 1.5, 1.0]])
    pixel = np.array([[0.5, 0.5, 1.0, 0.0, 0.5]])
    assert np.isnan(bilinear_yx(image, (0, 0), line, pixel)).tolist() == [[True, False, False, False, True]]


@given(seed=st.integers(0, 1000), row=st.integers(0, 9), col=st.integers(0, 9))
def test_a_window_gives_the_same_bits(seed: int, row: int, col: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.gamma(4, 0.05, (40, 40)).astype(np.float32)
    line, pixel = rng.uniform(10, 29, (5, 5)) + 16_000, rng.uniform(10, 29, (5, 5)) + 25_000
    whole = bilinear_yx(image, (16_000, 25_000), line, pixel)
    part = bilinear_yx(image[row : row + 31, col : col + 31], (16_000 + row, 25_000 + col), line, pixel)
    assert np.array_equal(part[np.isfinite(part)], whole[np.isfinite(part)])
    if row == col == 9:
        assert np.isfinite(part).all()


def test_nan_coordinates_give_nan_and_nearest_keeps_codes() -> None:
    image = np.ones((3, 3), dtype=np.float32)
    line = np.array([[np.nan, 1.0, np.inf]])
    assert np.isnan(bilinear_yx(image, (0, 0), line, np.ones((1, 3)))).tolist() == [[True, False, True]]
    codes = np.array([[1, 2], [3, 4]], dtype=np.uint8)
    got = nearest_yx(codes, (10, 20), np.array([[10.4, 10.6, np.nan, 9.0]]), np.array([[20.6, 20.4, 20.0, 20.0]]), 255)
    assert got.dtype == np.uint8 and got.tolist() == [[2, 3, 255, 255]]
