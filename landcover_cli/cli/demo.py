"""`lc demo`: a simulated region, written as real products, through the whole chain."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from landcover_cli.cli import options
from landcover_cli.errors import UsageError

log = logging.getLogger("lc")


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command("demo")(demo)


def demo(
    folder: Annotated[Path, typer.Argument(help="Where the region and its workspace go.")] = Path("lc-demo"),
    size: Annotated[str, typer.Option(help="standard (minutes) or tiny (seconds).")] = "standard",
    seed: Annotated[int, typer.Option(min=0, help="Another seed is another region.")] = 7,
    generate_only: Annotated[
        bool, typer.Option("--generate-only", help="Write the products; do not map them.")
    ] = False,
    set_: options.Set = None,
    executor: options.ExecutorOpt = None,
    workers: options.Workers = None,
    as_json: options.Json = False,
) -> None:
    """Simulate a region, write its scenes as real products, and map it with the real chain."""
    from landcover_cli.cli.progress import reporter
    from landcover_cli.cli.run import load_plan
    from landcover_cli.demo.generate import generate
    from landcover_cli.pipeline import run as run_plan

    if size not in ("standard", "tiny"):
        raise UsageError(f"unknown size {size!r}", remedy="use standard or tiny")
    paths = generate(folder, size=size, seed=seed, log=log.info)  # type: ignore[arg-type]
    if generate_only:
        typer.echo(f"the region is in {folder}; map it with: lc run {paths.pipeline}")
        return
    plan = load_plan(paths.pipeline, None, set_, None, {"executor": executor, "workers": workers})
    with reporter() as watcher:
        run_plan(plan, plan.config.runtime, watcher)
    _print_result(plan.workspace / "products", as_json)


def _print_result(products: Path, as_json: bool) -> None:
    record: dict[str, Any] = {"products": str(products)}
    for path in sorted(products.rglob("*_class.tif")):
        record["map"] = str(path)
    for path in sorted(products.rglob("assessment.json")):
        assessment = json.loads(path.read_text(encoding="utf-8"))
        record["overall_accuracy"] = assessment["overall_accuracy"]
    for path in sorted(products.rglob("report.html")):
        record["report"] = str(path)
    if as_json:
        typer.echo(json.dumps(record))
        return
    typer.echo(f"map:      {record.get('map', '-')}")
    typer.echo(f"report:   {record.get('report', '-')}")
    if "overall_accuracy" in record:
        typer.echo(f"accuracy: {record['overall_accuracy']:.3f} overall, against the simulation's truth")
