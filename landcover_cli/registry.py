"""Plug-ins by file stem: a new sensor, mask, composite, filter, model or objective is one new file.

Every kind of plug-in lives in one package; a module's stem is the plug-in's name, and one attribute of the module,
fixed per kind, is the plug-in. Other distributions add plug-ins through entry points in the group
``landcover_cli.<kind>``. Listing names imports nothing.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from landcover_cli.errors import ConfigError, LcError


@dataclass(frozen=True)
class Kind:
    """Where the plug-ins of one kind live, and which attribute of their module is the plug-in."""

    package: str
    attribute: str
    title: str


KINDS: dict[str, Kind] = {
    "sensor": Kind("landcover_cli.sensors", "SENSOR", "sensors: bands, scale and mask rules"),
    "mask": Kind("landcover_cli.optical.masks", "MASK", "cloud and shadow masks"),
    "composite": Kind("landcover_cli.composites", "Reducer", "temporal composites"),
    "speckle": Kind("landcover_cli.sar.speckle", "FILTER", "speckle filters"),
    "model": Kind("models", "Model", "networks"),
    "objective": Kind("landcover_cli.learn.objectives", "Objective", "training objectives"),
    "step": Kind("landcover_cli.steps", "STEP", "pipeline steps"),
}

# Shared code within the plug-in packages; every other stem without a leading underscore is a plug-in.
_SHARED = {"model": {"spec", "batch", "layers"}}

# Networks of other libraries, by a name within them: ``smp:unet:resnet34``. Each module has `network(name)`.
_ADAPTERS = {"smp": "models._smp", "hf": "models._hf"}


@cache
def names(kind: str) -> tuple[str, ...]:
    """Sorted names of all plug-ins of one kind.

    Raises:
        ConfigError: Two distributions provide the same name.
    """
    return tuple(sorted(_sources(kind)))


def require(kind: str, name: str) -> None:
    """Refuse a name that no plug-in has; imports nothing, so a plan can afford it.

    Raises:
        ConfigError: No plug-in of that name (with the nearest names).
    """
    sources = _sources(kind)
    if kind == "model" and ":" in name and name.partition(":")[0] in _ADAPTERS:
        return
    if name not in sources:
        near = difflib.get_close_matches(name, sources, n=3)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise ConfigError(
            f"unknown {kind} {name!r}",
            remedy=f"{hint}available: {', '.join(sorted(sources)) or 'none'} (see `lc plugins`)",
        )


def load(kind: str, name: str) -> Any:
    """The plug-in object: the fixed attribute of the plug-in's module.

    Raises:
        ConfigError: No plug-in of that name (with the nearest names); a library it needs is missing or broken.
    """
    require(kind, name)
    if kind == "model":
        check_models_package()
        if name not in _sources(kind):
            return _adapted(name)
    target = _sources(kind)[name]
    if isinstance(target, importlib.metadata.EntryPoint):
        return target.load()
    return getattr(importlib.import_module(target), KINDS[kind].attribute)


def _adapted(name: str) -> Any:
    """A network of another library: ``smp:<architecture>:<encoder>`` or ``hf:<backbone>``."""
    prefix, _, inner = name.partition(":")
    try:
        return importlib.import_module(_ADAPTERS[prefix]).network(inner)
    except ImportError as error:
        raise ConfigError(
            f"network {name!r} needs a library that is not installed ({error})",
            remedy="pip install 'landcover-cli[encoders]'",
        ) from None
    except RuntimeError as error:
        # torchvision built for another torch: its operators are not there.
        versions = ", ".join(f"{package} {importlib.metadata.version(package)}" for package in ("torch", "torchvision"))
        raise ConfigError(
            f"network {name!r}: {error}", remedy=f"install matching builds of torch and torchvision (found: {versions})"
        ) from None
    except ValueError as error:
        raise ConfigError(
            f"unknown model {name!r}: {error}", remedy="write smp:<architecture>:<encoder> or hf:<backbone>"
        ) from None


@cache
def _sources(kind: str) -> dict[str, str | importlib.metadata.EntryPoint]:
    """Name → module path (own) or entry point (third party)."""
    where = KINDS[kind]
    spec = importlib.util.find_spec(where.package)
    found: dict[str, str | importlib.metadata.EntryPoint] = {}
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(folder).glob("*.py")):
            if not path.stem.startswith("_") and path.stem not in _SHARED.get(kind, ()):
                found[path.stem] = f"{where.package}.{path.stem}"
    for entry in importlib.metadata.entry_points(group=f"landcover_cli.{kind}"):
        if entry.name in found:
            raise ConfigError(
                f"two plug-ins named {entry.name!r} of kind {kind}: {found[entry.name]} and {entry.value}",
                remedy="uninstall one of the two distributions, or ask its author to rename the plug-in",
            )
        found[entry.name] = entry
    return found


def check_models_package() -> None:
    """Refuse to work with somebody else's ``models`` package: its name is common.

    Raises:
        LcError: The importable ``models`` is not ours; names the distribution it belongs to.
    """
    spec = importlib.util.find_spec("models")
    if spec is not None and spec.origin is not None and _says_it_is_ours(Path(spec.origin)):
        return
    where = "nowhere" if spec is None else spec.origin or ", ".join(spec.submodule_search_locations or [])
    owners = [name for name in importlib.metadata.packages_distributions().get("models", []) if name != "landcover-cli"]
    who = f"the distribution {', '.join(owners)}" if owners else "a folder named `models` on the import path"
    raise LcError(
        f"the package `models` found at {where} is not lc's; it belongs to {who}",
        remedy=f"use lc in a virtual environment of its own{', or uninstall ' + owners[0] if owners else ''}",
    )


def _says_it_is_ours(init: Path) -> bool:
    # Read, not imported: a foreign package's code shall not run.
    try:
        return 'LC_MODELS = "landcover-cli"' in init.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
