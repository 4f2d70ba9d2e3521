"""What every composite plug-in must hold."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from landcover_cli import registry
from landcover_cli.composites import Frame, Look
from landcover_cli.core.types import MASK_BAD, MASK_CLEAR, MASK_NODATA, Period

MAY = Period(dt.date(2021, 5, 1), dt.date(2021, 6, 1))


def looks(seed, count, dtype):
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, 3, (count, 6, 7)).astype("uint8")
    mask[:, 0, 0] = MASK_NODATA
    mask[:, 0, 1] = MASK_BAD
    if dtype == "uint16":
        return rng.integers(1, 65535, (count, 3, 6, 7)).astype(dtype), mask
    return rng.lognormal(-2, 1, (count, 3, 6, 7)).astype(dtype), mask


def empty(kind, dtype, shape_yx=(6, 7)):
    scale, offset = (1e-4, -0.1) if dtype == "uint16" else (1.0, 0.0)
    return kind(Frame(("B03", "B04", "B08"), shape_yx, dtype, scale, offset, {"red": 1, "nir": 2}, MAY))


def reduce(kind, data, mask, dtype, first=0):
    """Looks of days 3 apart; further ones have fewer pixels near bad ones."""
    reducer = empty(kind, dtype, data.shape[2:])
    for n, (one, codes) in enumerate(zip(data, mask, strict=True), start=first):
        far = np.random.default_rng(n).uniform(0, 1500, codes.shape)
        reducer.feed(one, codes, Look(MAY.start + dt.timedelta(3 * n), far, 0.1 * n))
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
        first, second = reduce(kind, data[:2], mask[:2], dtype), reduce(kind, data[2:], mask[2:], dtype, 2)
        first.merge(second)
        merged = first.result()
        np.testing.assert_array_equal(merged.n_clear_yx, whole.n_clear_yx)
        if whole.doy_yx is not None:
            np.testing.assert_array_equal(merged.doy_yx, whole.doy_yx)
        if dtype == "uint16":
            np.testing.assert_array_equal(merged.data_byx, whole.data_byx)
        else:
            np.testing.assert_allclose(merged.data_byx, whole.data_byx, rtol=1e-6)

    def test_nothing_fed_is_nothing(self, name, dtype):
        found = empty(registry.load("composite", name), dtype).result()
        assert not found.valid_yx.any()
        assert not found.n_obs_yx.any()

    def test_a_block_of_the_result_is_the_result_of_a_block(self, name, dtype):
        kind = registry.load("composite", name)
        data, mask = looks(5, 5, dtype)
        whole = reduce(kind, data, mask, dtype).result()
        # Distances are drawn per look and shape, so that only methods without a reach can be cut here.
        if kind.REACH_M == 0:
            part = reduce(kind, data[:, :, 2:5, 1:4], mask[:, 2:5, 1:4], dtype).result()
            np.testing.assert_array_equal(part.data_byx, whole.data_byx[:, 2:5, 1:4])

    def test_a_chosen_pixel_is_one_that_was_seen_on_its_day(self, name, dtype):
        kind = registry.load("composite", name)
        data, mask = looks(6, 6, dtype)
        found = reduce(kind, data, mask, dtype).result()
        if not kind.CHOOSES:
            assert found.doy_yx is None
            return
        assert found.doy_yx.dtype == np.uint16
        np.testing.assert_array_equal(found.doy_yx > 0, found.valid_yx)
        doys = [(MAY.start + dt.timedelta(3 * n)).timetuple().tm_yday for n in range(6)]
        for y, x in np.argwhere(found.valid_yx):
            n = doys.index(found.doy_yx[y, x])
            assert mask[n, y, x] == MASK_CLEAR
            np.testing.assert_array_equal(found.data_byx[:, y, x], data[n, :, y, x])

    def test_it_is_fed_read_only_and_foreign_layouts(self, name, dtype):
        kind = registry.load("composite", name)
        data, mask = looks(7, 4, dtype)
        expected = reduce(kind, data, mask, dtype).result()
        odd = np.asfortranarray(data)
        odd.flags.writeable = False
        np.testing.assert_array_equal(reduce(kind, odd, mask, dtype).result().data_byx, expected.data_byx)

    def test_memory_is_stated(self, name, dtype):
        kind = registry.load("composite", name)
        few, many = (kind.bytes_per_pixel(4, np.dtype(dtype).itemsize, n) for n in (2, 100))
        assert 0 < few <= many
