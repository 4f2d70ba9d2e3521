"""One annotation for consecutive slices of a pass: their image grids, range conversions and orbits put end to end.

A pass is processed in slices of some 25 seconds. Their lines lie on one grid of azimuth times and their pixels on one
grid of ground range, so that the assembled image needs no resampling. Each slice keeps its own calibration and noise;
what is joined here is geometry alone.

Source: Sentinel-1 Product Specification S1-RSL-MDA-52-7441, slice products (sliceList, coordinateConversion).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from landcover_cli.errors import InputError
from landcover_cli.sar.types import (
    FloatArray,
    GeolocationGrid,
    OrbitStateVectors,
    S1Annotation,
    SrgrRecord,
    SwathMerge,
    seconds_since,
)

# Times are written to a microsecond: at 1.5 ms a line, the start of a slice is known to some thousandths of a line.
GRID_TOLERANCE_LINES = 0.05
GRID_TOLERANCE_PX = 0.01
SAME_VECTOR_S = 1e-4
_ONE_PASS = ("mission", "mode", "product_type", "resolution_class", "pass_direction", "absolute_orbit", "datatake_id")


@dataclass(frozen=True, slots=True, eq=False)
class SliceGeometry:
    """Consecutive slices as one image.

    Attributes:
        annotation: Of the whole: times count from the epoch of the first slice; it is named after the first slice and
            keeps its number, polarisation and processing facts.
        order: Positions of the slices in the sequence given, from first to last.
        first_lines: Line of the whole at which each slice begins, in that order.
    """

    annotation: S1Annotation
    order: tuple[int, ...]
    first_lines: tuple[int, ...]


def assemble_annotations(annotations: Sequence[S1Annotation]) -> SliceGeometry:
    """Join the annotations of consecutive GRD slices, given in any order.

    Range conversions of two slices may cover the same seconds: up to the first record of the later slice those of the
    earlier hold. Orbits that do the same and differ (the vectors of IPF 2.36 by more than a metre) are faded into each
    other over their common seconds, so that no line is shifted against the next.

    Args:
        annotations: One per slice, all of one polarisation.

    Returns:
        The whole; a single slice is returned as it is.

    Raises:
        InputError: None given, an SLC, slices of different passes or grids, the same slice twice, or a missing slice.
    """
    if not annotations:
        raise InputError("no slice was given", remedy="give the consecutive products of one pass")
    order = sorted(range(len(annotations)), key=lambda k: annotations[k].meta.start)
    slices = [_rebased(annotations[k], annotations[order[0]].epoch) for k in order]
    first_lines = [0]
    for before, after in pairwise(slices):
        _check_pair(before, after)
        first_lines.append(_first_line(slices[0], before, after, first_lines[-1]))
    whole = slices[0]
    for later, start in zip(slices[1:], first_lines[1:], strict=True):
        whole = _joined(whole, later, start)
    return SliceGeometry(whole, tuple(order), tuple(first_lines))


def _check_pair(before: S1Annotation, after: S1Annotation) -> None:
    """Two slices must be of one pass, one channel and one grid of pixels."""
    names = f"{before.meta.product_id} and {after.meta.product_id}"
    remedy = "assemble consecutive slices of one pass; process others one by one"
    for field in _ONE_PASS:
        one, other = getattr(before.meta, field), getattr(after.meta, field)
        if one != other:
            raise InputError(f"{names} are not slices of one pass: {field} {one} and {other}", remedy=remedy)
    if before.meta.product_type != "GRD":
        raise InputError(f"{names} are {before.meta.product_type}; slices of GRD are assembled", remedy=remedy)
    if before.polarisation != after.polarisation:
        raise InputError(
            f"{names}: polarisations {before.polarisation} and {after.polarisation}",
            remedy="assemble the slices of each polarisation",
        )
    a, b = before.image, after.image
    shift_px = (before.srgr[0].sr0_m - after.srgr[0].sr0_m) / b.range_spacing_m
    stretch_px = (a.range_spacing_m / b.range_spacing_m - 1.0) * b.shape_yx[1]
    stretch_lines = (a.azimuth_time_interval_s / b.azimuth_time_interval_s - 1.0) * b.shape_yx[0]
    if max(abs(shift_px), abs(stretch_px)) > GRID_TOLERANCE_PX or abs(stretch_lines) > GRID_TOLERANCE_LINES:
        raise InputError(
            f"{names} are not on one grid: {shift_px:.3f} pixels apart, spacings {a.range_spacing_m} and "
            f"{b.range_spacing_m} m, {a.azimuth_time_interval_s} and {b.azimuth_time_interval_s} s",
            remedy="process them one by one",
        )


def _first_line(first: S1Annotation, before: S1Annotation, after: S1Annotation, before_line: int) -> int:
    """Line of the whole at which a slice begins."""
    names = f"{before.meta.product_id} and {after.meta.product_id}"
    exact = (after.image.first_line_time_s - first.image.first_line_time_s) / first.image.azimuth_time_interval_s
    line = round(exact)
    end = before_line + before.image.shape_yx[0]
    if line > end:
        raise InputError(
            f"{line - end} lines are missing between {names}", remedy="give the slice between them as well"
        )
    if line <= before_line or line + after.image.shape_yx[0] <= end:
        raise InputError(f"{names} show the same ground", remedy="give each slice once")
    if abs(exact - line) > GRID_TOLERANCE_LINES:
        raise InputError(
            f"{names} are not on one grid: the second begins at line {exact:.3f} of the first",
            remedy="process them one by one",
        )
    return line


def _rebased(annotation: S1Annotation, epoch: np.datetime64) -> S1Annotation:
    """The same annotation with every time counted from another epoch."""
    shift = seconds_since(epoch, annotation.epoch)
    if shift == 0.0:
        return annotation
    image, ties, merge = annotation.image, annotation.geolocation, annotation.swath_merge
    return replace(
        annotation,
        epoch=epoch,
        image=replace(
            image,
            first_line_time_s=image.first_line_time_s + shift,
            last_line_time_s=image.last_line_time_s + shift,
        ),
        orbit=annotation.orbit.rebased(epoch),
        srgr=tuple(replace(r, azimuth_time_s=r.azimuth_time_s + shift) for r in annotation.srgr),
        geolocation=replace(ties, azimuth_time_s=ties.azimuth_time_s + shift),
        swath_merge=SwathMerge(tuple(replace(b, azimuth_time_s=b.azimuth_time_s + shift) for b in merge.bounds)),
    )


def _joined(whole: S1Annotation, later: S1Annotation, start: int) -> S1Annotation:
    lines = start + later.image.shape_yx[0]
    pixels = max(whole.image.shape_yx[1], later.image.shape_yx[1])
    image = replace(whole.image, shape_yx=(lines, pixels), last_line_time_s=later.image.last_line_time_s)
    bounds = tuple(
        replace(b, first_line=b.first_line + start, last_line=b.last_line + start) for b in later.swath_merge.bounds
    )
    corners = () if not (whole.meta.footprint_lonlat and later.meta.footprint_lonlat) else _frame(whole, later)
    return replace(
        whole,
        meta=replace(whole.meta, stop=later.meta.stop, footprint_lonlat=corners),
        image=image,
        orbit=_joined_orbit(whole.orbit, later.orbit),
        srgr=_joined_srgr(whole.srgr, later.srgr),
        geolocation=_joined_ties(whole.geolocation, later.geolocation, start),
        swath_merge=SwathMerge((*whole.swath_merge.bounds, *bounds)),
        thermal_noise_removed=whole.thermal_noise_removed and later.thermal_noise_removed,
    )


def _frame(whole: S1Annotation, later: S1Annotation) -> tuple[tuple[float, float], ...]:
    """Corners of the whole: the two at the first line of the first slice, the two at the last line of the last.

    Frames list the corners around the image; which ones lie early is told by the tie points.
    """

    def near(annotation: S1Annotation, line: int) -> list[tuple[float, float]]:
        ties = annotation.geolocation
        rows = ties.line == line
        ends = [np.flatnonzero(rows)[k] for k in (0, -1)]
        corners = annotation.meta.footprint_lonlat
        return [min(corners, key=lambda c: (c[0] - ties.lon_deg[e]) ** 2 + (c[1] - ties.lat_deg[e]) ** 2) for e in ends]

    first = near(whole, int(whole.geolocation.line.min()))
    last = near(later, int(later.geolocation.line.max()))
    return (*first, *last[::-1])


def _joined_srgr(earlier: Sequence[SrgrRecord], later: Sequence[SrgrRecord]) -> tuple[SrgrRecord, ...]:
    begin = later[0].azimuth_time_s - SAME_VECTOR_S
    return (*(r for r in earlier if r.azimuth_time_s < begin), *later)


def _joined_ties(earlier: GeolocationGrid, later: GeolocationGrid, start: int) -> GeolocationGrid:
    """Tie points of both; the later slice's first line may repeat the earlier one's last."""
    moved = replace(later, line=later.line + start)
    join: Callable[[str], Any] = lambda name: np.concatenate([getattr(earlier, name), getattr(moved, name)])  # noqa: E731
    return GeolocationGrid(**{name: join(name) for name in GeolocationGrid.__dataclass_fields__})


def _joined_orbit(earlier: OrbitStateVectors, later: OrbitStateVectors) -> OrbitStateVectors:
    """Vectors of both; where both have one, the weight moves from one to the other."""
    apart = np.abs(earlier.time_s[:, None] - later.time_s[None, :])
    same, at = np.nonzero(apart < SAME_VECTOR_S)
    weight = (np.arange(len(same)) + 1.0) / (len(same) + 1.0)

    def joined(one: FloatArray, other: FloatArray) -> FloatArray:
        share = weight.reshape((-1,) + (1,) * (one.ndim - 1))
        faded = one[same] + share * (other[at] - one[same])
        return np.concatenate([np.delete(one, same, axis=0), faded, np.delete(other, at, axis=0)])

    time_s = joined(earlier.time_s, later.time_s)
    order = np.argsort(time_s, kind="stable")
    return replace(
        earlier,
        time_s=time_s[order],
        position_m=joined(earlier.position_m, later.position_m)[order],
        velocity_ms=joined(earlier.velocity_ms, later.velocity_ms)[order],
    )
