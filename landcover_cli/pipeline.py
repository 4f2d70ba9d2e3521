"""Run a plan: what is not done yet, step by step, through an executor, into the result store."""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from landcover_cli.compute import Executor, open_executor
from landcover_cli.config.runtime import RuntimeConfig, parse_bytes
from landcover_cli.core.digest import pretty_json
from landcover_cli.core.plan import Step
from landcover_cli.core.unit import Inputs, PlannedUnit, RunContext, UnitRef
from landcover_cli.errors import LcError, PartialFailureError
from landcover_cli.io.atomic import atomic_file, storage_error
from landcover_cli.io.lock import workspace_lock
from landcover_cli.io.resultstore import MANIFEST, ResultStore
from landcover_cli.plan import Plan, load_step

log = logging.getLogger("lc")

STOP = threading.Event()
"""Set once the run was asked to stop; units in this process look at it."""


class Reporter(Protocol):
    """Who watches a run: a progress bar, a log, or nobody."""

    def step(self, title: str, total: int, done: int) -> None:
        """A step begins with so many units, so many of them done already."""
        ...

    def unit(self, unit: UnitRef, seconds: float, error: Exception | None) -> None:
        """A unit ended."""
        ...

    def within(self, done: float, total: float, text: str) -> None:
        """Progress within a unit."""
        ...


@dataclass(frozen=True)
class Task:
    """One unit, ready to be sent to a worker.

    Attributes:
        planned: The unit.
        workspace: The workspace as a path that the worker sees, too.
        inputs: External inputs and result folders.
        context: How to run.
    """

    planned: PlannedUnit
    workspace: str
    inputs: Inputs
    context: RunContext


def run_task(task: Task) -> float:
    """Carry out one unit unless its result exists; returns seconds. Runs in any worker."""
    started = time.perf_counter()
    store = ResultStore(Path(task.workspace))
    if not store.is_done(task.planned):
        step = load_step(task.planned.unit.step)
        checkpoint = store.checkpoint(task.planned)
        context = replace(task.context, checkpoint=checkpoint)
        store.produce(task.planned, lambda out: step.run(task.planned.unit, task.inputs, out, context))
        # Only now: until the result has its name, the checkpoint is all there is.
        shutil.rmtree(checkpoint, ignore_errors=True)
    return time.perf_counter() - started


@dataclass
class RunSummary:
    """What a run did.

    Attributes:
        ran: Units carried out now.
        kept: Units whose results existed.
        failed: Unit → error.
        skipped: Units that need a failed one.
        seconds: Per step, wall time.
        products: Files below ``products/``.
    """

    ran: int = 0
    kept: int = 0
    failed: dict[UnitRef, Exception] = field(default_factory=dict)
    skipped: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    products: list[str] = field(default_factory=list)


def run(plan: Plan, runtime: RuntimeConfig, reporter: Reporter) -> RunSummary:
    """Carry out what is not done, then publish.

    Raises:
        WorkspaceLockedError: Another run holds the workspace.
        LcError: A unit failed (`on_error: stop`).
        PartialFailureError: Units failed and the rest is published (`on_error: continue`).
    """
    summary = RunSummary()
    for planned in plan.units.values():
        if not plan.store.is_done(planned):
            load_step(planned.unit.step).check(planned.unit)
    with workspace_lock(plan.workspace):
        plan.store.clear_scratch()
        pending = {ref for ref, planned in plan.units.items() if not plan.store.is_done(planned)}
        if not pending:
            summary.kept = len(plan.units)
        else:
            _run_steps(plan, runtime, reporter, summary)
        summary.products = publish(plan)
        if summary.ran:
            _write_run_record(plan, runtime, summary)
    if summary.failed:
        first = next(iter(summary.failed.values()))
        raise PartialFailureError(
            f"{len(summary.failed)} of {len(plan.units)} units failed, {summary.skipped} that need them were skipped; "
            f"the rest is published. First: {getattr(first, 'problem', first)}",
            remedy=getattr(first, "remedy", "") or "see the log; then run the same command again",
        )
    return summary


def _run_steps(plan: Plan, runtime: RuntimeConfig, reporter: Reporter, summary: RunSummary) -> None:
    memory = parse_bytes(runtime.memory)
    with open_executor(runtime.executor, runtime.workers, runtime.scheduler, memory) as executor:
        try:
            for step, units in plan.steps():
                started = time.perf_counter()
                todo = [planned for planned in units if not plan.store.is_done(planned)]
                summary.kept += len(units) - len(todo)
                reporter.step(step.title, len(units), len(units) - len(todo))
                ready = [planned for planned in todo if _ready(plan, planned)]
                summary.skipped += len(todo) - len(ready)
                if ready:
                    _run_step(plan, step, ready, executor, runtime, reporter, summary)
                    summary.seconds[step.name] = time.perf_counter() - started
        except BaseException:
            STOP.set()
            executor.abort()
            raise
        finally:
            STOP.clear()


def _ready(plan: Plan, planned: PlannedUnit) -> bool:
    return all(plan.store.is_done(plan.units[ref]) for ref in planned.unit.needs.values())


def _run_step(
    plan: Plan,
    step: Step,
    units: list[PlannedUnit],
    executor: Executor,
    runtime: RuntimeConfig,
    reporter: Reporter,
    summary: RunSummary,
) -> None:
    """One step's units through the executor; a step that uses all cores by itself runs here, serially."""
    if not step.parallel:
        with open_executor("serial", 1) as serial:
            _drain(plan, units, serial, 1, runtime, reporter, summary)
    else:
        _drain(plan, units, executor, runtime.workers, runtime, reporter, summary)


def _drain(
    plan: Plan,
    units: list[PlannedUnit],
    executor: Executor,
    workers: int,
    runtime: RuntimeConfig,
    reporter: Reporter,
    summary: RunSummary,
) -> None:
    context = RunContext(memory_bytes=parse_bytes(runtime.memory) // workers, device=runtime.device)
    if executor.in_process:
        context = RunContext(
            memory_bytes=context.memory_bytes, device=runtime.device, progress=reporter.within, cancelled=STOP.is_set
        )
    tasks = [Task(planned, str(plan.workspace), _inputs(plan, planned), context) for planned in units]
    for outcome in executor.run(run_task, tasks):
        ref = units[outcome.index].unit.ref
        if STOP.is_set():
            raise KeyboardInterrupt
        reporter.unit(ref, outcome.value or 0.0, outcome.error)
        if outcome.error is None:
            summary.ran += 1
        elif isinstance(outcome.error, LcError) and runtime.on_error == "continue":
            log.error("%s %s: %s", ref.step, ref.id, outcome.error)
            summary.failed[ref] = outcome.error
        else:
            raise outcome.error


def _inputs(plan: Plan, planned: PlannedUnit) -> Inputs:
    folders = {name: plan.store.folder(plan.units[ref]) for name, ref in planned.unit.needs.items()}
    return Inputs(dict(planned.unit.files), folders)


def publish(plan: Plan) -> list[str]:
    """Bring finished deliverables to ``products/``: hard links (or copies), each file replaced whole.

    Returns:
        Paths relative to ``products/``, sorted. Their digests stand in ``products/products.json``.
    """
    target = plan.workspace / "products"
    wanted: dict[str, tuple[Path, str]] = {}
    for step, units in plan.steps():
        for planned in units:
            folder = step.publish(planned.unit)
            if folder is None or not plan.store.is_done(planned):
                continue
            for name, facts in plan.store.manifest(planned)["files"].items():
                wanted[os.path.normpath(f"{folder}/{name}")] = (plan.store.folder(planned) / name, facts["sha256"])
    if not wanted:
        return []
    index = pretty_json({name: sha for name, (_, sha) in sorted(wanted.items())})
    record = target / "products.json"
    try:
        for name, (source, _) in sorted(wanted.items()):
            _place(source, target / name)
        if not record.is_file() or record.read_text(encoding="utf-8") != index:
            for path in sorted(target.rglob("*")):
                if path.is_file() and path != record and str(path.relative_to(target)) not in wanted:
                    path.unlink()
            with atomic_file(record) as scratch:
                scratch.write_text(index, encoding="utf-8")
    except OSError as error:
        raise storage_error(target, error) from error
    return sorted(wanted)


def _place(source: Path, target: Path) -> None:
    if target.exists() and target.samefile(source):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(target) as scratch:
        try:
            scratch.hardlink_to(source)
        except OSError:
            shutil.copyfile(source, scratch)


def _write_run_record(plan: Plan, runtime: RuntimeConfig, summary: RunSummary) -> None:
    """What ran when and for how long: apart from the deliverables, which hold nothing of time or host."""
    run_id = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + f"-{os.getpid()}"
    record: Mapping[str, Any] = {
        "run": run_id,
        "ran": summary.ran,
        "kept": summary.kept,
        "failed": {f"{ref.step} {ref.id}": str(error) for ref, error in summary.failed.items()},
        "seconds": {name: round(value, 3) for name, value in summary.seconds.items()},
        "runtime": json.loads(runtime.model_dump_json()),
    }
    with atomic_file(plan.workspace / "runs" / f"{run_id}.json") as scratch:
        scratch.write_text(pretty_json(record), encoding="utf-8")


def clean(plan: Plan, *, dry_run: bool = False) -> tuple[int, int]:
    """Remove every result that the plan does not name; returns (results, bytes).

    Raises:
        WorkspaceLockedError: A run holds the workspace.
    """
    keep = {plan.store.folder(planned) for planned in plan.units.values()}
    if dry_run:
        stale = [path.parent for path in (plan.workspace / "results").rglob(MANIFEST) if path.parent not in keep]
        return len(stale), sum(item.stat().st_size for path in stale for item in path.rglob("*") if item.is_file())
    with workspace_lock(plan.workspace):
        plan.store.clear_scratch()
        unfinished = [planned for planned in plan.units.values() if not plan.store.is_done(planned)]
        freed = plan.store.prune_checkpoints({plan.store.checkpoint(planned) for planned in unfinished})
        count, more = plan.store.prune(keep)
        return count, freed + more
