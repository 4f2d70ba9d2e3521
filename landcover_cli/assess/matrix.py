"""The error matrix: exact counts, and the figures that follow from them.

Rows are the map's classes, columns the reference's, as in Olofsson et al. (2014). Figures are shares of 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


class ErrorMatrix:
    """Counts pairs of (map class, reference class); a reduction by `feed`, `merge`, `result`.

    Attributes:
        counts: ``[K, K]`` int64, rows map, columns reference.
        unmapped: ``[K]`` int64: reference units per class where the map has no class.
    """

    def __init__(self, n_classes: int) -> None:
        self.counts: np.ndarray = np.zeros((n_classes, n_classes), np.int64)
        self.unmapped: np.ndarray = np.zeros(n_classes, np.int64)

    @property
    def n_classes(self) -> int:
        """Number of classes K."""
        return len(self.unmapped)

    def feed(self, mapped: np.ndarray, reference: np.ndarray) -> None:
        """Count pixels or points.

        Args:
            mapped: Class indices of the map, any shape; K or more means `no class`.
            reference: Class indices of the reference, same shape; K or more means `no reference`, not counted.

        Raises:
            ValueError: Different shapes, or a negative index.
        """
        if mapped.shape != reference.shape:
            raise ValueError(f"map {mapped.shape} and reference {reference.shape} differ in shape")
        k = self.n_classes
        known = reference < k
        row = np.minimum(mapped[known].astype(np.int64), k)
        col = reference[known].astype(np.int64)
        if row.size and (row.min() < 0 or col.min() < 0):
            raise ValueError("negative class index")
        flat = np.bincount(row * k + col, minlength=(k + 1) * k).reshape(k + 1, k)
        self.counts += flat[:k]
        self.unmapped += flat[k]

    def merge(self, other: ErrorMatrix) -> None:
        """Add what another reducer counted elsewhere.

        Raises:
            ValueError: It has another number of classes.
        """
        if other.n_classes != self.n_classes:
            raise ValueError(f"error matrices of {self.n_classes} and {other.n_classes} classes")
        self.counts += other.counts
        self.unmapped += other.unmapped

    def result(self) -> Accuracy:
        """The figures."""
        return accuracy(self.counts)


@dataclass(frozen=True)
class Accuracy:
    """Figures of an error matrix; NaN where a figure is undefined (nothing to divide by).

    Attributes:
        counts: ``[K, K]`` int64, rows map, columns reference.
        present: ``[K]`` bool: classes with at least one reference unit; averages run over these only.
        overall: Trace / total.
        users: ``[K]`` correct share of what is mapped as a class.
        producers: ``[K]`` correctly mapped share of what is a class (recall).
        f1: ``[K]`` harmonic mean of the two: 2 n_ii / (n_i. + n_.i).
        iou: ``[K]`` n_ii / (n_i. + n_.i - n_ii).
        mean_iou: Mean of `iou` over present classes.
        mean_f1: Mean of `f1` over present classes.
        average: Mean of `producers` over present classes (average accuracy).
        kappa: Cohen's kappa (Cohen 1960).
    """

    counts: np.ndarray
    present: np.ndarray
    overall: float
    users: np.ndarray
    producers: np.ndarray
    f1: np.ndarray
    iou: np.ndarray
    mean_iou: float
    mean_f1: float
    average: float
    kappa: float

    @property
    def total(self) -> int:
        """Units compared."""
        return int(self.counts.sum())


def accuracy(counts: np.ndarray) -> Accuracy:
    """Figures of an error matrix.

    Args:
        counts: ``[K, K]`` whole numbers, rows map, columns reference.

    Raises:
        ValueError: Not a square matrix of counts.
    """
    counts = np.asarray(counts)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or (counts < 0).any():
        raise ValueError(f"no error matrix: shape {counts.shape}")
    right = np.diag(counts).astype(np.float64)
    mapped, reference = counts.sum(1).astype(np.float64), counts.sum(0).astype(np.float64)
    total = float(mapped.sum())
    present = reference > 0
    producers, iou = _ratio(right, reference), _ratio(right, mapped + reference - right)
    f1 = _ratio(2 * right, mapped + reference)
    overall = float(right.sum()) / total if total else float("nan")
    by_chance = float((mapped * reference).sum()) / total**2 if total else float("nan")
    return Accuracy(
        counts=counts.astype(np.int64),
        present=present,
        overall=overall,
        users=_ratio(right, mapped),
        producers=producers,
        f1=f1,
        iou=iou,
        mean_iou=_mean(iou, present),
        mean_f1=_mean(f1, present),
        average=_mean(producers, present),
        kappa=(overall - by_chance) / (1 - by_chance) if by_chance < 1 else float("nan"),
    )


def row_normalised(counts: np.ndarray, axis: int = 0) -> np.ndarray:
    """Shares of an error matrix: per reference class (axis 0, the columns sum to one) or per map class (axis 1).

    NaN where a class has no unit.
    """
    totals = counts.sum(axis, keepdims=True).astype(np.float64)
    return _ratio(counts.astype(np.float64), np.broadcast_to(totals, counts.shape))


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    out = np.full(above.shape, np.nan)
    np.divide(above, below, out=out, where=below > 0)
    return out


def _mean(values: np.ndarray, present: np.ndarray) -> float:
    return float(values[present].mean()) if present.any() else float("nan")
