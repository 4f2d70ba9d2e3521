"""`lc composite`: observations into one cube, and any period of it as COG."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from landcover_cli.cli import options
from landcover_cli.errors import InputError, UsageError

if TYPE_CHECKING:
    from landcover_cli.core.types import Period
    from landcover_cli.io.cubestore import CubeSpec
    from landcover_cli.io.observation import Observation


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command("composite")(composite)


def composite(
    observations: Annotated[
        list[Path], typer.Argument(help="Observation folders of `lc preprocess`, all on one grid.", metavar="OBS...")
    ],
    out: options.Out,
    start: Annotated[str, typer.Option(help="First month or day: 2021-01 or 2021-01-15.")],
    end: Annotated[str, typer.Option(help="Last month or day, included.")],
    step: Annotated[str, typer.Option(help="month, season, all, or days such as 10d.")] = "month",
    method: Annotated[str, typer.Option(help="Composite plug-in (see `lc plugins`).")] = "mean",
    source: Annotated[str, typer.Option(help="Name of the source in the cube; default: the sensor's.")] = "",
    export_cog: Annotated[
        str | None, typer.Option("--export-cog", metavar="PERIOD", help="Also write this period, e.g. 2021-03, as COG.")
    ] = None,
    cog: Annotated[Path | None, typer.Option(help="Where the COG goes.")] = None,
    as_json: options.Json = False,
) -> None:
    """Composite observations into one cube (Zarr) with validity and counts."""
    import json

    from landcover_cli.config.place import PeriodConfig
    from landcover_cli.core.types import split_periods
    from landcover_cli.io.atomic import atomic_folder
    from landcover_cli.io.composite import band_roles, composite_observations
    from landcover_cli.io.observation import read_about
    from landcover_cli.registry import load

    if (export_cog is None) != (cog is None):
        raise UsageError("--export-cog and --cog go together", remedy="give the period and the file")
    periods = split_periods(*PeriodConfig(start=start, end=end, step=step).span(), step)
    _period_called(export_cog, periods)
    abouts = [read_about(folder) for folder in observations]
    spec = _spec(abouts, periods, method, source)
    load("composite", method).require(band_roles(spec))
    with atomic_folder(out) as scratch:
        composite_observations(observations, scratch, spec, method)
        if export_cog and cog:
            from landcover_cli.io.cubecog import export_period

            export_period(scratch, export_cog, cog)
    record = {"cube": str(out), "periods": [p.label for p in periods], "bands": list(spec.bands)}
    if cog:
        record["cog"] = str(cog)
    typer.echo(json.dumps(record) if as_json else f"wrote {out}: {len(periods)} periods, {len(spec.bands)} bands")


def _period_called(label: str | None, periods: tuple[Period, ...]) -> None:
    labels = [period.label for period in periods]
    if label is not None and label not in labels:
        raise UsageError(f"--export-cog {label!r} is no period of the cube", remedy=f"one of {', '.join(labels)}")


def _spec(abouts: list[Observation], periods: tuple[Period, ...], method: str, source: str) -> CubeSpec:
    from landcover_cli.io.cubestore import CubeSpec
    from landcover_cli.steps.composite import cube_layers

    first = abouts[0]
    for other in abouts[1:]:
        for key in ("sensor", "crs", "gsd_m", "bands", "units", "scale", "offset", "dtype"):
            if getattr(first, key) != getattr(other, key):
                raise InputError(
                    f"observations {first.id} and {other.id} differ in {key}: "
                    f"{getattr(first, key)!r} and {getattr(other, key)!r}",
                    remedy="preprocess them with the same grid and bands",
                )
    used = [about for about in abouts if any(period.contains(about.when) for period in periods)]
    if not used:
        days = sorted(about.datetime[:10] for about in abouts)
        raise InputError(
            f"none of {len(abouts)} observations ({days[0]} to {days[-1]}) lies within "
            f"{periods[0].start} to {periods[-1].end - timedelta(days=1)}",
            remedy="choose --start and --end around their dates",
        )
    edges = [about.bounds_m for about in used]
    return CubeSpec(
        source=source or first.sensor,
        sensor=first.sensor,
        kind="series",
        bands=first.bands,
        units=first.units,
        scale=first.scale,
        offset=first.offset,
        gsd_m=float(first.gsd_m),
        crs=first.crs,
        bounds_m=(
            min(e[0] for e in edges),
            min(e[1] for e in edges),
            max(e[2] for e in edges),
            max(e[3] for e in edges),
        ),
        periods=periods,
        dtype=first.dtype,
        attrs={"method": method, **_items(used, periods)},
        layers=cube_layers(method),
    )


def _items(used: list[Observation], periods: tuple[Period, ...]) -> dict[str, object]:
    """Ids of what went in; of several periods also period by period."""
    facts: dict[str, object] = {"items": sorted(about.id for about in used)}
    if len(periods) > 1:
        facts["items_of_period"] = {
            period.label: sorted(about.id for about in used if period.contains(about.when)) for period in periods
        }
    return facts
