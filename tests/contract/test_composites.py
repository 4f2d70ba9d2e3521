"""What every composite plug-in must hold."""

from __future__ import annotations

import numpy as np
import pytest

from landcover_cli import registry
from landcover_cli.core.types import MASK_BAD, MASK_CLEAR, MASK_NODATA


def looks(seed, count, dtype):
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, 3, (count, 6, 7)).astype("uint8")
    mask[:, 0, 0] = MASK_NODATA
    mask[:, 0, 1] = MASK_BAD
    if dtype == "uint16":
        return rng.integers(1, 65535, (count, 3, 6, 7)).astype(dtype), mask
    return rng.lognormal(-2, 1, (count, 3, 6, 7)).astype(dtype), mask


def reduce(kind, data, mask, dtype):
    reducer = kind(3, (6, 7), dtype)
    for one, codes in zip(data, mask, strict=True):
        reducer.feed(one, codes)
    return reducer


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("name", registry.names("composite"))
class TestComposite:
    def test_what_is_not_clear_decides_nothing(self, name, dtype):
        kind = registry.load("composite", name)
        data, mask = looks(1, 5, dtype)
        other = np.where((mask == MASK_CLEAR)[:, None], data, data[::-1]).astype(dtype)
        if dtype == "float32":
            other[np.broadcast_to((mask != MASK_CLEAR)[:, None], other.shape)] = np.nan
        a, b = (reduce(kind, d, mask, dtype).result() for d in (data, other))
        np.testing.assert_array_equal(a.data_byx, b.data_byx)

    def test_counts_validity_and_types(self, name, dtype):
        data, mask = looks(2, 4, dtype)
        found = reduce(registry.load("composite", name), data, mask, dtype).result()
        np.testing.assert_array_equal(found.n_clear_yx, (mask == MASK_CLEAR).sum(axis=0))
        np.testing.assert_array_equal(found.n_obs_yx, (mask != MASK_NODATA).sum(axis=0))
        np.testing.assert_array_equal(found.valid_yx, found.n_clear_yx > 0)
        assert found.data_byx.dtype == dtype
        assert (found.n_clear_yx.dtype, found.n_obs_yx.dtype) == (np.uint16, np.uint16)
        hole = found.data_byx[:, ~found.valid_yx]
        assert (np.isnan(hole) if dtype == "float32" else hole == 0).all()
        assert np.isfinite(found.data_byx[:, found.valid_yx]).all()

    def test_one_clear_look_is_the_composite(self, name, dtype):
        data, mask = looks(3, 1, dtype)
        found = reduce(registry.load("composite", name), data, mask, dtype).result()
        clear = mask[0] == MASK_CLEAR
        np.testing.assert_array_equal(found.data_byx[:, clear], data[0][:, clear])

    def test_parts_merged_are_the_whole(self, name, dtype):
        kind = registry.load("composite", name)
        data, mask = looks(4, 6, dtype)
        whole = reduce(kind, data, mask, dtype).result()
        first, second = reduce(kind, data[:2], mask[:2], dtype), reduce(kind, data[2:], mask[2:], dtype)
        first.merge(second)
        merged = first.result()
        np.testing.assert_array_equal(merged.n_clear_yx, whole.n_clear_yx)
        if dtype == "uint16":
            np.testing.assert_array_equal(merged.data_byx, whole.data_byx)
        else:
            np.testing.assert_allclose(merged.data_byx, whole.data_byx, rtol=1e-6)

    def test_nothing_fed_is_nothing(self, name, dtype):
        found = registry.load("composite", name)(3, (6, 7), dtype).result()
        assert not found.valid_yx.any()
        assert not found.n_obs_yx.any()
