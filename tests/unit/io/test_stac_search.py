"""Search of APIs and static catalogues on loopback."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from loopback import PAGE, Site, body_of, serve, status, stay_on_loopback
from stacserver import Api, s2_item, square

from landcover_cli.errors import InputError, UsageError
from landcover_cli.io.scenelist import pin
from landcover_cli.io.stac_search import COLLECTION, Query, _judge, search_stac
from landcover_cli.io.web import Web, WebSettings, token_variable

AREA = shapely.box(16.2, 45.2, 16.4, 45.4)
SECRET = "s3cr3t-t0ken-9f8e"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    stay_on_loopback(monkeypatch)
    with serve() as found:
        yield found


class Clock:
    def __init__(self) -> None:
        self.waits: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.waits.append(seconds)


def client(clock: Clock | None = None, base: str | None = None) -> Web:
    return Web(WebSettings(sleep=clock or Clock(), timeout_s=10.0), base)


def query(**changes: Any) -> Query:
    plain: dict[str, Any] = {
        "collections": (COLLECTION,),
        "area": AREA,
        "start": date(2023, 6, 1),
        "end": date(2023, 8, 31),
    }
    return Query(**{**plain, **changes})


ITEMS = [
    s2_item("2023-06-01", name="first day"),
    s2_item("2023-08-31", name="last day"),
    s2_item("2023-09-01", name="a day late"),
    s2_item("2023-05-31", name="a day early"),
    s2_item("2023-07-05", name="elsewhere", geometry=square(20, 45)),
    s2_item("2023-07-08", name="cloudy", cloud=60.5),
    s2_item("2023-07-11", name="just so", cloud=60.0),
    s2_item("2023-07-14", name="silent", cloud=None),
    {**s2_item("2023-07-17", name="another"), "collection": "sentinel-2-l1c"},
]


@pytest.mark.parametrize("methods", [("GET",), ("POST",), ("GET", "POST")])
def test_an_api_is_read_page_by_page_and_judged_here(site, methods):
    api = Api(site, ITEMS, methods=methods)
    found = search_stac(api.url, query(max_cloud_percent=60.0), client())
    assert [item["id"] for item in found.items] == ["first day", "last day", "just so", "silent"]
    assert (found.elsewhere, found.cloudy) == (3, 1)
    assert len(api.searched) == 4
    first = api.searched[0]
    assert first["datetime"] == "2023-06-01T00:00:00Z/2023-08-31T23:59:59Z"
    bbox = first["bbox"] if "POST" in methods else [float(v) for v in first["bbox"].split(",")]
    assert bbox == [16.2, 45.2, 16.4, 45.4]


def test_an_unknown_collection_is_named_with_the_nearest(site):
    api = Api(site, ITEMS)
    with pytest.raises(InputError, match=r"has no collection 'sentinel-2-l3a' \(3 known\)") as caught:
        search_stac(api.url, query(collections=("sentinel-2-l3a",)), client())
    assert "sentinel-2-l2a" in caught.value.remedy
    assert not api.searched
    with pytest.raises(UsageError, match="which collection of"):
        search_stac(api.url, query(collections=()), client())


def test_an_area_off_everything_is_an_empty_answer(site):
    found = search_stac(Api(site, ITEMS).url, query(area=shapely.box(-60, -10, -59, -9)), client())
    assert found.items == ()
    assert found.elsewhere == 8


def test_busy_servers_are_asked_again(site):
    clock = Clock()
    api = Api(site, ITEMS)
    site.mishaps += [status(503), status(429, Retry_After="7"), lambda handler, body: False, status(502)]
    assert len(search_stac(api.url, query(), client(clock)).items) == 5
    assert clock.waits == [1.0, 7.0, 1.0]


def test_what_is_no_stac_is_said_plainly(site):
    site.files["/page"] = PAGE
    with pytest.raises(InputError, match="/page is no STAC: what it sends is no JSON object"):
        search_stac(site.url("/page"), query(), client())
    with pytest.raises(InputError, match="/gone does not exist"):
        search_stac(site.url("/gone"), query(), client())
    with pytest.raises(InputError, match="no such provider, file or folder") as caught:
        search_stac("earthsearch", query(), client())
    assert "did you mean earth-search?" in caught.value.remedy
    api = Api(site, ITEMS)
    site.dynamic["/v1/search"] = lambda method, query, body: b'{"features": 3}'
    with pytest.raises(InputError, match="an answer of the search is no STAC"):
        search_stac(api.url, query(), client())
    site.dynamic["/v1/search"] = lambda method, query, body: PAGE
    with pytest.raises(InputError, match="an answer of the search is no STAC"):
        search_stac(api.url, query(), client())
    broken = s2_item("2023-06-01")
    broken["properties"]["datetime"] = "yesterday"
    with pytest.raises(InputError, match="has no datetime"):
        search_stac(Api(site, [broken]).url, query(), client())


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(max_size=4),
    st.builds(list),
    st.builds(dict),
    st.builds(lambda: [3]),
)


@given(st.data())
def test_items_of_any_shape_are_read_or_refused(data):
    item = json.loads(json.dumps(ITEMS[0]))
    for _ in range(data.draw(st.integers(1, 3))):
        place: Any = item
        while True:
            key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else list(range(len(place)))))
            deeper = place[key]
            if not isinstance(deeper, dict | list) or not deeper or data.draw(st.booleans()):
                break
            place = deeper
        place[key] = data.draw(JUNK)
        if not isinstance(item.get("properties"), dict):
            break
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "list.json"
        path.write_text(json.dumps({"type": "FeatureCollection", "features": [item]}))
        with contextlib.suppress(InputError):
            pin(search_stac(str(path), query(collections=()), client()).items)


@given(st.data())
def test_answers_of_any_shape_are_read_or_refused(data):
    item = json.loads(json.dumps(ITEMS[0]))
    key = data.draw(st.sampled_from(sorted(item)))
    item[key] = data.draw(JUNK)
    with contextlib.suppress(InputError):
        pin(_judge([item, *ITEMS[1:3]], query()).items)


def test_a_token_goes_to_the_catalogue_alone_and_into_no_message(site, monkeypatch, caplog):
    monkeypatch.setenv("LC_FETCH_TOKEN", SECRET)
    api = Api(site, ITEMS)
    search_stac(api.url, query(), client(base=api.url))
    assert {asked.headers.get("Authorization") for asked in site.asked} == {f"Bearer {SECRET}"}
    site.asked.clear()
    search_stac(api.url, query(), client())
    assert {asked.headers.get("Authorization") for asked in site.asked} == {None}
    site.mishaps.append(body_of(b"{}", 401))
    with pytest.raises(InputError) as caught:
        search_stac(f"{api.url}?token={SECRET}", query(), client(base=api.url))
    assert SECRET not in f"{caught.value.problem} {caught.value.remedy} {caplog.text}"
    assert token_variable("127.0.0.1") in caught.value.remedy


def test_pages_that_lead_in_a_circle_end(site):
    api = Api(site, ITEMS)
    plain = api.search

    def circle(method: str, text: str, body: bytes) -> bytes:
        again = json.dumps({**json.loads(body), "token": "0"}).encode()
        return plain(method, text, body if len(api.searched) < 2 else again)

    site.dynamic["/v1/search"] = circle
    with pytest.raises(InputError, match="its pages lead in a circle"):
        search_stac(api.url, query(), client())


def test_headers_that_a_page_asks_for_are_not_sent(site):
    api = Api(site, ITEMS)
    plain = api.search

    def sly(method: str, text: str, body: bytes) -> bytes:
        page = json.loads(plain(method, text, body))
        for link in page["links"]:
            link["headers"] = {"X-Forwarded-For": "elsewhere"}
        return json.dumps(page).encode()

    site.dynamic["/v1/search"] = sly
    search_stac(api.url, query(), client())
    assert all("X-Forwarded-For" not in asked.headers for asked in site.asked)


def static(folder: str = "") -> dict[str, bytes]:
    """A catalogue of two collections whose items have relative hrefs."""
    files: dict[str, Any] = {
        f"{folder}/catalog.json": {"type": "Catalog", "links": [{"rel": "child", "href": "./s2/collection.json"}]},
        f"{folder}/s2/collection.json": {"type": "Collection", "license": "other", "links": []},
    }
    for n, item in enumerate(ITEMS[:3]):
        files[f"{folder}/s2/{n}/item.json"] = {**item, "assets": {"blue": {"href": "./B02.tif"}}}
        files[f"{folder}/s2/collection.json"]["links"].append({"rel": "item", "href": f"./{n}/item.json"})
    files[f"{folder}/s2/collection.json"]["extent"] = {
        "spatial": {"bbox": [[-180, -90, 180, 90]]},
        "temporal": {"interval": [[None, None]]},
    }
    for name in ("catalog", "s2/collection"):
        files[f"{folder}/{name}.json"] |= {"id": name, "description": "-", "stac_version": "1.0.0"}
    return {path: json.dumps(document).encode() for path, document in files.items()}


def test_a_static_catalogue_on_a_server(site):
    site.files |= static()
    site.mishaps += [lambda handler, body: False, status(503)]
    found = search_stac(site.url("/catalog.json"), query(), client())
    assert [item["id"] for item in found.items] == ["first day", "last day"]
    assert found.items[0]["assets"]["blue"]["href"] == site.url("/s2/0/B02.tif")
    assert found.items[0]["links"] == [{"rel": "self", "href": site.url("/s2/0/item.json")}]
    with pytest.raises(InputError, match="has no collection 'landsat'") as caught:
        search_stac(site.url("/catalog.json"), query(collections=("landsat",)), client())
    assert "sentinel-2-l2a" in caught.value.remedy
    del site.files["/s2/1/item.json"]
    with pytest.raises(InputError, match="a link leads nowhere"):
        search_stac(site.url("/catalog.json"), query(), client())


def test_a_static_catalogue_on_disk_and_a_list_as_catalogue(site, tmp_path):
    for name, data in static().items():
        path = tmp_path / name[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    for href in (str(tmp_path), str(tmp_path / "catalog.json")):
        found = search_stac(href, query(collections=()), client())
        assert [item["assets"]["blue"]["href"] for item in found.items] == [
            str(tmp_path / f"s2/{n}/B02.tif") for n in range(2)
        ]
    site.files["/list.json"] = json.dumps({"type": "FeatureCollection", "features": ITEMS}).encode()
    assert len(search_stac(site.url("/list.json"), query(), client()).items) == 5


def test_real_items(shared_data: Any):
    catalogue = Path(shared_data("optical/mapchete-eo")) / "full_products" / "catalog.json"
    area = shapely.box(15.5, 46.0, 15.6, 46.1)
    found = search_stac(str(catalogue), query(area=area, max_cloud_percent=20.0), client())
    assert found.cloudy > 0
    assert len(found.items) + found.elsewhere + found.cloudy == 10
    assert all(item["properties"]["eo:cloud_cover"] <= 20 for item in found.items)


def test_a_footprint_across_the_antimeridian(site):
    ring = [[179.5, 60.0], [-179.5, 60.0], [-179.5, 61.0], [179.5, 61.0], [179.5, 60.0]]
    across = s2_item("2023-07-01", "01WCR", geometry={"type": "Polygon", "coordinates": [ring]})
    api = Api(site, [across])
    for west, expected in ((179.6, 1), (-179.9, 1), (178.0, 0), (-179.0, 0), (0.0, 0)):
        area = shapely.box(west, 60.2, west + 0.2, 60.4)
        assert len(search_stac(api.url, query(area=area), client()).items) == expected
