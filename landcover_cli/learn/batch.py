"""From a window of a cube to what a network is fed: one set of rules for training and prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import torch

from landcover_cli.errors import InputError
from landcover_cli.learn.values import physical_values
from models.batch import Modality
from models.spec import Port

if TYPE_CHECKING:
    from landcover_cli.core.types import Period
    from landcover_cli.io.cubestore import CubeSeries, CubeWindow

__all__ = ["Modality", "PortArrays", "collate", "physical_values", "port_arrays", "window_to_arrays"]


@dataclass(frozen=True)
class PortArrays:
    """One input of one sample, before batching.

    Attributes:
        data_tchw: ``[T, C, H, W]`` float32, normalised; 0 where invalid.
        valid_thw: ``[T, H, W]`` bool.
        doy_t: ``[T]`` int64, day of year of the middle of each period; 0 for images.
        day_t: ``[T]`` int64, days since `origin`; 0 for images.
        present_t: ``[T]`` bool: any valid pixel on that date.
    """

    data_tchw: np.ndarray
    valid_thw: np.ndarray
    doy_t: np.ndarray
    day_t: np.ndarray
    present_t: np.ndarray


def port_arrays(
    data_tbyx: np.ndarray,
    valid_tyx: np.ndarray,
    periods: Sequence[Period],
    port: Port,
    *,
    scale: float,
    offset: float,
    origin: date | None = None,
) -> PortArrays:
    """Normalise one sample's stored values for one port.

    Args:
        data_tbyx: ``[T, C, H, W]`` as stored, bands in the port's order.
        valid_tyx: ``[T, H, W]`` bool.
        periods: The T periods of a series; ignored for images.
        port: Transform, mean and std per band.
        scale: Physical value = stored · scale + offset.
        offset: See `scale`.
        origin: Day 0 of `day_t`; default: the middle of the first period.
    """
    values, valid = physical_values(
        data_tbyx, valid_tyx, scale=scale, offset=offset, transform=port.transform, bands=port.bands
    )
    mean = np.asarray(port.mean or [0.0] * len(port.bands), np.float32)[None, :, None, None]
    std = np.asarray(port.std or [1.0] * len(port.bands), np.float32)[None, :, None, None]
    data = np.where(valid[:, None], (values - mean) / std, np.float32(0))
    n_dates = len(data)
    doy, day = np.zeros(n_dates, np.int64), np.zeros(n_dates, np.int64)
    if port.kind == "series":
        middles = [period.middle for period in periods]
        start = origin or min(middles)
        doy[:] = [middle.timetuple().tm_yday for middle in middles]
        day[:] = [(middle - start).days for middle in middles]
    return PortArrays(data, valid, doy, day, np.asarray(valid.any(axis=(1, 2))))


def window_to_arrays(window: CubeWindow, port: Port, series: CubeSeries, *, origin: date | None = None) -> PortArrays:
    """A window read from a cube → one port's arrays.

    Args:
        window: What ``series.read(bounds)`` gave.
        port: The network's input; bands are picked by name, in the port's order.
        series: The cube the window came from (bands, scale, offset).
        origin: Day 0 of `day_t`; default: the middle of the cube's first period.

    Raises:
        InputError: The cube lacks a band of the port.
    """
    missing = [band for band in port.bands if band not in series.bands]
    if missing:
        raise InputError(
            f"source {port.name!r}: the model needs bands {', '.join(port.bands)}; the cube has "
            f"{', '.join(series.bands)} (missing: {', '.join(missing)})",
            remedy="make the cube with the model's bands, or train a model on the bands there are",
        )
    order = [series.bands.index(band) for band in port.bands]
    data = window.data_tbyx if order == list(range(len(series.bands))) else window.data_tbyx[:, order]
    return port_arrays(
        data, window.valid_tyx, window.periods, port, scale=series.scale, offset=series.offset, origin=origin
    )


def collate(samples: Sequence[Mapping[str, PortArrays]]) -> dict[str, Modality]:
    """Batch samples: one `Modality` per port name that any sample has.

    Dates are padded to the longest sample of the batch; a sample without a port that others have gets one padded date
    without a valid pixel.

    Raises:
        ValueError: Samples of one port differ in bands or in pixels.
    """
    names = sorted({name for sample in samples for name in sample})
    return {name: _stack([sample.get(name) for sample in samples], name) for name in names}


def _stack(parts: Sequence[PortArrays | None], name: str) -> Modality:
    shapes = {part.data_tchw.shape[1:] for part in parts if part is not None}
    if len(shapes) != 1:
        raise ValueError(f"port {name!r}: samples of one batch differ in shape: {sorted(shapes)}")
    (channels, height, width) = shapes.pop()
    size, length = len(parts), max(len(part.doy_t) for part in parts if part is not None)
    data = np.zeros((size, length, channels, height, width), np.float32)
    valid = np.zeros((size, length, height, width), bool)
    doy, day = np.zeros((size, length), np.int64), np.zeros((size, length), np.int64)
    present = np.zeros((size, length), bool)
    for index, part in enumerate(parts):
        if part is None:
            continue
        until = len(part.doy_t)
        data[index, :until], valid[index, :until] = part.data_tchw, part.valid_thw
        doy[index, :until], day[index, :until] = part.doy_t, part.day_t
        present[index, :until] = part.present_t
    return Modality(*(torch.from_numpy(array) for array in (data, valid, doy, day, present)))
