"""Items of terrain-corrected products: what they say, and which make up one pass."""

from __future__ import annotations

import contextlib
import json
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rtcproduct import opera_item, pc_item, write_collection

from landcover_cli.errors import InputError
from landcover_cli.io.rtc_items import RtcItem, pass_name, passes, read_rtc
from landcover_cli.sensors.sentinel1 import SENSOR

CORNER = (480000.0, 4992000.0)
PIXELS = {"VV": np.full((4, 4), 0.1), "VH": np.full((4, 4), 0.02)}


def test_a_planetary_computer_item(tmp_path):
    path = write_collection(tmp_path / "i.json", [pc_item(tmp_path, "2022-07-03T06:15:00", PIXELS, CORNER)])
    (item,) = read_rtc(str(path), SENSOR)
    assert (item.platform, item.direction, item.absolute_orbit, item.relative_orbit) == ("S1A", "ascending", 44001, 154)
    assert item.when == datetime(2022, 7, 3, 6, 15, tzinfo=UTC)
    assert item.nodata == {"VV": -32768.0, "VH": -32768.0}
    assert item.assets["VV"] == str(tmp_path / item.id / "measurement/iw-vv.rtc.tiff")
    assert (item.mask, item.burst) == ("", "")
    assert pass_name([item]) == "S1A_20220703T061500_044001"


def test_an_opera_burst(tmp_path):
    one = opera_item(tmp_path, "2022-07-03T05:20:08", "T022-045677-IW1", PIXELS, CORNER, mask=np.zeros((4, 4)))
    (item,) = read_rtc(str(write_collection(tmp_path / "i.json", [one])), SENSOR)
    assert (item.platform, item.direction, item.relative_orbit, item.burst) == ("S1A", "", 22, "T022-045677-IW1")
    # Of two offers of one file, the one that can be read.
    assert item.assets["VH"] == str(tmp_path / f"{item.id}_VH.tif")
    assert item.mask == str(tmp_path / f"{item.id}_mask.tif")
    assert pass_name([item]) == "S1A_20220703T052008_T022"


def test_the_newest_of_a_burst_that_was_processed_twice(tmp_path):
    stamps = ("20231004T024411", "20240101T000000", "20230801T000000")
    items = [
        opera_item(tmp_path, "2022-07-03T05:20:08", "T022-045677-IW1", PIXELS, CORNER, processed=p) for p in stamps
    ]
    (item,) = read_rtc(str(write_collection(tmp_path / "i.json", items)), SENSOR)
    assert item.processed == "20240101T000000"


def test_file_folder_collection_and_catalogue_say_the_same(tmp_path):
    items = [
        pc_item(tmp_path, "2022-07-03T06:15:00", PIXELS, CORNER),
        pc_item(tmp_path, "2022-07-15T06:15:00", PIXELS, CORNER, orbit=44176),
    ]
    expected = read_rtc(str(write_collection(tmp_path / "all.json", items)), SENSOR)
    (tmp_path / "all.json").rename(tmp_path / "all.geojson")
    assert read_rtc(str(tmp_path), SENSOR) == expected
    (tmp_path / "all.geojson").unlink()
    for n, one in enumerate(items):
        (tmp_path / f"{n}.json").write_text(json.dumps(one))
    (tmp_path / "lc-fetch.json").write_text('{"files": []}')
    (tmp_path / "broken.json").write_text("{")
    assert read_rtc(str(tmp_path), SENSOR) == expected
    assert read_rtc(str(tmp_path / "0.json"), SENSOR) == expected[:1]
    links = [{"rel": "item", "href": f"./{n}.json"} for n in range(2)]
    catalogue = {"type": "Catalog", "id": "c", "description": "-", "stac_version": "1.0.0", "links": links}
    (tmp_path / "catalog.json").write_text(json.dumps(catalogue))
    assert read_rtc(str(tmp_path), SENSOR) == expected
    assert read_rtc(str(tmp_path / "catalog.json"), SENSOR) == expected


def test_what_is_no_item(tmp_path):
    with pytest.raises(InputError, match="holds no item"):
        read_rtc(str(tmp_path), SENSOR)
    one = pc_item(tmp_path, "2022-07-03T06:15:00", PIXELS, CORNER)
    with pytest.raises(InputError, match="two items are called"):
        read_rtc(str(write_collection(tmp_path / "i.json", [one, one])), SENSOR)
    one["geometry"] = None
    del one["bbox"]
    with pytest.raises(InputError, match=r"item S1A_IW_\S+ has no geometry"):
        read_rtc(str(write_collection(tmp_path / "i.json", [one])), SENSOR)


@given(st.sampled_from(["properties", "assets", "item"]), st.data())
def test_items_of_any_shape_are_read_or_refused(where, data):
    with tempfile.TemporaryDirectory() as name:
        item = opera_item(Path(name), "2022-07-03T05:20:08", "T022-045677-IW1", PIXELS, CORNER)
        item["properties"] |= {"sat:absolute_orbit": 7, "platform": "S1A", "sat:orbit_state": "ascending"}
        place = item if where == "item" else item[where]
        junk = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=4), st.builds(list), st.builds(dict))
        place[data.draw(st.sampled_from(sorted(place)))] = data.draw(junk)
        path = write_collection(Path(name) / "i.json", [item])
        with contextlib.suppress(InputError):
            read_rtc(str(path), SENSOR)


def test_passes():
    start = datetime(2022, 7, 3, 6, 15, tzinfo=UTC)
    base = RtcItem("a", start, "S1A", "ascending", 44001, 154, {}, {})
    # The next slice, the slice behind the equator, the other satellite, the next orbit, the way back.
    slice_ = replace(base, id="b", when=start + timedelta(seconds=25))
    beyond = replace(base, id="c", when=start + timedelta(seconds=50), absolute_orbit=44002)
    other = replace(base, id="d", platform="S1B")
    later = replace(base, id="e", when=start + timedelta(minutes=99), absolute_orbit=44002)
    back = replace(base, id="f", when=start + timedelta(minutes=10), direction="descending")
    # Numbers that contradict the times go before them.
    strange = replace(base, id="g", when=start + timedelta(seconds=60), absolute_orbit=45000)
    found = passes([strange, back, later, other, beyond, slice_, base])
    assert {tuple(item.id for item in group) for group in found} == {
        ("a", "b", "c"), ("d",), ("e",), ("f",), ("g",),
    }  # fmt: skip
    assert [group[0].when for group in found] == sorted(group[0].when for group in found)
