"""Merged and multilooked sub-swaths against the plain functions, sample by sample."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from landcover_cli.sar.deburst import DeburstPlan, deburst, merge_plan, merge_swaths
from landcover_cli.sar.slc import Looks, SlcGrid, _valid
from landcover_cli.sar.types import ImageInfo


def _swath(rng: np.random.Generator, lines: int, samples: int, near: float, start: float) -> tuple:
    """A sub-swath with gaps and ragged edges, and its measurement with twice as many lines."""
    source = np.arange(lines) * 2
    source[[0, lines - 1, lines // 2]] = -1
    first = np.where(source >= 0, rng.integers(0, 6, lines), -1)
    last = np.where(source >= 0, samples - 1 - rng.integers(0, 6, lines), -1)
    plan = DeburstPlan(start, 0.002, samples, source, first, last)
    image = ImageInfo(start, start, 0.002, (2 * lines, samples), 2.3, 14.0, near, 1e6, 5e9, 35.0, 0)
    return plan, image, rng.normal(size=(2 * lines, samples)).astype(np.float32)


@pytest.mark.parametrize("looks", [(1, 4), (2, 3), (1, 1)])
def test_windows_of_three_swaths(looks: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    swaths = [_swath(rng, 40, 60, 0.0, 0.01), _swath(rng, 44, 70, 45e-6, 0.0), _swath(rng, 38, 50, 95e-6, 0.004)]
    plans, images, data = zip(*swaths, strict=True)
    merge = merge_plan(plans, images)

    class Annotated:
        class image:
            shape_yx = merge.shape[0] // looks[0], merge.shape[1] // looks[1]

    grid = SlcGrid(Annotated, plans, merge, looks, _valid(plans, merge))
    lines = slice(0, merge.shape[0])
    parts = [
        deburst(d, p, lines=slice(0, min(lines.stop - o, p.source_line.size)))
        for d, p, o in zip(data, plans, merge.line_offset, strict=True)
    ]
    fine = merge_swaths(parts, merge, lines).astype(np.float64)
    height, width = grid.shape_yx
    cells = fine[: height * looks[0], : width * looks[1]].reshape(height, looks[0], width, looks[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = np.nanmean(cells, axis=(1, 3))
    for top, left, h, w in ((0, 0, height, width), (3, 5, 7, 11), (height - 2, width - 9, 2, 9)):
        sums = Looks(grid, top, left, (h, w), 1)
        for k in range(3):
            where = sums.source(k)
            if where is not None:
                part = np.ascontiguousarray(data[k][where])
                sums.add(k, part[None], np.ones(part.shape, dtype=bool))
        got = sums.means()[0]
        np.testing.assert_allclose(got, expected[top : top + h, left : left + w], rtol=1e-6, atol=1e-7)
    assert np.isnan(expected).any() and np.isfinite(expected).mean() > 0.8


def test_cells_of_zeros_are_holes() -> None:
    plan = DeburstPlan(0.0, 0.002, 8, np.array([0]), np.array([0]), np.array([7]))
    image = ImageInfo(0.0, 0.0, 0.002, (1, 8), 2.3, 14.0, 0.0, 1e6, 5e9, 35.0, 0)
    merge = merge_plan([plan], [image])

    class Annotated:
        class image:
            shape_yx = (1, 2)

    sums = Looks(SlcGrid(Annotated, (plan,), merge, (1, 4), _valid([plan], merge)), 0, 0, (1, 2), 1)
    values = np.array([[[4.0, 0.0, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0]]], np.float32)
    sums.add(0, values, values[0] != 0)
    assert sums.means()[0].tolist()[0][0] == 2.0 and np.isnan(sums.means()[0, 0, 1])
