"""A unit of work, its key and its manifest: the plan is data, apart from its execution.

A unit is (step × something): a scene, a tile and a period, a region. Its key is the sha256 of everything that decides
its bytes: step, step version, unit id, parameters, digests of external files, keys of the units it needs. Nothing of
*how* (workers, device, memory, log level) ever enters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from landcover_cli.core.digest import sha256_json

_PART = re.compile(r"[A-Za-z0-9._+@=-]+")


@dataclass(frozen=True, order=True)
class UnitRef:
    """Names a unit of a plan."""

    step: str
    id: str


@dataclass(frozen=True)
class Unit:
    """One piece of work of one step.

    Attributes:
        step: Name of the step plug-in.
        id: Unique within the step; parts joined by ``/``, each safe as a file name (``north/s2/x1_y2/2021-03``).
        params: Everything but inputs that decides the result; JSON-able; named as in the pipeline file, so that
            `lc status --why` can name the field that changed.
        files: Name → path of an external input (file or folder) or a URL; its content's digest enters the key.
        needs: Name → unit whose result directory is an input.
    """

    step: str
    id: str
    params: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    needs: Mapping[str, UnitRef] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for part in self.id.split("/"):
            if not _PART.fullmatch(part) or part in {".", ".."}:
                raise ValueError(f"unit id {self.id!r} has a part that is not safe as a file name: {part!r}")

    @property
    def ref(self) -> UnitRef:
        """This unit's name."""
        return UnitRef(self.step, self.id)


@dataclass(frozen=True)
class PlannedUnit:
    """A unit with its key and the description that was hashed into it."""

    unit: Unit
    key: str
    description: Mapping[str, Any]
    need_keys: Mapping[str, str]


def plan_unit(
    unit: Unit, step_version: int, file_digests: Mapping[str, str], need_keys: Mapping[str, str]
) -> PlannedUnit:
    """Give a unit its key."""
    description = {
        "step": unit.step,
        "step_version": step_version,
        "unit": unit.id,
        "params": dict(unit.params),
        "files": dict(file_digests),
        "needs": {name: {"step": ref.step, "unit": ref.id, "key": need_keys[name]} for name, ref in unit.needs.items()},
    }
    return PlannedUnit(unit, sha256_json(description), description, dict(need_keys))


@dataclass(frozen=True)
class Inputs:
    """What a running unit may read.

    Attributes:
        files: Name → local path or URL of an external input.
        units: Name → directory of a finished unit.
    """

    files: Mapping[str, str]
    units: Mapping[str, Path]

    def file(self, name: str) -> Path:
        """Path of an external input."""
        return Path(self.files[name])

    def unit(self, name: str) -> Path:
        """Result directory of a needed unit."""
        return self.units[name]

    def group(self, prefix: str) -> dict[str, Path]:
        """Result directories of all needed units whose name starts with ``prefix/``, by the rest of the name."""
        return {name[len(prefix) + 1 :]: path for name, path in self.units.items() if name.startswith(f"{prefix}/")}


def _silent(done: float, total: float, text: str) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True)
class RunContext:
    """How a unit runs. Nothing here may change a byte of the result.

    Attributes:
        memory_bytes: Working memory this unit may use (beyond interpreter and libraries).
        threads: Threads this unit may use for reading and compression.
        device: ``auto``, ``cpu`` or ``cuda:<n>``.
        progress: Called as ``progress(done, total, text)``; cheap.
        cancelled: True once the run was asked to stop; long loops check it and raise KeyboardInterrupt.
        checkpoint: Folder of this very unit (its key is in the name) that outlives a killed run, made by whoever writes
            into it; None where nothing may be kept. A unit that goes on from it gives the bytes of an undisturbed one.
    """

    memory_bytes: int = 2 * 1024**3
    threads: int = 1
    device: str = "auto"
    progress: Callable[[float, float, str], None] = _silent
    cancelled: Callable[[], bool] = bool  # bool() is False
    checkpoint: Path | None = None

    def check(self) -> None:
        """Stop here if the run was asked to stop.

        Raises:
            KeyboardInterrupt: The run was asked to stop.
        """
        if self.cancelled():
            raise KeyboardInterrupt
