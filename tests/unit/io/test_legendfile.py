from __future__ import annotations

from pathlib import Path

import pytest

from landcover_cli.errors import InputError
from landcover_cli.io.legendfile import read_crosswalk, read_legend, write_legend

YAML = """
id: toy
version: "1"
classes:
  - {code: 1, name: Wäter, color: "#0000ff"}
  - {code: 2, name: "Trees <b>", color: "#00aa00", description: "a: b"}
"""


def test_yaml_and_json_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "l.yaml").write_text(YAML, encoding="utf-8")
    legend = read_legend(tmp_path / "l.yaml")
    write_legend(tmp_path / "l.json", legend)
    assert read_legend(tmp_path / "l.json") == legend
    assert legend.names == ("Wäter", "Trees <b>")


def test_a_crosswalk_file(tmp_path: Path) -> None:
    (tmp_path / "l.yaml").write_text(YAML, encoding="utf-8")
    (tmp_path / "c.json").write_text('{"to": "toy", "map": {"11": 1, "99": null}}')
    crosswalk = read_crosswalk(tmp_path / "c.json", read_legend(tmp_path / "l.yaml"))
    assert crosswalk.values == {11: 1, 99: None}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"classes: [", "not valid YAML"),
        (b"id: a\nid: b\nclasses: {1: a}", "duplicate key 'id'"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"", "no `classes`"),
        (b"- 1\n- 2", "no `classes`"),
        (b"classes: {1: 2021-02-30}", "not valid YAML"),
        (b"!!python/object/apply:os.system ['true']", "not valid YAML"),
        (b"[" * 5000, "not valid YAML"),
        (b"a: &a [x,x,x]\nb: &b [*a,*a,*a]\nclasses: &c [*b,*b,*b]", "unknown key 'a'"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "legend.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        read_legend(path)
    assert "legend.yaml" in caught.value.problem
    assert len(caught.value.problem) < 1000


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(InputError, match=path.name):
            read_legend(path)
