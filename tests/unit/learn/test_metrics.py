"""Metrics against hand-made cases and scikit-learn; temperature against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landcover_cli.learn.metrics import (
    Agreement,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
)


@given(seed=st.integers(0, 500), n_classes=st.integers(2, 6), parts=st.integers(1, 4))
def test_agreement_equals_scikit_learn(seed: int, n_classes: int, parts: int) -> None:
    from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, jaccard_score

    rng = np.random.default_rng(seed)
    label, predicted = rng.integers(0, n_classes, (2, 80))
    total = Agreement(n_classes)
    for chunk in np.array_split(np.arange(80), parts):
        part = Agreement(n_classes)
        part.feed(label[chunk], predicted[chunk])
        total.merge(part)
    found = total.result()
    there = np.unique(label)
    options = {"labels": there, "average": "macro", "zero_division": 0}
    assert found["overall_accuracy"] == pytest.approx(accuracy_score(label, predicted), abs=1e-6)
    assert found["macro_f1"] == pytest.approx(f1_score(label, predicted, **options), abs=1e-6)
    assert found["mean_iou"] == pytest.approx(jaccard_score(label, predicted, **options), abs=1e-6)
    assert found["counts"] == confusion_matrix(label, predicted, labels=range(n_classes)).tolist()


def test_absent_classes_are_left_out_of_the_means() -> None:
    one = Agreement(3)
    one.feed(np.array([0, 0, 1]), np.array([0, 2, 1]))
    found = one.result()
    assert found["f1"][2] is None
    assert found["average_accuracy"] == pytest.approx(0.75)
    assert Agreement(2).result()["overall_accuracy"] is None


@pytest.mark.parametrize("true", [0.4, 1.0, 3.0])
def test_temperature_is_found_again(true: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (40_000, 4))
    share = np.exp(logits / true)
    share /= share.sum(axis=1, keepdims=True)
    label = (share.cumsum(axis=1) < rng.random((len(logits), 1))).sum(axis=1)
    found = fit_temperature(logits, label)
    assert found == pytest.approx(true, rel=0.05)
    best = negative_log_likelihood(logits, label, found)
    assert all(best <= negative_log_likelihood(logits, label, found * f) for f in (0.97, 1.03))
    assert expected_calibration_error(logits, label, found) < 0.02
    assert expected_calibration_error(logits, label, found / 4) > 0.05


def test_without_pixels_the_temperature_is_one() -> None:
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, int)) == 1.0
