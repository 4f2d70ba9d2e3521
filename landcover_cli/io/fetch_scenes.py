"""Downloads of scenes: which assets of a list of STAC items, where they go, and the list of what came.

Below the folder each item has one of its own, with its rasters under the names of their asset keys, ``item.json``, and
the record of what was fetched. ``items.json`` beside them is the list again, its paths leading to the local files: what
`lc preprocess` and a pipeline file read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import pystac

from landcover_cli.core.digest import pretty_json
from landcover_cli.errors import InputError, UsageError
from landcover_cli.io.atomic import atomic_file
from landcover_cli.io.download import Fetched, Planned, Progress, fetch_all, plan_all
from landcover_cli.io.downloadcheck import Kind, Remote, WrongContentError
from landcover_cli.io.fetchrecord import write_record
from landcover_cli.io.raster import refuse_truncated
from landcover_cli.io.rtc_items import layer_keys
from landcover_cli.io.scenelist import unsigned, write_list
from landcover_cli.io.stac_in import local_href, scene_of
from landcover_cli.io.web import Web, public_url
from landcover_cli.registry import load, names
from landcover_cli.sensors import Sensor

ITEMS, ITEM = "items.json", "item.json"
_KINDS: dict[str, Kind] = {".tif": "GeoTIFF", ".tiff": "GeoTIFF", ".jp2": "JPEG 2000", ".xml": "XML"}
_TYPES = {"image/tiff": ".tif", "image/vnd.stac.geotiff": ".tif", "image/jp2": ".jp2", "application/xml": ".xml"}
# Coarser bands (60 m) come only when they are named.
_COARSEST_M = 30.0
# Prefixes of multihashes (file extension of STAC): code and length of the digest.
_HASHES = {"1220": "sha256", "d50110": "md5"}


@dataclass(frozen=True)
class Choice:
    """Which assets come.

    Attributes:
        bands: Names of the sensor, or common names; empty: all bands of 30 m and finer, and the layers.
        assets: Keys of further assets, as the items call them.
        sensor: Name of the sensor plug-in; empty: the one that knows most of the assets.
    """

    bands: tuple[str, ...] = ()
    assets: tuple[str, ...] = ()
    sensor: str = ""


@dataclass(frozen=True)
class SceneAsset:
    """One asset to have.

    Attributes:
        item: The item.
        key: Of the asset.
        remote: The download; None where the asset is a file of this machine.
    """

    item: pystac.Item
    key: str
    remote: Remote | None


def choose_assets(items: Sequence[pystac.Item], choice: Choice, out: Path) -> tuple[SceneAsset, ...]:
    """The assets of all items, and where they go.

    Raises:
        InputError: An item lacks a band or asset that was asked for (both are named), no sensor knows its assets, two
            items share an id, or an asset is neither a local file nor at an http address.
        UsageError: No such sensor or band.
    """
    found: list[SceneAsset] = []
    folders: set[str] = set()
    for item in items:
        folder = safe_name(item.id)
        if folder in folders:
            raise InputError(f"two items are called {item.id!r}", remedy="remove one of them from the list")
        folders.add(folder)
        found += [_scene_asset(item, key, out / folder) for key in _chosen_keys(item, choice)]
    return tuple(found)


def safe_name(text: str) -> str:
    """A name as a file may have it."""
    return re.sub(r"[^A-Za-z0-9._+@=-]", "_", text).lstrip(".") or "_"


def _chosen_keys(item: pystac.Item, choice: Choice) -> list[str]:
    sensor = _sensor(item, choice.sensor) if choice.bands or not choice.assets else None
    keys: list[str] = []
    if sensor is not None:
        known = _band_keys(item, sensor)
        wanted = [_canonical(sensor, name) for name in choice.bands] or _usual(sensor, known)
        missing = [name for name in wanted if name not in known]
        if missing:
            raise InputError(
                f"STAC item {item.id} has no asset of {missing[0]} (its assets: {', '.join(sorted(item.assets))})",
                remedy="leave the item out of the list, or choose --bands that it has",
            )
        keys += [known[name] for name in wanted]
    for key in choice.assets:
        if key not in item.assets:
            raise InputError(
                f"STAC item {item.id} has no asset {key!r} (its assets: {', '.join(sorted(item.assets))})",
                remedy="use keys as the items have them",
            )
        keys.append(key)
    return list(dict.fromkeys(keys))


def _sensor(item: pystac.Item, name: str) -> Sensor:
    if name:
        if name not in names("sensor"):
            raise UsageError(f"--sensor {name!r} is unknown", remedy=f"use {', '.join(names('sensor'))}")
        chosen: Sensor = load("sensor", name)
        return chosen
    counts = {other: len(_band_keys(item, load("sensor", other))) for other in names("sensor")}
    best = max(sorted(counts), key=lambda other: counts[other])
    if not counts[best]:
        raise InputError(
            f"STAC item {item.id}: no sensor knows one of its assets ({', '.join(sorted(item.assets)) or 'none'})",
            remedy="name them with --asset",
        )
    best_sensor: Sensor = load("sensor", best)
    return best_sensor


def _band_keys(item: pystac.Item, sensor: Sensor) -> dict[str, str]:
    """Band or layer → asset key: the same assets that the readers take."""
    scene = scene_of(item, sensor)
    keys = {name: str(asset.metadata["key"]) for name, asset in scene.assets.items()}
    return {**layer_keys(item, sensor), **keys} if sensor.name == "sentinel1" else keys


def _canonical(sensor: Sensor, name: str) -> str:
    found = "mask" if name.lower() == "mask" and sensor.name == "sentinel1" else sensor.canonical(name)
    if found is None:
        known = [band.name for band in (*sensor.bands, *sensor.layers)]
        raise UsageError(
            f"--bands: sensor {sensor.name!r} has no band {name!r}", remedy=f"its bands and layers: {', '.join(known)}"
        )
    return found


def _usual(sensor: Sensor, known: Mapping[str, str]) -> list[str]:
    order = [band.name for band in (*sensor.bands, *sensor.layers) if band.gsd_m <= _COARSEST_M]
    return [name for name in [*order, "mask"] if name in known]


def _scene_asset(item: pystac.Item, key: str, folder: Path) -> SceneAsset:
    asset = item.assets[key]
    href = _reachable(item, key, asset)
    if "://" not in href:
        return SceneAsset(item, key, None)
    suffix = _suffix(asset, href)
    target = folder / f"{safe_name(key)}{suffix}"
    size = asset.extra_fields.get("file:size")
    return SceneAsset(
        item,
        key,
        Remote(
            href,
            target,
            _KINDS.get(suffix, "data"),
            size if isinstance(size, int) and size > 0 else None,
            _checksum(str(asset.extra_fields.get("file:checksum", ""))),
            check=_whole if suffix == ".jp2" else None,
        ),
    )


def _reachable(item: pystac.Item, key: str, asset: pystac.Asset) -> str:
    """A local path or an http address: the asset's own, else one of its alternates."""
    href = local_href(asset.get_absolute_href() or asset.href)
    alternates = asset.extra_fields.get("alternate") or {}
    for one in (href, *(str(alternates[k].get("href", "")) for k in sorted(alternates))):
        if urlsplit(one).scheme in {"http", "https"} or ("://" not in one and one):
            return one
    raise InputError(
        f"STAC item {item.id}: asset {key} is at {unsigned(href)}, which only a client of its store can read",
        remedy="search a catalogue with http addresses, or fetch it with the store's own client",
    )


def _suffix(asset: pystac.Asset, href: str) -> str:
    for text in (href, asset.href):
        suffix = PurePosixPath(unquote(urlsplit(text).path)).suffix.lower()
        if re.fullmatch(r"\.[a-z0-9]{2,5}", suffix):
            return ".tif" if suffix == ".tiff" else suffix
    return _TYPES.get((asset.media_type or "").partition(";")[0].strip(), "")


def _checksum(text: str) -> str:
    """A multihash as ``method:hex``; empty for methods that are not checked here."""
    for prefix, method in _HASHES.items():
        if text.lower().startswith(prefix) and re.fullmatch(r"[0-9a-fA-F]+", text):
            return f"{method}:{text[len(prefix) :].lower()}"
    return ""


def _whole(path: Path) -> None:
    try:
        refuse_truncated(path)
    except InputError:
        name = path.name.removeprefix(".").removesuffix(".part")
        raise WrongContentError(
            f"{name}: the file is truncated: its own structure says that it is longer",
            remedy="run the same command again later",
        ) from None


def plan_scenes(assets: Sequence[SceneAsset], web: Web, *, workers: int = 4) -> list[tuple[SceneAsset, Planned | None]]:
    """What would come, and how many bytes; nothing is written. None for local files.

    Raises:
        InputError: A server refuses or is not reached.
    """
    with _own_words():
        plans = iter(plan_all([a.remote for a in assets if a.remote], web, workers=workers))
    return [(asset, next(plans) if asset.remote else None) for asset in assets]


def fetch_scenes(
    assets: Sequence[SceneAsset], out: Path, web: Web, *, workers: int = 4, progress: Progress | None = None
) -> list[tuple[SceneAsset, Fetched | None]]:
    """Download the assets, then write the items.

    Args:
        assets: From `choose_assets`.
        out: Folder.
        web: The client.
        workers: Files at a time.
        progress: Told the bytes that arrive.

    Returns:
        Each asset and what became of it; None for local files.

    Raises:
        InputError: A file is refused, lost or wrong; what has arrived is kept, and no list is written.
        StorageError: The disk is full, or the folder cannot be written.
    """
    with _own_words():
        got = iter(fetch_all([a.remote for a in assets if a.remote], web, workers=workers, progress=progress))
    results = [(asset, next(got) if asset.remote else None) for asset in assets]
    documents = []
    for name in dict.fromkeys(asset.item.id for asset in assets):
        own = [(asset, fetched) for asset, fetched in results if asset.item.id == name]
        documents.append(_write_item(own, out))
    write_list(out / ITEMS, documents)
    return results


@contextmanager
def _own_words() -> Iterator[None]:
    """Remedies of downloads name options that other commands have."""
    try:
        yield
    except InputError as error:
        if "--" not in error.remedy:
            raise
        token = re.match(r"set a token in LC_FETCH_TOKEN_\w+", error.remedy)
        remedy = token[0] if token else "run the same command again later, or search again"
        raise type(error)(error.problem, remedy=remedy) from None


def _write_item(own: Sequence[tuple[SceneAsset, Fetched | None]], out: Path) -> dict[str, Any]:
    """Write an item's record and JSON beside its files; return the item with absolute paths."""
    item = own[0][0].item
    folder = out.absolute() / safe_name(item.id)
    document: dict[str, Any] = item.to_dict(include_self_link=False, transform_hrefs=False)
    source = item.get_self_href() or ""
    assets: dict[str, Any] = {}
    for asset, fetched in own:
        described = {k: v for k, v in document["assets"][asset.key].items() if k not in {"alternate", "href"}}
        if fetched is None or asset.remote is None:
            described["href"] = str(Path(_reachable(item, asset.key, item.assets[asset.key])).absolute())
        else:
            described["href"] = str(asset.remote.target.absolute())
            described |= {"file:size": fetched.size, "file:checksum": f"1220{fetched.sha256}"}
        assets[asset.key] = described
    links = [{"rel": "via", "href": public_url(source)}] if source.startswith(("http://", "https://")) else []
    # A collection that is named must be linked, and the link would lead away from what is here.
    document = {**document, "assets": assets, "links": links}
    document.pop("collection", None)
    folder.mkdir(parents=True, exist_ok=True)
    record = [f for _, f in own if f is not None]
    if record:
        write_record(folder, [{"name": f.name, "sha256": f.sha256, "size": f.size, "source": f.source} for f in record])
    with atomic_file(folder / ITEM) as scratch:
        scratch.write_text(pretty_json(_beside(document, folder)), encoding="utf-8")
    return {**document, "links": [{"rel": "self", "href": str(folder / ITEM)}, *links]}


def _beside(document: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    assets = {
        key: {**asset, "href": Path(os.path.relpath(asset["href"], folder)).as_posix()}
        for key, asset in document["assets"].items()
    }
    return {**document, "assets": assets}
