"""What the demo region is: its place, its sizes and its classes. Everything else in this package follows from here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from landcover_cli.errors import UsageError

Size = Literal["standard", "tiny"]

YEAR = 2021
EPSG = 32633
MGRS_TILE = "33UUP"
PIXEL_M = 10.0
# Lower Bavaria, inside MGRS tile 33UUP; multiples of 1,920 m, so that product tiles of 48, 96 and 192 px line up.
LEFT_M = 345_600.0
TOP_M = 5_379_840.0
LATITUDE_DEG = 48.55
LONGITUDE_DEG = 12.92
# It passes northwards in the evening and looks at the region from the west.
RELATIVE_ORBIT_S1 = 44


@dataclass(frozen=True)
class LandClass:
    """One class of the legend.

    Attributes:
        code: Value in ``truth.tif`` and in the label attribute; on purpose neither compact nor starting at 1.
        name: Display name.
        color: ``#rrggbb``.
        description: One sentence on what belongs to the class.
    """

    code: int
    name: str
    color: str
    description: str


WINTER, SUMMER, GRASS, BROADLEAF, CONIFER, BUILT, WATER = range(7)

CLASSES: tuple[LandClass, ...] = (
    LandClass(
        10, "Winter crop", "#e6c34a", "Wheat, barley and rapeseed sown in autumn and harvested in July or August"
    ),
    LandClass(20, "Summer crop", "#d9772f", "Maize and sugar beet sown in April or May and harvested in autumn"),
    LandClass(30, "Permanent grassland", "#a8d36b", "Meadows cut one to five times a year, and pastures"),
    LandClass(40, "Broadleaf forest", "#3f9b45", "Stands in which trees that shed their leaves prevail"),
    LandClass(50, "Coniferous forest", "#175a38", "Stands in which evergreen conifers prevail"),
    LandClass(60, "Built-up", "#c2413b", "Houses, yards, roads and the gardens between them"),
    LandClass(70, "Water", "#3273c8", "River, lakes and ponds"),
)


@dataclass(frozen=True)
class Region:
    """A demo region of one size.

    Attributes:
        size: Name of the size.
        rows: Height in pixels of 10 m.
        cols: Width in pixels of 10 m.
        tile_px: Edge of a product tile in pixels, as written into the pipeline file.
        n_s2: Number of Sentinel-2 products.
        s1_step_days: Days between two Sentinel-1 acquisitions, a multiple of the orbit's 12.
        block_m: Mean distance between two farm tracks, metres.
        parcel_ha: Median parcel area, hectares.
    """

    size: Size
    rows: int
    cols: int
    tile_px: int
    n_s2: int
    s1_step_days: int
    block_m: float
    parcel_ha: float

    @property
    def width_m(self) -> float:
        """West to east, metres."""
        return self.cols * PIXEL_M

    @property
    def height_m(self) -> float:
        """South to north, metres."""
        return self.rows * PIXEL_M

    @property
    def bounds_m(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) in EPSG:32633."""
        return LEFT_M, TOP_M - self.height_m, LEFT_M + self.width_m, TOP_M


_REGIONS = {
    # Parcel median: the border between "small" (0.64-2.56 ha) and "medium" (2.56-16 ha) fields of Lesiv et al. 2019.
    "standard": Region("standard", 384, 384, 192, 40, 12, 700.0, 2.56),
    "tiny": Region("tiny", 96, 192, 96, 14, 48, 400.0, 1.28),
}


def region(size: str) -> Region:
    """The region of a size.

    Raises:
        UsageError: The size is neither ``standard`` nor ``tiny``.
    """
    try:
        return _REGIONS[size]
    except KeyError:
        raise UsageError(f"unknown demo size: {size!r}", remedy="choose one of: standard, tiny") from None


def day_to_datetime(day_of_year: int, hour: int = 0, minute: int = 0, second: int = 0) -> datetime:
    """UTC datetime of a day of the demo's year (1 = 1 January)."""
    day = date(YEAR, 1, 1) + timedelta(days=day_of_year - 1)
    return datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=UTC)
