"""The Typer application: global options and the list of command groups."""

from __future__ import annotations

import importlib
import logging
import sys
from typing import Annotated

import typer

from landcover_cli import __version__

# One thin file per group, in the order of `lc --help`. Each has `register(app)`.
GROUPS = (
    "demo",
    "run",
    "search",
    "fetch",
    "preprocess",
    "composite",
    "labels",
    "tile",
    "train",
    "models",
    "predict",
    "assess",
    "report",
    "config",
    "inspect",
)

app = typer.Typer(
    name="lc",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Land-cover maps from raw satellite scenes, with honest accuracy.",
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"lc {__version__}")
        raise typer.Exit


@app.callback()
def _globals(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every unit.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Log warnings and errors only.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Land-cover maps from raw satellite scenes, with honest accuracy."""
    level = logging.DEBUG if verbose or debug else logging.WARNING if quiet else logging.INFO
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"))
    logger = logging.getLogger("lc")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False


for _group in GROUPS:
    importlib.import_module(f"landcover_cli.cli.{_group}").register(app)
