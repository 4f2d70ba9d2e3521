from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import typer
from synthetic_results import EVIL, make_results, write_clear_counts
from typer.testing import CliRunner

from landcover_cli.errors import InputError
from landcover_cli.io.overview import class_areas, clear_counts, view_raster
from landcover_cli.report.build import Results, build_page, find_results
from landcover_cli.report.page import heat, hectares, percent, render
from landcover_cli.report.png import class_png, ramp_png
from landcover_cli.report.svg import line_chart, stacked_bars


def page_of(folder: Path) -> str:
    found = find_results(folder, EVIL)
    results = Results(EVIL, found.maps, found.assessments, found.model, found.cubes, {EVIL: [EVIL, "S2A_2"]})
    return render(build_page(results))


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_opens_offline_and_escapes_every_name(tmp_path: Path) -> None:
    html = page_of(make_results(tmp_path))
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "http://" not in html
    assert "https://" not in html
    tags = Tags()
    tags.feed(html)
    assert {"script", "link", "iframe", "object", "a"}.isdisjoint(tag for tag, _ in tags.found)
    for tag, attributes in tags.found:
        assert not [name for name in attributes if name.startswith("on")]
        if tag == "img":
            assert str(attributes["src"]).startswith("data:image/png;base64,")
    assert 'name="viewport"' in html


def test_the_page_says_what_the_results_say(tmp_path: Path) -> None:
    html = page_of(make_results(tmp_path))
    assert html.count("<img") == 4  # map, confidence, two layers of clear observations
    assert "no sampling error" in html
    assert percent(17150 / 17872) in html  # overall accuracy
    assert "1 of 3 classes have no reference" in html
    assert "2021-01-01 – 2021-12-31" in html
    assert "ab" * 32 in html
    assert "cd" * 32 in html
    assert "2021-09" in html or "2021-08" in html  # periods below the bars
    assert str(tmp_path) not in html


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    assert page_of(make_results(tmp_path / "a")) == page_of(make_results(tmp_path / "b"))


def test_without_anything_but_a_map_the_page_says_so(tmp_path: Path) -> None:
    folder = make_results(tmp_path) / "map" / "main"
    for name in ("main_confidence.tif", "main_validity.tif", "item.json"):
        (folder / name).unlink()
    html = render(build_page(find_results(folder, "Map")))
    assert "nothing is known about the accuracy" in html
    assert html.count("<img") == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("assess/main/assessment.json", "{}"),
        ("assess/main/assessment.json", "[]"),
        ("assess/main/assessment.json", "{"),
        ("map/main/item.json", '{"properties": 3}'),
        ("map/main/legend.json", '{"classes": {"1": "a"}}'),
        ("model/model.json", '{"spec": {"ports": [3]}}'),
        ("map/main/main_class.tif", "no raster"),
    ],
)
def test_damaged_results_are_refused(tmp_path: Path, name: str, content: str) -> None:
    folder = make_results(tmp_path)
    (folder / name).write_text(content)
    with pytest.raises(InputError):
        page_of(folder)


def test_a_style_from_a_document_is_not_taken_over(tmp_path: Path) -> None:
    folder = make_results(tmp_path)
    path = folder / "assess" / "main" / "assessment.json"
    document = json.loads(path.read_text())
    document["classes"][0]["color"] = "red;position:fixed;inset:0"
    path.write_text(json.dumps(document))
    assert "position:fixed" not in page_of(folder)


def test_the_command_writes_the_page_whole(tmp_path: Path) -> None:
    from landcover_cli.cli import report

    app = typer.Typer()
    app.callback()(lambda: None)
    report.register(app)
    folder = make_results(tmp_path / "results")
    result = CliRunner().invoke(app, ["report", str(folder), "--out", str(tmp_path / "r.html"), "--title", "A & B"])
    assert result.exit_code == 0, result.output
    assert "<h1>A &amp; B</h1>" in (tmp_path / "r.html").read_text()
    (tmp_path / "empty").mkdir()
    for bad in (tmp_path / "none", tmp_path / "empty"):
        result = CliRunner().invoke(app, ["report", str(bad), "--out", str(tmp_path / "s.html")])
        assert isinstance(result.exception, InputError)
    assert not (tmp_path / "s.html").exists()


def decode(png: bytes, tmp_path: Path) -> np.ndarray:
    import warnings

    (tmp_path / "p.png").write_bytes(png)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a picture has no georeference
        with rasterio.open(tmp_path / "p.png") as file:
            return np.moveaxis(file.read(), 0, -1)


def test_pictures_hold_the_legends_colours(tmp_path: Path) -> None:
    index = np.array([[0, 1, 255], [1, 0, 2]], np.uint8)
    rgba = decode(class_png(index, [(1, 2, 3), (9, 8, 7), (0, 0, 255)]), tmp_path)
    assert rgba[0].tolist() == [[1, 2, 3, 255], [9, 8, 7, 255], [0, 0, 0, 0]]
    assert rgba[1, 2].tolist() == [0, 0, 255, 255]
    ramp = decode(ramp_png(np.array([[0.0, 1.0, 0.5]]), np.array([[True, True, False]]), 0, 1, "confidence"), tmp_path)
    assert ramp[0, :, 3].tolist() == [255, 255, 0]
    assert ramp[0, 0].tolist() != ramp[0, 1].tolist()


def test_views_are_small_and_areas_are_not(tmp_path: Path) -> None:
    folder = make_results(tmp_path) / "map" / "main"
    view = view_raster(folder / "main_class.tif", 50)
    assert max(view.values_byx.shape) == 50
    pixels, area_m2 = class_areas(folder / "main_class.tif", 3)
    assert pixels.sum() == 115 * 168
    assert area_m2.sum() == pytest.approx(115 * 168 * 100, rel=2e-3)


def test_clear_observations_are_counted_by_period(tmp_path: Path) -> None:
    n_clear = np.zeros((2, 40, 30), int)
    n_clear[1, :10] = 4
    n_clear[1, 10:11] = 9
    write_clear_counts(tmp_path / "a.zarr", n_clear)
    write_clear_counts(tmp_path / "b.zarr", n_clear)
    counts = clear_counts([tmp_path / "a.zarr", tmp_path / "b.zarr"])
    assert counts == {"s2": {"2021-01": [2400, 0, 0, 0, 0], "2021-02": [1740, 0, 0, 600, 60]}}


def test_the_heat_map_shows_shares_of_the_reference() -> None:
    found = heat([[90, 5, 0], [10, 95, 0], [0, 0, 0]], ["a", "b", "c"])
    assert found is not None
    assert found.columns == ("a", "b")
    assert found.left_out == 1
    assert [cell.share for cell in found.rows[0][1]] == ["90", "5"]
    assert heat(np.eye(41, dtype=int).tolist(), [str(i) for i in range(41)]) is None


def test_charts_survive_odd_numbers() -> None:
    numbers = re.compile(r"nan|inf")
    cases: list[Any] = [
        line_chart([1.0], {"a": [0.5]}, "one"),
        line_chart([1.0, 2.0], {"a": [None, None]}, "none"),
        line_chart([], {}, "empty"),
        line_chart([1.0, 2.0], {"a": [3.0, 3.0]}, "flat"),
        line_chart([1.0, 2.0, 3.0], {EVIL: [1e-9, None, 5e6]}, EVIL),
        stacked_bars({}, "empty"),
        stacked_bars({EVIL: [1, 0, 0, 0, 0]}, EVIL),
    ]
    for svg in cases:
        assert not numbers.search(str(svg))
        assert "<script" not in str(svg)


def test_areas_have_the_digits_they_deserve() -> None:
    assert [hectares(value) for value in (1234567.8, 1234.5, 56.78, 0.123)] == ["1,234,568", "1,234", "56.8", "0.12"]
