"""`lc config schema | check | show`."""

from __future__ import annotations

import typer

from landcover_cli.cli import options


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    group = typer.Typer(
        help="The pipeline file: its schema, a check, and every value with its default.", no_args_is_help=True
    )
    group.command("schema")(schema)
    group.command("check")(check)
    group.command("show")(show)
    app.add_typer(group, name="config")


def schema() -> None:
    """Print the JSON schema of the pipeline file."""
    from landcover_cli.config.pipeline import pipeline_schema

    typer.echo(pipeline_schema())


def check(pipeline: options.PipelineArg, set_: options.Set = None) -> None:
    """Check a pipeline file and every input it names, without reading a pixel."""
    from landcover_cli.cli.run import load_plan

    plan = load_plan(pipeline, None, set_)
    tiles = sum(len(region.tiles) for region in plan.regions)
    typer.echo(
        f"{pipeline} is valid: {len(plan.regions)} region(s), {tiles} tile(s) on {plan.grid.crs} at "
        f"{plan.grid.resolution_m:g} m, {len(plan.units)} units"
    )


def show(pipeline: options.PipelineArg, set_: options.Set = None) -> None:
    """Print a pipeline file with every default filled in."""
    import yaml

    from landcover_cli.cli.run import load_config

    config = load_config(pipeline, set_)
    typer.echo(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True), nl=False)
