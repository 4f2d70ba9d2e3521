"""Spectral indices by name, from spyndex' table of formulas (Montero et al. 2023, Scientific Data 10).

The table says formula, bands and constants; the numbers are computed here, in float64 on reflectance (or linear power),
by a walk over the formula's own syntax: nothing of the table is executed.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from landcover_cli.errors import ConfigError, LcError

LETTERS = {
    "coastal": "A",
    "blue": "B",
    "green": "G",
    "red": "R",
    "rededge1": "RE1",
    "rededge2": "RE2",
    "rededge3": "RE3",
    "nir": "N",
    "nir08": "N2",
    "nir09": "WV",
    "swir16": "S1",
    "swir22": "S2",
}
"""Common name of a band → its letter in the table; radar bands go by their own names."""
_RADAR = ("VV", "VH", "HH", "HV")
_OPERATIONS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}


@dataclass(frozen=True)
class Index:
    """One index of a source.

    Attributes:
        name: As in the table, e.g. ``NDVI``.
        formula: Over letters and constants.
        places: Letter → position among the source's bands.
        constants: Their values.
        reference: Where it was published.
    """

    name: str
    formula: str
    places: Mapping[str, int]
    constants: Mapping[str, float] = field(default_factory=dict)
    reference: str = ""

    def of(self, values_byx: np.ndarray) -> np.ndarray:
        """The index of physical values.

        Args:
            values_byx: Reflectance or linear power of the source's bands.

        Returns:
            (y, x) float32; NaN where the formula has no value.
        """
        known: dict[str, Any] = {letter: values_byx[b].astype(np.float64) for letter, b in self.places.items()}
        with np.errstate(all="ignore"):
            value = np.asarray(_evaluate(ast.parse(self.formula, mode="eval").body, {**known, **self.constants}))
            found = np.broadcast_to(value, values_byx.shape[1:]).astype(np.float32)
        return np.where(np.isfinite(found), found, np.float32(np.nan))


def resolve_indices(names: Sequence[str], bands: Sequence[str], roles: Mapping[str, int]) -> tuple[Index, ...]:
    """Indices by name, for a source with these bands.

    Args:
        names: Names in the table.
        bands: Bands of the source, in order.
        roles: Common name → position in `bands`.

    Raises:
        ConfigError: No such index, a band that it needs is not there, or a name given twice.
        LcError: spyndex is not installed.
    """
    if not names:
        return ()
    places = {LETTERS[role]: at for role, at in roles.items() if role in LETTERS}
    places |= {name: bands.index(name) for name in _RADAR if name in bands}
    if len({*names, *bands}) < len(names) + len(bands):
        raise ConfigError(f"indices {', '.join(names)}: a name is given twice", remedy="name each once")
    return tuple(_resolve(name, places) for name in names)


def _resolve(name: str, places: Mapping[str, int]) -> Index:
    table, constants = _table()
    if name not in table:
        import difflib

        near = difflib.get_close_matches(name, table, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "see the list of Awesome Spectral Indices"
        raise ConfigError(f"unknown index {name!r}", remedy=hint)
    entry = table[name]
    missing = [part for part in entry.bands if part not in places and part not in constants]
    if missing:
        words = {letter: role for role, letter in LETTERS.items()}
        raise ConfigError(
            f"index {name!r} needs {', '.join(words.get(part, part) for part in missing)}",
            remedy=f"add the band to the source; its formula is {entry.formula}",
        )
    used = {part: float(constants[part].value) for part in entry.bands if part not in places}
    at = {part: places[part] for part in entry.bands if part in places}
    return Index(name, str(entry.formula), at, used, str(entry.reference))


def _table() -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    try:
        import spyndex
    except ImportError:
        raise LcError(
            "spectral indices need the library spyndex", remedy="pip install 'landcover-cli[indices]'"
        ) from None
    return spyndex.indices, spyndex.constants


def _evaluate(node: ast.AST, known: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    if isinstance(node, ast.Name) and node.id in known:
        return known[node.id]
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        return _OPERATIONS[type(node.op)](_evaluate(node.left, known), _evaluate(node.right, known))
    if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATIONS:
        return _OPERATIONS[type(node.op)](_evaluate(node.operand, known))
    raise ConfigError(f"formula with {ast.dump(node)[:60]}", remedy="choose another index")
