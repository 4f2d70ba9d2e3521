"""Temporal composites; one file per method, each a ``Reducer`` with feed, merge, result."""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np

from landcover_cli.composites._kernels import count
from landcover_cli.core.types import Period
from landcover_cli.errors import ConfigError


@dataclass(frozen=True)
class Frame:
    """What is composited: one block of one period.

    Attributes:
        bands: Band names in order.
        shape_yx: (rows, columns).
        dtype: ``uint16`` (0 = nothing) or ``float32`` (NaN = nothing).
        scale: Physical value = stored · scale + offset.
        offset: See `scale`.
        roles: Common name (``red``, ``nir``) → position in `bands`.
        period: What the looks are of; None where no date matters.
    """

    bands: tuple[str, ...]
    shape_yx: tuple[int, int]
    dtype: str
    scale: float = 1.0
    offset: float = 0.0
    roles: Mapping[str, int] = field(default_factory=dict)
    period: Period | None = None


@dataclass(frozen=True)
class Look:
    """What is known of one look besides its pixels.

    Attributes:
        day: Day of the acquisition, UTC.
        distance_m_yx: Distance of each pixel to the nearest bad one, at most `Reduction.REACH_M`; given to methods that
            have a reach.
        coverage: Share of clear pixels over the whole cube, 0–1; given to methods that ask for it.
    """

    day: dt.date
    distance_m_yx: np.ndarray | None = None
    coverage: float = 1.0


@dataclass(frozen=True)
class Composite:
    """One period of one source.

    Attributes:
        data_byx: Stored values; 0 (uint16) or NaN (float32) where invalid.
        valid_yx: At least one clear observation.
        n_clear_yx: Number of clear observations, uint16.
        n_obs_yx: Number of observations, clear or not, uint16.
        doy_yx: Day of the year (1–366) of the look that was chosen, uint16, 0 where invalid; None where none is chosen.
    """

    data_byx: np.ndarray
    valid_yx: np.ndarray
    n_clear_yx: np.ndarray
    n_obs_yx: np.ndarray
    doy_yx: np.ndarray | None = None


class Reduction(ABC):
    """What every method shares: the counts, and what it says of itself.

    A method is deterministic per pixel: looks fed in one order give one result, wherever the blocks are cut.
    """

    CHOOSES: ClassVar[bool] = False
    """Each pixel comes whole from one look, so that there is a day of the year to write."""
    REACH_M: ClassVar[float] = 0.0
    """How far away a bad pixel decides; above 0, looks come with `Look.distance_m_yx`."""
    COVERAGE: ClassVar[bool] = False
    """Whether looks come with `Look.coverage`; it costs one more reading of all masks."""
    ROLES: ClassVar[tuple[str, ...]] = ()
    """Common names of bands that the method needs."""

    def __init__(self, frame: Frame) -> None:
        self.require(frame.roles)
        self.frame = frame
        self._n_clear = np.zeros(frame.shape_yx, np.uint16)
        self._n_obs = np.zeros(frame.shape_yx, np.uint16)

    @classmethod
    def require(cls, roles: Mapping[str, int]) -> None:
        """Refuse a source without a band that the method needs.

        Raises:
            ConfigError: Names the method and the bands.
        """
        missing = [role for role in cls.ROLES if role not in roles]
        if missing:
            name = cls.__module__.rpartition(".")[2]
            raise ConfigError(
                f"composite {name!r} needs the bands {' and '.join(cls.ROLES)}; there is no {missing[0]}",
                remedy="add the band to the source's `bands`, or choose another method",
            )

    @classmethod
    def bytes_per_pixel(cls, bands: int, itemsize: int, looks: int) -> int:
        """Working memory per pixel of a block; `looks` decides only where a method keeps them all."""
        return bands * (8 + itemsize) + 16

    def feed(self, data_byx: np.ndarray, mask_yx: np.ndarray, look: Look) -> None:
        """Add one look.

        Args:
            data_byx: Stored values; anything where the mask is not clear (of any shape where nothing is), a number
                where it is. It may be kept, so that nobody may change it any more.
            mask_yx: Codes of `core.types`.
            look: Date and quality.
        """
        if count(self._n_clear, self._n_obs, mask_yx):
            self._feed(data_byx, mask_yx, look)

    @abstractmethod
    def _feed(self, data_byx: np.ndarray, mask_yx: np.ndarray, look: Look) -> None:
        """Add one look with at least one clear pixel; it is counted already."""

    def merge(self, other: Self) -> None:
        """Add what another reducer of the same frame was fed, as if it had been fed after this one's looks."""
        self._merge(other)
        self._n_clear += other._n_clear
        self._n_obs += other._n_obs

    @abstractmethod
    def _merge(self, other: Self) -> None:
        """Add what another reducer was fed; the counts follow."""

    @abstractmethod
    def result(self) -> Composite:
        """The composite of what was fed so far."""

    def _composite(self, data_byx: np.ndarray, doy_yx: np.ndarray | None = None) -> Composite:
        return Composite(data_byx, self._n_clear > 0, self._n_clear.copy(), self._n_obs.copy(), doy_yx)
