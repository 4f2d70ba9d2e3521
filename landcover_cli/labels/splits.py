"""Training, validation and test ground, and the proof that no two of them share any.

Patches are grouped (a patch, or a spatial block of ground), groups are dealt to the splits so that every class comes
near to the wanted ratios, and patches that reach into another split's ground are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from landcover_cli.core.windows import PixelBox
from landcover_cli.errors import ConfigError, InputError

__all__ = ["NAMES", "SplitRule", "Splits", "assign_splits", "shared_ground"]

NAMES = ("train", "validation", "test")
LEFT_OUT = -1
"""A patch that reaches into another split's ground, or nearer to it than the buffer."""

Group = tuple[int, int]


@dataclass(frozen=True)
class SplitRule:
    """How ground is divided.

    Attributes:
        method: ``spatial_blocks``: squares of ground go to one split each. ``random``: patches do. ``halves``: the
            southern half of the labelled ground is test, blocks of the northern half are training or validation.
            ``attribute``: the groups that `assign_splits` is given go to one split each.
        ratios: Wanted shares of train, validation, test.
        block_px: Edge of a block; blocks lie at multiples of it from the grid's origin.
        buffer_px: Least distance between patches of different splits.
        seed: Decides between equals.
    """

    method: Literal["spatial_blocks", "random", "halves", "attribute"]
    ratios: tuple[float, float, float]
    block_px: int
    buffer_px: int
    seed: int


@dataclass(frozen=True)
class Splits:
    """What became of the patches.

    Attributes:
        split: Per patch 0 train, 1 validation, 2 test, -1 left out.
        groups: Number of groups that were dealt.
    """

    split: np.ndarray
    groups: int


def assign_splits(
    boxes: Sequence[PixelBox], counts: np.ndarray, rule: SplitRule, keys: Sequence[frozenset[str]] | None = None
) -> Splits:
    """Deal patches to the splits.

    Args:
        boxes: Ground of each patch.
        counts: ``[N, K]`` labelled pixels per patch and class.
        rule: How.
        keys: Names of the groups that each patch lies in; needed for the method ``attribute``, and decides what
            ``random`` deals (default: each patch by itself). A patch in none is left out, and so is one in groups of
            different splits. Names ``train``, ``validation`` and ``test``, where there are no others, are the splits.

    Returns:
        The split of every patch; no two splits share ground.

    Raises:
        ConfigError: Ratios that are none; random splits of patches that overlap.
        InputError: Too few groups to deal, or no patch left for training.
    """
    shares = _shares(rule)
    if keys is not None and rule.method in {"attribute", "random"}:
        every = sorted({key for mine in keys for key in mine})
        if every and set(every) <= set(NAMES):
            return _as_named(boxes, counts, rule, keys)
        number = {key: index for index, key in enumerate(every)}
        groups: list[set[Group]] = [{(number[key], 0) for key in mine} for mine in keys]
    elif rule.method == "random":
        groups = [{(index, 0)} for index in range(len(boxes))]
    else:
        groups = [_blocks(box, rule.block_px, (rule.buffer_px + 1) // 2) for box in boxes]
    fixed = _southern_half(boxes, counts, rule) if rule.method == "halves" else np.full(len(boxes), LEFT_OUT)
    if rule.method == "halves":
        shares = np.array([shares[0], shares[1], 0.0]) / shares[:2].sum()
    names, table = _group_counts(groups, counts, fixed != NAMES.index("test"))
    dealt = _deal(table, shares, rule)
    of_group = dict(zip(names, dealt.tolist(), strict=True))
    split = np.full(len(boxes), LEFT_OUT)
    for index, mine in enumerate(groups):
        found = {of_group[group] for group in mine if group in of_group}
        if fixed[index] >= 0:
            split[index] = fixed[index]
        elif len(found) == 1 and fixed[index] == LEFT_OUT:
            split[index] = found.pop()
    split[fixed == _ON_THE_LINE] = LEFT_OUT
    _check(boxes, counts, split, rule)
    return Splits(split, len(names))


def _as_named(boxes: Sequence[PixelBox], counts: np.ndarray, rule: SplitRule, keys: Sequence[frozenset[str]]) -> Splits:
    """Splits that the groups' own names say."""
    split = np.array([NAMES.index(next(iter(mine))) if len(mine) == 1 else LEFT_OUT for mine in keys])
    _check(boxes, counts, split, rule)
    return Splits(split, len({key for mine in keys for key in mine}))


_ON_THE_LINE = -2


def _shares(rule: SplitRule) -> np.ndarray:
    ratios = np.asarray(rule.ratios, float)
    if (ratios < 0).any() or ratios[0] <= 0 or not np.isfinite(ratios).all():
        raise ConfigError(
            f"split ratios {rule.ratios} are none: train must be above zero, none below",
            remedy="write e.g. [0.6, 0.2, 0.2] or [5, 3, 2]",
        )
    return np.asarray(ratios / ratios.sum())


def _blocks(box: PixelBox, block_px: int, margin_px: int) -> set[Group]:
    """Blocks that a patch touches, or comes nearer to than the margin."""
    rows = range((box.row0 - margin_px) // block_px, (box.row1 + margin_px - 1) // block_px + 1)
    columns = range((box.col0 - margin_px) // block_px, (box.col1 + margin_px - 1) // block_px + 1)
    return {(row, column) for row in rows for column in columns}


def _southern_half(boxes: Sequence[PixelBox], counts: np.ndarray, rule: SplitRule) -> np.ndarray:
    """2 south of the line that halves the labelled pixels, -1 north of it, -2 on it or within the buffer."""
    order = sorted(range(len(boxes)), key=lambda index: (boxes[index].row0, boxes[index].col0))
    running = np.cumsum([counts[index].sum() for index in order])
    middle = boxes[order[int(np.searchsorted(running, running[-1] / 2))]].row1
    fixed = np.full(len(boxes), _ON_THE_LINE)
    for index, box in enumerate(boxes):
        if box.row0 >= middle + rule.buffer_px:
            fixed[index] = NAMES.index("test")
        elif box.row1 <= middle:
            fixed[index] = LEFT_OUT
    return fixed


def _group_counts(
    groups: Sequence[set[Group]], counts: np.ndarray, dealt: np.ndarray
) -> tuple[list[Group], np.ndarray]:
    """Labelled pixels per group and class; a patch over several groups counts in equal parts."""
    names = sorted({group for mine, open_ in zip(groups, dealt, strict=True) if open_ for group in mine})
    position = {group: index for index, group in enumerate(names)}
    table = np.zeros((len(names), counts.shape[1]))
    for mine, open_, row in zip(groups, dealt, counts, strict=True):
        if open_:
            for group in mine:
                table[position[group]] += row / len(mine)
    return names, table


def _deal(table: np.ndarray, shares: np.ndarray, rule: SplitRule) -> np.ndarray:
    """Iterative stratification: the rarest class first, each of its groups to the split that lacks it most.

    Source: Sechidis, Tsoumakas & Vlahavas, "On the Stratification of Multi-Label Data" (ECML PKDD 2011), with pixel
    counts in place of 0/1 labels and a group's other classes weighed in. Train always gets the first group of a class.
    """
    wanted = int((shares > 0).sum())
    if len(table) < wanted:
        what = {"random": "patches", "attribute": "groups"}.get(rule.method, f"blocks of {rule.block_px} px")
        raise InputError(
            f"{len(table)} labelled {what} cannot make {wanted} splits",
            remedy="label more ground, or lower tile.split.block_px, or set a ratio to 0",
        )
    generator = np.random.default_rng(rule.seed)
    tie = generator.permutation(len(table))
    split = np.full(len(table), LEFT_OUT)
    missing = np.outer(shares, table.sum(axis=0))
    left = table.copy()
    while (split == LEFT_OUT).any():
        open_ = np.flatnonzero(split == LEFT_OUT)
        remaining = left[open_].sum(axis=0)
        rarest = int(np.argmin(np.where(remaining > 0, remaining, np.inf))) if (remaining > 0).any() else 0
        best = open_[np.lexsort((tie[open_], -table[open_, rarest]))[0]]
        target = _neediest(np.where(shares > 0, 0.0, -np.inf), missing, rarest, split, table, int(best))
        split[best] = target
        missing[target] -= table[best]
        left[best] = 0
    return _fill_empty(split, table, shares)


def _neediest(
    closed: np.ndarray, missing: np.ndarray, of_class: int, split: np.ndarray, table: np.ndarray, group: int
) -> int:
    """The split whose lack, in shares of each class, this group mends most; train first for a class it has none of."""
    if not (table[split == 0, of_class] > 0).any():
        return 0
    total = np.maximum(table.sum(axis=0), 1.0)
    return int(np.argmax((missing / total) @ (table[group] / total) + closed))


def _fill_empty(split: np.ndarray, table: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Give a split that got nothing the smallest group of another that can spare it without losing a class."""
    for target in np.flatnonzero(shares > 0):
        if (split == target).any():
            continue
        for index in np.argsort(table.sum(axis=1), kind="stable"):
            donor = split[index]
            mates = (split == donor) & (np.arange(len(split)) != index)
            if mates.any() and (donor != 0 or ((table[mates].sum(axis=0) > 0) >= (table[index] > 0)).all()):
                split[index] = target
                break
    return split


def _check(boxes: Sequence[PixelBox], counts: np.ndarray, split: np.ndarray, rule: SplitRule) -> None:
    pair = shared_ground(boxes, split, rule.buffer_px)
    if pair is not None:
        a, b = pair
        names = NAMES[split[a]], NAMES[split[b]]
        raise ConfigError(
            f"patches {boxes[a]} ({names[0]}) and {boxes[b]} ({names[1]}) share ground or lie within "
            f"{rule.buffer_px} px of each other",
            remedy="use tile.split.method: spatial_blocks, or a stride_px of at least patch_px + buffer_px",
        )
    if not (split == 0).any():
        raise InputError(
            f"no training patch is left of {len(boxes)}: every one reaches into another split's block or buffer",
            remedy="raise tile.split.block_px to a multiple of patch_px well above it, or lower buffer_px",
        )


def shared_ground(boxes: Sequence[PixelBox], split: np.ndarray, buffer_px: int = 0) -> tuple[int, int] | None:
    """Two patches of different splits that share ground or lie nearer than the buffer; None where there are none.

    Patches left out (-1) do not count. Distance is between edges along the grid's axes.
    """
    import shapely

    kept = np.flatnonzero(np.asarray(split) >= 0)
    if not len(kept):
        return None
    found = [boxes[i] for i in kept.tolist()]
    edges: np.ndarray = np.array([(b.col0, b.row0, b.col1, b.row1) for b in found], np.float64)
    # A quarter of a pixel keeps patches that only touch from counting as meeting.
    reach = buffer_px / 2 - 0.25
    squares = shapely.box(edges[:, 0] - reach, edges[:, 1] - reach, edges[:, 2] + reach, edges[:, 3] + reach)
    tree = shapely.STRtree(squares)
    first, second = tree.query(squares, predicate="intersects")
    chosen = np.asarray(split)[kept]
    clash = np.flatnonzero(chosen[first] != chosen[second])
    if not len(clash):
        return None
    return int(kept[first[clash[0]]]), int(kept[second[clash[0]]])
