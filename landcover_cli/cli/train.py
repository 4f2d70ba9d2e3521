"""`lc train`: a model from patches."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landcover_cli.cli import options
from landcover_cli.errors import UsageError

if TYPE_CHECKING:
    from landcover_cli.config.learning import TrainConfig

log = logging.getLogger("lc")


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command("train")(train)


def train(
    patches: Annotated[Path, typer.Argument(help="Folder of `lc tile`.", metavar="PATCHES")],
    out: options.Out,
    model: Annotated[str | None, typer.Option(help="Network (see `lc plugins`).")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the training patches.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Patches per step.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--lr", help="Peak learning rate.")] = None,
    inputs: Annotated[list[str] | None, typer.Option("--input", help="Source to learn from; may be repeated.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of weights, order and augmentation.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any key of the section `train`.")
    ] = None,
    device: options.Device = None,
    memory: options.Memory = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted training stopped.")] = False,
    as_json: options.Json = False,
) -> None:
    """Train a network on patches; the model folder appears whole or not at all."""
    given = {
        "model": model,
        "epochs": epochs,
        "batch": batch,
        "learning_rate": learning_rate,
        "inputs": inputs,
        "seed": seed,
    }
    config = _config({key: value for key, value in given.items() if value is not None}, set_ or [])
    from landcover_cli.cli.progress import reporter
    from landcover_cli.config.runtime import parse_bytes
    from landcover_cli.core.unit import RunContext
    from landcover_cli.io.atomic import atomic_folder
    from landcover_cli.learn.checkpoint import remove_checkpoint
    from landcover_cli.learn.loop import train as run

    try:
        room = parse_bytes(memory or "4GB")
    except ValueError as error:
        raise UsageError(f"--memory: {error}", remedy="write e.g. 4GB") from None
    checkpoint = out.with_name(f".{out.name}.checkpoint")
    if resume and not any(checkpoint.glob("epoch-*/state.json")):
        log.info("no interrupted training beside %s: starting anew", out)
    with reporter() as watch, atomic_folder(out) as scratch:
        ctx = RunContext(memory_bytes=room, device=device or "auto", progress=watch.within)
        metrics = run(patches, scratch, config, ctx, checkpoint=checkpoint, resume=resume)
    remove_checkpoint(checkpoint)
    if as_json:
        typer.echo(json.dumps({"model": str(out), **metrics}))
        return
    validation = metrics.get("validation", {}).get("overall_accuracy")
    shown = "" if validation is None else f", validation accuracy {validation:.3f}"
    typer.echo(f"{metrics['parameters']:,} parameters, best epoch {metrics['best_epoch']}{shown}: {out}")


def _config(given: dict[str, Any], overrides: list[str]) -> TrainConfig:
    """The section `train` from options and ``--set``.

    Raises:
        UsageError: An override that is not KEY=VALUE.
        ConfigError: An unknown key or a value out of range.
    """
    from landcover_cli.config.learning import TrainConfig
    from landcover_cli.config.pipeline import parse_section
    from landcover_cli.config.strictyaml import load_document

    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text!r} is not KEY=VALUE", remedy="write e.g. --set epochs=5")
        *parents, leaf = key.removeprefix("train.").split(".")
        where = given
        for parent in parents:
            inner = where.get(parent)
            if not isinstance(inner, dict):
                inner = where[parent] = {}
            where = inner
        try:
            where[leaf] = load_document(value)
        except ValueError:
            where[leaf] = value
    return parse_section(TrainConfig, given, "train", "lc train")
