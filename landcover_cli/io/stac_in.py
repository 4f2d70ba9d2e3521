"""STAC in: static catalogues, collections, items, lists of items and folders of them, from local paths or http.

Bands are found by asset key, band name or common name, not by one provider's keys. Where an asset's raster lies on the
ground is read from the raster: the projection fields of an item may describe another copy of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pystac

from landcover_cli.core.types import Asset, Scene
from landcover_cli.errors import InputError
from landcover_cli.sensors import Sensor

_NOT_DATA = {"thumbnail", "overview", "metadata", "visual"}


def read_stac(href: str, sensor: Sensor) -> tuple[Scene, ...]:
    """All items behind a catalogue, collection, item or item collection.

    Args:
        href: Path or http(s) URL of a STAC JSON file, or a folder.
        sensor: Says how bands are called.

    Returns:
        Scenes sorted by time and id. ``metadata`` holds what `optical.offset` and the composite need, and ``item``, the
        href of the item's JSON.

    Raises:
        InputError: Unreachable, not STAC, an item without date or footprint, or two items of one id.
    """
    scenes: dict[str, Scene] = {}
    for item in read_items(href):
        scene = scene_of(item, sensor)
        if scene.id in scenes:
            raise InputError(f"STAC {href}: two items are called {scene.id!r}", remedy="remove one from the catalogue")
        scenes[scene.id] = scene
    return tuple(sorted(scenes.values(), key=lambda scene: (scene.datetime, scene.id)))


def read_items(href: str) -> tuple[pystac.Item, ...]:
    """All items behind a catalogue, collection, item, item collection or folder, in the order in which they stand.

    A folder is its ``catalog.json``, ``collection.json`` or ``items.json`` (as `lc fetch scenes` writes it), else every
    item and item collection beneath it. Paths in an item collection are relative to its file.

    Raises:
        InputError: Unreachable, not STAC, or without any item.
    """
    items: list[pystac.Item] = []
    for one in _documents(href):
        items += _items(one)
    for item in items:
        _check(item)
    if not items:
        raise InputError(f"STAC {href} holds no item", remedy="check that the links of the catalogue lead to items")
    return tuple(items)


def _check(item: pystac.Item) -> None:
    """Refuse what pystac lets pass and everything after this trusts.

    Raises:
        InputError: Something is of another type than STAC says.
    """
    wrong = ""
    if not isinstance(item.id, str) or not item.id:
        wrong = "id"
    elif not isinstance(item.properties, dict):
        wrong = "properties"
    elif not isinstance(item.geometry, dict | None):
        wrong = "geometry"
    elif not isinstance(item.collection_id, str | None):
        wrong = "collection"
    elif not all(_sound(asset) for asset in item.assets.values()):
        wrong = "assets"
    elif not all(isinstance(link.target, str | pystac.STACObject) for link in item.links):
        wrong = "links"
    if wrong:
        raise InputError(f"STAC item {item.id!r}: `{wrong}` is damaged", remedy="mend the item")


def _sound(asset: pystac.Asset) -> bool:
    roles, kind = asset.roles or [], asset.media_type
    texts = isinstance(roles, list) and all(isinstance(role, str) for role in roles)
    bands = [asset.extra_fields.get(key) or [] for key in ("eo:bands", "bands", "raster:bands")]
    lists = all(isinstance(one, list) and all(isinstance(band, dict) for band in one) for one in bands)
    alternates = asset.extra_fields.get("alternate") or {}
    others = isinstance(alternates, dict) and all(isinstance(one, dict) for one in alternates.values())
    return isinstance(asset.href, str) and isinstance(kind, str | None) and texts and lists and others


def _documents(href: str) -> list[str]:
    """STAC documents behind a path: itself, or those of a folder."""
    folder = Path(href)
    if "://" in href or not folder.is_dir():
        return [href]
    for name in ("catalog.json", "collection.json", "items.json"):
        if (folder / name).is_file():
            return [str(folder / name)]
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".json", ".geojson"})
    return [str(path) for path in found if _is_items(path)]


def _is_items(path: Path) -> bool:
    """Whether a JSON file is an item or a collection of them: other things lie about in folders of products."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        features = document["features"] if document.get("type") == "FeatureCollection" else [document]
        return bool(features) and all("stac_version" in one and one.get("type") == "Feature" for one in features)
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return False


def read_item(href: str, sensor: Sensor) -> Scene:
    """One item by the href of its JSON.

    Raises:
        InputError: As `read_stac`.
    """
    return scene_of(_one(href), sensor)


def scene_of(item: pystac.Item, sensor: Sensor) -> Scene:
    """An item as a scene.

    Raises:
        InputError: It has no date or no footprint.
    """
    if not item.geometry:
        raise InputError(f"STAC item {item.id} has no geometry", remedy="mend the item")
    try:
        when = item.datetime or pystac.utils.str_to_datetime(item.properties["start_datetime"])
    except (LookupError, TypeError, ValueError, AttributeError):
        raise InputError(f"STAC item {item.id} has no datetime", remedy="mend the item") from None
    facts = item.properties
    baseline = facts.get("s2:processing_baseline") or facts.get("sentinel2:processing_baseline")
    metadata: dict[str, Any] = {
        "baseline": baseline or facts.get("processing:version"),
        "boa_offset_applied": facts.get("earthsearch:boa_offset_applied"),
        "cloud_percent": facts.get("eo:cloud_cover"),
        "datatake": facts.get("s2:datatake_id") or facts.get("eopf:datatake_id", ""),
        "orbit_direction": facts.get("sat:orbit_state", ""),
        "item": item.get_self_href() or "",
    }
    return Scene(
        id=re.sub(r"[^A-Za-z0-9._+@=-]", "_", item.id),
        sensor=sensor.name,
        datetime=when.astimezone(UTC),
        footprint=dict(item.geometry),
        assets=_assets(item, sensor),
        metadata={key: value for key, value in metadata.items() if value is not None},
    )


def _assets(item: pystac.Item, sensor: Sensor) -> dict[str, Asset]:
    found: dict[str, Asset] = {}
    second: dict[str, Asset] = {}
    for key in sorted(item.assets):
        asset = item.assets[key]
        if asset.roles and not {"data", "reflectance"} & set(asset.roles) and _NOT_DATA & set(asset.roles):
            continue
        href = asset.get_absolute_href() or asset.href
        entry = Asset(local_href(href), metadata={"key": key})
        by_key = sensor.canonical(key)
        if by_key:
            found[by_key] = entry
            continue
        bands = asset.extra_fields.get("eo:bands") or asset.extra_fields.get("bands") or []
        if len(bands) == 1:
            names: Sequence[Any] = [bands[0].get(k) for k in ("name", "eo:common_name", "common_name")]
            name = next((c for n in names if n and (c := sensor.canonical(str(n)))), None)
            if name:
                second.setdefault(name, entry)
    return {**second, **found}


def local_href(href: str) -> str:
    """A path where an href is a file URL; else the href."""
    parts = urlsplit(href)
    return parts.path if parts.scheme == "file" else href


def _items(href: str) -> Iterator[pystac.Item]:
    thing = _read(href)
    if isinstance(thing, pystac.Item):
        yield thing
    elif isinstance(thing, pystac.ItemCollection):
        yield from thing
    elif isinstance(thing, pystac.Catalog):
        try:
            yield from thing.get_items(recursive=True)
        except Exception as error:  # noqa: BLE001  pystac and the http client raise many classes
            words = str(error).split("?", 1)[0]
            raise InputError(f"STAC {href}: a link leads nowhere ({words})", remedy="mend the catalogue") from None


def _place(feature: Any, where: str) -> None:
    """Make the relative paths of an item absolute; in a list they are relative to the list's file."""
    own = next((link for link in feature.get("links") or () if link.get("rel") == "self"), None)
    if own is not None:
        if pystac.utils.is_absolute_href(own["href"]):
            return
        own["href"] = pystac.utils.make_absolute_href(own["href"], where)
    for asset in (feature.get("assets") or {}).values():
        asset["href"] = pystac.utils.make_absolute_href(asset["href"], where)


def _full(href: str) -> str:
    return href if "://" in href else str(Path(href).absolute())


def _one(href: str) -> pystac.Item:
    thing = _read(href)
    if not isinstance(thing, pystac.Item):
        raise InputError(f"STAC {href} is no item", remedy="give the item's own JSON")
    return thing


def _read(href: str) -> pystac.STACObject | pystac.ItemCollection:
    # Query strings may hold signatures; they reach no message.
    shown = href.split("?", 1)[0]
    try:
        if "://" in href:
            text = pystac.StacIO.default().read_text(href)
        else:
            href = _full(href)
            text = Path(href).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"STAC {href}: no such file", remedy="check the path") from None
    except Exception as error:  # noqa: BLE001  pystac and the http client raise many classes
        why = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        raise InputError(f"STAC {shown} cannot be read ({why})", remedy="check the address, or the network") from None
    try:
        document = json.loads(text)
        if document.get("type") == "FeatureCollection":
            for feature in document["features"]:
                _place(feature, href)
            return pystac.ItemCollection.from_dict(document, preserve_dict=False)
        return pystac.read_dict(document, href=href)
    except Exception as error:  # noqa: BLE001  a document that is no STAC makes pystac raise nearly any class
        raise InputError(
            f"{shown} is no readable STAC catalogue, collection or item ({type(error).__name__})",
            remedy="give a catalog.json, collection.json or an item's JSON",
        ) from None
