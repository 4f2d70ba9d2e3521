"""Deburst and merge: every output pixel comes from the one place that has its time and range."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from landcover_cli.errors import InputError
from landcover_cli.sar.deburst import deburst, deburst_plan, merge_plan, merge_swaths, source_span
from landcover_cli.sar.types import Burst, ImageInfo, SwathTiming

STEP_S = 0.002
LINES, SAMPLES = 30, 40


def timing(starts: list[int], first: int = 3, last: int = 27, samples: tuple[int, int] = (4, 35)) -> SwathTiming:
    """Bursts that start at the given lines and are valid in lines `first` … `last` − 1."""
    valid = np.zeros(LINES, bool)
    valid[first:last] = True
    bursts = tuple(
        Burst(
            azimuth_time_s=start * STEP_S,
            sensing_time_s=start * STEP_S,
            first_line=index * LINES,
            first_valid_sample=np.where(valid, samples[0], -1),
            last_valid_sample=np.where(valid, samples[1], -1),
        )
        for index, start in enumerate(starts)
    )
    return SwathTiming(LINES, SAMPLES, bursts)


def measurement(starts: list[int], shift: int = 0) -> np.ndarray:
    """Each pixel says its global line and sample: line + 1j·sample."""
    lines = np.concatenate([np.arange(start, start + LINES) for start in starts])
    return lines[:, None] + 1j * (np.arange(SAMPLES) + shift)[None, :].astype(np.complex128)


def test_every_line_comes_from_its_own_time() -> None:
    starts = [0, 20, 41]
    plan = deburst_plan(timing(starts), STEP_S)
    out = deburst(measurement(starts), plan, lines=slice(0, plan.source_line.size))
    assert out.shape == (41 + LINES, SAMPLES)
    line, sample = np.mgrid[: out.shape[0], :SAMPLES]
    valid = np.isfinite(out)
    np.testing.assert_array_equal(out[valid], (line + 1j * sample)[valid])
    np.testing.assert_array_equal(valid, (line >= 3) & (line < 41 + 27) & (sample >= 4) & (sample <= 35))


def test_overlap_is_cut_at_its_middle() -> None:
    # Valid lines 3..26 and 23..46 overlap in 23..26: the first burst gives up to 24, the second from 25.
    plan = deburst_plan(timing([0, 20]), STEP_S)
    assert plan.source_line[24] == 24
    assert plan.source_line[25] == LINES + 5


def test_gap_between_bursts_is_nodata() -> None:
    plan = deburst_plan(timing([0, 40]), STEP_S)
    assert (plan.source_line[27:43] == -1).all()
    out = deburst(measurement([0, 40]), plan, lines=slice(27, 43))
    assert np.isnan(out).all()
    assert source_span(plan, slice(27, 43)) == slice(0, 0)


def test_windows_give_the_same_as_the_whole() -> None:
    starts = [0, 20, 41]
    plan = deburst_plan(timing(starts), STEP_S)
    image = measurement(starts)
    whole = deburst(image, plan, lines=slice(0, 71))
    for start in range(0, 71, 8):
        lines = slice(start, min(start + 8, 71))
        span = source_span(plan, lines)
        part = deburst(image[span], plan, first_source_line=span.start, lines=lines)
        np.testing.assert_array_equal(part, whole[lines])


def test_truncated_measurement_is_refused() -> None:
    plan = deburst_plan(timing([0, 20]), STEP_S)
    with pytest.raises(InputError, match="do not hold"):
        deburst(measurement([0, 20])[:-5], plan, lines=slice(0, 50))
    with pytest.raises(InputError, match="do not hold"):
        deburst(measurement([0, 20])[:, :-1], plan, lines=slice(0, 50))


def test_damaged_timing_is_refused() -> None:
    with pytest.raises(InputError, match="no burst"):
        deburst_plan(SwathTiming(0, 0, ()), STEP_S)
    good = timing([0, 20])
    late = dataclasses.replace(good.bursts[1], azimuth_time_s=20.4 * STEP_S)
    with pytest.raises(InputError, match="not at increasing whole lines"):
        deburst_plan(SwathTiming(LINES, SAMPLES, (good.bursts[0], late)), STEP_S)
    empty = dataclasses.replace(good.bursts[1], first_valid_sample=np.full(LINES, -1))
    with pytest.raises(InputError, match="burst 1 has no valid line"):
        deburst_plan(SwathTiming(LINES, SAMPLES, (good.bursts[0], empty)), STEP_S)


RATE_HZ = 64e6


def image_info(sample_offset: int) -> ImageInfo:
    return ImageInfo(
        first_line_time_s=0.0,
        last_line_time_s=1.0,
        azimuth_time_interval_s=STEP_S,
        shape_yx=(2 * LINES, SAMPLES),
        range_spacing_m=2.3,
        azimuth_spacing_m=14.0,
        slant_range_time_s=5e-3 + sample_offset / RATE_HZ,
        range_sampling_rate_hz=RATE_HZ,
        radar_frequency_hz=5.4e9,
        incidence_mid_deg=35.0,
        slice_number=1,
    )


def test_merged_swaths_lie_on_one_grid_and_are_cut_at_mid_overlap() -> None:
    near, far = timing([0, 20]), timing([6, 26])
    plans = [deburst_plan(near, STEP_S), deburst_plan(far, STEP_S)]
    plan = merge_plan(plans, [image_info(0), image_info(25)])
    assert (plan.line_offset, plan.sample_offset) == ((0, 6), (0, 25))
    assert plan.shape == (56, 65)
    # Near is valid to sample 35, far from 25 + 4: the cut lies at 32.
    assert plan.cuts == (32,)
    parts = [
        deburst(measurement([0, 20]), plans[0], lines=slice(0, 50)),
        1000 + deburst(measurement([6, 26], shift=25), plans[1], lines=slice(0, 50)),
    ]
    out = merge_swaths(parts, plan, slice(0, 56))
    line, sample = np.mgrid[:56, :65]
    from_far = out.real >= 1000
    expected = line + 1000 * from_far + 1j * sample
    valid = np.isfinite(out)
    np.testing.assert_array_equal(out[valid], expected[valid])
    both = (line >= 9) & (line < 47) & (sample >= 4) & (sample <= 60)
    np.testing.assert_array_equal(from_far[both], (sample >= 32)[both])
    # Where only the near sub-swath is valid it fills beyond the cut.
    assert valid[5, 35] and not from_far[5, 35]
    # Any window of lines gives the same.
    rows = slice(3, 20)
    cut = [parts[0][3:20], parts[1][0:14]]
    np.testing.assert_array_equal(merge_swaths(cut, plan, rows), out[rows])


def test_swaths_of_different_grids_are_refused() -> None:
    plans = [deburst_plan(timing([0, 20]), STEP_S)] * 2
    shifted = dataclasses.replace(image_info(25), slant_range_time_s=5e-3 + 25.5 / RATE_HZ)
    with pytest.raises(InputError, match="samples apart"):
        merge_plan(plans, [image_info(0), shifted])
    with pytest.raises(InputError, match="one of each"):
        merge_plan([], [])


def test_real_annotation_bursts_and_swaths_lie_on_one_grid(shared_data: Callable[[str], Path]) -> None:
    safe_s1 = pytest.importorskip("landcover_cli.io.safe_s1")
    path = shared_data("s1/xarray_sentinel/S1B_IW_SLC__1SDV_20210401T052622_20210401T052650_026269_032297_EFA4.zip")
    product = safe_s1.open_s1_product(path)
    near, far = (product.annotation("VH", swath) for swath in ("IW1", "IW2"))
    plans = [deburst_plan(a.swath_timing, a.image.azimuth_time_interval_s) for a in (near, far)]
    # Nine and ten bursts of 1501 and 1513 lines; without a gap inside.
    assert plans[0].source_line.size == 10733 + 1501
    for plan in plans:
        valid = np.flatnonzero(plan.source_line >= 0)
        assert (np.diff(valid) == 1).all()
    merged = merge_plan(plans, [near.image, far.image])
    assert merged.sample_offset[0] == 0
    assert merged.line_offset == (882, 0)
    assert merged.sample_offset[1] < merged.cuts[0] < plans[0].n_samples
