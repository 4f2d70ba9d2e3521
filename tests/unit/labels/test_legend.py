from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landcover_cli.errors import InputError
from landcover_cli.labels.crosswalk import ValueMapper, parse_crosswalk
from landcover_cli.labels.legend import Legend, LegendClass, parse_legend

DOCUMENT = {
    "id": "toy",
    "version": 2,
    "classes": [
        {"code": 10, "name": "Water", "color": "#00f", "description": "Lakes"},
        {"code": 9920, "name": "Wheat", "colour": [200, 180, 0]},
        {"code": 20, "name": "Forest"},
    ],
}


@pytest.fixture
def legend() -> Legend:
    return parse_legend(DOCUMENT, "toy.yaml")


def test_a_legend_keeps_the_order_of_its_file(legend: Legend) -> None:
    assert legend.codes == (10, 9920, 20)
    assert legend.names == ("Water", "Wheat", "Forest")
    assert legend.version == "2"
    assert [item.color for item in legend.classes[:2]] == ["#0000ff", "#c8b400"]
    assert legend.classes[1].rgb == (200, 180, 0)
    assert legend.index_of_code[9920] == 1
    assert (legend.dtype, legend.nodata) == ("uint8", 255)


def test_a_legend_round_trips(legend: Legend) -> None:
    document = legend.to_dict()
    assert parse_legend(document, "again") == legend
    for index, item in enumerate(document["classes"]):
        item["index"] = index
    assert parse_legend({**document, "nodata_index": 255}, "as beside a map") == legend


def test_classes_may_be_a_mapping_by_code() -> None:
    legend = parse_legend({"classes": {1: "a", "2": {"name": "b", "color": "#112233"}}}, "m")
    assert legend.codes == (1, 2)
    assert legend.classes[1].color == "#112233"


def test_from_255_classes_on_a_raster_needs_uint16() -> None:
    def of(count: int) -> Legend:
        return Legend("n", "1", tuple(LegendClass(i, str(i), "#000000") for i in range(count)))

    assert (of(254).dtype, of(254).nodata) == ("uint8", 255)
    assert (of(255).dtype, of(255).nodata) == ("uint16", 65535)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"classes": []}, "no class"),
        ({"classes": "x"}, "no list"),
        ({"klasses": []}, "klasses"),
        ({"classes": [{"code": 1, "name": "a"}, {"code": 1, "name": "b"}]}, "code 1 stands more than once"),
        ({"classes": [{"code": 1, "name": "a"}, {"code": 2, "name": "a"}]}, "name 'a' stands more than once"),
        ({"classes": [{"code": 1, "name": "a", "color": "bluish"}]}, "'bluish' is no colour"),
        ({"classes": [{"code": 1, "name": "a", "color": [1, 2, 256]}]}, "no colour"),
        ({"classes": [{"code": -1, "name": "a"}]}, "code -1"),
        ({"classes": [{"code": True, "name": "a"}]}, "code True"),
        ({"classes": [{"code": "x", "name": "a"}]}, "code 'x'"),
        ({"classes": [{"code": 1}]}, "class 1 is"),
        ({"classes": [{"code": 1, "name": ""}]}, "name ''"),
        ({"classes": [{"code": 1, "name": "a", "tint": 3}]}, "tint"),
        ({"classes": [{"code": 1, "name": "a", "index": 1}]}, "index 1"),
        ({"classes": {i: str(i) for i in range(65_535)}}, "65535 classes"),
    ],
)
def test_a_bad_legend_is_refused_with_the_value(change: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_legend({**DOCUMENT, **change}, "toy.yaml")


def test_a_crosswalk_takes_codes_ranges_and_names(legend: Legend) -> None:
    crosswalk = parse_crosswalk(
        {"to": "toy", "map": {11: "Wheat", "1100-1199": 9920, "maize": 20, 99: None, "12": 10}}, "c", legend
    )
    mapper = ValueMapper(legend, crosswalk, ignore=(13,))
    values = [11, 1150, "1150", "maize", 99, 12, "12", 13, "13"]
    assert [mapper.index(value) for value in values] == [1, 1, 1, 2, 255, 0, 0, 255, 255]
    assert mapper.index(14) is None
    assert mapper.index("rye") is None


def test_a_crosswalk_may_ignore_the_rest(legend: Legend) -> None:
    mapper = ValueMapper(legend, parse_crosswalk({"map": {1: 10}, "rest": "ignore"}, "c", legend))
    assert [mapper.index(value) for value in (1, 2, "x")] == [0, 255, 255]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"maps": {}}, "no `map`"),
        ({"map": {1: 11}}, "leads to 11"),
        ({"map": {1: "Sea"}}, "leads to 'Sea'"),
        ({"map": {1.5: 10}}, "1.5 is no label code"),
        ({"map": {"9-3": 10}}, "'9-3' is empty"),
        ({"to": "other", "map": {1: 10}}, "leads to legend 'other'"),
        ({"map": {1: 10}, "rest": "drop"}, "rest is 'drop'"),
        ({"map": {1: 10}, "more": 1}, "'more'"),
    ],
)
def test_a_bad_crosswalk_is_refused(legend: Legend, document: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_crosswalk(document, "c", legend)


def test_without_a_crosswalk_codes_and_names_are_the_legends_own(legend: Legend) -> None:
    mapper = ValueMapper(legend)
    assert [mapper.index(value) for value in (10, "10", "Forest", 9920)] == [0, 0, 2, 1]
    assert mapper.index(11) is None


def test_unknown_codes_are_listed_all(legend: Legend) -> None:
    codes = np.array([[10, 7], [8, 20]])
    with pytest.raises(InputError, match="label values 7, 8 not in legend 'toy'") as caught:
        ValueMapper(legend, what="labels x.tif").indices(codes, np.ones((2, 2), bool))
    assert "10, 9920, 20" in caught.value.remedy
    assert ValueMapper(legend).indices(codes, codes >= 10).tolist() == [[0, 255], [255, 2]]


@given(st.sampled_from([1, 100_000]), st.lists(st.integers(0, 5), min_size=1, max_size=50), st.data())
def test_indices_agree_with_one_value_at_a_time(factor: int, codes: list[int], data: st.DataObject) -> None:
    codes = [code * factor for code in codes]
    legend = Legend("n", "1", tuple(LegendClass(c * factor, str(c), "#000000") for c in (5, 3, 0, 1, 2, 4)))
    valid = data.draw(st.lists(st.booleans(), min_size=len(codes), max_size=len(codes)))
    mapper = ValueMapper(legend, ignore=(3,))
    got = mapper.indices(np.array(codes, np.int64), np.array(valid))
    assert got.dtype == np.uint8
    assert got.tolist() == [mapper.index(code) if ok else 255 for code, ok in zip(codes, valid, strict=True)]
