"""`lc composite`: observations or scenes into one cube, and any period of it as COG."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from landcover_cli.cli import options
from landcover_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from landcover_cli.cli.composite_inputs import SceneOptions
    from landcover_cli.compute import Executor
    from landcover_cli.core.types import Period
    from landcover_cli.io.composite import Job
    from landcover_cli.io.cubefill import Filling

log = logging.getLogger("lc")


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command("composite")(composite)


def composite(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Observation folders of `lc preprocess`, all on one grid; or Sentinel-2 Level-2A scenes: STAC files "
            "or URLs, SAFE folders or zips.",
            metavar="INPUT...",
        ),
    ],
    out: options.Out,
    start: Annotated[str, typer.Option(help="First month or day: 2021-01 or 2021-01-15.")],
    end: Annotated[str, typer.Option(help="Last month or day, included.")],
    step: Annotated[str, typer.Option(help="month, season, all, or days such as 10d.")] = "month",
    method: Annotated[str, typer.Option(help="Composite plug-in (see `lc plugins`).")] = "mean",
    source: Annotated[str, typer.Option(help="Name of the source in the cube; default: the sensor's.")] = "",
    orbit: Annotated[
        str | None, typer.Option(help="Radar: ascending, descending or both; default: refuse a mixture.")
    ] = None,
    aoi: Annotated[Path | None, typer.Option(help="Scenes: polygon file; only its bounds are read.")] = None,
    crs: Annotated[str | None, typer.Option(help="Scenes: CRS of the grid; default: the first scene's.")] = None,
    res: Annotated[float | None, typer.Option(min=0.1, help="Scenes: pixel edge in metres.", show_default="10")] = None,
    bands: Annotated[str, typer.Option(help="Scenes: bands in order, separated by commas.")] = "",
    mask: Annotated[str | None, typer.Option(help="Scenes: mask plug-in.", show_default="scl")] = None,
    mask_option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Scenes: option of the mask, e.g. cloud_m=100.")
    ] = None,
    offset: Annotated[str, typer.Option(help="Scenes: radiometric offset: auto, applied or in_pixels.")] = "auto",
    resampling: Annotated[
        str, typer.Option(help="Scenes: how coarser bands come to --res: bilinear or nearest.")
    ] = "bilinear",
    index: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Spectral index as a further band, e.g. NDVI; the cube is float32 then."),
    ] = None,
    fill: Annotated[str, typer.Option(help="Periods without a clear look: none, linear or whittaker.")] = "none",
    fill_smoothness: Annotated[float, typer.Option(min=1e-6, help="λ of --fill whittaker.")] = 1.0,
    export_cog: Annotated[
        str | None, typer.Option("--export-cog", metavar="PERIOD", help="Also write this period, e.g. 2021-03, as COG.")
    ] = None,
    cog: Annotated[Path | None, typer.Option(help="Where the COG goes.")] = None,
    executor: options.ExecutorOpt = None,
    workers: Annotated[int, typer.Option(min=1, max=1024, help="Blocks at a time, where --memory allows.")] = 2,
    scheduler: options.Scheduler = None,
    memory: options.Memory = None,
    as_json: options.Json = False,
) -> None:
    """Composite observations or scenes into one cube (Zarr) with validity and counts."""
    import json
    import tempfile
    from dataclasses import replace

    from landcover_cli.cli.composite_inputs import SceneOptions
    from landcover_cli.compute import open_executor
    from landcover_cli.config.place import PeriodConfig
    from landcover_cli.core.types import split_periods
    from landcover_cli.io.atomic import atomic_folder
    from landcover_cli.io.composite import fit_memory, with_indices
    from landcover_cli.io.cubefill import Filling, declare_filling
    from landcover_cli.registry import require

    if (export_cog is None) != (cog is None):
        raise UsageError("--export-cog and --cog go together", remedy="give the period and the file")
    if orbit not in {None, "ascending", "descending", "both"}:
        raise UsageError(f"--orbit {orbit!r} is unknown", remedy="use ascending, descending or both")
    require("composite", method)
    periods = split_periods(*PeriodConfig(start=start, end=end, step=step).span(), step)
    _period_called(export_cog, periods)
    given = SceneOptions(aoi, crs, res, bands, mask, tuple(mask_option or ()), offset, resampling)
    room = _bytes(memory)
    filling = None if fill == "none" else Filling(fill, fill_smoothness)
    make = _job(inputs, given, periods, method, source, orbit)
    kind = executor or ("dask" if scheduler else "threads")
    with atomic_folder(out) as scratch, tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as cache:
        with open_executor(kind, workers, scheduler) as runs:
            job = with_indices(make(scratch, Path(cache), runs), index or ())
            job, fitting = fit_memory(replace(job, spec=declare_filling(job.spec, filling)), room, workers)
            if fitting == workers:
                _write(job, filling, runs)
        if fitting < workers:
            log.info("%d workers instead of %d fit into --memory", fitting, workers)
            with open_executor(kind, fitting, scheduler) as runs:
                _write(job, filling, runs)
        if export_cog and cog:
            from landcover_cli.io.cubecog import export_period

            export_period(scratch, export_cog, cog)
    record = {"cube": str(out), "periods": [p.label for p in periods], "bands": list(job.spec.bands)}
    if cog:
        record["cog"] = str(cog)
    shown = f"wrote {out}: {len(periods)} periods, {len(job.spec.bands)} bands"
    typer.echo(json.dumps(record) if as_json else shown)


def _write(job: Job, filling: Filling | None, runs: Executor) -> None:
    from landcover_cli.io.composite import write_composite
    from landcover_cli.io.cubefill import fill_cube

    write_composite(job, runs)
    if filling is not None:
        fill_cube(job.path, job.spec, filling, runs)


def _bytes(memory: str | None) -> int:
    from landcover_cli.config.runtime import parse_bytes

    try:
        return parse_bytes(memory or "1GB")
    except ValueError as error:
        raise UsageError(f"--memory: {error}", remedy="write e.g. 1GB") from None


def _job(
    inputs: list[str], given: SceneOptions, periods: tuple[Period, ...], method: str, source: str, orbit: str | None
) -> Callable[[Path, Path, Executor], Job]:
    """What is to be done, but for the cube's path, a folder for what is decoded ahead, and who runs it."""
    from landcover_cli.cli.composite_inputs import is_scene, observations_job, scenes_job

    scenes = [is_scene(text) for text in inputs]
    if not all(scenes) and (given.given or any(scenes)):
        what = given.given[0] if given.given else inputs[scenes.index(True)]
        raise UsageError(
            f"{what} beside observation folders, whose grid and bands are settled",
            remedy="give either observations, or scenes with these options",
        )
    if all(scenes):
        return scenes_job(inputs, given, periods, method, source)
    job = observations_job([Path(text) for text in inputs], periods, method, source, orbit)
    return lambda path, cache, runs: job(path)


def _period_called(label: str | None, periods: tuple[Period, ...]) -> None:
    labels = [period.label for period in periods]
    if label is not None and label not in labels:
        raise UsageError(f"--export-cog {label!r} is no period of the cube", remedy=f"one of {', '.join(labels)}")
