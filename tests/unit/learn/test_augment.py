"""Augmentation turns everything alike and never touches an invalid pixel."""

from __future__ import annotations

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
