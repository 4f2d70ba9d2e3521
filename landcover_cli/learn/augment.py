"""Augmentation of one sample: one geometry, in metres, for every input and the label alike; noise and tone on valid
pixels; dropped dates and inputs, shifted days.

Nothing here gives a value to an invalid pixel, or takes one from it. A setting that is off draws no random number, so
that it changes nothing in what the others draw.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from landcover_cli.learn.batch import PortArrays

__all__ = ["Augmentation", "augment", "drop_dates", "resample", "sources", "turn"]

_IGNORE = -1
_PERCENTILES = (2.0, 98.0)
_SPREAD = 2.0
"""A stretched band's 2nd and 98th percentiles come to minus and plus so many standard deviations of the training data:
those of a normal distribution lie at 2.05."""


@dataclass(frozen=True)
class Augmentation:
    """How far samples are changed.

    Attributes:
        turns: Flips and quarter turns, all eight alike.
        drop_dates: Most of a series' dates that are taken away; the share is drawn evenly from 0 to this.
        drop_inputs: Probability that an optional input is taken away.
        optional: Names of optional inputs.
        rotate: Probability of a rotation by any angle.
        warp: Probability of a smooth warp.
        warp_m: Greatest displacement of a warp, in metres.
        noise: Standard deviation of Gaussian noise, in standard deviations of the band.
        stretch: Probability of a 2-98 % stretch of each band.
        solarize: Probability that each band's upper half, from 2 to 98 %, is mirrored down.
        jitter_days: Most days that a series is shifted by, either way.
        gsd_m: Pixel edge per input, in metres; needed for `rotate` and `warp`.
        target_gsd_m: Pixel edge of the label, in metres.
    """

    turns: bool = True
    drop_dates: float = 0.0
    drop_inputs: float = 0.0
    optional: tuple[str, ...] = ()
    rotate: float = 0.0
    warp: float = 0.0
    warp_m: float = 0.0
    noise: float = 0.0
    stretch: float = 0.0
    solarize: float = 0.0
    jitter_days: int = 0
    gsd_m: Mapping[str, float] = field(default_factory=dict)
    target_gsd_m: float = 1.0


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
    target_yx, weight_yx = turn(target_yx, code), None if weight_yx is None else turn(weight_yx, code)
    changed, target_yx, weight_yx = _move(changed, target_yx, weight_yx, how, rng)
    return {name: _tone(part, how, rng) for name, part in changed.items()}, target_yx, weight_yx


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


# --- geometry ---------------------------------------------------------------------------------------------------------


def sources(edge_px: int, gsd_m: float, angle: float, warp_m: float, nodes: np.ndarray | None) -> np.ndarray:
    """Where the ground under every pixel comes from; a map in metres, so that inputs of any pixel size share it.

    Args:
        edge_px: Edge of the sample in pixels.
        gsd_m: Pixel edge in metres.
        angle: Rotation about the middle, in radians.
        warp_m: Metres that a displacement of 1 means.
        nodes: ``[2, n, n]`` displacements (south, east) at the nodes of a regular net over the sample; None for none.

    Returns:
        Source (row, column), ``[2, edge, edge]`` int64; -1 where it lies outside the sample.
    """
    edge_m = edge_px * gsd_m
    centres = (np.arange(edge_px) + 0.5) * gsd_m
    y, x = np.meshgrid(centres, centres, indexing="ij")
    from_middle_y, from_middle_x = y - edge_m / 2, x - edge_m / 2
    cos, sin = np.cos(angle), np.sin(angle)
    source_y = edge_m / 2 + cos * from_middle_y - sin * from_middle_x
    source_x = edge_m / 2 + sin * from_middle_y + cos * from_middle_x
    if nodes is not None:
        source_y = source_y + warp_m * _smooth(nodes[0], y / edge_m, x / edge_m)
        source_x = source_x + warp_m * _smooth(nodes[1], y / edge_m, x / edge_m)
    # A millionth of a pixel: a turn by nothing keeps every pixel where it is.
    found = np.floor(np.stack([source_y, source_x]) / gsd_m + 1e-6).astype(np.int64)
    outside = ((found < 0) | (found >= edge_px)).any(axis=0)
    return np.where(outside, -1, found)


def _smooth(nodes: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A net of values between its nodes, smoothstep between neighbours; positions from 0 to 1."""
    last = len(nodes) - 1
    row, col = np.clip(y * last, 0, last - 1e-9), np.clip(x * last, 0, last - 1e-9)
    r, c = row.astype(np.int64), col.astype(np.int64)
    v, u = row - r, col - c
    v, u = v * v * (3 - 2 * v), u * u * (3 - 2 * u)
    top = nodes[r, c] * (1 - u) + nodes[r, c + 1] * u
    bottom = nodes[r + 1, c] * (1 - u) + nodes[r + 1, c + 1] * u
    return np.asarray(top * (1 - v) + bottom * v)


def resample(array: np.ndarray, source: np.ndarray, fill: float | bool) -> np.ndarray:
    """The last two axes taken from the source pixels (nearest: no value is mixed); `fill` where there is none."""
    picked = array[..., np.maximum(source[0], 0), np.maximum(source[1], 0)]
    return np.ascontiguousarray(np.where(source[0] >= 0, picked, np.asarray(fill, array.dtype)))


_NODES = 4
"""Nodes of a warp along an edge."""


def _move(
    inputs: dict[str, PortArrays],
    target_yx: np.ndarray,
    weight_yx: np.ndarray | None,
    how: Augmentation,
    rng: np.random.Generator,
) -> tuple[dict[str, PortArrays], np.ndarray, np.ndarray | None]:
    """Rotate and warp the ground under every input and the label."""
    angle, nodes = 0.0, None
    if how.rotate > 0 and rng.random() < how.rotate:
        angle = float(rng.uniform(0, 2 * np.pi))
    if how.warp > 0 and how.warp_m > 0 and rng.random() < how.warp:
        nodes = rng.uniform(-1, 1, (2, _NODES, _NODES)) / np.sqrt(2)  # so that no displacement is longer than warp_m
    if angle == 0 and nodes is None:
        return inputs, target_yx, weight_yx
    moved = {}
    for name, part in inputs.items():
        source = sources(part.valid_thw.shape[-1], how.gsd_m[name], angle, how.warp_m, nodes)
        valid = resample(part.valid_thw, source, False)
        moved[name] = replace(
            part,
            data_tchw=resample(part.data_tchw, source, 0.0),
            valid_thw=valid,
            present_t=part.present_t & valid.any(axis=(1, 2)),
        )
    source = sources(target_yx.shape[-1], how.target_gsd_m, angle, how.warp_m, nodes)
    weight_yx = None if weight_yx is None else resample(weight_yx, source, 0.0)
    return moved, resample(target_yx, source, _IGNORE), weight_yx


# --- values and days --------------------------------------------------------------------------------------------------


def _tone(part: PortArrays, how: Augmentation, rng: np.random.Generator) -> PortArrays:
    """Change values of valid pixels, and the days of a series."""
    if how.jitter_days and len(part.doy_t) > 1:
        shift = int(rng.integers(-how.jitter_days, how.jitter_days + 1))
        part = replace(part, doy_t=(part.doy_t - 1 + shift) % 365 + 1, day_t=part.day_t + shift)
    if not (how.noise or how.stretch or how.solarize):
        return part
    data = part.data_tchw.copy()
    for band in range(data.shape[1]):
        stretch = how.stretch > 0 and rng.random() < how.stretch
        solarize = how.solarize > 0 and rng.random() < how.solarize
        values = data[:, band][part.valid_thw]
        if not len(values):
            continue
        if stretch or solarize:
            low, high = np.percentile(values, _PERCENTILES)
            width = max(float(high - low), 1e-6)
            scaled = (values - low) / width
            if solarize:
                scaled = np.where(scaled > 0.5, 1 - scaled, scaled)
            values = np.clip(scaled, 0, 1) * 2 * _SPREAD - _SPREAD if stretch else low + scaled * width
        data[:, band][part.valid_thw] = values
    if how.noise:
        noise = rng.standard_normal(data.shape, np.float32) * np.float32(how.noise)
        data += np.where(part.valid_thw[:, None], noise, np.float32(0))
    return replace(part, data_tchw=data)
