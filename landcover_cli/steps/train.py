"""Step: the model, trained on all patches."""

from __future__ import annotations

from pathlib import Path

from landcover_cli.core.plan import PlanContext, Step
from landcover_cli.core.unit import Inputs, RunContext, Unit, UnitRef


def plan(ctx: PlanContext) -> list[Unit]:
    """One unit; it needs the patches."""
    if not ctx.units.get("patches"):
        return []
    params = {"train": ctx.config.train.model_dump(mode="json")}
    return [Unit("train", "model", params, {}, {"patches": UnitRef("patches", "all")})]


def check(unit: Unit) -> None:
    """Refuse options that the network does not have before hours go into its patches."""
    from landcover_cli.learn.modelfolder import resolve_options

    section = unit.params["train"]
    if section["objective_options"]:
        from landcover_cli.learn.objective import resolve_objective_options

        resolve_objective_options(section["objective"], section["objective_options"])
    if section["options"]:
        resolve_options(section["model"], section["options"])


def run(unit: Unit, inputs: Inputs, out: Path, ctx: RunContext) -> None:
    """Write the model folder; a run that was killed goes on after its last finished epoch."""
    from landcover_cli.config.learning import TrainConfig
    from landcover_cli.learn.loop import train

    config = TrainConfig.model_validate(unit.params["train"])
    train(inputs.unit("patches"), out, config, ctx, checkpoint=ctx.checkpoint, resume=True)


def publish(unit: Unit) -> str | None:
    """``products/model``."""
    return "model"


STEP = Step(name="train", title="Training", version=1, plan=plan, run=run, parallel=False, check=check, publish=publish)
