"""Augmentation of one sample: the same turn for every input and the label; dropped dates and inputs.

Nothing here gives a value to an invalid pixel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from landcover_cli.learn.batch import PortArrays

__all__ = ["Augmentation", "augment", "drop_dates", "turn"]


@dataclass(frozen=True)
class Augmentation:
    """How far samples are changed.

    Attributes:
        turns: Flips and quarter turns, all eight alike.
        drop_dates: Most of a series' dates that are taken away; the share is drawn evenly from 0 to this.
        drop_inputs: Probability that an optional input is taken away.
        optional: Names of optional inputs.
    """

    turns: bool = True
    drop_dates: float = 0.0
    drop_inputs: float = 0.0
    optional: tuple[str, ...] = ()


def augment(
    inputs: Mapping[str, PortArrays],
    target_yx: np.ndarray,
    weight_yx: np.ndarray | None,
    how: Augmentation,
    rng: np.random.Generator,
) -> tuple[dict[str, PortArrays], np.ndarray, np.ndarray | None]:
    """One random variant of a sample (inputs, target, weights); the generator alone decides which."""
    code = int(rng.integers(8)) if how.turns else 0
    changed = {}
    for name in sorted(inputs):  # a fixed order of draws
        part = inputs[name]
        share, keep = rng.random() * how.drop_dates, rng.random() >= how.drop_inputs
        order = rng.random(len(part.doy_t))
        if name in how.optional and not keep and len(inputs) > 1:
            continue
        if len(part.doy_t) > 1:
            part = drop_dates(part, share, order)
        changed[name] = replace(part, data_tchw=turn(part.data_tchw, code), valid_thw=turn(part.valid_thw, code))
    return changed, turn(target_yx, code), None if weight_yx is None else turn(weight_yx, code)


def turn(array: np.ndarray, code: int) -> np.ndarray:
    """The last two axes turned by ``code % 4`` quarters and, from 4 on, mirrored: the eight symmetries of a square."""
    turned = np.rot90(array, code % 4, axes=(-2, -1))
    return np.ascontiguousarray(turned[..., ::-1] if code >= 4 else turned)


def drop_dates(part: PortArrays, share: float, order_t: np.ndarray) -> PortArrays:
    """Take away the dates of lowest `order_t`: a share of those present, and never the last one of them."""
    present = np.flatnonzero(part.present_t)
    count = min(int(share * len(present) + 0.5), len(present) - 1)
    if count <= 0:
        return part
    gone = present[np.argsort(order_t[present], kind="stable")[:count]]
    data, valid, there = part.data_tchw.copy(), part.valid_thw.copy(), part.present_t.copy()
    data[gone], valid[gone], there[gone] = 0.0, False, False
    return replace(part, data_tchw=data, valid_thw=valid, present_t=there)
