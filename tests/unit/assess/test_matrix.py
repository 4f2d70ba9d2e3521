from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics

from landcover_cli.assess.matrix import ErrorMatrix, accuracy, row_normalised

PAIRS = st.integers(1, 60).flatmap(
    lambda n: st.tuples(
        arrays(np.uint8, n, elements=st.integers(0, 6)), arrays(np.uint8, n, elements=st.integers(0, 6))
    )
)
K = 5  # indices 5 and 6 stand for nodata


def matrix_of(mapped: np.ndarray, reference: np.ndarray) -> ErrorMatrix:
    matrix = ErrorMatrix(K)
    matrix.feed(mapped, reference)
    return matrix


@given(PAIRS)
def test_counts_agree_with_counting_one_by_one(pair: tuple[np.ndarray, np.ndarray]) -> None:
    counts, unmapped = np.zeros((K, K), int), np.zeros(K, int)
    for m, r in zip(*pair, strict=True):
        if r < K and m < K:
            counts[m, r] += 1
        elif r < K:
            unmapped[r] += 1
    got = matrix_of(*pair)
    assert got.counts.dtype == np.int64
    assert np.array_equal(got.counts, counts)
    assert np.array_equal(got.unmapped, unmapped)


@given(PAIRS, st.integers(0, 60))
def test_parts_merge_to_the_whole(pair: tuple[np.ndarray, np.ndarray], cut: int) -> None:
    first, second = matrix_of(pair[0][:cut], pair[1][:cut]), matrix_of(pair[0][cut:], pair[1][cut:])
    first.merge(second)
    whole = matrix_of(*pair)
    assert np.array_equal(first.counts, whole.counts)
    assert np.array_equal(first.unmapped, whole.unmapped)


@given(PAIRS)
def test_figures_agree_with_scikit_learn(pair: tuple[np.ndarray, np.ndarray]) -> None:
    both = (pair[0] < K) & (pair[1] < K)
    mapped, reference = pair[0][both], pair[1][both]
    got = matrix_of(mapped, reference).result()
    if not len(mapped):
        assert math.isnan(got.overall)
        return
    labels = np.arange(K)
    assert got.overall == pytest.approx(metrics.accuracy_score(reference, mapped))
    f1 = metrics.f1_score(reference, mapped, labels=labels, average=None, zero_division=np.nan)
    assert np.allclose(got.f1, f1, equal_nan=True)
    recall = metrics.recall_score(reference, mapped, labels=labels, average=None, zero_division=np.nan)
    assert np.allclose(got.producers, recall, equal_nan=True)
    assert got.average == pytest.approx(np.nanmean(recall))
    seen = np.unique(np.concatenate([mapped, reference]))
    if len(seen) > 1:
        assert got.kappa == pytest.approx(metrics.cohen_kappa_score(reference, mapped))
        iou = metrics.jaccard_score(reference, mapped, labels=labels, average=None, zero_division=0)
        assert np.allclose(np.nan_to_num(got.iou), iou)


@given(arrays(np.int64, (4, 4), elements=st.integers(0, 50)))
def test_f1_and_iou_say_the_same(counts: np.ndarray) -> None:
    got = accuracy(counts)
    assert np.allclose(got.f1, 2 * got.iou / (1 + got.iou), equal_nan=True)
    assert (np.nan_to_num(got.users) <= 1).all()


def test_classes_without_reference_are_left_out_of_averages() -> None:
    got = accuracy(np.array([[8, 1, 0], [2, 9, 0], [0, 1, 0]]))
    assert got.present.tolist() == [True, True, False]
    assert got.average == pytest.approx((8 / 10 + 9 / 11) / 2)
    assert got.mean_iou == pytest.approx((8 / 11 + 9 / 13) / 2)
    assert got.users[2] == 0
    assert math.isnan(got.producers[2])


def test_counts_beyond_32_bits_stay_exact() -> None:
    matrix = ErrorMatrix(2)
    matrix.counts[0, 0] = 2**60
    matrix.feed(np.zeros(3, np.uint8), np.zeros(3, np.uint8))
    assert matrix.counts[0, 0] == 2**60 + 3


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        ErrorMatrix(2).feed(np.zeros(3, int), np.zeros(4, int))
    with pytest.raises(ValueError, match="negative"):
        ErrorMatrix(2).feed(np.array([-1]), np.array([0]))
    with pytest.raises(ValueError, match="2 and 3 classes"):
        ErrorMatrix(2).merge(ErrorMatrix(3))
    with pytest.raises(ValueError, match="no error matrix"):
        accuracy(np.zeros((2, 3), int))


# "Spatial Resolution Enhancement for Large-Scale Land Cover Mapping via Weakly Supervised Deep Learning" (PE&RS 2021):
# printed average accuracy, and accuracy per class (forest, shrub, grass, wetland, crop, urban, barren, water).
PUBLISHED = {
    "validation baseline": (41.34, [62.61, 1.07, 48.21, 14.02, 43.54, 66.35, 0.21, 94.72]),
    "validation refined": (51.95, [85.67, 13.58, 26.23, 29.98, 75.04, 84.51, 3.74, 96.87]),
    "test baseline": (41.12, [60.04, 2.31, 50.05, 12.45, 41.59, 69.26, 0.37, 92.92]),
    "test refined": (50.18, [74.53, 14.17, 46.75, 28.48, 64.29, 77.78, 1.20, 94.22]),
}


@pytest.mark.parametrize("row", PUBLISHED)
def test_published_average_accuracy_follows_from_the_classes(row: str) -> None:
    # 10,000 reference units a class give each printed percentage exactly; what is missed goes to the next class, and
    # two classes of the legend have no reference at all. Tolerance 0.12: each printed figure is rounded on its own.
    average, per_class = PUBLISHED[row]
    counts = np.zeros((10, 10), int)
    for j, percent in enumerate(per_class):
        counts[j, j] = round(percent * 100)
        counts[(j + 1) % 8, j] = 10_000 - counts[j, j]
    got = accuracy(counts)
    assert int(got.present.sum()) == 8
    assert 100 * got.average == pytest.approx(average, abs=0.12)
    assert np.allclose(100 * np.diag(row_normalised(counts))[:8], per_class)
    assert 100 * got.producers[:8] == pytest.approx(per_class)
