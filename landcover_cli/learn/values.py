"""Stored numbers to physical values: the one rule that statistics, training and prediction share. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from landcover_cli.core.bands import is_power

__all__ = ["physical_values", "transform_of"]


def transform_of(units: str) -> str:
    """The transform that values of some units get before normalisation: ``db`` for linear power, else ``none``."""
    return "db" if units.endswith("linear") else "none"


def physical_values(
    data_tbyx: np.ndarray,
    valid_tyx: np.ndarray,
    *,
    scale: float,
    offset: float,
    transform: str,
    bands: Sequence[str] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Stored numbers → physical values, with the pixels that have none taken out of the validity.

    Args:
        data_tbyx: ``[T, C, H, W]`` as stored (digital numbers or float).
        valid_tyx: ``[T, H, W]`` bool.
        scale: Physical value = stored · scale + offset.
        offset: See `scale`.
        transform: ``none``, or ``db`` (10·log10 of linear power; values ≤ 0 have no logarithm and become invalid).
        bands: Names of the C bands; an index or an angle among powers is left as it is. Empty: all are powers.

    Returns:
        ``[T, C, H, W]`` float32 with 0 where invalid, and the validity ``[T, H, W]``. A pixel of a date is valid only
        if all its bands are finite.
    """
    values = data_tbyx.astype(np.float32)
    if scale != 1.0 or offset != 0.0:
        values = values * np.float32(scale) + np.float32(offset)
    usable = np.isfinite(values)
    powers = [k for k in range(values.shape[1]) if not bands or is_power(bands[k])] if transform == "db" else []
    for k in powers:
        usable[:, k] &= values[:, k] > 0
    valid = valid_tyx & usable.all(axis=1)
    shown = valid[:, None]
    for k in powers:
        log = np.log10(values[:, k], where=valid, out=np.zeros_like(values[:, k]))
        values[:, k] = np.float32(10) * log
    return np.where(shown, values, np.float32(0)), valid
