"""Catalogues, items and pinned lists; bands by key or common name."""

from __future__ import annotations

import json

import pytest

from landcover_cli.errors import InputError
from landcover_cli.io.stac_in import read_item, read_stac
from landcover_cli.sensors.sentinel2 import SENSOR


def item(name="a", assets=None, **changes):
    document = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "properties": {"datetime": "2021-06-05T10:00:31Z", "s2:processing_baseline": "05.09", "eo:cloud_cover": 3.5},
        "geometry": {"type": "Polygon", "coordinates": [[[16, 45], [17, 45], [17, 46], [16, 46], [16, 45]]]},
        "bbox": [16, 45, 17, 46],
        "links": [],
        "assets": assets if assets is not None else {"blue": {"href": "./B02.tif"}, "scl": {"href": "SCL.tif"}},
    }
    return {**document, **changes}


def test_an_item_by_keys(tmp_path):
    (tmp_path / "i.json").write_text(json.dumps(item()))
    scene = read_item(str(tmp_path / "i.json"), SENSOR)
    assert scene.id == "a"
    assert scene.datetime.isoformat() == "2021-06-05T10:00:31+00:00"
    assert {band: asset.href for band, asset in scene.assets.items()} == {
        "B02": str(tmp_path / "B02.tif"),
        "SCL": str(tmp_path / "SCL.tif"),
    }
    assert scene.metadata["baseline"] == "05.09"
    assert scene.metadata["cloud_percent"] == 3.5
    assert "boa_offset_applied" not in scene.metadata


@pytest.mark.parametrize(
    ("assets", "expected"),
    [
        ({"B02_10m": {"href": "/x/a.jp2"}, "B8A_20m": {"href": "/x/b.jp2"}}, {"B02": "/x/a.jp2", "B8A": "/x/b.jp2"}),
        ({"image1": {"href": "/x/a.tif", "eo:bands": [{"name": "B04"}]}}, {"B04": "/x/a.tif"}),
        ({"image1": {"href": "/x/a.tif", "bands": [{"eo:common_name": "nir"}]}}, {"B08": "/x/a.tif"}),
        # Three bands in one picture are no band; a thumbnail is no data; the key beats the common name.
        ({"visual": {"href": "/x/v.tif", "eo:bands": [{"name": "red"}, {"name": "green"}]}}, {}),
        ({"red": {"href": "/x/t.png", "roles": ["thumbnail"]}}, {}),
        (
            {"a-jp2": {"href": "/x/a.jp2", "eo:bands": [{"name": "red"}]}, "red": {"href": "/x/r.tif"}},
            {"B04": "/x/r.tif"},
        ),
        ({"blue": {"href": "https://example.com/b.tif"}}, {"B02": "https://example.com/b.tif"}),
    ],
)
def test_assets_are_found_by_what_they_are(tmp_path, assets, expected):
    (tmp_path / "i.json").write_text(json.dumps(item(assets=assets)))
    scene = read_item(str(tmp_path / "i.json"), SENSOR)
    assert {band: asset.href for band, asset in scene.assets.items()} == expected


def test_a_pinned_list_is_sorted_by_time(tmp_path):
    later = item("b", properties={"datetime": "2021-06-01T00:00:00Z"})
    (tmp_path / "list.json").write_text(json.dumps({"type": "FeatureCollection", "features": [item(), later]}))
    assert [scene.id for scene in read_stac(str(tmp_path / "list.json"), SENSOR)] == ["b", "a"]


@pytest.mark.parametrize(
    ("document", "match"),
    [
        ("no json", "no readable STAC"),
        ({"type": "FeatureCollection", "features": []}, "holds no item"),
        ({"type": "FeatureCollection", "features": [item(), item()]}, "two items are called 'a'"),
        (item(geometry=None), "no geometry"),
        (item(properties={"datetime": None}), "datetime|no readable STAC"),
        (
            {
                "type": "Catalog",
                "id": "c",
                "stac_version": "1.0.0",
                "description": "",
                "links": [{"rel": "item", "href": "./gone.json"}],
            },
            "leads nowhere",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path, document, match):
    (tmp_path / "s.json").write_text(document if isinstance(document, str) else json.dumps(document))
    with pytest.raises(InputError, match=match):
        read_stac(str(tmp_path / "s.json"), SENSOR)
    with pytest.raises(InputError, match="no such file"):
        read_stac(str(tmp_path / "absent.json"), SENSOR)


def test_the_real_catalogue(shared_data):
    scenes = read_stac(str(shared_data("optical/mapchete-eo") / "full_products" / "catalog.json"), SENSOR)
    assert len(scenes) == 10
    assert len({scene.metadata["datatake"] for scene in scenes}) == 5
    assert all(scene.metadata["boa_offset_applied"] is True for scene in scenes)
    assert all(scene.assets["B02"].href.endswith("/B02.tif") for scene in scenes)


def test_paths_in_a_list_are_relative_to_the_list_or_to_the_item_that_it_names(tmp_path):
    links = [{"rel": "self", "href": "sub/i.json"}], [{"rel": "self", "href": "https://example.com/x/i.json"}]
    features = [item(name, links=own) for name, own in zip("abc", ([], *links), strict=True)]
    (tmp_path / "list.json").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    bare, near, far = read_stac(str(tmp_path / "list.json"), SENSOR)
    assert bare.assets["B02"].href == near.assets["B02"].href == str(tmp_path / "B02.tif")
    assert far.assets["B02"].href == "https://example.com/x/B02.tif"
    assert [scene.metadata["item"] for scene in (bare, near, far)] == [
        "", str(tmp_path / "sub" / "i.json"), "https://example.com/x/i.json",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "facts",
    [
        {"s2:datatake_id": "GS2A_1"},
        {"eopf:datatake_id": "GS2A_1"},
        {"s2:datatake_id": "GS2A_1", "eopf:datatake_id": "x"},
    ],
)
def test_the_data_take_under_either_name(tmp_path, facts):
    document = item()
    document["properties"] |= facts
    (tmp_path / "i.json").write_text(json.dumps(document))
    assert read_item(str(tmp_path / "i.json"), SENSOR).metadata["datatake"] == "GS2A_1"
