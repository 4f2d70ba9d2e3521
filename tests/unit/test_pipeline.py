"""Planning, running, resuming, publishing, explaining: with a toy chain of three steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from landcover_cli import pipeline, plan
from landcover_cli.config.pipeline import parse_pipeline
from landcover_cli.core.plan import PlanContext, Step
from landcover_cli.core.unit import Inputs, RunContext, Unit
from landcover_cli.errors import InputError, PartialFailureError, WorkspaceLockedError
from landcover_cli.io.lock import workspace_lock

AOI = {
    "type": "Polygon",
    "coordinates": [[[13.0, 48.0], [13.02, 48.0], [13.02, 48.02], [13.0, 48.02], [13.0, 48.0]]],
}


class Silent:
    """Nobody watches."""

    def step(self, title: str, total: int, done: int) -> None: ...
    def unit(self, unit: object, seconds: float, error: Exception | None) -> None: ...
    def within(self, done: float, total: float, text: str) -> None: ...


def plan_letters(context: PlanContext) -> list[Unit]:
    batch = context.config.train.batch
    source = str(context.base / "input.txt")
    return [Unit("letters", name, {"train": {"batch": batch}}, {"input": source}) for name in ("a", "b", "bad")]


def run_letters(unit: Unit, inputs: Inputs, out: Path, context: RunContext) -> None:
    text = inputs.file("input").read_text()
    if unit.id == "bad" and "poison" in text:
        raise InputError("poisoned", remedy="filter it")
    (out / "letter.txt").write_text(f"{unit.id}{text}{unit.params['train']['batch']}")


def plan_words(context: PlanContext) -> list[Unit]:
    epochs = context.config.train.epochs
    return [
        Unit("words", letter.id, {"train": {"epochs": epochs}}, needs={"letter": letter.ref})
        for letter in context.units["letters"]
    ]


def run_words(unit: Unit, inputs: Inputs, out: Path, context: RunContext) -> None:
    (out / "word.txt").write_text((inputs.unit("letter") / "letter.txt").read_text() * 2)


STEPS = {
    "letters": Step("letters", "Letters", 1, plan_letters, run_letters),
    "words": Step("words", "Words", 1, plan_words, run_words, parallel=False, publish=lambda unit: f"words/{unit.id}"),
}


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., plan.Plan]:
    """A function that plans the toy chain with overrides."""
    monkeypatch.setattr(plan, "ORDER", tuple(STEPS))
    monkeypatch.setattr(plan, "load_step", STEPS.__getitem__)
    monkeypatch.setattr(pipeline, "load_step", STEPS.__getitem__)
    (tmp_path / "aoi.geojson").write_text(json.dumps(AOI))
    (tmp_path / "input.txt").write_text("x")

    def build(**train: Any) -> plan.Plan:
        document = {
            "aoi": "aoi.geojson",
            "sources": {"dem": {"type": "static", "files": ["d.tif"], "bands": ["elevation"]}},
            "train": train,
        }
        return plan.make_plan(parse_pipeline(document, "test"), tmp_path)

    return build


def go(made: plan.Plan, executor: str = "serial", on_error: str = "stop") -> pipeline.RunSummary:
    runtime = made.config.runtime.model_copy(update={"executor": executor, "on_error": on_error})
    return pipeline.run(made, runtime, Silent())


def test_a_second_run_does_nothing(make: Callable[..., plan.Plan]) -> None:
    assert go(make()).ran == 6
    second = go(make())
    assert (second.ran, second.kept) == (0, 6)
    assert "words/a/word.txt" in second.products


def test_a_changed_parameter_runs_what_depends_on_it(make: Callable[..., plan.Plan]) -> None:
    go(make(epochs=2))
    states = plan.status(make(epochs=3))
    assert {s.planned.unit.step for s in states if not s.done} == {"words"}
    assert states[-1].why == ("train.epochs: 2 → 3",)
    assert go(make(epochs=3)).ran == 3
    # And back again: the old results are still there.
    assert go(make(epochs=2)).ran == 0


def test_status_tells_own_reasons_from_upstream_ones(make: Callable[..., plan.Plan], tmp_path: Path) -> None:
    assert {s.cause for s in plan.status(make())} == {"new"}
    go(make())
    (tmp_path / "input.txt").write_text("y")
    states = {s.planned.unit.ref: s for s in plan.status(make())}
    letters = next(s for ref, s in states.items() if ref.step == "letters")
    words = next(s for ref, s in states.items() if ref.step == "words")
    assert (letters.cause, letters.why) == ("changed", ("input: content changed",))
    assert words.cause == "upstream"
    assert "needs letters" in words.why[0]


def test_a_moved_workspace_is_still_done(make: Callable[..., plan.Plan], tmp_path: Path) -> None:
    go(make())
    (tmp_path / "work").rename(tmp_path / "moved")
    config = make().config
    moved = plan.make_plan(config, tmp_path, tmp_path / "moved")
    assert go(moved).ran == 0


def test_stop_keeps_what_is_finished_and_leaves_no_scratch(make: Callable[..., plan.Plan], tmp_path: Path) -> None:
    (tmp_path / "input.txt").write_text("poison")
    with pytest.raises(InputError, match="poisoned"):
        go(make())
    assert not list((tmp_path / "work" / "scratch").iterdir())
    (tmp_path / "input.txt").write_text("x")
    assert go(make()).ran == 6


@pytest.mark.parametrize("executor", ["serial", "threads"])
def test_continue_publishes_the_rest(make: Callable[..., plan.Plan], tmp_path: Path, executor: str) -> None:
    (tmp_path / "input.txt").write_text("poison")
    with pytest.raises(PartialFailureError) as caught:
        go(make(), executor, "continue")
    assert caught.value.exit_code == 4
    products = tmp_path / "work" / "products"
    assert (products / "words" / "a" / "word.txt").is_file()
    assert not (products / "words" / "bad").exists()


def test_products_change_with_the_plan_and_hold_digests(make: Callable[..., plan.Plan], tmp_path: Path) -> None:
    go(make(batch=1))
    products = tmp_path / "work" / "products"
    before = json.loads((products / "products.json").read_text())
    go(make(batch=2))
    after = json.loads((products / "products.json").read_text())
    assert before.keys() == after.keys()
    assert before["words/a/word.txt"] != after["words/a/word.txt"]
    assert (products / "words" / "a" / "word.txt").read_text() == "ax2ax2"


def test_clean_removes_what_the_plan_does_not_name(make: Callable[..., plan.Plan]) -> None:
    go(make(epochs=2))
    go(make(epochs=3))
    assert pipeline.clean(make(epochs=3), dry_run=True)[0] == 3
    assert pipeline.clean(make(epochs=3))[0] == 3
    assert go(make(epochs=3)).ran == 0
    assert go(make(epochs=2)).ran == 3


def test_two_runs_at_once_are_refused(make: Callable[..., plan.Plan], tmp_path: Path) -> None:
    made = make()
    with workspace_lock(tmp_path / "work"), pytest.raises(WorkspaceLockedError) as caught:
        go(made)
    assert caught.value.exit_code == 5
