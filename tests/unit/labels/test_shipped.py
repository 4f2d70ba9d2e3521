"""Legends and crosswalks that come with lc: each can be read, says its source, and loses nothing without saying so."""

from __future__ import annotations

import numpy as np
import pytest

from landcover_cli.config.strictyaml import load_document
from landcover_cli.errors import ConfigError, InputError
from landcover_cli.io.legendfile import read_crosswalk, read_legend
from landcover_cli.labels.crosswalk import ValueMapper
from landcover_cli.labels.shipped import shipped, shipped_names

LEGENDS, CROSSWALKS = shipped_names("legends"), shipped_names("crosswalks")


def document(kind: str, name: str) -> dict:
    path = shipped(kind, f"lc:{name}")
    assert path is not None
    return load_document(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", LEGENDS)
def test_a_legend_reads_and_says_its_source(name: str) -> None:
    path = shipped("legends", f"lc:{name}")
    assert path is not None
    assert read_legend(path).id == name
    assert (
        "Source:" in document("legends", name)["description"] or "studies" in document("legends", name)["description"]
    )


@pytest.mark.parametrize("name", CROSSWALKS)
def test_a_crosswalk_has_a_place_for_every_class(name: str) -> None:
    facts = document("crosswalks", name)
    source, _, target = name.partition("_to_")
    assert facts["to"] == target
    assert facts["description"]
    assert "rest" not in facts  # what is not listed is an error, never silence
    legend_path, path = shipped("legends", f"lc:{target}"), shipped("crosswalks", f"lc:{name}")
    assert legend_path is not None
    assert path is not None
    legend = read_legend(legend_path)
    mapper = ValueMapper(legend, read_crosswalk(path, legend), (), "labels")
    reached = {None}
    if source in LEGENDS:
        origin = shipped("legends", f"lc:{source}")
        assert origin is not None
        reached |= {mapper.index(code) for code in read_legend(origin).codes}
        assert None not in [mapper.index(code) for code in read_legend(origin).codes]  # listed, if only as `no label`
        if name == "igbp_to_igbp_simplified":
            assert reached == {None, *range(10)}
            assert [mapper.index(code) for code in range(1, 18)] == [
                0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 4, 5, 6, 5, 7, 8, 9,
            ]  # fmt: skip


def test_codes_of_eurocrops_go_to_their_groups() -> None:
    found = {}
    for name in ("eurocrops_groups", "eurocrops_main"):
        legend_path, path = shipped("legends", f"lc:{name}"), shipped("crosswalks", f"lc:eurocrops_to_{name}")
        assert legend_path is not None
        assert path is not None
        legend = read_legend(legend_path)
        mapper = ValueMapper(legend, read_crosswalk(path, legend), (), "labels")
        codes = np.array([3301010101, 3301090400, 3302000000, 3303060000, 3306070000, 3399000000])
        index = mapper.indices(codes, np.ones(6, bool))
        found[name] = [legend.codes[i] if i != legend.nodata else None for i in index]
        with pytest.raises(InputError, match="3401000000 not in the crosswalk"):
            mapper.indices(np.array([3401000000]), np.ones(1, bool))
    assert found["eurocrops_groups"] == [330101, 330109, 330200, 330306, 330600, None]
    assert found["eurocrops_main"] == [1, 1, 2, 3, 6, None]


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="legend 'lc:igpb' does not come with lc") as error:
        shipped("legends", "lc:igpb")
    assert "lc:igbp" in error.value.remedy
    assert shipped("legends", "igbp.yaml") is None
