"""The mean against numpy on the whole stack."""

from __future__ import annotations

import datetime as dt

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from landcover_cli.composites import Frame, Look
from landcover_cli.composites.mean import Reducer
from landcover_cli.core.types import MASK_CLEAR, MASK_NODATA


def stack(seed: int, count: int, dtype: str):
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, 3, (count, 4, 5)).astype("uint8")
    if dtype == "uint16":
        data = rng.integers(0, 65536, (count, 3, 4, 5)).astype("uint16")
    else:
        data = rng.lognormal(-2, 1, (count, 3, 4, 5)).astype("float32")
        data[np.broadcast_to(mask[:, None] == MASK_NODATA, data.shape)] = np.nan
    return data, mask


def slow(data, mask):
    """Rational mean, rounded half up for integers."""
    clear = (mask == MASK_CLEAR)[:, None]
    n = clear.sum(axis=0)
    if data.dtype == np.uint16:
        total = np.where(clear, data, 0).astype(object).sum(axis=0)
        exact = [
            (2 * t + c) // (2 * c) if c else 0
            for t, c in zip(total.ravel(), np.broadcast_to(n, total.shape).ravel(), strict=True)
        ]
        return np.array(exact, "uint16").reshape(total.shape), n[0]
    total = np.where(clear, data, 0).astype("float64")
    mean = np.zeros(total.shape[1:])
    for item in total:
        mean += item
    with np.errstate(invalid="ignore"):
        return (mean / n).astype("float32"), n[0]


@given(st.integers(0, 2**31), st.integers(1, 9), st.sampled_from(["uint16", "float32"]))
def test_it_equals_numpy(seed, count, dtype):
    data, mask = stack(seed, count, dtype)
    reducer = Reducer(Frame(("a", "b", "c"), (4, 5), dtype))
    for one, codes in zip(data, mask, strict=True):
        reducer.feed(one, codes, Look(dt.date(2021, 5, 1)))
    found = reducer.result()
    expected, n = slow(data, mask)
    np.testing.assert_array_equal(found.data_byx, expected)
    assert found.data_byx.dtype == dtype
    np.testing.assert_array_equal(found.n_clear_yx, n)
    np.testing.assert_array_equal(found.valid_yx, n > 0)
    np.testing.assert_array_equal(found.n_obs_yx, (mask != MASK_NODATA).sum(axis=0))
