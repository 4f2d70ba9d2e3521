"""A pinned list of scenes: a GeoJSON item collection that says the same however the server answered.

Sorted by time and id; one item per acquisition: of several processings of one tile, data take and data strip the one of
the highest baseline stays. Nothing that a signature or a token may stand in is kept.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from landcover_cli.io.atomic import atomic_file
from landcover_cli.io.stac_search import item_time

_TAKE = re.compile(r"G?(S2[A-D])_(\d{8}T\d{6})")
_PRODUCT = re.compile(r"(S2[A-D])_MSIL(?:1C|2A)_(\d{8}T\d{6})_N(\d{4})_R\d{3}_T(\d{2}[A-Z]{3})_")
_STRIP = re.compile(r"_S(\d{8}T\d{6})(?:_|$)")
_TILE = re.compile(r"(\d{1,2})([A-Z]{3})")
# Keys of queries that sign an address or log somebody in, as the object stores and gateways call them.
_SECRET = re.compile(
    r"sig|se|sp|sv|sr|st|ske|skt|sks|skv|skoid|sktid|signature|expires|policy|key-pair-id|awsaccesskeyid|googleaccessid|"
    r"x-(amz|goog)-.*|.*(token|key|secret|password|auth).*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class SceneList:
    """A list, ready to be written.

    Attributes:
        items: Cleaned GeoJSON items, sorted.
        replaced: Ids that were left out → id of the newer processing that stays.
    """

    items: tuple[dict[str, Any], ...]
    replaced: Mapping[str, str]


def pin(items: Iterable[Mapping[str, Any]]) -> SceneList:
    """Sort, de-duplicate and clean.

    Args:
        items: GeoJSON of STAC items with absolute hrefs.

    Raises:
        InputError: An item has no date.
    """
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for item in items:
        groups.setdefault(acquisition(item), []).append(item)
    kept: list[dict[str, Any]] = []
    replaced: dict[str, str] = {}
    for group in groups.values():
        *older, newest = sorted(group, key=_age)
        kept.append(clean(newest))
        replaced |= {str(item["id"]): str(newest["id"]) for item in older if item["id"] != newest["id"]}
    kept.sort(key=lambda item: (item_time(item), str(item.get("collection")), item["id"]))
    return SceneList(tuple(kept), dict(sorted(replaced.items())))


def acquisition(item: Mapping[str, Any]) -> tuple[str, ...]:
    """What was seen when, whoever processed it: (collection, tile, data take, data strip) of Sentinel-2; else the id.

    An item that does not name its data strip stands for itself: two strips of one take are two scenes.
    """
    facts = item.get("properties") or {}
    collection = str(item.get("collection") or "")
    product = _PRODUCT.search(f"{facts.get('s2:product_uri', '')} {facts.get('title', '')} {item['id']}")
    take = _TAKE.search(_first(facts, "datatake_id"))
    strip = _STRIP.search(_first(facts, "datastrip_id"))
    tile = _tile(facts) or (product[4] if product else "")
    when = f"{take[1]}_{take[2]}" if take else f"{product[1]}_{product[2]}" if product else ""
    if not (tile and when and strip):
        return collection, str(item["id"])
    level = str(facts.get("s2:product_type") or facts.get("processing:level") or "")
    return collection, level, tile, when, strip[1]


def _first(facts: Mapping[str, Any], name: str) -> str:
    return next((str(facts[key]) for p in ("s2", "sentinel2", "eopf") if facts.get(key := f"{p}:{name}")), "")


def _tile(facts: Mapping[str, Any]) -> str:
    parts = [facts.get(f"mgrs:{key}", "") for key in ("utm_zone", "latitude_band", "grid_square")]
    said = (
        facts.get("s2:mgrs_tile") or str(facts.get("grid:code", "")).removeprefix("MGRS-") or "".join(map(str, parts))
    )
    match = _TILE.fullmatch(str(said).removeprefix("T"))
    return f"{int(match[1]):02d}{match[2]}" if match else ""


def _age(item: Mapping[str, Any]) -> tuple[Any, ...]:
    """Order of processings: baseline, then time of processing, then id."""
    facts = item.get("properties") or {}
    product = _PRODUCT.search(str(facts.get("s2:product_uri", "")))
    said = _first(facts, "processing_baseline") or str(facts.get("processing:version") or "")
    said = said or (f"{product[3][:2]}.{product[3][2:]}" if product else "")
    baseline = tuple(int(n) for n in re.findall(r"\d+", said))
    made = _first(facts, "generation_time") or str(facts.get("processing:datetime") or facts.get("created") or "")
    return baseline, made, str(item["id"])


def clean(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item without signatures, and without links but to itself."""
    own = next((str(link["href"]) for link in item.get("links") or () if link.get("rel") == "self"), "")
    assets = {key: _clean_asset(asset) for key, asset in sorted((item.get("assets") or {}).items())}
    links = [{"rel": "self", "href": unsigned(own), "type": "application/geo+json"}] if own else []
    return {**item, "links": links, "assets": assets}


def _clean_asset(asset: Mapping[str, Any]) -> dict[str, Any]:
    cleaned = {**asset, "href": unsigned(str(asset.get("href", "")))}
    if isinstance(asset.get("alternate"), dict):
        cleaned["alternate"] = {
            key: {**one, "href": unsigned(str(one.get("href", "")))}
            for key, one in asset["alternate"].items()
            if isinstance(one, dict)
        }
    return cleaned


def unsigned(href: str) -> str:
    """An href without user name, password, and what in its query signs it."""
    if "://" not in href:
        return href
    try:
        parts = urlsplit(href)
    except ValueError:  # no address at all; what follows it can be left out
        return href.partition("?")[0]
    query = [
        (key, value) for key, value in parse_qsl(parts.query, keep_blank_values=True) if not _SECRET.fullmatch(key)
    ]
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, urlencode(query), ""))


def write_list(path: Path, items: Sequence[Mapping[str, Any]], about: Mapping[str, Any] | None = None) -> None:
    """Write an item collection; paths of this machine become relative to it.

    Args:
        path: Target; it appears whole or not at all.
        items: As `pin` gives them.
        about: What was searched for; kept beside the items.

    Raises:
        StorageError: It cannot be written.
    """
    features = [_relative(item, path.absolute().parent) for item in items]
    document = {"type": "FeatureCollection", **({"lc:search": dict(about)} if about else {}), "features": features}
    with atomic_file(path) as scratch:
        scratch.write_text(json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def _relative(item: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    def near(href: str) -> str:
        remote = "://" in href or not Path(href).is_absolute()
        return href if remote else Path(os.path.relpath(href, folder)).as_posix()

    assets = {key: {**asset, "href": near(asset["href"])} for key, asset in item["assets"].items()}
    return {**item, "assets": assets, "links": [{**link, "href": near(link["href"])} for link in item["links"]]}
