"""Augmentation turns everything alike and never touches an invalid pixel."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from landcover_cli.learn.augment import Augmentation, augment, turn
from landcover_cli.learn.batch import PortArrays


def part(dates: int, size: int, rng: np.random.Generator) -> PortArrays:
    valid = rng.random((dates, size, size)) < 0.6
    data = np.where(valid[:, None], rng.normal(size=(dates, 2, size, size)), 0).astype(np.float32)
    days = np.arange(dates) * 30
    return PortArrays(data, valid, days + 1, days, valid.any((1, 2)))


@given(seed=st.integers(0, 10_000), drop=st.sampled_from([0.0, 0.5, 0.99]))
def test_same_turn_for_inputs_and_target_and_no_value_on_invalid_pixels(seed: int, drop: float) -> None:
    rng = np.random.default_rng(seed)
    target = rng.integers(0, 5, (8, 8))
    fine, coarse = part(6, 8, rng), part(1, 4, rng)
    # A copy of the target as a band shows whether both were turned alike.
    fine.data_tchw[:, 0] = np.where(fine.valid_thw, target, 0)
    how = Augmentation(True, drop, 0.5, ("coarse",))
    weight = np.sqrt(target).astype(np.float32)
    found, turned, weighed = augment({"fine": fine, "coarse": coarse}, target, weight, how, np.random.default_rng(seed))
    assert weighed is not None
    np.testing.assert_array_equal(weighed, np.sqrt(turned).astype(np.float32))
    out = found["fine"]
    assert (out.data_tchw[:, 0][out.valid_thw] == np.broadcast_to(turned, out.valid_thw.shape)[out.valid_thw]).all()
    assert (out.data_tchw[np.broadcast_to(~out.valid_thw[:, None], out.data_tchw.shape)] == 0).all()
    assert out.valid_thw.any()  # never the last date
    assert (out.present_t == out.valid_thw.any((1, 2))).all()
    assert any((turn(fine.valid_thw, k)[out.present_t] == out.valid_thw[out.present_t]).all() for k in range(8))
    if "coarse" in found:
        assert sorted(found["coarse"].data_tchw.ravel()) == sorted(coarse.data_tchw.ravel())


def test_the_eight_turns_are_different_and_mirrored_twice_is_the_same() -> None:
    square = np.arange(9).reshape(3, 3)
    assert len({turn(square, code).tobytes() for code in range(8)}) == 8
    for code in (4, 5, 6, 7):
        assert (turn(turn(square, code), code) == square).all()


def test_the_seed_decides(seed: int = 5) -> None:
    rng = np.random.default_rng(0)
    sample = {"a": part(6, 8, rng)}, rng.integers(0, 3, (8, 8)), None
    how = Augmentation(True, 0.5)
    first, second = (augment(*sample, how, np.random.default_rng(seed)) for _ in range(2))
    np.testing.assert_array_equal(first[0]["a"].data_tchw, second[0]["a"].data_tchw)
    np.testing.assert_array_equal(first[1], second[1])


ON = {"rotate": 1.0, "warp": 1.0, "warp_m": 25.0, "gsd_m": {"fine": 10.0, "coarse": 20.0}, "target_gsd_m": 10.0}


@given(seed=st.integers(0, 10_000))
def test_one_geometry_in_metres_for_inputs_of_any_pixel_size(seed: int) -> None:
    # Ground of 40 m blocks: their number stands in every input and in the target.
    blocks = np.arange(16).reshape(4, 4)
    fine, coarse = (
        PortArrays(
            np.kron(blocks, np.ones((edge, edge)))[None, None].astype(np.float32),
            np.ones((1, 4 * edge, 4 * edge), bool), np.zeros(1, int), np.zeros(1, int), np.ones(1, bool),
        )
        for edge in (4, 2)
    )  # fmt: skip
    target = np.kron(blocks, np.ones((4, 4), int))
    found, moved, weight = augment(
        {"fine": fine, "coarse": coarse}, target, target.astype(np.float32), Augmentation(**ON),
        np.random.default_rng(seed),
    )  # fmt: skip
    assert weight is not None
    valid = found["fine"].valid_thw[0]
    np.testing.assert_array_equal(moved >= 0, valid)
    np.testing.assert_array_equal(found["fine"].data_tchw[0, 0][valid], moved[valid])
    np.testing.assert_array_equal(weight[valid], moved[valid])
    assert (found["fine"].data_tchw[0, 0][~valid] == 0).all()
    # A coarse pixel's centre lies on a corner of fine ones: all four have its value, unless a border runs between.
    corners = moved.reshape(8, 2, 8, 2).swapaxes(1, 2).reshape(8, 8, 4)
    alike = (corners == corners[..., :1]).all(-1) & (corners[..., 0] >= 0) & found["coarse"].valid_thw[0]
    agree = found["coarse"].data_tchw[0, 0][alike] == corners[..., 0][alike]
    assert alike.sum() > 5
    assert agree.mean() > 0.9


@given(seed=st.integers(0, 10_000))
def test_tone_and_days_never_touch_invalid_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    before = part(5, 6, rng)
    how = Augmentation(False, noise=0.1, stretch=0.5, solarize=0.5, jitter_days=40)
    after = augment({"a": before}, np.zeros((6, 6), int), None, how, np.random.default_rng(seed))[0]["a"]
    np.testing.assert_array_equal(after.valid_thw, before.valid_thw)
    assert (after.data_tchw[np.broadcast_to(~before.valid_thw[:, None], before.data_tchw.shape)] == 0).all()
    assert (after.data_tchw != before.data_tchw).any()
    assert np.isfinite(after.data_tchw).all()
    shift = set((after.day_t - before.day_t).tolist())
    assert len(shift) == 1
    assert abs(shift.pop()) <= 40
    assert ((after.doy_t >= 1) & (after.doy_t <= 366)).all()
    # What stands in invalid pixels decides nothing.
    spoilt = dataclasses.replace(before, data_tchw=np.where(before.valid_thw[:, None], before.data_tchw, 999))
    again = augment({"a": spoilt}, np.zeros((6, 6), int), None, how, np.random.default_rng(seed))[0]["a"]
    seen = np.broadcast_to(before.valid_thw[:, None], before.data_tchw.shape)
    np.testing.assert_allclose(again.data_tchw[seen], after.data_tchw[seen])


def test_solarize_and_stretch_by_hand() -> None:
    values = np.linspace(-3, 5, 101, dtype=np.float32)
    one = PortArrays(
        values[None, None, None, :], np.ones((1, 1, 101), bool), np.zeros(1, int), np.zeros(1, int), np.ones(1, bool)
    )
    low, high = np.percentile(values, [2, 98])
    x = (values - low) / (high - low)

    def tone(**how: float) -> np.ndarray:
        how_ = Augmentation(False, **how)  # type: ignore[arg-type]
        target = np.zeros((1, 101), int)
        return augment({"a": one}, target, None, how_, np.random.default_rng(0))[0]["a"].data_tchw[0, 0, 0]

    np.testing.assert_allclose(
        tone(solarize=1.0), low + np.where(x > 0.5, 1 - x, x) * (high - low), rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(tone(stretch=1.0), np.clip(x, 0, 1) * 4 - 2, rtol=1e-5, atol=1e-5)


@given(seed=st.integers(0, 1000))
def test_what_is_off_changes_no_other_draw(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sample = {"fine": part(4, 8, rng), "coarse": part(1, 4, rng)}, rng.integers(0, 5, (8, 8)), None
    plain = Augmentation(True, 0.5, 0.5, ("coarse",))
    off = dataclasses.replace(plain, **(ON | {"rotate": 0.0, "warp": 0.0}))
    first, second = (augment(*sample, how, np.random.default_rng(seed)) for how in (plain, off))
    np.testing.assert_array_equal(first[1], second[1])
    for name, found in first[0].items():
        np.testing.assert_array_equal(found.data_tchw, second[0][name].data_tchw)
