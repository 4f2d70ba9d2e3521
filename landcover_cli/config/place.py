"""Where and when: product grid, periods, regions."""

from __future__ import annotations

import calendar
import re
from datetime import date, timedelta
from typing import Literal

from pydantic import Field, field_validator

from landcover_cli.config.base import Section
from landcover_cli.errors import ConfigError


class GridConfig(Section):
    """The product grid: one CRS, one resolution, square tiles."""

    crs: str = Field(
        "auto", description="Projected CRS in metres as `EPSG:<code>`; `auto` takes the UTM zone of the AOI's centre."
    )
    resolution_m: float = Field(10.0, gt=0, le=10_000, description="Pixel edge of the map in metres.")
    tile_px: int = Field(1024, ge=16, le=16_384, description="Tile edge in pixels; the unit of work and of resumption.")


class PeriodConfig(Section):
    """From when to when, in which steps."""

    start: str = Field(description="First month or day: `2021-01` or `2021-01-15`.")
    end: str = Field(description="Last month or day, included: `2021-12` or `2021-12-31`.")
    step: str = Field("month", description="Length of one composite: `month`, `season`, `all`, or days such as `10d`.")

    @field_validator("start", "end", mode="before")
    @classmethod
    def _text(cls, value: object) -> object:
        # YAML reads 2021-01-15 as a date of its own accord.
        return value.isoformat() if isinstance(value, date) else value

    def span(self) -> tuple[date, date]:
        """First day and first day after.

        Raises:
            ConfigError: Not a month or a day, or the end lies before the start.
        """
        first, last = _day(self.start, last=False), _day(self.end, last=True)
        if last < first:
            raise ConfigError(
                f"period: the end {self.end} lies before the start {self.start}", remedy="swap start and end"
            )
        return first, last + timedelta(days=1)


def _day(text: str, *, last: bool) -> date:
    match = re.fullmatch(r"(\d{4})-(\d{2})(?:-(\d{2}))?", text)
    try:
        if not match:
            raise ValueError("not of the form YYYY-MM or YYYY-MM-DD")
        year, month = int(match[1]), int(match[2])
        if match[3]:
            return date(year, month, int(match[3]))
        return date(year, month, calendar.monthrange(year, month)[1] if last else 1)
    except ValueError as error:
        raise ConfigError(
            f"period: {text!r} is no month or day ({error})", remedy="write 2021-03 or 2021-03-15"
        ) from None


class RegionConfig(Section):
    """One area with its own AOI, period and role; several regions share sources, model and report."""

    aoi: str = Field(
        description="Polygon file (GeoJSON, GeoPackage, GeoParquet) of the area, relative to the pipeline file."
    )
    role: Literal["train", "map", "both"] = Field(
        "both", description="`train`: labels are taken here; `map`: the map is made here; `both`."
    )
    period: PeriodConfig | None = Field(None, description="Overrides the common period.")
    vars: dict[str, str] = Field(
        default_factory=dict, description="Values for `{name}` in the paths of sources and labels."
    )
