"""`lc run`, `lc status`, `lc clean`: the whole chain from a pipeline file."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landcover_cli.cli import options
from landcover_cli.errors import UsageError

if TYPE_CHECKING:
    from landcover_cli.config.pipeline import PipelineConfig
    from landcover_cli.plan import Plan

log = logging.getLogger("lc")


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command("run")(run)
    app.command("status")(status)
    app.command("clean")(clean)


def run(
    pipeline: options.PipelineArg,
    workspace: options.Workspace = None,
    until: Annotated[str | None, typer.Option(help="Last step to run, e.g. composite.")] = None,
    set_: options.Set = None,
    executor: options.ExecutorOpt = None,
    workers: options.Workers = None,
    scheduler: options.Scheduler = None,
    memory: options.Memory = None,
    device: options.Device = None,
    on_error: options.OnError = None,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Run a pipeline file: everything that is not done yet, and nothing else."""
    from landcover_cli.cli.progress import reporter
    from landcover_cli.pipeline import run as run_plan

    runtime = {
        "executor": executor or ("dask" if scheduler else None),
        "workers": workers,
        "scheduler": scheduler,
        "memory": memory,
        "device": device,
        "on_error": on_error,
    }
    plan = load_plan(pipeline, workspace, set_, until, runtime)
    if dry_run:
        _print_plan(plan, why=True, as_json=as_json)
        return
    with reporter() as watcher:
        summary = run_plan(plan, plan.config.runtime, watcher)
    products = plan.workspace / "products"
    if as_json:
        record = {
            "ran": summary.ran,
            "kept": summary.kept,
            "products": str(products),
            "files": summary.products,
            "seconds": summary.seconds,
        }
        typer.echo(json.dumps(record))
    elif summary.ran == 0:
        typer.echo(f"nothing to do: all {summary.kept} units are done; products are in {products}")
    else:
        typer.echo(f"done: {summary.ran} units ran, {summary.kept} were done before; products are in {products}")


def status(
    pipeline: options.PipelineArg,
    workspace: options.Workspace = None,
    set_: options.Set = None,
    why: Annotated[bool, typer.Option("--why", help="Say why each unit would run.")] = False,
    as_json: options.Json = False,
) -> None:
    """Say what is done, what would run, and why."""
    plan = load_plan(pipeline, workspace, set_)
    _print_plan(plan, why=why, as_json=as_json)


def clean(
    pipeline: options.PipelineArg,
    workspace: options.Workspace = None,
    set_: options.Set = None,
    dry_run: options.DryRun = False,
) -> None:
    """Remove results that the pipeline file no longer asks for."""
    from landcover_cli.pipeline import clean as clean_plan

    plan = load_plan(pipeline, workspace, set_)
    count, freed = clean_plan(plan, dry_run=dry_run)
    verb = "would remove" if dry_run else "removed"
    typer.echo(f"{verb} {count} results, {freed / 1e6:.1f} MB")


def load_plan(
    pipeline: Path,
    workspace: Path | None = None,
    overrides: list[str] | None = None,
    until: str | None = None,
    runtime: dict[str, Any] | None = None,
) -> Plan:
    """Read, override, check and plan a pipeline file.

    Raises:
        ConfigError: The file or an override does not make sense.
        UsageError: An unknown step, or an override without ``=``.
        InputError: An input is missing.
    """
    from landcover_cli.plan import ORDER, make_plan

    if until is not None and until not in ORDER:
        raise UsageError(f"unknown step {until!r}", remedy=f"use one of {', '.join(ORDER)}")
    config = load_config(pipeline, overrides, runtime)
    return make_plan(config, pipeline.resolve().parent, workspace, until)


def load_config(
    pipeline: Path, overrides: list[str] | None = None, runtime: dict[str, Any] | None = None
) -> PipelineConfig:
    """Read a pipeline file with ``KEY=VALUE`` overrides applied.

    Raises:
        ConfigError: The file or an override does not make sense.
        UsageError: An override without ``=``.
    """
    from landcover_cli.config.pipeline import parse_pipeline, read_document
    from landcover_cli.config.strictyaml import load_document

    document = read_document(pipeline)
    for text in overrides or []:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {text!r} is not KEY=VALUE", remedy="write e.g. --set train.epochs=5")
        try:
            parsed = load_document(value)
        except ValueError:
            parsed = value
        _put(document, key.split("."), parsed)
    for name, value in (runtime or {}).items():
        if value is not None:
            _put(document, ["runtime", name], value)
    return parse_pipeline(document, str(pipeline))


def _put(document: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        inner = document.get(part)
        if not isinstance(inner, dict):
            inner = document[part] = {}
        document = inner
    document[path[-1]] = value


def _print_plan(plan: Plan, *, why: bool, as_json: bool) -> None:
    from landcover_cli.plan import status as plan_status

    states = plan_status(plan)
    if as_json:
        records = [
            {"step": s.planned.unit.step, "unit": s.planned.unit.id, "done": s.done, "cause": s.cause, "why": s.why}
            for s in states
        ]
        typer.echo(json.dumps({"workspace": str(plan.workspace), "units": records}))
        return
    for step, units in plan.steps():
        mine = [state for state in states if state.planned.unit.step == step.name]
        missing = [state for state in mine if not state.done]
        typer.echo(f"{step.name:14} {len(units) - len(missing):5} of {len(units):5} done  {step.title}")
        if why:
            _print_reasons(missing)
    todo = sum(not state.done for state in states)
    typer.echo(
        f"{todo} of {len(states)} units would run" if todo else f"nothing to do: all {len(states)} units are done"
    )


def _print_reasons(missing: list[Any]) -> None:
    """Units that would run, grouped by their reasons; the own reasons first."""
    groups: Counter[tuple[str, ...]] = Counter(state.why for state in missing)
    for reasons in sorted(groups, key=lambda item: [line.startswith("needs") for line in item]):
        first = next(state for state in missing if state.why == reasons)
        more = f" and {groups[reasons] - 1} more" if groups[reasons] > 1 else ""
        shown = "; ".join(reasons[:4]) + (f"; and {len(reasons) - 4} more" if len(reasons) > 4 else "")
        typer.echo(f"    {first.planned.unit.id}{more}: {shown}")
