"""`lc report`: one page about a map."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from landcover_cli.cli import options


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command("report")(report)


def report(
    folder: Annotated[Path, typer.Argument(help="Folder of results, e.g. work/products.", metavar="FOLDER")],
    out: options.Out,
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "Land-cover map",
) -> None:
    """Write one HTML page that opens offline: maps, areas, accuracy, training, inputs, digests."""
    from landcover_cli.io.atomic import atomic_file
    from landcover_cli.report.build import build_page, find_results
    from landcover_cli.report.page import render

    page = render(build_page(find_results(folder, title)))
    with atomic_file(out) as scratch:
        scratch.write_text(page, encoding="utf-8")
    typer.echo(f"report: {out}")
