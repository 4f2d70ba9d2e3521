"""The page: one HTML file that opens offline, with every text from outside escaped, the same bytes every time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
MATRIX_LIMIT = 40
"""A heat map of more classes is unreadable; the page then points to the CSV."""


@dataclass(frozen=True)
class Picture:
    """A picture with its key.

    Attributes:
        title: Heading.
        uri: Data URI.
        key: (colour, text) pairs.
        note: A line below.
        pixelated: Few pixels: show them as squares.
    """

    title: str
    uri: str
    key: tuple[tuple[str, str], ...] = ()
    note: str = ""
    pixelated: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart with its key: (colour, text) pairs."""

    title: str
    svg: Markup
    key: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class ClassRow:
    """A class in a table of areas.

    Attributes:
        code: Legend code.
        name: Name.
        color: ``#rrggbb``.
        area_ha: Mapped area in hectares.
        share: Share of the mapped area.
        estimate: Estimated area with its interval, as text; empty where there is no sample.
    """

    code: int
    name: str
    color: str
    area_ha: float
    share: float
    estimate: str = ""


@dataclass(frozen=True)
class RegionPart:
    """What the page says about one region.

    Attributes:
        name: Region.
        facts: (what, value) pairs.
        pictures: Map first.
        classes: Areas.
        assessment: The document of an assessment, or None.
        matrix: Heat map: rows of (label, cells), or None where it is too large.
    """

    name: str
    facts: tuple[tuple[str, str], ...]
    pictures: tuple[Picture, ...]
    classes: tuple[ClassRow, ...]
    assessment: Mapping[str, Any] | None = None
    matrix: Heat | None = None


@dataclass(frozen=True)
class HeatCell:
    """A cell of the heat map: count, share of its reference class as text, background colour."""

    count: int
    share: str
    color: str


@dataclass(frozen=True)
class Heat:
    """The error matrix as coloured cells; rows map, columns reference.

    Attributes:
        columns: Names of the reference classes.
        rows: (name of the map class, cells).
        left_out: Classes that occur on neither side.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[HeatCell, ...]], ...]
    left_out: int


@dataclass(frozen=True)
class Listing:
    """A folded list: what it lists, its items, and how many more there are."""

    title: str
    items: tuple[str, ...]
    more: int = 0


@dataclass(frozen=True)
class Page:
    """Everything on the page.

    Attributes:
        title: Heading.
        regions: One part per region.
        training: Charts of training.
        training_facts: (what, value) pairs.
        coverage: Charts of clear observations.
        inputs: Lists of scenes and files by source.
        provenance: (what, value) pairs: versions and digests.
        files: (file, sha256) pairs of the deliverables.
    """

    title: str
    regions: tuple[RegionPart, ...]
    training: tuple[Chart, ...] = ()
    training_facts: tuple[tuple[str, str], ...] = ()
    coverage: tuple[Chart, ...] = ()
    inputs: tuple[Listing, ...] = ()
    provenance: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, str], ...] = field(default=())


def render(page: Page) -> str:
    """The page as HTML."""
    environment = Environment(
        loader=PackageLoader("landcover_cli.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["percent"] = percent
    environment.filters["thousands"] = lambda value: f"{value:,}"
    environment.filters["hectares"] = hectares
    environment.filters["color"] = color
    return environment.get_template("report.html.j2").render(page=page)


def color(value: object) -> str:
    """A colour that is one: escaping alone would let a document bring its own style."""
    text = str(value)
    return text if _COLOR.fullmatch(text) else "#888888"


def percent(value: float | None) -> str:
    """``0.8342`` → ``83.4 %``; an undefined figure is a dash."""
    return "–" if value is None else f"{100 * value:.1f} %"


def hectares(value: float) -> str:
    """An area with as many digits as it deserves."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:,.1f}" if value >= 10 else f"{value:.2f}"


def heat(counts: Sequence[Sequence[int]], names: Sequence[str]) -> Heat | None:
    """The error matrix as coloured cells, by share of each reference class; None where there are too many classes.

    Args:
        counts: Rows map, columns reference.
        names: Class names in index order.
    """
    columns = [sum(row[j] for row in counts) for j in range(len(names))]
    used = [i for i in range(len(names)) if columns[i] or sum(counts[i])]
    if len(used) > MATRIX_LIMIT:
        return None
    rows = []
    for i in used:
        cells = []
        for j in used:
            share = counts[i][j] / columns[j] if columns[j] else None
            text = "" if share is None or counts[i][j] == 0 else f"{100 * share:.0f}" if share >= 0.005 else "<1"
            cells.append(HeatCell(counts[i][j], text, _shade(share or 0.0, right=i == j)))
        rows.append((names[i], tuple(cells)))
    return Heat(tuple(names[j] for j in used), tuple(rows), len(names) - len(used))


def _shade(share: float, *, right: bool) -> str:
    """White to blue on the diagonal, white to orange off it; dark text stays readable on all of them."""
    end = (92, 160, 214) if right else (240, 150, 70)
    strength = share**0.6
    return "#" + "".join(f"{round(255 + (channel - 255) * strength):02x}" for channel in end)
