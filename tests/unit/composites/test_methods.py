"""Median, medoid, geometric median, maximum NDVI and best pixel against slow loops over pixels."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landcover_cli.composites import Frame, Look, best_pixel, geomedian, max_ndvi, median, medoid
from landcover_cli.core.types import MASK_CLEAR, Period
from landcover_cli.errors import ConfigError

JUNE = Period(dt.date(2021, 6, 1), dt.date(2021, 7, 1))
SHAPE = (3, 4)
CASES = given(st.integers(0, 2**31), st.integers(1, 14), st.sampled_from(["uint16", "float32"]), st.booleans())


def series(seed: int, count: int, dtype: str, few_values: bool, bands: int = 3):
    """A stack (t, b, y, x), its masks and looks; `few_values` makes ties."""
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, 3, (count, *SHAPE)).astype("uint8")
    shape = (count, bands, *SHAPE)
    if dtype == "uint16":
        data = rng.integers(0, 5, shape) + 65531 if few_values else rng.integers(0, 65536, shape)
    else:
        data = rng.integers(1, 4, shape) / 8 if few_values else rng.lognormal(-2, 1, shape)
    looks = [
        Look(JUNE.start + dt.timedelta(2 * n), rng.uniform(0, 1500, SHAPE), float(rng.uniform())) for n in range(count)
    ]
    return data.astype(dtype), mask, looks


def run(kind, data, mask, looks):
    scale, offset = (1e-4, -0.1) if data.dtype == "uint16" else (1.0, 0.0)
    names = tuple(f"b{n}" for n in range(data.shape[1]))
    frame = Frame(names, SHAPE, str(data.dtype), scale, offset, {"red": 0, "nir": 1}, JUNE)
    reducer = kind.Reducer(frame)
    for one, codes, look in zip(data, mask, looks, strict=True):
        reducer.feed(one, codes, look)
    return reducer.result()


def pixels(data, mask):
    """Every pixel with its clear spectra (n, band) and the looks they are from."""
    for y in range(SHAPE[0]):
        for x in range(SHAPE[1]):
            at = np.flatnonzero(mask[:, y, x] == MASK_CLEAR)
            if at.size:
                yield y, x, data[at, :, y, x], at


def half_up(value: float) -> int:
    return math.floor(value + 0.5)


@CASES
def test_median_equals_numpy(seed, count, dtype, few):
    data, mask, looks = series(seed, count, dtype, few)
    found = run(median, data, mask, looks)
    for y, x, spectra, _ in pixels(data, mask):
        exact = np.median(spectra.astype("float64"), axis=0)
        expected = [half_up(v) for v in exact] if dtype == "uint16" else exact.astype("float32")
        np.testing.assert_array_equal(found.data_byx[:, y, x], expected)


@pytest.mark.parametrize("count", [*range(1, 40), 100, 365])
def test_the_network_sorts(count):
    rng = np.random.default_rng(count)
    values = rng.integers(0, 2, (count, 200))
    expected = np.sort(values, axis=0)
    for i, j in median.exchanges(count):
        values[[i, j]] = np.sort(values[[i, j]], axis=0)
    np.testing.assert_array_equal(values, expected)


def test_median_of_more_columns_than_a_row_of_the_kernel():
    rng = np.random.default_rng(3)
    data = rng.integers(1, 60000, (5, 1, 2, 700)).astype("uint16")
    reducer = median.Reducer(Frame(("a",), (2, 700), "uint16"))
    for one in data:
        reducer.feed(one, np.full((2, 700), MASK_CLEAR, "uint8"), Look(JUNE.start))
    np.testing.assert_array_equal(reducer.result().data_byx, np.median(data, axis=0).astype("uint16"))


@CASES
def test_medoid_is_the_spectrum_nearest_to_all_others(seed, count, dtype, few):
    data, mask, looks = series(seed, count, dtype, few)
    found = run(medoid, data, mask, looks)
    for y, x, spectra, at in pixels(data, mask):
        exact = spectra.astype("float64")
        costs = []
        for one in exact:
            cost = 0.0
            for other in exact:
                cost += math.sqrt(sum((a - b) ** 2 for a, b in zip(one, other, strict=True)))
            costs.append(cost)
        best = costs.index(min(costs))
        np.testing.assert_array_equal(found.data_byx[:, y, x], spectra[best])
        assert found.doy_yx[y, x] == looks[at[best]].day.timetuple().tm_yday


@CASES
def test_maximum_ndvi(seed, count, dtype, few):
    data, mask, looks = series(seed, count, dtype, few)
    found = run(max_ndvi, data, mask, looks)
    scale, offset = (1e-4, -0.1) if dtype == "uint16" else (1.0, 0.0)
    for y, x, spectra, at in pixels(data, mask):
        values = []
        for red, nir in spectra[:, :2].astype("float64") * scale + offset:
            ndvi = (nir - red) / (nir + red) if nir + red > 0 else -1.0
            values.append(min(max(ndvi, -1.0), 1.0))
        best = values.index(max(values))
        np.testing.assert_array_equal(found.data_byx[:, y, x], spectra[best])
        assert found.doy_yx[y, x] == looks[at[best]].day.timetuple().tm_yday


def test_dark_noise_does_not_win_the_maximum_ndvi():
    # Reflectance −0.01 and 0.02: a ratio of 3, which is no vegetation; the first look at 0.9 loses to nothing above 1.
    data = np.array([[[[1100]], [[2900]]], [[[900]], [[1200]]]], "uint16")
    scale = {"scale": 1e-4, "offset": -0.1}
    frame = Frame(("red", "nir"), (1, 1), "uint16", roles={"red": 0, "nir": 1}, **scale)
    reducer = max_ndvi.Reducer(frame)
    scores = [reducer.score(one, Look(JUNE.start))[0, 0] for one in data]
    assert scores == [pytest.approx(0.9), 1.0]


def test_maximum_ndvi_refuses_a_source_without_red():
    with pytest.raises(ConfigError, match="needs the bands red and nir; there is no red"):
        max_ndvi.Reducer(Frame(("VV",), (1, 1), "float32"))


@CASES
def test_best_pixel(seed, count, dtype, few):
    data, mask, looks = series(seed, count, dtype, few)
    found = run(best_pixel, data, mask, looks)
    for y, x, spectra, at in pixels(data, mask):
        scores = []
        for n in at:
            look = looks[n]
            distance = 1 / (1 + math.exp(-0.2 * (look.distance_m_yx[y, x] / 30 - 25)))
            day = math.exp(-0.5 * ((look.day - dt.date(2021, 6, 16)).days / 7.5) ** 2)
            scores.append(distance + day + look.coverage)
        best = scores.index(max(scores))
        np.testing.assert_array_equal(found.data_byx[:, y, x], spectra[best])
        assert found.doy_yx[y, x] == looks[at[best]].day.timetuple().tm_yday


@CASES
def test_geometric_median_has_the_least_sum_of_distances(seed, count, dtype, few):
    data, mask, looks = series(seed, count, dtype, few)
    found = run(geomedian, data, mask, looks)
    for y, x, spectra, _ in pixels(data, mask):
        exact = spectra.astype("float64")

        def cost(point, exact=exact):
            return float(np.linalg.norm(exact - point, axis=1).sum())

        at = slow_geomedian(exact)
        spread = float(np.linalg.norm(exact - exact.mean(axis=0), axis=1).max())
        tolerance = 2e-3 * spread + (1.0 if dtype == "uint16" else 1e-6)
        assert cost(found.data_byx[:, y, x].astype("float64")) <= cost(at) + len(exact) * tolerance
        if len(exact) > 2 and not few:
            np.testing.assert_allclose(found.data_byx[:, y, x], at, atol=0.02 * spread + tolerance)


def slow_geomedian(spectra):
    """Weiszfeld with a small constant under the root, a thousand steps; the best of that and the observations."""
    at = spectra.mean(axis=0)
    tiny = 1e-9 * (np.abs(spectra).max() + 1)
    for _ in range(1000):
        weights = 1 / np.sqrt(((spectra - at) ** 2).sum(axis=1) + tiny**2)
        at = (spectra * weights[:, None]).sum(axis=0) / weights.sum()
    candidates = [at, *spectra]
    return min(candidates, key=lambda point: np.linalg.norm(spectra - point, axis=1).sum())
