from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landcover_cli.core.windows import PixelBox, WindowLattice, axis_weights
from landcover_cli.errors import ConfigError

BLENDS = ["linear", "hann", "trim"]


@st.composite
def lattices(draw: st.DrawFn) -> WindowLattice:
    patch = draw(st.integers(1, 40))
    return WindowLattice(patch, draw(st.integers(1, patch)), draw(st.sampled_from(BLENDS)), draw(st.integers(0, patch)))


@st.composite
def boxes(draw: st.DrawFn) -> PixelBox:
    row, col = draw(st.integers(-200, 200)), draw(st.integers(-200, 200))
    return PixelBox(row, col, row + draw(st.integers(1, 60)), col + draw(st.integers(1, 60)))


def weight_sum(lattice: WindowLattice, box: PixelBox) -> np.ndarray:
    total = np.zeros((box.height, box.width), np.float32)
    weights = lattice.weights_yx()
    for ky, kx in lattice.windows(box):
        window = lattice.window(ky, kx)
        part = window.intersect(box)
        total[part.slices_in(box)] += weights[part.slices_in(window)]
    return total


@given(lattices(), boxes())
def test_weights_sum_to_one_exactly_on_every_pixel_of_any_box(lattice: WindowLattice, box: PixelBox) -> None:
    assert (weight_sum(lattice, box) == 1.0).all()


@given(lattices(), boxes())
def test_windows_are_those_whose_weighted_part_meets_the_box(lattice: WindowLattice, box: PixelBox) -> None:
    first, after = lattice.support
    wanted = [
        (ky, kx)
        for ky in range(-250, 300)
        if ky * lattice.stride_px + first < box.row1 and ky * lattice.stride_px + after > box.row0
        for kx in range(-250, 300)
        if kx * lattice.stride_px + first < box.col1 and kx * lattice.stride_px + after > box.col0
    ]
    assert list(lattice.windows(box)) == wanted


@given(lattices(), boxes(), st.data())
def test_cutting_a_box_changes_no_pixels_windows(lattice: WindowLattice, box: PixelBox, data: st.DataObject) -> None:
    row = data.draw(st.integers(box.row0, box.row1))
    col = data.draw(st.integers(box.col0, box.col1))
    whole = set(lattice.windows(box))
    parts = [
        PixelBox(box.row0, box.col0, row, col),
        PixelBox(box.row0, col, row, box.col1),
        PixelBox(row, box.col0, box.row1, col),
        PixelBox(row, col, box.row1, box.col1),
    ]
    assert set().union(*(lattice.windows(part) for part in parts)) == whole


@given(lattices(), boxes())
def test_reach_is_the_hull_of_the_windows(lattice: WindowLattice, box: PixelBox) -> None:
    reach = lattice.reach(box)
    windows = [lattice.window(*index) for index in lattice.windows(box)]
    assert reach == PixelBox(
        min(w.row0 for w in windows),
        min(w.col0 for w in windows),
        max(w.row1 for w in windows),
        max(w.col1 for w in windows),
    )
    assert box.row0 - reach.row0 <= lattice.reach_px
    assert reach.row1 - box.row1 <= lattice.reach_px


@given(st.integers(1, 300), st.data(), st.sampled_from(["linear", "hann"]), st.integers(0, 64))
def test_blended_weights_are_above_zero_everywhere(patch: int, data: st.DataObject, blend: str, halo: int) -> None:
    weights = axis_weights(patch, data.draw(st.integers(1, patch)), blend, halo)  # type: ignore[arg-type]
    assert (weights > 0).all()
    assert (weights * 4096 == np.round(weights * 4096)).all()


def test_linear_weights_rise_to_the_middle_and_spare_the_halo() -> None:
    weights = axis_weights(64, 48, "linear", 0)
    assert (np.diff(weights[:16]) > 0).all()
    assert (weights[16:48] == 1).all()
    haloed = axis_weights(64, 32, "linear", 8)
    assert haloed[0] == haloed[7] == 1 / 4096
    assert haloed[8] > haloed[7]


def test_every_stride_from_one_pixel_to_the_patch_keeps_the_outermost_ring() -> None:
    for stride in range(1, 17):
        for blend in BLENDS:
            lattice = WindowLattice(16, stride, blend)  # type: ignore[arg-type]
            assert (weight_sum(lattice, PixelBox(0, 0, 21, 19)) == 1).all()


def test_boxes_and_bounds_agree_in_both_directions() -> None:
    bounds = (500000.0, 5200000.0, 500640.0, 5200320.0)
    box = PixelBox.from_bounds(bounds, 10.0)
    assert box == PixelBox(-520032, 50000, -520000, 50064)
    assert box.bounds_m(10.0) == bounds
    assert PixelBox.from_bounds((3.0, 3.0, 4.0, 4.0), 10.0) == PixelBox(-1, 0, 0, 1)


def test_a_stride_beyond_the_patch_is_refused() -> None:
    with pytest.raises(ConfigError, match="stride of 65 px does not fit windows of 64 px"):
        WindowLattice(64, 65)


def test_more_windows_than_weights_can_tell_apart_are_refused() -> None:
    with pytest.raises(ConfigError, match="4096 windows"):
        axis_weights(5000, 1, "linear")
