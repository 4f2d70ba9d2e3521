"""Agreement of predicted and labelled pixels while training: feed, merge, result."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["Agreement", "expected_calibration_error", "fit_temperature", "negative_log_likelihood"]


class Agreement:
    """Counts of (labelled class, predicted class) pairs."""

    def __init__(self, n_classes: int) -> None:
        self.counts = np.zeros((n_classes, n_classes), np.int64)

    def feed(self, label: np.ndarray, predicted: np.ndarray) -> None:
        """Add pixels; both are class indices of one shape."""
        n = len(self.counts)
        pairs = label.astype(np.int64) * n + predicted.astype(np.int64)
        self.counts += np.bincount(pairs.ravel(), minlength=n * n).reshape(n, n)

    def merge(self, other: Agreement) -> None:
        """Add what another one was fed."""
        self.counts += other.counts

    def result(self) -> dict[str, Any]:
        """Overall accuracy, macro-F1, mean IoU and each class's figures.

        Classes without a labelled pixel are left out of the means; their figures are None.
        """
        hit = np.diag(self.counts).astype(float)
        labelled, predicted = self.counts.sum(axis=1), self.counts.sum(axis=0)
        total = int(labelled.sum())
        there = labelled > 0
        f1 = 2 * hit / np.maximum(labelled + predicted, 1)
        iou = hit / np.maximum(labelled + predicted - hit, 1)
        recall, precision = hit / np.maximum(labelled, 1), hit / np.maximum(predicted, 1)

        def each(values: np.ndarray) -> list[float | None]:
            return [round(float(v), 6) if ok else None for v, ok in zip(values, there, strict=True)]

        def mean(values: np.ndarray) -> float | None:
            return round(float(values[there].mean()), 6) if there.any() else None

        return {
            "pixels": total,
            "overall_accuracy": round(float(hit.sum()) / total, 6) if total else None,
            "macro_f1": mean(f1),
            "mean_iou": mean(iou),
            "average_accuracy": mean(recall),
            "f1": each(f1),
            "iou": each(iou),
            "users_accuracy": each(precision),
            "producers_accuracy": each(recall),
            "counts": self.counts.tolist(),
        }


def negative_log_likelihood(logits_nk: np.ndarray, label_n: np.ndarray, temperature: float = 1.0) -> float:
    """Mean of −log softmax(logits / temperature) at the label."""
    scaled = logits_nk.astype(np.float64) / temperature
    top = scaled.max(axis=1)
    log_sum = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))
    return float((log_sum - scaled[np.arange(len(label_n)), label_n]).mean())


def fit_temperature(logits_nk: np.ndarray, label_n: np.ndarray) -> float:
    """The temperature in 0.05 … 20 that makes the labels likeliest, by golden-section search on its logarithm.

    Source: Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017). The likelihood has one optimum.
    """
    if not len(label_n):
        return 1.0
    ratio = (np.sqrt(5) - 1) / 2
    low, high = np.log(0.05), np.log(20.0)
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = (negative_log_likelihood(logits_nk, label_n, float(np.exp(x))) for x in (left, right))
    while high - low > 1e-4:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = negative_log_likelihood(logits_nk, label_n, float(np.exp(left)))
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = negative_log_likelihood(logits_nk, label_n, float(np.exp(right)))
    return round(float(np.exp((low + high) / 2)), 4)


def expected_calibration_error(
    logits_nk: np.ndarray, label_n: np.ndarray, temperature: float = 1.0, bins: int = 15
) -> float:
    """Mean distance of stated confidence and accuracy over bins of confidence, weighted by pixels."""
    scaled = logits_nk.astype(np.float64) / temperature
    share = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    confidence, correct = share.max(axis=1), share.argmax(axis=1) == label_n
    of_bin = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = np.bincount(of_bin, confidence, bins) - np.bincount(of_bin, correct, bins)
    return float(np.abs(gap).sum() / max(len(label_n), 1))
