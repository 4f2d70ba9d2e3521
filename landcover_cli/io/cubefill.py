"""Filling the gaps of a cube's series, after its counts are written; every filled pixel is flagged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from landcover_cli.composites._gaps import fill_linear, fill_whittaker, penalty_bands
from landcover_cli.compute import Executor, SerialExecutor
from landcover_cli.errors import ConfigError
from landcover_cli.io.cubespec import EPOCH
from landcover_cli.io.cubestore import CHUNK_PX, CubeSpec, CubeWriter

METHODS = ("none", "linear", "whittaker")


@dataclass(frozen=True)
class Filling:
    """How gaps are filled.

    Attributes:
        method: ``linear`` or ``whittaker``.
        smoothness: λ of Whittaker.
    """

    method: str
    smoothness: float = 1.0


def declare_filling(spec: CubeSpec, filling: Filling | None) -> CubeSpec:
    """The cube with the variable that flags what is filled.

    Raises:
        ConfigError: Unknown method, or a smoothness of zero or less.
    """
    if filling is None:
        return spec
    if filling.method not in METHODS[1:]:
        raise ConfigError(f"unknown filling {filling.method!r}", remedy=f"use {', '.join(METHODS)}")
    if not filling.smoothness > 0:
        raise ConfigError(f"smoothness {filling.smoothness:g} is not above 0", remedy="give a number above 0")
    facts: dict[str, object] = {"method": filling.method}
    if filling.method == "whittaker":
        facts["smoothness"] = filling.smoothness
    return replace(spec, layers=(*spec.layers, "filled"), attrs={**spec.attrs, "fill": facts})


def fill_cube(
    path: Path,
    spec: CubeSpec,
    filling: Filling,
    executor: Executor | None = None,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Fill the gaps of a cube that is written whole, in place.

    Values, validity and the flag change where a period has no clear observation and another one has; counts stay.

    Args:
        path: The cube.
        spec: As `declare_filling` gave it.
        filling: How.
        executor: Runs the blocks; default: here, one after the other.
        check: Called between blocks; raises to stop.
    """
    _, _, height, width = spec.shape_tbyx
    corners = [(y, x) for y in range(0, height, CHUNK_PX) for x in range(0, width, CHUNK_PX)]
    for outcome in (executor or SerialExecutor()).run(partial(_fill_block, path, spec, filling), corners):
        check()
        if outcome.error is not None:
            raise outcome.error


def _fill_block(path: Path, spec: CubeSpec, filling: Filling, corner: tuple[int, int]) -> None:
    cube = CubeWriter.attach(path, spec)
    y, x = (slice(first, first + CHUNK_PX) for first in corner)
    observed = cube.read("valid", y, x)
    data = cube.read("data", y, x)
    valid = fill(data, observed, spec, filling)
    for t in np.flatnonzero((valid != observed).any(axis=(1, 2))):
        cube.update(int(t), *corner, data=data[t], valid=valid[t], filled=valid[t] & ~observed[t])


def fill(data_tbyx: np.ndarray, valid_tyx: np.ndarray, spec: CubeSpec, filling: Filling) -> np.ndarray:
    """Fill a window of all periods in place.

    Args:
        data_tbyx: Stored values.
        valid_tyx: What was observed.
        spec: The cube.
        filling: How.

    Returns:
        (t, y, x) what holds a value now. A filled power of zero or less is none.
    """
    day = np.array([(period.middle - EPOCH).days for period in spec.periods], np.int64)
    whole = data_tbyx.dtype.kind == "u"
    if filling.method == "linear":
        fill_linear(data_tbyx, valid_tyx, day, whole)
    else:
        fill_whittaker(data_tbyx, valid_tyx, penalty_bands(day), float(filling.smoothness), whole)
    valid = np.broadcast_to(valid_tyx.any(axis=0), valid_tyx.shape).copy()
    if spec.units.endswith("_linear"):
        bad = valid & ~valid_tyx & (data_tbyx <= 0).any(axis=1)
        np.moveaxis(data_tbyx, 1, -1)[bad] = np.nan
        valid &= ~bad
    return valid
