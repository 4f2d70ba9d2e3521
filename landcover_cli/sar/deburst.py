"""From the bursts of TOPS SLC sub-swaths to one continuous image: index tables first, pixels by window after.

The lines of all bursts of a sub-swath lie on one grid of azimuth times, and so do the samples of all sub-swaths on one
grid of slant-range times. Neighbouring bursts overlap by about a hundred lines, neighbouring sub-swaths by about a
thousand samples; each overlap is cut at its middle, where both sides are farthest from their edges. A plan says for
every output line which image line it is; so any window can be read alone, and blocks do not change the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landcover_cli.errors import InputError
from landcover_cli.sar.types import ImageInfo, IntArray, SwathTiming

# Times are written to a microsecond, a line takes 2 ms: a burst farther than this from its grid is not on it.
_GRID_TOLERANCE_LINES = 0.05


@dataclass(frozen=True, eq=False)
class DeburstPlan:
    """Where each line of the debursted sub-swath comes from.

    Attributes:
        first_time_s: Zero-Doppler time of output line 0, seconds since the product epoch.
        azimuth_time_interval_s: Seconds between output lines.
        n_samples: Samples of a line.
        source_line: [lines] line of the measurement; −1 where no burst has a valid one.
        first_valid_sample: [lines] first valid sample; −1 where there is none.
        last_valid_sample: [lines] last valid sample (inclusive); −1 where there is none.
    """

    first_time_s: float
    azimuth_time_interval_s: float
    n_samples: int
    source_line: IntArray
    first_valid_sample: IntArray
    last_valid_sample: IntArray


def deburst_plan(timing: SwathTiming, azimuth_time_interval_s: float) -> DeburstPlan:
    """Choose a burst for every line, cutting each overlap of valid lines at its middle.

    Args:
        timing: Layout of the bursts, by increasing azimuth time.
        azimuth_time_interval_s: Seconds between two lines of a burst.

    Returns:
        The plan; output line 0 is line 0 of the first burst.

    Raises:
        InputError: No burst, a burst without a valid line, or bursts that are not on one grid of azimuth times.
    """
    if not timing.bursts:
        raise InputError("deburst: the annotation lists no burst", remedy="only SLC products of TOPS modes have bursts")
    start = timing.bursts[0].azimuth_time_s
    exact = np.array([(b.azimuth_time_s - start) / azimuth_time_interval_s for b in timing.bursts])
    offsets = np.rint(exact).astype(np.int64)
    if np.abs(exact - offsets).max() > _GRID_TOLERANCE_LINES or (np.diff(offsets) <= 0).any():
        raise InputError(
            f"deburst: bursts start {exact.round(3).tolist()} lines after the first, not at increasing whole lines",
            remedy="the annotation is damaged or of an unknown kind; report the product",
        )
    spans = [_valid_lines(burst.first_valid_sample, index) for index, burst in enumerate(timing.bursts)]
    first = np.array([a for a, _ in spans]) + offsets
    last = np.array([b for _, b in spans]) + offsets
    # Burst b gives the lines cuts[b] … cuts[b + 1] − 1 where it is valid.
    middle = (last[:-1] + first[1:] + 1) // 2
    cuts = np.concatenate([[first[0]], middle, [last[-1] + 1]])
    lines = int(offsets[-1]) + timing.lines_per_burst
    source, first_sample, last_sample = (np.full(lines, -1, np.int64) for _ in range(3))
    for index, burst in enumerate(timing.bursts):
        out = np.arange(max(cuts[index], first[index]), min(cuts[index + 1], last[index] + 1))
        row = out - offsets[index]
        ok = burst.first_valid_sample[row] >= 0
        source[out[ok]] = burst.first_line + row[ok]
        first_sample[out[ok]] = burst.first_valid_sample[row[ok]]
        last_sample[out[ok]] = burst.last_valid_sample[row[ok]]
    return DeburstPlan(start, azimuth_time_interval_s, timing.samples_per_burst, source, first_sample, last_sample)


def _valid_lines(first_valid_sample: IntArray, index: int) -> tuple[int, int]:
    """First and last valid line of a burst."""
    valid = np.flatnonzero(first_valid_sample >= 0)
    if valid.size == 0:
        raise InputError(f"deburst: burst {index} has no valid line", remedy="the product is damaged; fetch it anew")
    return int(valid[0]), int(valid[-1])


def deburst(values_yx: NDArray[Any], plan: DeburstPlan, *, first_source_line: int = 0, lines: slice) -> NDArray[Any]:
    """Output lines of a sub-swath from lines of its measurement.

    Args:
        values_yx: [n, samples] float or complex lines of the measurement from `first_source_line` on; they must hold
            every source line of `lines` (see `source_span`).
        plan: From `deburst_plan`.
        first_source_line: Line of the measurement in row 0 of `values_yx`.
        lines: Output lines, start and stop.

    Returns:
        [stop − start, samples] of the same type, NaN where invalid.

    Raises:
        InputError: A line or sample of the plan is not in `values_yx`.
    """
    source = plan.source_line[lines]
    rows = source - first_source_line
    wanted = source >= 0
    if values_yx.shape[1] != plan.n_samples or (
        wanted.any() and (rows[wanted].min() < 0 or rows[wanted].max() >= values_yx.shape[0])
    ):
        raise InputError(
            f"deburst: measurement lines {first_source_line} … {first_source_line + values_yx.shape[0] - 1} of "
            f"{values_yx.shape[1]} samples do not hold what the annotation describes",
            remedy="the measurement is truncated or of another product; fetch it anew",
        )
    out = np.full((source.size, plan.n_samples), np.nan, values_yx.dtype)
    out[wanted] = values_yx[rows[wanted]]
    sample = np.arange(plan.n_samples)
    outside = (sample < plan.first_valid_sample[lines][:, None]) | (sample > plan.last_valid_sample[lines][:, None])
    out[outside] = np.nan
    return out


def source_span(plan: DeburstPlan, lines: slice) -> slice:
    """The measurement lines that hold all sources of some output lines; empty where there is none."""
    source = plan.source_line[lines]
    source = source[source >= 0]
    return slice(int(source.min()), int(source.max()) + 1) if source.size else slice(0, 0)


@dataclass(frozen=True, eq=False)
class MergePlan:
    """Where the debursted sub-swaths lie in the merged image.

    Attributes:
        shape: Lines and samples of the merged image.
        first_time_s: Zero-Doppler time of line 0, seconds since the product epoch.
        slant_range_time_s: Two-way slant-range time of sample 0.
        line_offset: Per sub-swath (near to far), merged line of its line 0.
        sample_offset: Per sub-swath, merged sample of its sample 0.
        cuts: Merged samples where the next sub-swath takes over; one fewer than sub-swaths.
    """

    shape: tuple[int, int]
    first_time_s: float
    slant_range_time_s: float
    line_offset: tuple[int, ...]
    sample_offset: tuple[int, ...]
    cuts: tuple[int, ...]


def merge_plan(plans: Sequence[DeburstPlan], images: Sequence[ImageInfo]) -> MergePlan:
    """Place debursted sub-swaths, given from near to far range, on one grid.

    Args:
        plans: One per sub-swath.
        images: Image grids of the same sub-swaths; slant-range time and range sampling rate are used.

    Returns:
        The plan. Overlaps are cut at the middle of the samples that are valid in both.

    Raises:
        InputError: None given, or sub-swaths that are not on one grid.
    """
    if not plans or len(plans) != len(images):
        raise InputError(
            f"merge: {len(plans)} plans and {len(images)} image grids", remedy="give one of each per sub-swath"
        )
    rate = images[0].range_sampling_rate_hz
    near = min(image.slant_range_time_s for image in images)
    start = min(p.first_time_s for p in plans)
    lines = _on_grid([(p.first_time_s - start) / plans[0].azimuth_time_interval_s for p in plans], "lines")
    samples = _on_grid([(image.slant_range_time_s - near) * rate for image in images], "samples")
    cuts = []
    for k in range(len(plans) - 1):
        last = int(np.median(plans[k].last_valid_sample[plans[k].last_valid_sample >= 0])) + samples[k]
        following = plans[k + 1].first_valid_sample
        first = int(np.median(following[following >= 0])) + samples[k + 1]
        cuts.append((last + first + 1) // 2)
    shape = (
        max(offset + plan.source_line.size for offset, plan in zip(lines, plans, strict=True)),
        max(offset + plan.n_samples for offset, plan in zip(samples, plans, strict=True)),
    )
    return MergePlan(shape, start, near, lines, samples, tuple(cuts))


def _on_grid(exact: Sequence[float], what: str) -> tuple[int, ...]:
    """Whole offsets of sub-swaths."""
    whole = np.rint(exact)
    if np.abs(np.asarray(exact) - whole).max() > _GRID_TOLERANCE_LINES:
        raise InputError(
            f"merge: sub-swaths start {np.round(exact, 3).tolist()} {what} apart, not on one grid",
            remedy="give sub-swaths of one product",
        )
    return tuple(int(value) for value in whole)


def merge_swaths(debursted: Sequence[NDArray[Any]], plan: MergePlan, lines: slice) -> NDArray[Any]:
    """Merged lines from debursted sub-swaths.

    Args:
        debursted: Per sub-swath, near to far, its own output lines that fall into `lines`: rows
            `max(lines.start − line_offset, 0)` to `min(lines.stop − line_offset, its lines)`.
        plan: From `merge_plan`.
        lines: Merged lines, start and stop.

    Returns:
        [stop − start, samples], NaN where no sub-swath is valid. Beyond its cut a sub-swath only fills what the
        preferred one left invalid.
    """
    out = np.full((lines.stop - lines.start, plan.shape[1]), np.nan, debursted[0].dtype)
    edges = (0, *plan.cuts, plan.shape[1])
    for preferred in (True, False):
        for k, part in enumerate(debursted):
            top = max(plan.line_offset[k] - lines.start, 0)
            left = plan.sample_offset[k]
            target = out[top : top + part.shape[0], left : left + part.shape[1]]
            column = np.arange(left, left + part.shape[1])
            own = (column >= edges[k]) & (column < edges[k + 1])
            use = np.isfinite(part) & np.isnan(target) & (own == preferred)
            target[use] = part[use]
    return out
