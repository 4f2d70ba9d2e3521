"""`lc predict`: a map of an area from a model folder and its cubes."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from landcover_cli.cli import options
from landcover_cli.errors import UsageError

if TYPE_CHECKING:
    from landcover_cli.config.base import Section

S = TypeVar("S", bound="Section")

log = logging.getLogger("lc")


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command("predict")(predict)


def predict(
    model: Annotated[Path, typer.Option(help="Model folder that `lc train` wrote.")],
    cube: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=CUBE.ZARR", help="Cube of a model input, or a folder of its pieces; once per input."
        ),
    ],
    aoi: Annotated[Path, typer.Option(help="Polygon file of the area to map.")],
    out: options.Out,
    name: Annotated[str | None, typer.Option(help="Name of the map; default: the AOI file's stem.")] = None,
    stride: Annotated[int | None, typer.Option(min=1, help="Step between windows in pixels.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Windows per forward pass.")] = 8,
    blend: Annotated[str, typer.Option(help="linear, hann or trim.")] = "linear",
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also write every class's probability.")
    ] = False,
    precision: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    block: Annotated[int, typer.Option(min=16, help="Edge of a block of work in pixels; changes no pixel.")] = 2048,
    executor: options.ExecutorOpt = None,
    workers: options.Workers = None,
    scheduler: options.Scheduler = None,
    memory: options.Memory = None,
    device: options.Device = None,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Map an area: class, confidence and validity as COGs cut to the AOI, with legend, styles and STAC item."""
    from landcover_cli.cli.progress import reporter
    from landcover_cli.config.learning import PredictConfig
    from landcover_cli.config.runtime import RuntimeConfig
    from landcover_cli.learn.predict_area import plan_area, predict_area

    settings = {
        "stride_px": stride,
        "batch": batch,
        "blend": blend,
        "probabilities": probabilities,
        "precision": precision,
    }
    config = _checked(PredictConfig, settings)
    runtime = {
        "executor": executor or ("dask" if scheduler else None),
        "workers": workers,
        "scheduler": scheduler,
        "memory": memory,
        "device": device,
    }
    how = _checked(RuntimeConfig, {key: value for key, value in runtime.items() if value is not None})
    plan = plan_area(model, _cubes(cube), aoi, config, how, block_px=block, name=name)
    if dry_run:
        facts = plan.describe()
        typer.echo(json.dumps(facts) if as_json else "\n".join(f"{key}: {value}" for key, value in facts.items()))
        return
    with reporter() as watcher:
        result = predict_area(plan, out, watcher)
    if as_json:
        typer.echo(json.dumps({"out": str(out), **result}))
        return
    share = result["mapped_px"] / result["area_px"]
    typer.echo(f"mapped {result['mapped_px']:,} of {result['area_px']:,} pixels ({share:.1%}): {out}")


def _checked(section: type[S], values: dict[str, Any]) -> S:
    """A section of the pipeline file from options.

    Raises:
        UsageError: A value that the section does not take.
    """
    from pydantic import ValidationError

    try:
        return section.model_validate(values)
    except ValidationError as error:
        item = error.errors()[0]
        option = str(item["loc"][0]).removesuffix("_px")
        raise UsageError(f"--{option} {item['input']!r}: {item['msg']}", remedy="see `lc predict --help`") from None


def _cubes(texts: list[str]) -> dict[str, list[Path]]:
    """``NAME=PATH`` … → pieces by name; a folder that is no cube stands for the cubes below it.

    Raises:
        UsageError: Not of that form, or no cube there.
    """
    found: dict[str, list[Path]] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not equals or not name or not path:
            raise UsageError(f"--cube {text!r} is not NAME=PATH", remedy="write e.g. --cube s2=cube.zarr")
        folder = Path(path)
        pieces = [folder] if (folder / "zarr.json").is_file() else sorted(folder.rglob("*.zarr"))
        if not pieces:
            raise UsageError(f"--cube {text!r}: no cube there", remedy="give a *.zarr folder of `lc composite`")
        found.setdefault(name, []).extend(pieces)
    return found
