"""Search of STAC: APIs and static catalogues, over an area and between two days, into a list of scenes.

Every request goes through `io.web`: its patience with busy servers, its tokens from the environment, its silence about
them. Area, days and cloud are judged here, too: not every server filters, and a static catalogue never does.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urljoin, urlsplit

import pystac
import shapely
import shapely.affinity
import shapely.geometry
from pystac.stac_io import DefaultStacIO
from pystac_client.item_search import ItemSearch
from pystac_client.stac_api_io import StacApiIO

from landcover_cli.errors import InputError, UsageError
from landcover_cli.io.web import NotThereError, Web, public_url

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

PROVIDERS = {
    "earth-search": "https://earth-search.aws.element84.com/v1",
    "planetary-computer": "https://planetarycomputer.microsoft.com/api/stac/v1",
    "cdse": "https://stac.dataspace.copernicus.eu/v1",
}
COLLECTION = "sentinel-2-l2a"
"""What all three of them call Sentinel-2 Level-2A."""
_PAGE_ITEMS = 100
_PAGE_BYTES = 256 * 1024**2
# Pages may shift while they are read; so many items in a row that were there before are a circle.
_MOST_AGAIN = 300


@dataclass(frozen=True)
class Query:
    """What is looked for.

    Attributes:
        collections: Their ids; empty: all of a static catalogue.
        area: In EPSG:4326.
        start: First day, UTC.
        end: Last day, included.
        max_cloud_percent: Scenes above are left out; those that do not say stay.
    """

    collections: tuple[str, ...]
    area: BaseGeometry
    start: date
    end: date
    max_cloud_percent: float = 100.0


@dataclass(frozen=True)
class Found:
    """What a search brought.

    Attributes:
        items: GeoJSON of the items, hrefs absolute, in the server's order.
        elsewhere: Items that the catalogue gave and that miss the area or the days.
        cloudy: Items left out because of their clouds.
    """

    items: tuple[dict[str, Any], ...]
    elsewhere: int
    cloudy: int


def search_stac(catalogue: str, query: Query, web: Web) -> Found:
    """Scenes of an API or a static catalogue.

    Args:
        catalogue: Name of a provider, URL, or path of a catalogue, collection, item collection or folder.
        query: What is looked for.
        web: The client.

    Raises:
        InputError: Unreachable, no STAC, or no such collection (the nearest name is given).
        UsageError: An API is to be searched without saying which collection.
    """
    href = PROVIDERS.get(catalogue, catalogue)
    if "://" not in href and not Path(href).exists():
        near = difflib.get_close_matches(catalogue, PROVIDERS, n=1)
        hint = f"did you mean {near[0]}? Or give" if near else f"use {', '.join(PROVIDERS)}, or give"
        raise InputError(f"catalogue {catalogue!r}: no such provider, file or folder", remedy=f"{hint} a URL or a path")
    root = _document(web, href) if "://" in href else {}
    search = _search_links(root)
    items = _from_api(href, root, search, query, web) if search else _from_static(href, root, query, web)
    return _judge(items, query)


def _document(web: Web, href: str) -> dict[str, Any]:
    try:
        document = json.loads(web.read(href, _PAGE_BYTES))
    except (ValueError, UnicodeDecodeError):
        document = None
    if not isinstance(document, dict):
        raise InputError(
            f"{public_url(href)} is no STAC: what it sends is no JSON object",
            remedy="check the address of the catalogue",
        )
    return document


def _search_links(root: Mapping[str, Any]) -> dict[str, str]:
    """Method → address of an API's search; empty for a static catalogue."""
    return {str(link.get("method", "GET")).upper(): str(link.get("href")) for link in _links(root, "search")}


def _links(root: Mapping[str, Any], rel: str) -> list[dict[str, Any]]:
    links = root.get("links")
    known = links if isinstance(links, list) else []
    return [link for link in known if isinstance(link, dict) and link.get("rel") == rel]


# --- APIs -------------------------------------------------------------------------------------------------------------


class _ApiIO(StacApiIO):
    """pystac-client's reader of APIs, its requests made by our client."""

    def __init__(self, web: Web) -> None:
        super().__init__(max_retries=None)
        self._web = web

    def request(
        self,
        href: str,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:
        """Text of an answer. Headers that a page asks for are not sent: they might be anybody's."""
        head = {"Accept": "application/geo+json, application/json"}
        if (method or "GET").upper() == "POST":
            body = json.dumps(parameters or {}).encode()
            data = self._web.read(href, _PAGE_BYTES, headers={**head, "Content-Type": "application/json"}, data=body)
        else:
            extra = {key: _plain(value) for key, value in (parameters or {}).items() if value is not None}
            joined = href + (("&" if urlsplit(href).query else "?") + urlencode(extra) if extra else "")
            data = self._web.read(joined, _PAGE_BYTES, headers=head)
        return data.decode("utf-8")


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else json.dumps(value)


def _from_api(
    href: str, root: Mapping[str, Any], search: Mapping[str, str], query: Query, web: Web
) -> Iterator[dict[str, Any]]:
    if not query.collections:
        raise UsageError(f"which collection of {public_url(href)}?", remedy="give it with --collection")
    io = _ApiIO(web)
    _require_collections(href, root, query.collections, io)
    method = "POST" if "POST" in search else "GET"
    request = ItemSearch(
        url=urljoin(href, search[method]),
        method=method,
        stac_io=io,
        bbox=list(query.area.bounds),
        datetime=f"{query.start}T00:00:00Z/{query.end}T23:59:59Z",
        collections=list(query.collections),
        limit=_PAGE_ITEMS,
    )
    seen: set[object] = set()
    again = 0
    for item in _readable(request.items_as_dicts(), href):
        again = again + 1 if item.get("id") in seen else 0
        if again > _MOST_AGAIN:
            raise InputError(f"{public_url(href)}: its pages lead in a circle", remedy="tell the catalogue's owner")
        seen.add(item.get("id"))
        yield item


def _require_collections(href: str, root: Mapping[str, Any], wanted: Sequence[str], io: _ApiIO) -> None:
    links = _links(root, "data")
    if not links:
        return
    pages = list(_readable(io.get_pages(urljoin(href, str(links[0].get("href")))), href))
    found = [one for page in pages for one in page.get("collections") or () if isinstance(one, dict)]
    known = sorted({str(one.get("id")) for one in found})
    _known_or_error(href, known, wanted)


def _known_or_error(href: str, known: Sequence[str], wanted: Sequence[str]) -> None:
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known[:8]
            raise InputError(
                f"{public_url(href) if '://' in href else href} has no collection {name!r} ({len(known)} known)",
                remedy=f"use one of its collections, e.g. {', '.join(near)}" if near else "check the catalogue",
            )


def _readable(pages: Iterable[dict[str, Any]], href: str) -> Iterator[dict[str, Any]]:
    """Pages or items, with errors of the libraries in our words."""
    try:
        yield from pages
    except (InputError, UsageError):
        raise
    except Exception as error:  # noqa: BLE001  pystac-client meets answers of any shape and raises any class
        raise InputError(
            f"{public_url(href)}: an answer of the search is no STAC ({type(error).__name__})",
            remedy="check the address of the catalogue, or try again later",
        ) from None


# --- static catalogues ------------------------------------------------------------------------------------------------


class _StaticIO(DefaultStacIO):
    """pystac's reader of files and links, its requests made by our client."""

    def __init__(self, web: Web) -> None:
        super().__init__()
        self._web = web

    def read_text_from_href(self, href: str) -> str:
        """Text behind a link."""
        if "://" in href:
            return self._web.read(href, _PAGE_BYTES).decode("utf-8")
        return Path(href).read_text(encoding="utf-8")


def _from_static(href: str, root: dict[str, Any], query: Query, web: Web) -> Iterator[dict[str, Any]]:
    known: set[str] = set()
    found = []
    for item in _static_items(href, root, web):
        collection = item.collection_id or ""
        known.add(collection)
        if not query.collections or collection in query.collections:
            found.append(_absolute(item))
    if query.collections:
        _known_or_error(href, sorted(known - {""}), query.collections)
    yield from found


def _static_items(href: str, root: dict[str, Any], web: Web) -> Iterable[pystac.Item]:
    from landcover_cli.io.stac_in import read_items

    if "://" not in href:
        return read_items(href)
    kind = root.get("type")
    try:
        if kind == "FeatureCollection":
            return list(pystac.ItemCollection.from_dict(root))
        thing = pystac.read_dict(root, href=href, stac_io=_StaticIO(web))
        if isinstance(thing, pystac.Catalog):
            return list(thing.get_items(recursive=True))
        return [thing] if isinstance(thing, pystac.Item) else []
    except Exception as error:  # noqa: BLE001  a document that is no STAC makes pystac raise nearly any class
        own = _own_error(error)
        if isinstance(own, NotThereError):
            raise InputError(
                f"{public_url(href)}: a link leads nowhere: {own.problem}", remedy="mend the catalogue"
            ) from None
        if own is not None:
            raise own from None
        raise InputError(
            f"{public_url(href)} is no readable STAC catalogue ({type(error).__name__})",
            remedy="give a catalogue, collection, item or item collection",
        ) from None


def _own_error(error: BaseException | None) -> InputError | None:
    """The error of ours that a library wrapped into its own."""
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__ or error.__context__
    return error


def _absolute(item: pystac.Item) -> dict[str, Any]:
    """GeoJSON of an item with absolute hrefs of its assets and of itself; no other link."""
    document: dict[str, Any] = item.to_dict(include_self_link=True, transform_hrefs=False)
    for key, asset in item.assets.items():
        document["assets"][key]["href"] = asset.get_absolute_href() or asset.href
    own = item.get_self_href()
    document["links"] = [{"rel": "self", "href": own}] if own else []
    return document


# --- what counts ------------------------------------------------------------------------------------------------------


def _judge(items: Iterable[dict[str, Any]], query: Query) -> Found:
    kept: dict[str, dict[str, Any]] = {}
    elsewhere = cloudy = 0
    meets = _area_test(query.area)
    for item in items:
        _check_item(item)
        when = item_time(item)
        if not query.start <= when.date() <= query.end or not meets(item):
            elsewhere += 1
            continue
        cloud = item.get("properties", {}).get("eo:cloud_cover")
        if isinstance(cloud, int | float) and cloud > query.max_cloud_percent:
            cloudy += 1
            continue
        # Pages that shift while they are read give an item twice.
        kept[f"{item.get('collection')}/{item['id']}"] = item
    return Found(tuple(kept.values()), elsewhere, cloudy)


def _check_item(item: Any) -> None:
    """Refuse what only looks like an item: everything after this trusts its shape.

    Raises:
        InputError: Something is missing, or of another type.
    """
    what = item if isinstance(item, dict) else {}
    shapes = (("id", str), ("properties", dict), ("assets", dict), ("links", list))
    wrong = [key for key, kind in shapes if not isinstance(what.get(key), kind)]
    if not wrong:
        assets = all(isinstance(a, dict) and isinstance(a.get("href"), str) for a in what["assets"].values())
        links = all(isinstance(one, dict) and isinstance(one.get("href"), str) for one in what["links"])
        wrong = ([] if assets else ["assets"]) + ([] if links else ["links"])
    if wrong:
        raise InputError(
            f"STAC item {what.get('id', '')!r}: `{wrong[0]}` is missing or damaged", remedy="mend the catalogue"
        )


def item_time(item: Mapping[str, Any]) -> datetime:
    """When an item was acquired, UTC.

    Raises:
        InputError: It does not say.
    """
    facts = item.get("properties") or {}
    text = facts.get("datetime") or facts.get("start_datetime")
    try:
        when = pystac.utils.str_to_datetime(str(text))
    except (ValueError, TypeError, LookupError):
        raise InputError(f"STAC item {item.get('id')} has no datetime", remedy="mend the item") from None
    return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)


def _area_test(area: BaseGeometry) -> Callable[[Mapping[str, Any]], bool]:
    """Whether an item's footprint shares ground with the area, across the antimeridian, too."""
    shapely.prepare(area)
    shifted = [shapely.affinity.translate(area, by) for by in (-360, 360)]

    def meets(item: Mapping[str, Any]) -> bool:
        try:
            outline = shapely.geometry.shape(item["geometry"])
        except (LookupError, TypeError, ValueError, AttributeError, shapely.errors.ShapelyError):
            raise InputError(f"STAC item {item.get('id')} has no footprint", remedy="mend the item") from None
        west, _, east, _ = outline.bounds
        if east - west <= 180:
            return bool(outline.intersects(area)) or any(outline.intersects(one) for one in shifted)
        # Written across 180° without a cut: the short way round is meant.
        unwrapped = shapely.transform(outline, lambda xy: xy + (xy[:, :1] < 0) * [[360.0, 0.0]])
        return any(unwrapped.intersects(one) for one in (area, shifted[1]))

    return meets
