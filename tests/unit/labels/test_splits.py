"""Splits share no ground, keep their ratios, and give every class to train."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landcover_cli.core.windows import PixelBox
from landcover_cli.errors import ConfigError, InputError
from landcover_cli.labels.splits import SplitRule, assign_splits, shared_ground


def lattice(rows: int, columns: int, patch: int, stride: int) -> list[PixelBox]:
    return [
        PixelBox(r * stride, c * stride, r * stride + patch, c * stride + patch)
        for r in range(-rows // 2, rows - rows // 2)
        for c in range(columns)
    ]


def rule(**changes: object) -> SplitRule:
    given_: dict = {
        "method": "spatial_blocks", "ratios": (0.6, 0.2, 0.2), "block_px": 32, "buffer_px": 0, "seed": 0,
    } | changes  # fmt: skip
    return SplitRule(**given_)


def gap(a: PixelBox, b: PixelBox) -> int:
    """Chebyshev distance between edges; negative where they overlap."""
    return max(a.row0 - b.row1, b.row0 - a.row1, a.col0 - b.col1, b.col0 - a.col1)


@given(
    patch=st.integers(4, 24),
    stride=st.integers(2, 24),
    block=st.integers(8, 48),
    buffer=st.integers(0, 12),
    seed=st.integers(0, 5),
    method=st.sampled_from(["spatial_blocks", "halves"]),
)
def test_no_two_splits_share_ground(patch: int, stride: int, block: int, buffer: int, seed: int, method: str) -> None:
    boxes = lattice(9, 8, patch, stride)
    counts = np.random.default_rng(seed).integers(0, 50, (len(boxes), 3))
    try:
        split = assign_splits(boxes, counts, rule(method=method, block_px=block, buffer_px=buffer, seed=seed)).split
    except InputError:  # too coarse blocks for this ground
        return
    kept = [(box, s) for box, s in zip(boxes, split, strict=True) if s >= 0]
    assert any(s == 0 for _, s in kept)
    for i, (a, split_a) in enumerate(kept):
        for b, split_b in kept[:i]:
            if split_a != split_b:
                assert gap(a, b) >= buffer


@pytest.mark.parametrize("method", ["spatial_blocks", "random"])
def test_ratios_and_classes(method: str) -> None:
    boxes = lattice(16, 16, 16, 16)
    generator = np.random.default_rng(1)
    counts = generator.integers(0, 100, (256, 4))
    counts[:, 3] = 0
    counts[17, 3] = 40  # one class in one patch: it must come into train
    found = assign_splits(boxes, counts, rule(method=method, block_px=32))
    shares = [counts[found.split == s].sum() / counts.sum() for s in range(3)]
    assert shares == pytest.approx([0.6, 0.2, 0.2], abs=0.05)
    assert found.split[17] == 0
    assert found.groups == (64 if method == "spatial_blocks" else 256)


def test_same_seed_same_splits_other_seed_other_splits() -> None:
    boxes, counts = lattice(12, 12, 16, 16), np.ones((144, 2), int)
    first, again, other = (assign_splits(boxes, counts, rule(seed=seed)).split for seed in (3, 3, 4))
    assert (first == again).all()
    assert (first != other).any()


def test_halves_puts_the_test_ground_south_of_the_rest() -> None:
    boxes = lattice(12, 12, 16, 16)
    split = assign_splits(boxes, np.ones((144, 2), int), rule(method="halves")).split
    north = max(box.row1 for box, s in zip(boxes, split, strict=True) if s in (0, 1))
    south = min(box.row0 for box, s in zip(boxes, split, strict=True) if s == 2)
    assert north <= south
    assert {0, 1, 2} <= set(split.tolist())
    assert (split == 2).sum() == 72


def test_random_splits_of_overlapping_patches_are_refused() -> None:
    with pytest.raises(ConfigError, match="share ground"):
        assign_splits(lattice(6, 6, 16, 8), np.ones((36, 2), int), rule(method="random"))


def test_leak_check_finds_the_pair() -> None:
    boxes = [PixelBox(0, 0, 10, 10), PixelBox(0, 10, 10, 20), PixelBox(0, 19, 10, 29)]
    assert shared_ground(boxes, np.array([0, 1, 1])) is None
    assert set(shared_ground(boxes, np.array([0, 1, 2])) or ()) == {1, 2}
    assert shared_ground(boxes, np.array([0, -1, 2]), buffer_px=9) is None
    assert set(shared_ground(boxes, np.array([0, -1, 2]), buffer_px=10) or ()) == {0, 2}


def test_too_little_ground_is_refused() -> None:
    with pytest.raises(InputError, match="cannot make 3 splits"):
        assign_splits(lattice(2, 1, 8, 8), np.ones((2, 2), int), rule(block_px=64))
    one = assign_splits(lattice(2, 1, 8, 8), np.ones((2, 2), int), rule(block_px=64, ratios=(1.0, 0.0, 0.0)))
    assert (one.split == 0).all()


def test_ratios_without_training_are_refused() -> None:
    with pytest.raises(ConfigError, match="ratios"):
        assign_splits(lattice(2, 2, 8, 8), np.ones((4, 2), int), rule(ratios=(0.0, 1.0, 0.0)))


@given(seed=st.integers(0, 5), buffer=st.integers(0, 6))
def test_groups_go_to_one_split_each(seed: int, buffer: int) -> None:
    boxes = lattice(8, 12, 8, 8)
    zone = [f"z{box.col0 // 16}" for box in boxes]
    # A patch near a border lies in both zones.
    keys = [
        frozenset({name} | ({f"z{(box.col0 - 1) // 16}"} if buffer and box.col0 % 16 == 0 and box.col0 else set()))
        for name, box in zip(zone, boxes, strict=True)
    ]
    counts = np.ones((len(boxes), 2), int)
    found = assign_splits(boxes, counts, rule(method="attribute", seed=seed), keys).split
    of_zone: dict[str, set[int]] = {}
    for mine, code in zip(keys, found.tolist(), strict=True):
        for name in mine:
            if code >= 0:
                of_zone.setdefault(name, set()).add(code)
    assert all(len(codes) == 1 for codes in of_zone.values())
    assert {0, 1, 2} == set().union(*of_zone.values())
    assert shared_ground(boxes, found) is None


def test_groups_may_be_the_splits_themselves() -> None:
    boxes = lattice(2, 4, 8, 8)
    names = ["train", "train", "validation", "test", "train", "train", "validation", "test"]
    keys = [frozenset([name]) for name in names[:-1]] + [frozenset({"test", "train"})]
    found = assign_splits(boxes, np.ones((8, 1), int), rule(method="attribute"), keys).split
    assert found.tolist() == [0, 0, 1, 2, 0, 0, 1, -1]
    with pytest.raises(ConfigError, match="share ground or lie within 4 px"):
        assign_splits(boxes, np.ones((8, 1), int), rule(method="attribute", buffer_px=4), keys)
    with pytest.raises(InputError, match="1 labelled groups cannot make 3 splits"):
        assign_splits(boxes, np.ones((8, 1), int), rule(method="attribute"), [frozenset("a")] * 8)
