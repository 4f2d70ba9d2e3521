"""Frozen values that flow between rooms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from landcover_cli.errors import ConfigError

# Codes of an observation's mask raster: what one sensor saw at one pixel on one date.
MASK_NODATA = 0
"""Not observed: outside the swath, or fill."""
MASK_CLEAR = 1
"""Observed and usable."""
MASK_BAD = 2
"""Observed and unusable: cloud, shadow, saturation, ..."""


@dataclass(frozen=True)
class Asset:
    """One raster file of a scene.

    Attributes:
        href: Path (absolute, or inside a zip as ``zip!member``) or URL.
        band: 1-based band index in the file.
        metadata: Facts that came with the file (scale, offset, nodata, ...), as found.
    """

    href: str
    band: int = 1
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scene:
    """One acquisition of one sensor, as found by a pinned search. Nothing of it was read but metadata.

    Attributes:
        id: Product or item id, unique within a source.
        sensor: Name of the sensor plug-in.
        datetime: Start of the acquisition, UTC.
        footprint: GeoJSON geometry in EPSG:4326.
        assets: Band name → raster file.
        metadata: Processing level, baseline, orbit, cloud cover, ... by the sensor's own names.
    """

    id: str
    sensor: str
    datetime: datetime
    footprint: Mapping[str, Any]
    assets: Mapping[str, Asset]
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, order=True)
class Period:
    """A half-open interval of days, ``[start, end)``.

    Attributes:
        start: First day.
        end: First day after.
    """

    start: date
    end: date

    @property
    def label(self) -> str:
        """``2021-03`` for a calendar month, else ``2021-03-01_2021-03-11`` (last day included)."""
        if self.start.day == 1 and self.end == _next_month(self.start):
            return f"{self.start:%Y-%m}"
        return f"{self.start:%Y-%m-%d}_{self.end - timedelta(days=1):%Y-%m-%d}"

    @property
    def middle(self) -> date:
        """The day in the middle; it stands for the period where one date is needed."""
        return self.start + (self.end - self.start) / 2

    def contains(self, when: datetime) -> bool:
        """Whether an instant (UTC) falls within the period."""
        when = when.astimezone(UTC) if when.tzinfo else when
        return self.start <= when.date() < self.end


def _next_month(day: date) -> date:
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)


def split_periods(start: date, end: date, step: str) -> tuple[Period, ...]:
    """Cut ``[start, end)`` into periods.

    Args:
        start: First day.
        end: First day after the last.
        step: ``month`` (calendar months), ``season`` (three calendar months), ``all`` (one period), ``<N>d`` (N days).

    Raises:
        ConfigError: The end is not after the start, or the step is unknown.
    """
    if end <= start:
        raise ConfigError(f"period ends ({end}) before it starts ({start})", remedy="swap start and end")
    if step == "all":
        return (Period(start, end),)
    periods = []
    cursor = start
    while cursor < end:
        if step == "month":
            after = _next_month(cursor)
        elif step == "season":
            after = _next_month(_next_month(_next_month(cursor)))
        elif step.endswith("d") and step[:-1].isdigit() and int(step[:-1]) > 0:
            after = cursor + timedelta(days=int(step[:-1]))
        else:
            raise ConfigError(f"unknown period step {step!r}", remedy="use month, season, all, or e.g. 10d")
        periods.append(Period(cursor, min(after, end)))
        cursor = after
    return tuple(periods)
