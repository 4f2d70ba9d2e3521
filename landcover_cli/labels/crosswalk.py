"""Crosswalks: from the codes or names that labels carry to a legend's class indices."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from landcover_cli.errors import InputError
from landcover_cli.labels.legend import Legend

if TYPE_CHECKING:
    import numpy as np

_RANGE = re.compile(r"\s*(\d+)\s*-\s*(\d+)\s*")
_MAX_SHOWN = 12
_TABLE = 1 << 17

Value = int | str
"""What a label carries: a code or a name."""


@dataclass(frozen=True)
class Crosswalk:
    """From label values to codes of a legend; None stands for `no label`.

    Attributes:
        id: Name, for people.
        to: Id of the legend it leads to, or empty where it does not say.
        values: Label code or name → legend code.
        ranges: ``(first, last, legend code)``, both ends included; looked at after `values`, in order.
        ignore_rest: Whether a value that is not listed means `no label` (else it is an error).
    """

    id: str = ""
    to: str = ""
    values: Mapping[Value, int | None] = field(default_factory=dict)
    ranges: tuple[tuple[int, int, int | None], ...] = ()
    ignore_rest: bool = False


def parse_crosswalk(document: Any, name: str, legend: Legend) -> Crosswalk:
    """The crosswalk of a document as a YAML or JSON reader gives it.

    ``{"id": ..., "to": <legend id>, "map": {11: 1, "1100-1199": "cropland", "maize": 2, 99: null}, "rest": "error"}``:
    keys are codes, ranges of codes, or names; values are codes or names of the legend, or null for `no label`;
    ``rest: ignore`` makes everything not listed `no label`.

    Raises:
        InputError: Not a crosswalk, another legend's, or a class that the legend does not have.
    """
    remedy = "see docs/labels.md for the form of a crosswalk file"
    if not isinstance(document, Mapping) or not isinstance(document.get("map"), Mapping):
        raise InputError(f"crosswalk {name} holds no `map` from label codes to legend codes", remedy=remedy)
    unknown = set(map(str, document)) - {"id", "to", "from", "map", "rest", "description"}
    if unknown:
        raise InputError(f"crosswalk {name}: unknown key {reprlib.repr(min(unknown))}", remedy=remedy)
    rest = document.get("rest", "error")
    if rest not in ("error", "ignore"):
        raise InputError(f"crosswalk {name}: rest is {reprlib.repr(rest)}", remedy="write `error` or `ignore`")
    to = document.get("to")
    if to is not None and str(to) != legend.id:
        raise InputError(
            f"crosswalk {name} leads to legend {reprlib.repr(str(to))}, but the legend in use is {legend.id!r}",
            remedy="use the crosswalk of this legend",
        )
    values: dict[Value, int | None] = {}
    ranges = []
    for key, target in document["map"].items():
        code = _legend_code(target, key, name, legend)
        if isinstance(key, str) and (number := _as_number(key)) is not None:
            values[number] = code  # JSON has no other keys than text
        elif isinstance(key, str) and (match := _RANGE.fullmatch(key)):
            first, last = int(match[1]), int(match[2])
            if first > last:
                raise InputError(f"crosswalk {name}: range {key!r} is empty", remedy="write the smaller code first")
            ranges.append((first, last, code))
        elif isinstance(key, str) or (isinstance(key, int) and not isinstance(key, bool)):
            values[key] = code
        else:
            raise InputError(f"crosswalk {name}: {reprlib.repr(key)} is no label code or name", remedy=remedy)
    return Crosswalk(str(document.get("id", name)), str(to or ""), values, tuple(ranges), rest == "ignore")


def _legend_code(target: Any, key: Any, name: str, legend: Legend) -> int | None:
    if target is None:
        return None
    if isinstance(target, str) and target in legend.code_of_name:
        return legend.code_of_name[target]
    if isinstance(target, int) and not isinstance(target, bool) and target in legend.index_of_code:
        return target
    raise InputError(
        f"crosswalk {name}: {reprlib.repr(key)} leads to {reprlib.repr(target)}, "
        f"which legend {legend.id!r} does not have",
        remedy=f"the legend's codes: {shown_values(legend.codes)}",
    )


class ValueMapper:
    """Label values → class indices of a legend.

    Without a crosswalk a value is a code or a name of the legend itself. `ignore` codes mean `no label` in either case.

    Attributes:
        legend: The legend whose indices come out.
        what: What the values were read from, for messages.
    """

    def __init__(
        self, legend: Legend, crosswalk: Crosswalk | None = None, ignore: tuple[int, ...] = (), what: str = "labels"
    ) -> None:
        self.legend = legend
        self.what = what
        self._crosswalk = crosswalk
        self._ignore = frozenset(ignore)

    def index(self, value: Value) -> int | None:
        """Class index of one value; the legend's nodata for `no label`; None where the value is unknown.

        Text that is a whole number counts as that number too: text columns and JSON properties carry codes so.
        """
        for candidate in (value, _as_number(value)):
            if candidate is None:
                continue
            if candidate in self._ignore:
                return self.legend.nodata
            known, code = self._code(candidate)
            if known:
                return self.legend.nodata if code is None else self.legend.index_of_code[code]
        return self.legend.nodata if self._crosswalk is not None and self._crosswalk.ignore_rest else None

    def _code(self, value: Value) -> tuple[bool, int | None]:
        """(whether the value is listed, the legend's code or None for `no label`)."""
        if self._crosswalk is None:
            code = self.legend.code_of_name.get(value) if isinstance(value, str) else value
            return code in self.legend.index_of_code, code
        if value in self._crosswalk.values:
            return True, self._crosswalk.values[value]
        if isinstance(value, int):
            for first, last, code in self._crosswalk.ranges:
                if first <= value <= last:
                    return True, code
        return False, None

    def indices(self, codes: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """Class indices of an array of whole-number codes.

        Args:
            codes: Any shape, integer type.
            valid: Same shape, bool; False means `no label`.

        Returns:
            The same shape in the legend's dtype; the legend's nodata where there is no label.

        Raises:
            InputError: Codes that neither crosswalk nor legend has; all of them are listed.
        """
        import numpy as np

        out = np.full(codes.shape, self.legend.nodata, self.legend.dtype)
        if not valid.any():
            return out
        some = codes[valid]
        low, high = int(some.min()), int(some.max())
        if high - low < _TABLE:  # a table is many times faster than sorting
            inverse = (some - low).astype(np.intp)
            found = np.flatnonzero(np.bincount(inverse, minlength=high - low + 1)) + low
            table = np.zeros(high - low + 1, self.legend.dtype)
            at = found - low
        else:
            found, inverse = np.unique(some, return_inverse=True)
            table = np.zeros(len(found), self.legend.dtype)
            at = np.arange(len(found))
        indices = [self.index(int(code)) for code in found]
        self.refuse_unknown([int(code) for code, index in zip(found, indices, strict=True) if index is None])
        table[at] = indices
        out[valid] = table[inverse]
        return out

    def refuse_unknown(self, unknown: list[Any]) -> None:
        """Raise where there is anything unknown.

        Raises:
            InputError: Lists the values, the legend's codes, and what to do.
        """
        if not unknown:
            return
        where = "the crosswalk" if self._crosswalk else f"legend {self.legend.id!r}"
        raise InputError(
            f"{self.what}: label value{'s' if len(unknown) > 1 else ''} {shown_values(unknown)} not in {where}",
            remedy="add them to the legend or to a crosswalk, or ignore them (labels.ignore, --ignore); "
            f"the legend's codes: {shown_values(self.legend.codes)}",
        )


def _as_number(value: Value) -> int | None:
    """The whole number that a text is, if it is one."""
    text = value.strip() if isinstance(value, str) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None


def shown_values(values: Any) -> str:
    """A list for a message: the first dozen, and how many more."""
    items = list(values)
    text = ", ".join(reprlib.repr(item) for item in items[:_MAX_SHOWN])
    return f"{text} and {len(items) - _MAX_SHOWN} more" if len(items) > _MAX_SHOWN else text
