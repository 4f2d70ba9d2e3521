"""Pinned lists: one item per acquisition, sorted, without secrets."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stacserver import s2_item

from landcover_cli.io.scenelist import acquisition, clean, pin, unsigned, write_list

OLD = s2_item("2023-08-20", baseline="02.14", made="20230820T124817", name="old")
NEW = s2_item("2023-08-20", baseline="05.10", made="20240101T000000", name="new")
AGAIN = s2_item("2023-08-20", baseline="05.10", made="20240202T000000", name="again")
STRIP = s2_item("2023-08-20", baseline="02.14", strip="095233", name="the other strip")
TILE = s2_item("2023-08-20", "33TWM", name="the other tile")
DAY = s2_item("2023-08-17", name="the other day")
L1C = s2_item("2023-08-20", name="the other level", **{"s2:product_type": "S2MSI1C"})


def test_the_highest_baseline_then_the_newest_stays():
    scenes = pin([OLD, NEW, AGAIN, STRIP, TILE, DAY, L1C])
    assert [item["id"] for item in scenes.items] == [
        "the other day", "again", "the other level", "the other strip", "the other tile",
    ]  # fmt: skip
    assert scenes.replaced == {"old": "again", "new": "again"}
    # 10 follows 9: numbers, not letters.
    ten, nine = (s2_item("2023-08-20", baseline=b, name=b) for b in ("05.10", "05.9"))
    assert [item["id"] for item in pin([ten, nine]).items] == ["05.10"]


@given(st.permutations([OLD, NEW, AGAIN, STRIP, TILE, DAY, L1C]), st.integers(0, 2))
def test_the_order_of_the_answer_decides_nothing(items, twice):
    assert pin([*items, *items[:twice]]) == pin([OLD, NEW, AGAIN, STRIP, TILE, DAY, L1C])


@pytest.mark.parametrize(
    "changes",
    [
        # Planetary Computer says the tile so; the data space's names begin otherwise.
        {"grid:code": None, "s2:mgrs_tile": "33TXX"},
        {"grid:code": None, "mgrs:utm_zone": 33, "mgrs:latitude_band": "T", "mgrs:grid_square": "XX"},
        {"grid:code": None},
        {"s2:datatake_id": None},
        {"s2:datatake_id": None, "eopf:datatake_id": "GS2B_20230820T094549_033710_N05.10"},
        {"s2:datastrip_id": None, "eopf:datastrip_id": "S2B_OPER_MSI_L2A_DS_2BPS_20240101T0_S20230820T094908_N05.10"},
    ],
)
def test_an_acquisition_is_known_under_the_names_of_all_providers(changes):
    other = s2_item("2023-08-20", baseline="05.10", name="other", **changes)
    assert acquisition(other) == acquisition(OLD)


def test_what_does_not_say_what_it_is_stands_for_itself():
    vague = [s2_item("2023-08-20", name=name, **{"s2:datastrip_id": None}) for name in "ab"]
    radar = {**OLD, "id": "radar", "properties": {"datetime": "2023-08-20T00:00:00Z"}}
    assert len(pin([*vague, radar]).items) == 3


@pytest.mark.parametrize(
    ("href", "expected"),
    [
        ("https://a.org/b.tif?sv=1&sig=abc%3D&se=2023&st=2022&sp=r&sr=c&ske=1&skoid=2", "https://a.org/b.tif"),
        ("https://a.org/b.tif?X-Amz-Signature=1&X-Amz-Credential=2&X-Amz-Security-Token=3", "https://a.org/b.tif"),
        ("https://a.org/b.tif?Expires=1&Signature=2&Key-Pair-Id=3", "https://a.org/b.tif"),
        ("https://user:word@a.org/b.tif?access_token=1&v=2#x", "https://a.org/b.tif?v=2"),
        ("https://a.org/$value?format=tif", "https://a.org/$value?format=tif"),
        ("s3://bucket/key", "s3://bucket/key"),
        ("./B02.tif", "./B02.tif"),
    ],
)
def test_signatures_are_left_out(href, expected):
    assert unsigned(href) == expected


def test_nothing_secret_and_no_foreign_link_in_a_list(tmp_path):
    item = s2_item("2023-08-20")
    secret = "https://u:s3cr3t@a.org/x?sig=s3cr3t"
    item["links"] = [{"rel": rel, "href": secret} for rel in ("self", "next", "root", "thumbnail")]
    item["assets"] = {"blue": {"href": secret, "alternate": {"https": {"href": secret}}}}
    write_list(tmp_path / "list.json", pin([item]).items, {"start": "2023-08-01"})
    text = (tmp_path / "list.json").read_text()
    assert "s3cr3t" not in text
    (found,) = json.loads(text)["features"]
    assert found["links"] == [{"rel": "self", "href": "https://a.org/x", "type": "application/geo+json"}]
    assert clean(found) == found


def test_the_same_bytes_whatever_the_order(tmp_path):
    items = [OLD, NEW, STRIP, TILE, DAY]
    texts = set()
    for seed in range(4):
        random.Random(seed).shuffle(items)
        write_list(tmp_path / "list.json", pin(items).items)
        texts.add((tmp_path / "list.json").read_bytes())
    assert len(texts) == 1


def test_local_paths_are_relative_to_the_list(tmp_path):
    item = s2_item("2023-08-20", assets={"blue": {"href": str(tmp_path / "data" / "B02.tif")}})
    (tmp_path / "lists").mkdir()
    write_list(tmp_path / "lists" / "list.json", pin([item]).items)
    text = (tmp_path / "lists" / "list.json").read_text()
    assert "../data/B02.tif" in text
    assert str(tmp_path) not in text
