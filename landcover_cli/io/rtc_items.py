"""Terrain-corrected Sentinel-1 products of others, from STAC items: what an item holds, and which make up one pass.

Known layouts: Planetary Computer's ``sentinel-1-rtc`` (one item per GRD slice, 10 m UTM) and OPERA ``RTC-S1`` (one item
per burst, 30 m, with a mask of layover and shadow). Facts come from the item's properties, then from OPERA's file names
(Product Specification Document of RTC-S1, section on file names), then from the rasters' tags.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import pystac

from landcover_cli.errors import InputError
from landcover_cli.io.stac_in import local_href, read_items
from landcover_cli.sensors import Sensor

_OPERA = re.compile(
    r"OPERA_L2_RTC-S1_(?P<burst>T(?P<track>\d{3})-\d{6}-[IE]W\d)_(?P<acquired>\d{8}T\d{6})Z_(?P<processed>\d{8}T\d{6})Z_"
    r"(?P<platform>S1[A-Z])_\d+_v\d"
)
_PLATFORM = re.compile(r"(?:sentinel-?1|S1)([A-D])(?![a-z0-9])", re.IGNORECASE)
_RASTER = (".tif", ".tiff")
# One orbit takes 98.7 minutes: looks of one satellite that follow each other within less are one pass.
_PASS_GAP = timedelta(minutes=20)
_DIRECTION_TAGS = ("ORBIT_PASS_DIRECTION", "ORBIT_DIRECTION", "sat:orbit_state", "orbit_direction")


@dataclass(frozen=True)
class RtcItem:
    """One item, without its pixels.

    Attributes:
        id: Of the item, safe as a file name.
        when: Start of the acquisition, UTC.
        platform: "S1A".. "S1D", or empty.
        direction: "ascending", "descending", or empty.
        absolute_orbit: None where nothing says it.
        relative_orbit: Likewise.
        footprint: GeoJSON geometry in EPSG:4326.
        assets: Band (VV, VH, HH, HV) → raster.
        keys: Names of all assets, for messages.
        mask: Raster of layover and shadow (0: neither), or empty.
        nodata: Band → value that means nothing, where the item says one.
        burst: OPERA's burst id, or empty.
        processed: OPERA's time of processing, or empty.
    """

    id: str
    when: datetime
    platform: str
    direction: str
    absolute_orbit: int | None
    relative_orbit: int | None
    footprint: Mapping[str, Any]
    assets: Mapping[str, str]
    keys: tuple[str, ...] = ()
    mask: str = ""
    nodata: Mapping[str, float] = field(default_factory=dict)
    burst: str = ""
    processed: str = ""


def read_rtc(href: str, sensor: Sensor) -> tuple[RtcItem, ...]:
    """All items behind a file, a folder, a catalogue or an item collection.

    Args:
        href: Path or http(s) URL.
        sensor: Says how bands are called.

    Returns:
        Sorted by time and id; of a burst that was processed several times, the newest.

    Raises:
        InputError: Unreadable, no item, an item without date or footprint, or two items of one id.
    """
    found: dict[str, RtcItem] = {}
    for item in read_items(href):
        one = rtc_item(item, sensor)
        if one.id in found:
            raise InputError(f"STAC {href}: two items are called {one.id!r}", remedy="remove one of the two")
        found[one.id] = one
    return _newest(found.values())


def rtc_item(item: pystac.Item, sensor: Sensor) -> RtcItem:
    """What an item says.

    Raises:
        InputError: It has no date or no footprint.
    """
    facts = item.properties
    try:
        start = facts.get("start_datetime")
        when = pystac.utils.str_to_datetime(start) if start else item.datetime
    except (ValueError, TypeError):
        when = None
    if when is None or not isinstance(item.geometry, dict):
        raise InputError(f"STAC item {item.id} has no {'geometry' if when else 'datetime'}", remedy="mend the item")
    names = [item.id, *(asset.href for asset in item.assets.values())]
    opera = next((match for name in names if (match := _OPERA.search(name))), None)
    said = opera.groupdict() if opera else {}
    assets, nodata, mask = _assets(item, sensor)
    return RtcItem(
        id=re.sub(r"[^A-Za-z0-9._+@=-]", "_", item.id),
        when=when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC),
        platform=said.get("platform") or _platform(str(facts.get("platform", ""))) or _platform(item.id),
        direction=_direction(facts.get("sat:orbit_state")),
        absolute_orbit=_number(facts.get("sat:absolute_orbit")),
        relative_orbit=_number(facts.get("sat:relative_orbit", said.get("track"))),
        footprint=dict(item.geometry),
        assets=assets,
        keys=tuple(sorted(item.assets)),
        mask=mask,
        nodata=nodata,
        burst=said.get("burst", ""),
        processed=said.get("processed", ""),
    )


def _number(value: object) -> int | None:
    text = str(value).strip()
    return int(text) if text.isdecimal() else None


def _platform(text: str) -> str:
    match = _PLATFORM.search(text)
    return f"S1{match.group(1).upper()}" if match else ""


def _direction(value: object) -> str:
    text = str(value or "").strip().lower()
    return "ascending" if text.startswith("asc") else "descending" if text.startswith("desc") else ""


def _assets(item: pystac.Item, sensor: Sensor) -> tuple[dict[str, str], dict[str, float], str]:
    """Rasters by band, what means nothing in them, and the mask."""
    assets = {name: item.assets[key] for name, key in layer_keys(item, sensor).items()}
    hrefs = {name: local_href(asset.get_absolute_href() or asset.href) for name, asset in assets.items()}
    mask = hrefs.pop("mask", "")
    nodata = {name: value for name in hrefs if (value := _nodata(assets[name])) is not None}
    return hrefs, nodata, mask


def layer_keys(item: pystac.Item, sensor: Sensor) -> dict[str, str]:
    """Band, or ``mask`` → key of its asset; found by the key, else by the end of the file's name."""
    found: dict[str, tuple[bool, str]] = {}
    for key in sorted(item.assets):
        asset = item.assets[key]
        path = PurePosixPath(unquote(urlsplit(asset.href).path))
        if path.suffix.lower() not in _RASTER or {"thumbnail", "overview"} & set(asset.roles or ()):
            continue
        words = [key, key.rpartition("_")[2], key.rpartition("-")[2], path.stem.rpartition("_")[2]]
        name = next((n for word in words if (n := _layer(word, sensor))), None)
        # The same raster is often offered twice, by https and from a bucket that few may read.
        rank = urlsplit(asset.href).scheme not in {"", "file", "https", "http"}, key
        if name and (name not in found or rank < found[name]):
            found[name] = rank
    return {name: key for name, (_, key) in found.items()}


def _layer(word: str, sensor: Sensor) -> str | None:
    if word.lower() in {"mask", "layover_shadow", "layover_shadow_mask"}:
        return "mask"
    return sensor.canonical(word)


def _nodata(asset: pystac.Asset) -> float | None:
    bands = asset.extra_fields.get("raster:bands") or asset.extra_fields.get("bands") or [asset.extra_fields]
    try:
        return float(bands[0]["nodata"])
    except (KeyError, TypeError, ValueError, IndexError):
        return None


def _newest(items: Iterable[RtcItem]) -> tuple[RtcItem, ...]:
    kept: dict[object, RtcItem] = {}
    for item in sorted(items, key=lambda one: (one.processed, one.id)):
        key: object = (item.platform, item.burst, item.when) if item.burst else item.id
        kept[key] = item
    return tuple(sorted(kept.values(), key=lambda one: (one.when, one.id)))


def with_direction(item: RtcItem, tags: Mapping[str, str]) -> RtcItem:
    """The item with the orbit direction that its raster's tags give."""
    lower = {key.lower(): value for key, value in tags.items()}
    found = next((d for key in _DIRECTION_TAGS if (d := _direction(lower.get(key.lower())))), "")
    return replace(item, direction=found)


def passes(items: Sequence[RtcItem]) -> tuple[tuple[RtcItem, ...], ...]:
    """Items that one satellite saw in one pass, each group in the order of time.

    Returns:
        Groups, sorted by time and id of their first item.
    """
    groups: list[list[RtcItem]] = []
    for item in sorted(items, key=lambda one: (one.platform, one.direction, one.when, one.id)):
        if groups and _same_pass(groups[-1][-1], item):
            groups[-1].append(item)
        else:
            groups.append([item])
    return tuple(sorted((tuple(group) for group in groups), key=lambda group: (group[0].when, group[0].id)))


def _same_pass(before: RtcItem, item: RtcItem) -> bool:
    if (before.platform, before.direction) != (item.platform, item.direction):
        return False
    numbers = before.absolute_orbit, item.absolute_orbit
    # The number goes up by one at the equator, in the middle of a pass.
    near = numbers[0] is None or numbers[1] is None or abs(numbers[0] - numbers[1]) <= 1
    return near and item.when - before.when <= _PASS_GAP


def pass_facts(group: Sequence[RtcItem]) -> dict[str, Any]:
    """``id``, ``datetime`` and ``facts`` of a pass, as its observation states them."""
    first = group[0]
    facts = {
        "orbit_direction": first.direction,
        "platform": first.platform,
        "absolute_orbit": first.absolute_orbit,
        "relative_orbit": first.relative_orbit,
        "items": [item.id for item in group],
    }
    return {
        "id": pass_name(group),
        "datetime": first.when.isoformat().replace("+00:00", "Z"),
        "facts": {key: value for key, value in facts.items() if value not in (None, "")},
    }


def pass_name(group: Sequence[RtcItem]) -> str:
    """Id of a pass: satellite, start, orbit; ``S1A_20220708T061500_044001``, ``S1A_20231003T134521_T069``."""
    first = group[0]
    orbit = ""
    if first.absolute_orbit is not None:
        orbit = f"_{first.absolute_orbit:06d}"
    elif first.relative_orbit is not None:
        orbit = f"_T{first.relative_orbit:03d}"
    return f"{first.platform or 'S1'}_{first.when:%Y%m%dT%H%M%S}{orbit}"
