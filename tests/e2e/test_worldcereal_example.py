"""The real Belgian patches: train on two, map the third, whose 10 m bands are missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import lc

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "worldcereal_belgium.yaml"


def run(shared_data: Callable[[str], Path], workspace: Path, *options: str) -> dict[str, object]:
    shared_data("labelled/worldcereal-patches")
    done = lc(
        "-q", "run", EXAMPLE, "--set", f"vars.data={shared_data('.').resolve()}", "--workspace", workspace, *options,
        timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = (workspace / "products" / "assess" / "c" / "assessment.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def test_real_series_become_a_map_and_an_assessment(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    assessment = run(shared_data, tmp_path / "work", "--set", "train.epochs=2")
    assert 0.0 <= assessment["overall_accuracy"] <= 1.0  # type: ignore[operator]
    # Every pixel of the reference raster with a documented code: 2202 of crops, 1102 of grass.
    assert sum(map(sum, assessment["error_matrix"])) == 2202 + 1102  # type: ignore[call-overload]
    item = json.loads((tmp_path / "work" / "products" / "map" / "c" / "item.json").read_text(encoding="utf-8"))
    assert item["properties"]["start_datetime"].startswith("2019-03")


def test_the_missing_bands_are_named_when_they_are_required(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    shared_data("labelled/worldcereal-patches")
    done = lc(
        "-q", "run", EXAMPLE, "--set", f"vars.data={shared_data('.').resolve()}", "--workspace", tmp_path / "work",
        "--set", "sources.s2_10m.optional=false", "--dry-run",
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "B02" in done.stderr or "S2_L2A_10m" in done.stderr
    assert "remedy" in done.stderr
    assert not (tmp_path / "work" / "products").exists()


@pytest.mark.slow
def test_the_whole_example_beats_the_majority_class_on_average(
    shared_data: Callable[[str], Path], tmp_path: Path
) -> None:
    assessment = run(shared_data, tmp_path / "work")
    print(json.dumps({key: assessment[key] for key in ("overall_accuracy", "average_accuracy")}))
    assert assessment["average_accuracy"] > 0.5  # type: ignore[operator]
