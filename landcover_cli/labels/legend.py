"""Legends: which classes there are, in which order, with which codes, names and colours."""

from __future__ import annotations

import colorsys
import re
import reprlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from landcover_cli.errors import InputError

MAX_CLASSES = 65_534
"""Indices 0..65533 and the nodata value 65535 fit uint16; 65534 stays free."""
MAX_CODE = 2**31 - 1
"""Codes are written into int32 attributes of tables and vector files."""

_HEX = re.compile(r"#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})")
_MAX_TEXT = 1000


@dataclass(frozen=True)
class LegendClass:
    """One class.

    Attributes:
        code: The legend's own number for the class, 0..2147483647; any gaps.
        name: Short name, unique within the legend.
        color: ``#rrggbb``, lower case.
        description: What counts as this class.
    """

    code: int
    name: str
    color: str
    description: str = ""

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green, blue, 0..255."""
        return int(self.color[1:3], 16), int(self.color[3:5], 16), int(self.color[5:7], 16)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {"code": self.code, "name": self.name, "color": self.color, "description": self.description}


@dataclass(frozen=True)
class Legend:
    """A legend; a class's index (0..K-1) is its position in `classes`.

    Attributes:
        id: Name of the legend, for people and for checks between files.
        version: Version of the legend.
        classes: At least one class.

    Raises:
        InputError: No class, too many, a code or a name used twice.
    """

    id: str
    version: str
    classes: tuple[LegendClass, ...]

    def __post_init__(self) -> None:
        if not self.classes:
            raise InputError(f"legend {self.id!r} has no class", remedy="list at least one class under `classes`")
        if len(self.classes) > MAX_CLASSES:
            raise InputError(
                f"legend {self.id!r} has {len(self.classes)} classes; a map holds at most {MAX_CLASSES}",
                remedy="merge classes, or map them in parts",
            )
        for title, values in (("code", self.codes), ("name", self.names)):
            twice = [value for value, count in Counter(values).items() if count > 1]
            if twice:
                shown = ", ".join(repr(value) for value in twice[:5])
                raise InputError(
                    f"legend {self.id!r}: {title} {shown} stands more than once",
                    remedy=f"give each class its own {title}",
                )

    @property
    def codes(self) -> tuple[int, ...]:
        """Codes in index order."""
        return tuple(item.code for item in self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """Names in index order."""
        return tuple(item.name for item in self.classes)

    @cached_property
    def index_of_code(self) -> Mapping[int, int]:
        """Code → index."""
        return {item.code: index for index, item in enumerate(self.classes)}

    @cached_property
    def code_of_name(self) -> Mapping[str, int]:
        """Name → code."""
        return {item.name: item.code for item in self.classes}

    @property
    def dtype(self) -> str:
        """Type of a raster of class indices: ``uint8`` up to 254 classes, else ``uint16``."""
        return "uint8" if len(self.classes) <= 254 else "uint16"

    @property
    def nodata(self) -> int:
        """The index that means `no class`: 255 (uint8) or 65535 (uint16)."""
        return 255 if self.dtype == "uint8" else 65_535

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form; `parse_legend` reads it back."""
        return {"id": self.id, "version": self.version, "classes": [item.to_dict() for item in self.classes]}


def parse_legend(document: Any, name: str) -> Legend:
    """The legend of a document as a YAML or JSON reader gives it.

    ``{"id": ..., "version": ..., "classes": [{"code": 1, "name": "water", "color": "#1f77b4", "description": ...}]}``;
    `classes` may also be a mapping ``code: name`` or ``code: {name: ...}``. A class without colour gets one by its
    position. ``colour`` is read as ``color``. A map's own ``legend.json``, which also holds indices, is a legend, too.

    Args:
        document: Mapping of plain values.
        name: What the document was read from; used in messages and as the id where it has none.

    Raises:
        InputError: Anything that is not a legend; names the class and the value.
    """
    remedy = "see docs/labels.md for the form of a legend file"
    if not isinstance(document, Mapping) or "classes" not in document:
        raise InputError(f"legend {name} holds no `classes`", remedy=remedy)
    unknown = set(document) - {"id", "version", "title", "description", "classes", "nodata_index"}
    if unknown:
        raise InputError(f"legend {name}: unknown key {_shown(sorted(map(str, unknown))[0])}", remedy=remedy)
    entries = document["classes"]
    if isinstance(entries, Mapping):
        entries = [{"code": _number(code), **_mapping(value)} for code, value in entries.items()]
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise InputError(f"legend {name}: `classes` is {_shown(entries)}, no list", remedy=remedy)
    if len(entries) > MAX_CLASSES:
        raise InputError(
            f"legend {name} has {len(entries)} classes; a map holds at most {MAX_CLASSES}",
            remedy="merge classes, or map them in parts",
        )
    classes = tuple(_parse_class(entry, position, name) for position, entry in enumerate(entries))
    return Legend(_text(document.get("id", name)), _text(document.get("version", "1")), classes)


def _number(key: Any) -> Any:
    """A key that is a number written as text (JSON has no other keys) as a number."""
    return int(key) if isinstance(key, str) and key.isascii() and key.isdigit() and len(key) < 12 else key


def _mapping(value: Any) -> dict[Any, Any]:
    return dict(value) if isinstance(value, Mapping) else {"name": value}


def _parse_class(entry: Any, position: int, name: str) -> LegendClass:
    where = f"legend {name}: class {position + 1}"
    if not isinstance(entry, Mapping) or "code" not in entry or "name" not in entry:
        raise InputError(f"{where} is {_shown(entry)}", remedy="give each class a `code` and a `name`")
    if entry.get("index", position) != position:
        raise InputError(f"{where} has index {_shown(entry['index'])}", remedy="list the classes in index order")
    unknown = set(entry) - {"code", "name", "color", "colour", "description", "index"}
    if unknown:
        raise InputError(
            f"{where}: unknown key {_shown(sorted(map(str, unknown))[0])}",
            remedy="a class has code, name, color, description",
        )
    code = entry["code"]
    if isinstance(code, bool) or not isinstance(code, int) or not 0 <= code <= MAX_CODE:
        raise InputError(
            f"{where}: code {_shown(code)} is no whole number from 0 to {MAX_CODE}", remedy="mend the code"
        )
    text = _text(entry["name"]).strip()
    if entry["name"] is None or not text or len(text) > _MAX_TEXT:
        raise InputError(f"{where} (code {code}): name {_shown(entry['name'])}", remedy="give it a short name")
    color = entry.get("color", entry.get("colour"))
    return LegendClass(
        code=code,
        name=text,
        color=default_color(position) if color is None else _parse_color(color, f"{where} ({text!r})"),
        description=_text(entry.get("description") or ""),
    )


def _parse_color(value: Any, where: str) -> str:
    if isinstance(value, str) and _HEX.fullmatch(value.strip()):
        digits = value.strip()[1:].lower()
        return "#" + (digits if len(digits) == 6 else "".join(digit * 2 for digit in digits))
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 3:
        numbers = [item for item in value if isinstance(item, int) and not isinstance(item, bool) and 0 <= item <= 255]
        if len(numbers) == 3:
            return "#{:02x}{:02x}{:02x}".format(*numbers)
    raise InputError(f"{where}: colour {_shown(value)} is no colour", remedy='write "#1f77b4" or [31, 119, 180]')


def default_color(position: int) -> str:
    """A colour for the class at a position: hues a golden angle apart, so that neighbours in the list differ."""
    hue = (0.30 + position * 0.618033988749895) % 1.0
    red, green, blue = colorsys.hls_to_rgb(hue, 0.42 + 0.16 * (position % 3) / 2, 0.55)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def _text(value: Any) -> str:
    """Text without control characters, which would break tables, XML and terminals."""
    text = value if isinstance(value, str) else reprlib.repr(value)
    return "".join(" " if ord(char) < 32 or ord(char) == 127 else char for char in text)


def _shown(value: Any) -> str:
    """A value for a message; cut, because the value may be a whole file."""
    return reprlib.repr(value)
