"""The result store: one unit, one directory, one manifest.

``<workspace>/results/<step>/<unit id>/<key>/`` exists exactly when the unit is finished: it was written in
``<workspace>/scratch/`` on the same file system, its manifest last, and moved by one rename. Two racing writers leave
one result.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from landcover_cli.core.digest import pretty_json
from landcover_cli.core.unit import PlannedUnit, Unit
from landcover_cli.errors import LcError
from landcover_cli.io.atomic import is_storage_error, storage_error
from landcover_cli.io.digests import sha256_file

MANIFEST = "manifest.json"
FORMAT = 1
# The packages whose version can change a byte of some result.
_VERSIONED = ("landcover-cli", "numpy", "rasterio", "torch", "zarr", "scipy", "numba", "pyproj", "shapely", "odc-geo")


@cache
def package_versions() -> dict[str, str]:
    """Versions of the packages that write results."""
    found = {}
    for name in _VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True)
class ResultStore:
    """Finished units of one workspace.

    Attributes:
        root: The workspace.
    """

    root: Path

    def unit_folder(self, unit: Unit) -> Path:
        """Folder that holds every result of a unit, one sub-folder a key."""
        return self.root.joinpath("results", unit.step, *unit.id.split("/"))

    def folder(self, planned: PlannedUnit) -> Path:
        """Where the result with this key is or will be."""
        return self.unit_folder(planned.unit) / planned.key[:16]

    def is_done(self, planned: PlannedUnit) -> bool:
        """Whether the result exists. Only a rename makes the folder, so its manifest is whole."""
        return (self.folder(planned) / MANIFEST).is_file()

    def manifest(self, planned: PlannedUnit) -> dict[str, Any]:
        """Manifest of a finished unit."""
        return dict(json.loads((self.folder(planned) / MANIFEST).read_text(encoding="utf-8")))

    def other_manifests(self, unit: Unit) -> Iterator[dict[str, Any]]:
        """Manifests of the unit's results under any key, newest first."""
        folder = self.unit_folder(unit)
        if folder.is_dir():
            paths = [path for path in folder.glob(f"*/{MANIFEST}") if path.is_file()]
            for path in sorted(paths, key=lambda item: (-item.stat().st_mtime_ns, str(item))):
                yield json.loads(path.read_text(encoding="utf-8"))

    def produce(self, planned: PlannedUnit, write: Callable[[Path], None]) -> Path:
        """Let `write` fill a scratch folder, add the manifest, and move it into place.

        Raises:
            LcError: As raised by `write`.
            StorageError: The disk is full or the workspace cannot be written.
        """
        target = self.folder(planned)
        name = f"{planned.unit.step}-{planned.key[:16]}-{os.getpid()}-{secrets.token_hex(4)}"
        scratch = self.root / "scratch" / name
        try:
            scratch.mkdir(parents=True)
            write(scratch)
            self._seal(planned, scratch)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                scratch.rename(target)
            except OSError:
                # Another writer was first: the key says that its bytes are the same.
                if not self.is_done(planned):
                    raise
        except LcError:
            raise
        except Exception as error:
            if is_storage_error(error):
                raise storage_error(self.root, _as_os_error(error)) from error
            raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return target

    def _seal(self, planned: PlannedUnit, folder: Path) -> None:
        files = {
            str(path.relative_to(folder)): {"size": path.stat().st_size, "sha256": sha256_file(path)}
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        manifest = {
            "format": FORMAT,
            "key": planned.key,
            "inputs": dict(planned.description),
            "files": files,
            "versions": package_versions(),
        }
        with (folder / MANIFEST).open("w", encoding="utf-8") as handle:
            handle.write(pretty_json(manifest))
            handle.flush()
            os.fsync(handle.fileno())

    def clear_scratch(self) -> int:
        """Remove what interrupted runs left; returns how many folders. Only under the workspace's lock."""
        folder = self.root / "scratch"
        left = list(folder.iterdir()) if folder.is_dir() else []
        for path in left:
            shutil.rmtree(path, ignore_errors=True)
        return len(left)

    def checkpoint(self, planned: PlannedUnit) -> Path:
        """Folder in which a long unit keeps how far it is; removed once the unit is finished."""
        return self.root.joinpath("checkpoints", planned.unit.step, *planned.unit.id.split("/"), planned.key[:16])

    def prune_checkpoints(self, keep: set[Path]) -> int:
        """Remove checkpoints that are not in `keep`; returns bytes removed."""
        top, freed = self.root / "checkpoints", 0
        for path in sorted(top.rglob("*"), reverse=True):
            if any(path == kept or kept in path.parents or path in kept.parents for kept in keep):
                continue
            if path.is_dir():
                path.rmdir()
            else:
                freed += path.stat().st_size
                path.unlink()
        return freed

    def prune(self, keep: set[Path]) -> tuple[int, int]:
        """Remove every result that is not in `keep`; returns (results, bytes) removed."""
        count = freed = 0
        for manifest in sorted((self.root / "results").rglob(MANIFEST)):
            if manifest.parent in keep:
                continue
            freed += sum(path.stat().st_size for path in manifest.parent.rglob("*") if path.is_file())
            shutil.rmtree(manifest.parent)
            count += 1
            _remove_empty_parents(manifest.parent.parent, self.root / "results")
        return count, freed


def _remove_empty_parents(folder: Path, stop: Path) -> None:
    while folder != stop and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def _as_os_error(error: Exception) -> OSError:
    return error if isinstance(error, OSError) and error.errno else OSError(28, "No space left on device")


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Leaves that differ between two descriptions: (dotted name, old value, new value); None where absent."""
    before, after = _leaves(old), _leaves(new)
    return [
        (name, before.get(name), after.get(name))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


def _leaves(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping) and value:
        found: dict[str, Any] = {}
        for key, item in value.items():
            found.update(_leaves(item, f"{prefix}.{key}" if prefix else str(key)))
        return found
    return {prefix: list(value) if isinstance(value, tuple) else value}
