"""From a folder of patches and settings to a network's description."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from landcover_cli.config.learning import TrainConfig
from landcover_cli.core.digest import sha256_json
from landcover_cli.core.types import Period
from landcover_cli.errors import ConfigError, InputError
from landcover_cli.io.digests import sha256_file
from landcover_cli.io.patchindex import INDEX
from landcover_cli.io.patchstore import PatchPort
from landcover_cli.learn.modelfolder import resolve_options
from landcover_cli.learn.patching import CLASSES, DESCRIPTION, SPLITS, STATISTICS
from landcover_cli.learn.predict_inputs import calendar_step
from landcover_cli.registry import load
from models.spec import ModelSpec, Port

_LEAST_PX = 8
"""Smaller patches are single pixels of a table."""
_PIXELWISE_PX = 64
"""Windows of a network that sees no neighbours may have any size."""

__all__ = ["describe_model", "patches_digest", "split_facts"]


def describe_model(patches: Path, config: TrainConfig) -> ModelSpec:
    """The network that the settings ask for, on the inputs that the patches have.

    Raises:
        InputError: Not a folder of `lc tile`.
        ConfigError: An input the patches lack, an unknown network or option.
    """
    facts, statistics = _read(patches / DESCRIPTION), _read(patches / STATISTICS)
    try:
        stored = [PatchPort.from_dict(port) for port in facts["ports"]]
        names = [port.name for port in stored]
        unknown = sorted(set(config.inputs) - set(names))
        if unknown:
            raise ConfigError(
                f"train.inputs: the patches have no source {unknown[0]!r}",
                remedy=f"choose from {', '.join(names)}",
            )
        chosen = [port for port in stored if not config.inputs or port.name in config.inputs]
        network = load("model", config.model)
        if getattr(network, "OUTPUT", "map") != "map":
            raise ConfigError(
                f"network {config.model!r} gives a {network.OUTPUT}, not a map of classes",
                remedy="choose another network for train.model (see `lc models networks`)",
            )
        fixed = getattr(network, "FIXED_T", False)
        ports = tuple(_port(port, statistics[port.name], fixed=fixed) for port in chosen)
        patch_px, halo_px = _windows(config.model, network, int(facts["patch_px"]))
        return ModelSpec(
            model=config.model,
            options=resolve_options(config.model, config.options),
            ports=ports,
            classes=tuple(facts["legend"]["classes"]),
            legend={"id": facts["legend"]["id"], "version": facts["legend"]["version"]},
            gsd_m=facts["gsd_m"],
            patch_px=patch_px,
            halo_px=halo_px,
            calendar=_calendar(chosen),
            licence="that of the training data",
            source=network.SOURCE,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{patches / DESCRIPTION} is no description of patches ({error!r})", remedy="run `lc tile` again"
        ) from None


def _windows(name: str, network: type, patch_px: int) -> tuple[int, int]:
    """Edge and halo of the windows that a map is made of, in pixels.

    Raises:
        ConfigError: A network that looks at neighbours, and patches that have none.
    """
    if getattr(network, "PIXELWISE", False):
        return max(patch_px, _PIXELWISE_PX), 0
    if patch_px < _LEAST_PX:
        raise ConfigError(
            f"network {name!r} looks at a pixel's neighbours; these patches have {patch_px} px",
            remedy="train.model: pixel_ltae learns from single pixels; or cut patches out of cubes",
        )
    return patch_px, patch_px // 8


def split_facts(patches: Path) -> dict[str, Any]:
    """How the patches were divided (``splits.json``).

    Raises:
        InputError: Missing or damaged.
    """
    return _read(patches / SPLITS)


def _port(port: PatchPort, statistics: dict[str, Any], *, fixed: bool) -> Port:
    """One input; a network that needs a fixed number of dates gets that of the longest region."""
    return Port(
        name=port.name,
        kind=port.kind,
        bands=port.bands,
        gsd_m=port.gsd_m,
        units=port.units,
        transform=statistics["transform"],
        mean=tuple(statistics["mean"]),
        std=tuple(statistics["std"]),
        length=port.length if fixed and port.kind == "series" else None,
        optional=port.optional,
    )


def _calendar(ports: list[PatchPort]) -> dict[str, Any]:
    """Step and greatest number of the periods that the series were made of; empty where they differ."""
    found: list[tuple[Period, ...]] = [p for port in ports if port.kind == "series" for p in port.periods.values()]
    steps = {calendar_step(periods) for periods in found}
    if len(steps) != 1:
        return {}
    return {"step": steps.pop(), "length": max(len(periods) for periods in found)}


def patches_digest(patches: Path) -> str:
    """Hex sha256 that names a folder of patches: its description, statistics, classes and index.

    Raises:
        InputError: Not a folder of `lc tile`.
    """
    names = (DESCRIPTION, STATISTICS, CLASSES, INDEX)
    for name in names:
        if not (patches / name).is_file():
            raise InputError(
                f"{patches} holds no patches ({name} is missing)", remedy="give the folder that `lc tile` wrote"
            )
    return sha256_json({name: sha256_file(patches / name) for name in names})


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}", remedy="give the folder that `lc tile` wrote") from None
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error})", remedy="run `lc tile` again") from None
