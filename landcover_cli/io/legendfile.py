"""Reading and writing legend and crosswalk files (YAML or JSON)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from landcover_cli.config.strictyaml import load_document
from landcover_cli.core.digest import pretty_json
from landcover_cli.errors import InputError
from landcover_cli.labels.crosswalk import Crosswalk, parse_crosswalk
from landcover_cli.labels.legend import Legend, parse_legend

_MAX_BYTES = 32 * 1024**2
"""65,534 classes with long descriptions stay below it; a larger file is something else."""


def read_legend(path: Path) -> Legend:
    """Read a legend file.

    Raises:
        InputError: Missing, unreadable, not YAML or JSON, not a legend; names file, class and value.
    """
    return parse_legend(_read(path, "legend"), path.name)


def read_crosswalk(path: Path, legend: Legend) -> Crosswalk:
    """Read a crosswalk file that leads to a legend.

    Raises:
        InputError: Missing, unreadable, not YAML or JSON, not a crosswalk, or a class that the legend does not have.
    """
    return parse_crosswalk(_read(path, "crosswalk"), path.name, legend)


def write_legend(path: Path, legend: Legend) -> None:
    """Write a legend as JSON; `read_legend` reads it back."""
    path.write_text(pretty_json(legend.to_dict()), encoding="utf-8")


def _read(path: Path, what: str) -> Any:
    try:
        if path.is_file() and path.stat().st_size > _MAX_BYTES:
            raise InputError(
                f"{what} file {path} has {path.stat().st_size:,} bytes; at most {_MAX_BYTES:,} are read",
                remedy=f"is this the {what} file?",
            )
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{what} file {path}: {error.strerror or error}", remedy="check the path") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{what} file {path} is not UTF-8 text ({error.reason})", remedy="save it as UTF-8") from None
    try:
        return load_document(text)
    except ValueError as error:
        raise InputError(
            f"{what} file {path} is not valid YAML or JSON: {error}", remedy="mend the line it names"
        ) from None
