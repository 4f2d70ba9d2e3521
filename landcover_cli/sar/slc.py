"""The image grid of a TOPS SLC after deburst, merge and multilook, and the kernel that fills it.

Samples are never resampled: every cell of the multilooked grid is the mean of the samples of `lines` × `samples` that
the plans of `deburst` choose, whatever burst or sub-swath each of them is from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from landcover_cli.errors import InputError, UsageError
from landcover_cli.sar.deburst import DeburstPlan, MergePlan, deburst_plan, merge_plan
from landcover_cli.sar.types import (
    SPEED_OF_LIGHT_MS,
    GeolocationGrid,
    IntArray,
    S1Annotation,
    SwathMerge,
    SwathTiming,
)

Float32Array = NDArray[np.float32]
MAX_LOOKS = 64


@dataclass(frozen=True, slots=True, eq=False)
class SlcGrid:
    """Sub-swaths of one SLC on one multilooked grid.

    Attributes:
        annotation: Of the multilooked image, without bursts: for `radar_model`. Named and polarised as the first
            sub-swath; its tie points are those of all sub-swaths, at the nearest cell.
        plans: Deburst plan of each sub-swath, near to far.
        merge: Where each lies.
        looks: Lines and samples of a cell.
        valid: [sub-swaths, 2, lines] first and last valid sample of every single-look line, in merged samples; where
            a sub-swath has none, the first is beyond the last.
    """

    annotation: S1Annotation
    plans: tuple[DeburstPlan, ...]
    merge: MergePlan
    looks: tuple[int, int]
    valid: IntArray

    @property
    def shape_yx(self) -> tuple[int, int]:
        """Lines and pixels of the multilooked image."""
        return self.annotation.image.shape_yx


def slc_grid(annotations: Sequence[S1Annotation], looks: tuple[int, int] = (1, 4)) -> SlcGrid:
    """Plan the grid.

    Args:
        annotations: One polarisation of every sub-swath wanted, in any order.
        looks: Lines and samples to average; IW SLC 1 × 4 gives pixels of about 14 m × 9 to 15 m.

    Returns:
        The grid; a remainder of lines or samples that fills no cell is left out.

    Raises:
        UsageError: The looks are out of range.
        InputError: None given, no SLC of TOPS bursts, or sub-swaths that are not of one product and polarisation.
    """
    if not all(1 <= n <= MAX_LOOKS for n in looks):
        raise UsageError(f"looks {looks[0]} × {looks[1]} are out of range", remedy=f"choose 1 to {MAX_LOOKS} of each")
    if not annotations:
        raise InputError("no sub-swath was given", remedy="give one or more sub-swaths of an SLC")
    ordered = sorted(annotations, key=lambda a: a.image.slant_range_time_s)
    first = ordered[0]
    for other in ordered[1:]:
        one, two = ((a.meta.product_id, a.polarisation) for a in (first, other))
        if one != two:
            raise InputError(
                f"{' '.join(one)} and {' '.join(two)} cannot be merged",
                remedy="give the sub-swaths of one polarisation of one product",
            )
    plans = tuple(deburst_plan(a.swath_timing, a.image.azimuth_time_interval_s) for a in ordered)
    merge = merge_plan(plans, [a.image for a in ordered])
    return SlcGrid(_annotation(ordered, merge, looks), plans, merge, looks, _valid(plans, merge))


def _valid(plans: Sequence[DeburstPlan], merge: MergePlan) -> IntArray:
    valid = np.empty((len(plans), 2, merge.shape[0]), dtype=np.int64)
    valid[:, 0], valid[:, 1] = 1, 0
    for k, plan in enumerate(plans):
        rows = np.flatnonzero(plan.source_line >= 0)
        at = rows + merge.line_offset[k]
        valid[k, 0, at] = plan.first_valid_sample[rows] + merge.sample_offset[k]
        valid[k, 1, at] = plan.last_valid_sample[rows] + merge.sample_offset[k]
    return valid


def _annotation(ordered: Sequence[S1Annotation], merge: MergePlan, looks: tuple[int, int]) -> S1Annotation:
    first = ordered[0]
    dt, rate = first.image.azimuth_time_interval_s, first.image.range_sampling_rate_hz
    shape = merge.shape[0] // looks[0], merge.shape[1] // looks[1]
    # The centre of a cell lies between its samples.
    start = merge.first_time_s + 0.5 * (looks[0] - 1) * dt
    near = merge.slant_range_time_s + 0.5 * (looks[1] - 1) / rate
    image = replace(
        first.image,
        first_line_time_s=start,
        last_line_time_s=start + (shape[0] - 1) * looks[0] * dt,
        azimuth_time_interval_s=looks[0] * dt,
        shape_yx=shape,
        range_spacing_m=looks[1] * 0.5 * SPEED_OF_LIGHT_MS / rate,
        azimuth_spacing_m=looks[0] * first.image.azimuth_spacing_m,
        slant_range_time_s=near,
        range_sampling_rate_hz=rate / looks[1],
    )
    fields = {
        name: np.concatenate([getattr(a.geolocation, name) for a in ordered])
        for name in GeolocationGrid.__dataclass_fields__
    }
    fields["line"] = np.rint((fields["azimuth_time_s"] - start) / image.azimuth_time_interval_s).astype(np.int64)
    fields["pixel"] = np.rint((fields["slant_range_time_s"] - near) * image.range_sampling_rate_hz).astype(np.int64)
    return replace(
        first,
        swath="+".join(a.swath for a in ordered),
        image=image,
        geolocation=GeolocationGrid(**fields),
        swath_timing=SwathTiming(0, 0, ()),
        swath_merge=SwathMerge(()),
    )


class Looks:
    """Sums over the cells of one window, to which sub-swaths are added one after the other.

    Args:
        grid: The grid.
        first_line: First line of the window, in cells.
        first_pixel: First pixel of the window, in cells.
        shape_yx: Lines and pixels of the window.
        layers: How many values every sample has.
    """

    def __init__(
        self, grid: SlcGrid, first_line: int, first_pixel: int, shape_yx: tuple[int, int], layers: int
    ) -> None:
        self._grid = grid
        self._line0, self._sample0 = first_line * grid.looks[0], first_pixel * grid.looks[1]
        self._lines, self._samples = shape_yx[0] * grid.looks[0], shape_yx[1] * grid.looks[1]
        self._sums = np.zeros((layers, *shape_yx))
        self._number = np.zeros(shape_yx, dtype=np.int32)
        self._signal = np.zeros(shape_yx, dtype=np.bool_)

    def source(self, swath: int) -> tuple[slice, slice] | None:
        """Lines and samples of the measurement that a sub-swath (0 is nearest) contributes from; None for none."""
        grid, k = self._grid, swath
        lines = self._own_lines(k)
        source = grid.plans[k].source_line[lines]
        source = source[source >= 0]
        left = max(self._sample0 - grid.merge.sample_offset[k], 0)
        right = min(self._sample0 + self._samples - grid.merge.sample_offset[k], grid.plans[k].n_samples)
        if not source.size or left >= right:
            return None
        return slice(int(source.min()), int(source.max()) + 1), slice(left, right)

    def add(self, swath: int, values: Float32Array, signal: NDArray[np.bool_]) -> None:
        """Add what `source` asked for.

        Args:
            swath: Position of the sub-swath.
            values: [layers, lines, samples] of the measurement.
            signal: [lines, samples] whether the digital number is not zero.
        """
        grid, k = self._grid, swath
        found = self.source(k)
        if found is None:
            return
        lines = self._own_lines(k)
        rows = grid.plans[k].source_line[lines]
        rows = np.where(rows >= 0, rows - found[0].start, -1)
        _accumulate(
            values,
            signal,
            rows,
            lines.start + grid.merge.line_offset[k],
            found[1].start + grid.merge.sample_offset[k],
            k,
            grid.valid,
            np.array([0, *grid.merge.cuts, grid.merge.shape[1]], dtype=np.int64),
            (self._line0, self._sample0),
            grid.looks,
            self._sums,
            self._number,
            self._signal,
        )

    def _own_lines(self, k: int) -> slice:
        offset = self._grid.merge.line_offset[k]
        end = min(self._line0 + self._lines - offset, self._grid.plans[k].source_line.size)
        return slice(min(max(self._line0 - offset, 0), max(end, 0)), max(end, 0))

    def means(self) -> Float32Array:
        """[layers, lines, pixels] float32 means; NaN where no sample is valid, or all of them are zero.

        Single zeros are measurements (a faint complex sample rounds to zero), cells of zeros are holes.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = self._sums / self._number
        mean[:, ~self._signal] = np.nan
        return mean.astype(np.float32)


@numba.njit(nogil=True, cache=True)
def _accumulate(
    values: Float32Array,
    signal: NDArray[np.bool_],
    rows: IntArray,
    line_at: int,
    sample_at: int,
    swath: int,
    valid: IntArray,
    cuts: IntArray,
    origin: tuple[int, int],
    looks: tuple[int, int],
    sums: NDArray[np.float64],
    number: NDArray[Any],
    seen: NDArray[np.bool_],
) -> None:
    for r in range(rows.shape[0]):
        if rows[r] < 0:
            continue
        line = line_at + r
        i = (line - origin[0]) // looks[0]
        begin = max(valid[swath, 0, line], sample_at)
        end = min(valid[swath, 1, line] + 1, sample_at + values.shape[2])
        for sample in range(begin, end):
            if not (cuts[swath] <= sample < cuts[swath + 1]) and _taken(valid, cuts, swath, line, sample):
                continue
            j = (sample - origin[1]) // looks[1]
            c = sample - sample_at
            number[i, j] += 1
            if signal[rows[r], c]:
                seen[i, j] = True
            for n in range(sums.shape[0]):
                sums[n, i, j] += values[n, rows[r], c]


@numba.njit(nogil=True, cache=True)
def _taken(valid, cuts, swath, line, sample):  # type: ignore[no-untyped-def]
    """Whether another sub-swath gives a sample beyond this one's cut: its owner, or an earlier one that is valid."""
    for k in range(valid.shape[0]):
        if k == swath or not (valid[k, 0, line] <= sample <= valid[k, 1, line]):
            continue
        if k < swath or cuts[k] <= sample < cuts[k + 1]:
            return True
    return False
