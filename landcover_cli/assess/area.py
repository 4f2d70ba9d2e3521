"""Area and accuracy from a stratified sample, with standard errors (Olofsson et al. 2014).

The strata are the map's classes. With W_i the mapped share of class i and n_ij the samples mapped i and found j, the
estimated share of ground that is mapped i and is j is p_ij = W_i n_ij / n_i. ; everything else follows (Olofsson et al.
2014, "Good practices for estimating area and assessing accuracy of land change", Remote Sensing of Environment 148,
equations 1-11; Stehman 2014 extends them to strata that are not the map's classes).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from landcover_cli.assess.intervals import Z95, part_limits, sum_limits, wilson
from landcover_cli.errors import InputError

FEW = 10
"""Normal intervals are trusted where every cell that contributes has at least this many hits and misses."""


@dataclass(frozen=True)
class Estimate:
    """An estimated share and how sure it is.

    Attributes:
        value: Share of 1; None where it is undefined (nothing mapped, nothing found).
        se: Standard error; None where a stratum has fewer than two samples.
        low: Lower end of the 95 % interval.
        high: Upper end of the 95 % interval; never equal to `low`.
        method: ``normal`` (value ± 1.96 se), ``wilson`` (one share) or ``mover`` (sum or ratio of Wilson intervals).
        few: Few samples: a contributing cell has fewer than ten hits or misses.
    """

    value: float | None
    se: float | None
    low: float | None
    high: float | None
    method: str
    few: bool

    @property
    def half_width(self) -> float | None:
        """Half the width of the normal interval, 1.96 se, as publications print it."""
        return None if self.se is None else Z95 * self.se

    def scaled(self, factor: float) -> Estimate:
        """The same in other units (an area instead of a share)."""
        value, se, low, high = (
            None if item is None else item * factor for item in (self.value, self.se, self.low, self.high)
        )
        return Estimate(value, se, low, high, self.method, self.few)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "value": self.value,
            "se": self.se,
            "low": self.low,
            "high": self.high,
            "interval": self.method,
            "few_samples": self.few,
        }


@dataclass(frozen=True)
class AreaEstimates:
    """Estimates from a stratified sample, strata = map classes.

    Attributes:
        shares: ``[K, K]`` estimated p_ij.
        overall: Overall accuracy.
        users: Per class.
        producers: Per class.
        area: Per class, share of the mapped ground; `Estimate.scaled` by the mapped area gives an area.
    """

    shares: np.ndarray
    overall: Estimate
    users: tuple[Estimate, ...]
    producers: tuple[Estimate, ...]
    area: tuple[Estimate, ...]


def estimate(counts: np.ndarray, mapped: np.ndarray) -> AreaEstimates:
    """Estimate accuracy and area shares from a sample stratified by map class (or a simple random one, poststratified).

    Args:
        counts: ``[K, K]`` samples, rows map, columns reference.
        mapped: ``[K]`` mapped extent of each class, in pixels or any unit of area.

    Raises:
        InputError: A mapped class without a sample: nothing is known about it.
        ValueError: Shapes that do not fit.
    """
    counts, mapped = np.asarray(counts, np.float64), np.asarray(mapped, np.float64)
    k = len(mapped)
    if counts.shape != (k, k) or mapped.sum() <= 0:
        raise ValueError(f"no stratified sample: counts {counts.shape}, {k} strata")
    n = counts.sum(1)
    weight = mapped / mapped.sum()
    bare = np.flatnonzero((weight > 0) & (n == 0))
    if len(bare):
        raise InputError(
            f"no sample in {len(bare)} mapped class(es), the first at index {bare[0]}",
            remedy="draw samples in every mapped class, or merge it with another",
        )
    found = np.divide(counts, n[:, None], out=np.zeros_like(counts), where=n[:, None] > 0)
    shares = weight[:, None] * found
    low, high = wilson(counts, np.broadcast_to(n[:, None], counts.shape))
    sample = _Sample(counts, n, weight, found, low, high)
    return AreaEstimates(
        shares=shares,
        overall=_overall(sample),
        users=tuple(_users(sample, i) for i in range(k)),
        producers=_producers(sample, mapped),
        area=_areas(sample),
    )


@dataclass(frozen=True)
class _Sample:
    """counts and shares within strata ``[K, K]``, stratum sizes n and weights ``[K]``, Wilson limits ``[K, K]``."""

    counts: np.ndarray
    n: np.ndarray
    weight: np.ndarray
    found: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def few(self, hits: np.ndarray, rows: np.ndarray) -> bool:
        """Whether some stratum that matters has fewer than ten hits or misses."""
        matters = rows & (self.weight > 0)
        return bool((np.minimum(hits, self.n - hits)[matters] < FEW).any())

    def variances(self, share: np.ndarray) -> np.ndarray:
        """share (1 - share) / (n - 1) per stratum; NaN where n < 2, 0 where the stratum has no weight."""
        out = np.full(self.n.shape, np.nan)
        np.divide(share * (1 - share), self.n - 1, out=out, where=self.n > 1)
        return np.where(self.weight > 0, out, 0.0)


def _interval(value: float, variance: float, limits: tuple[float, float], method: str, few: bool) -> Estimate:
    """The normal interval where there are samples enough, else the given one."""
    se = math.sqrt(variance) if math.isfinite(variance) else None
    if few or se is None or se == 0:
        return Estimate(value, se, float(limits[0]), float(limits[1]), method, few=True)
    return Estimate(value, se, max(0.0, value - Z95 * se), min(1.0, value + Z95 * se), "normal", few=False)


def _overall(sample: _Sample) -> Estimate:
    """OA = Σ W_i U_i; V = Σ W_i² U_i (1 - U_i) / (n_i. - 1) (equations 1 and 5)."""
    users = np.diag(sample.found)
    variance = float((sample.weight**2 * sample.variances(users)).sum())
    low, high = sum_limits(
        sample.weight[:, None], users[:, None], np.diag(sample.low)[:, None], np.diag(sample.high)[:, None]
    )
    few = sample.few(np.diag(sample.counts), np.ones(len(users), bool))
    return _interval(float((sample.weight * users).sum()), variance, (low[0], high[0]), "mover", few)


def _users(sample: _Sample, i: int) -> Estimate:
    """U_i = n_ii / n_i.; V = U_i (1 - U_i) / (n_i. - 1) (equations 2 and 6)."""
    n, right = float(sample.n[i]), float(sample.counts[i, i])
    if n == 0:
        return Estimate(None, None, None, None, "none", few=True)
    share = right / n
    variance = share * (1 - share) / (n - 1) if n > 1 else math.nan
    few = min(right, n - right) < FEW
    return _interval(share, variance, (sample.low[i, i], sample.high[i, i]), "wilson", few)


def _areas(sample: _Sample) -> tuple[Estimate, ...]:
    """Share of j = Σ_i p_ij; SE = sqrt(Σ_i (W_i p_ij - p_ij²) / (n_i. - 1)) (equations 9 and 10)."""
    low, high = sum_limits(sample.weight[:, None], sample.found, sample.low, sample.high)
    everywhere = np.ones(len(sample.n), bool)
    out = []
    for j in range(len(sample.n)):
        share = sample.found[:, j]
        variance = float((sample.weight**2 * sample.variances(share)).sum())
        few = sample.few(sample.counts[:, j], everywhere)
        out.append(_interval(float((sample.weight * share).sum()), variance, (low[j], high[j]), "mover", few))
    return tuple(out)


def _producers(sample: _Sample, mapped: np.ndarray) -> tuple[Estimate, ...]:
    """P_j = p_jj / Σ_i p_ij and its variance (equations 3 and 7, with N_.j estimated)."""
    k = len(mapped)
    own = np.diag(sample.found) * sample.weight
    others = sample.weight[:, None] * (1 - np.eye(k))
    x = own, sample.weight * np.diag(sample.low), sample.weight * np.diag(sample.high)
    y = ((others * sample.found).sum(0), *sum_limits(others, sample.found, sample.low, sample.high))
    low, high = part_limits(x, y)
    estimated = (mapped[:, None] * sample.found).sum(0)
    out = []
    for j in range(k):
        if estimated[j] == 0:
            out.append(Estimate(None, None, None, None, "none", few=True))
            continue
        share = float(mapped[j] * sample.found[j, j] / estimated[j])
        spread = sample.variances(sample.found[:, j])
        rest = np.arange(k) != j
        variance = (
            mapped[j] ** 2 * (1 - share) ** 2 * spread[j] + share**2 * (mapped[rest] ** 2 * spread[rest]).sum()
        ) / estimated[j] ** 2
        few = sample.few(sample.counts[:, j], np.ones(k, bool))
        out.append(_interval(share, float(variance), (low[j], high[j]), "mover", few))
    return tuple(out)
