"""What was asked of a Sentinel-1 product, as one digest in its observation: whether a finished one is the one wanted.

The digest covers the description of the observation (grid, bands, every parameter), the tables of the product, the DEM
and the geoid, the form of the deliverables and the version of this software. It holds no path and no time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import landcover_cli
from landcover_cli.core.digest import sha256_json
from landcover_cli.errors import InputError
from landcover_cli.io.observation import ABOUT, read_about
from landcover_cli.io.s1_output import S1Output
from landcover_cli.io.s1_prepare import PreparedS1

REQUEST = "request"
"""Name of the digest among the facts of an observation."""
_END_BYTES = 64 * 1024


def with_request(prepared: PreparedS1, output: S1Output | None) -> PreparedS1:
    """The same work, whose observation records the digest of what was asked for.

    Args:
        prepared: From `prepare_s1`.
        output: Form of the deliverables; None for none.
    """
    about = prepared.about
    form = None if output is None else [output.scale, output.limits_db, output.full_range]
    asked = {
        "observation": asdict(about),
        "tables": _digest([[(c.annotation, c.calibration, c.noise) for c in of] for of in prepared.channels]),
        "dem": [_ends(Path(tile.path)) for sheet in prepared.dem.sheets for tile in sheet.tiles],
        "geoid": _digest(prepared.dem.geoid),
        "output": form,
        "software": landcover_cli.__version__,
    }
    return replace(prepared, about=replace(about, facts={**about.facts, REQUEST: sha256_json(asked)}))


def finished_before(prepared: PreparedS1, target: Path) -> bool:
    """Whether a folder holds just the observation that this work would write.

    Args:
        prepared: From `with_request`.
        target: Folder of the observation; it appears whole or not at all.

    Returns:
        False where there is nothing yet.

    Raises:
        InputError: Something else is there.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return False
    if (target / ABOUT).is_file():
        about = read_about(target)
        if (about.id, about.facts.get(REQUEST)) == (prepared.about.id, prepared.about.facts[REQUEST]):
            return True
        raise InputError(
            f"output {target} exists already, made with other parameters or inputs, or by another version",
            remedy="choose another --out, or remove it",
        )
    raise InputError(f"output {target} exists already", remedy="choose another --out, or remove it")


def _ends(path: Path) -> list[Any]:
    """Name, size, and digest of both ends of a file: terrain of many gigabytes is not read for a comparison."""
    if not path.is_file():
        return [path.name]
    size = path.stat().st_size
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(_END_BYTES))
        file.seek(max(0, size - _END_BYTES))
        digest.update(file.read(_END_BYTES))
    return [path.name, size, digest.hexdigest()]


def _digest(value: Any) -> str:
    digest = hashlib.sha256()
    for part in _parts(value):
        digest.update(part)
    return digest.hexdigest()


def _parts(value: Any) -> Iterator[bytes]:
    """A value of dataclasses, sequences, mappings and arrays as bytes, bit by bit."""
    if isinstance(value, np.ndarray):
        yield f"{value.dtype}{value.shape}".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif is_dataclass(value):
        for field in fields(value):
            yield field.name.encode()
            yield from _parts(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for key in sorted(value):
            yield from _parts((key, value[key]))
    elif isinstance(value, tuple | list):
        yield f"[{len(value)}".encode()
        for item in value:
            yield from _parts(item)
    else:
        yield repr(value).encode()
