"""Options that several commands share, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PipelineArg = Annotated[Path, typer.Argument(help="Pipeline file.", metavar="PIPELINE")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Output; it appears whole or not at all.")]
Workspace = Annotated[Path | None, typer.Option(help="Workspace; default: the pipeline file's.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the pipeline file, e.g. train.epochs=5."),
]
ExecutorOpt = Annotated[
    str | None, typer.Option("--executor", help="serial, threads, processes or dask; never changes a pixel.")
]
Workers = Annotated[int | None, typer.Option(min=1, help="Units at a time.")]
Scheduler = Annotated[str | None, typer.Option(help="Address of a Dask scheduler (tcp://…).")]
Memory = Annotated[str | None, typer.Option(help="Working memory of all workers together, e.g. 4GB.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu or cuda:<n>.")]
OnError = Annotated[str | None, typer.Option(help="After a failed unit: stop or continue.")]
