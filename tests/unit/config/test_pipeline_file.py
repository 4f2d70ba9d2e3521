"""The pipeline file: defaults, refusals, hints."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from landcover_cli.config.pipeline import load_pipeline, pipeline_schema
from landcover_cli.config.place import PeriodConfig
from landcover_cli.config.runtime import parse_bytes
from landcover_cli.errors import ConfigError

MINIMAL = """
aoi: region.geojson
period: {start: 2021-01, end: 2021-12}
sources:
  s2: {type: sentinel2_l2a, scenes: ["s2/*.SAFE"]}
"""


def load(tmp_path: Path, text: str) -> object:
    path = tmp_path / "pipeline.yaml"
    path.write_text(text, encoding="utf-8")
    return load_pipeline(path)


def test_a_minimal_file_has_defaults(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL)
    assert config.grid.resolution_m == 10  # type: ignore[attr-defined]
    assert list(config.all_regions()) == ["main"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("aoi:", "aio:"), ["unknown key `aio`", "did you mean `aoi`"]),
        (("scenes:", "scene:"), ["unknown key `sources.s2.scene`", "did you mean `scenes`"]),
        (("type: sentinel2_l2a", "type: sentinel3"), ["sentinel3", "sentinel2_l2a"]),
        (("aoi: region.geojson\n", ""), ["aoi", "regions"]),
        (("  s2:", "  S2:"), ["S2", "lower-case"]),
        (("start: 2021-01", "start: 2021-13"), []),
        (("period: {start: 2021-01, end: 2021-12}\n", ""), ["period"]),
        (("aoi: region.geojson", "aoi: a\naoi: b"), ["duplicate key 'aoi'"]),
        (("aoi: region.geojson", "aoi: [unclosed"), ["not valid YAML"]),
        (("aoi: region.geojson", "aoi: !!python/object/apply:os.system [true]"), ["not valid YAML"]),
        (("aoi: region.geojson", "aoi: r\ngrid: {resolution_m: .nan}"), ["grid.resolution_m"]),
        (("aoi: region.geojson", "aoi: r\nruntime: {memory: lots}"), ["lots"]),
    ],
)
def test_mistakes_are_named(tmp_path: Path, change: tuple[str, str], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        config = load(tmp_path, MINIMAL.replace(*change))
        config.period.span()  # type: ignore[attr-defined]
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"", b"- a\n- b\n", b"[" * 5000])
def test_what_is_no_pipeline_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"p\.yaml"):
        load_pipeline(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yaml"):
        load_pipeline(tmp_path / "gone.yaml")


def test_spans_include_the_last_month_or_day() -> None:
    assert PeriodConfig(start="2021-01", end="2021-02").span() == (date(2021, 1, 1), date(2021, 3, 1))
    assert PeriodConfig(start="2021-01-05", end="2021-01-05").span() == (date(2021, 1, 5), date(2021, 1, 6))


def test_sizes() -> None:
    assert parse_bytes("4GB") == 4 * 2**30
    assert parse_bytes(" 1.5 g ") == int(1.5 * 2**30)
    with pytest.raises(ValueError, match="size"):
        parse_bytes("many")


def test_every_key_is_described() -> None:
    schema = json.loads(pipeline_schema())
    missing = [
        f"{name}.{key}"
        for name, section in [("pipeline", schema), *schema["$defs"].items()]
        for key, value in section.get("properties", {}).items()
        if "description" not in value and "const" not in value and "$ref" not in value
    ]
    assert missing == []
