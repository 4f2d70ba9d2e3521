"""Legends and crosswalks that come with lc, each a file with its source; named ``lc:NAME``."""

from __future__ import annotations

import difflib
from pathlib import Path

from landcover_cli.errors import ConfigError

__all__ = ["shipped", "shipped_names"]

_PREFIX = "lc:"
_FOLDER = Path(__file__).with_name("shipped_files")


def shipped_names(kind: str) -> tuple[str, ...]:
    """Names of all ``legends`` or ``crosswalks`` that come with lc."""
    return tuple(sorted(path.stem for path in (_FOLDER / kind).glob("*.yaml")))


def shipped(kind: str, text: str) -> Path | None:
    """The file of ``lc:NAME``; None where the text names a file of the user's.

    Args:
        kind: ``legends`` or ``crosswalks``.
        text: As given by the user.

    Raises:
        ConfigError: No such legend or crosswalk comes with lc.
    """
    if not text.startswith(_PREFIX):
        return None
    name, known = text.removeprefix(_PREFIX), shipped_names(kind)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {' or '.join(_PREFIX + item for item in near)}? " if near else ""
        raise ConfigError(f"{kind[:-1]} {text!r} does not come with lc", remedy=f"{hint}there are {', '.join(known)}")
    return _FOLDER / kind / f"{name}.yaml"
