"""Tables of series: one row per point and date, one column per band (Parquet or CSV)."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyproj

from landcover_cli.config.labels import TableConfig, TableSource
from landcover_cli.core.types import Period, split_periods
from landcover_cli.errors import ConfigError, InputError

__all__ = ["GRID_CRS", "SeriesTable", "TableSeries", "read_series_table", "read_table_description"]

GRID_CRS = "EPSG:6933"
"""Points of any place lie on one grid, of equal area (EASE-Grid 2.0), so that distances between splits mean metres."""


@dataclass(frozen=True)
class TableSeries:
    """One input of all points.

    Attributes:
        data_ntb: ``[N, T, C]`` float32, scaled; 0 where invalid.
        valid_nt: ``[N, T]`` bool: every band has a value.
        n_nt: ``[N, T]`` uint16, rows averaged.
    """

    data_ntb: np.ndarray
    valid_nt: np.ndarray
    n_nt: np.ndarray


@dataclass(frozen=True)
class SeriesTable:
    """A table, brought to points × periods × bands.

    Attributes:
        config: Its description.
        periods: The T periods.
        ids: Names of the N points, sorted.
        labels: Code or name per point; None where there is none.
        weights: What each label counts, float32.
        groups: Group per point; empty where there are none.
        xy_m: ``[N, 2]`` in `GRID_CRS`.
        series: By input name.
        outside: Rows outside the periods.
    """

    config: TableConfig
    periods: tuple[Period, ...]
    ids: tuple[str, ...]
    labels: tuple[int | str | None, ...]
    weights: np.ndarray
    groups: tuple[str, ...]
    xy_m: np.ndarray
    series: dict[str, TableSeries]
    outside: int


def read_table_description(path: Path) -> TableConfig:
    """The description of a table (YAML).

    Raises:
        InputError: Unreadable.
        ConfigError: Not YAML, an unknown or missing key.
    """
    from landcover_cli.config.pipeline import parse_section
    from landcover_cli.config.strictyaml import load_document

    try:
        document = load_document(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"table description {path}: {error.strerror or error}", remedy="check the path") from None
    except ValueError as error:
        raise ConfigError(f"table description {path} is not YAML: {error}", remedy="mend the line it names") from None
    if not isinstance(document, dict):
        raise ConfigError(f"table description {path} holds no mapping", remedy="see docs/tile.md")
    try:
        return parse_section(TableConfig, document, "table", str(path))
    except ConfigError as error:
        raise ConfigError(error.problem, remedy="see the table's description in docs/tile.md") from None


def read_series_table(config: TableConfig, base: Path) -> SeriesTable:
    """Read a table and average the rows of each period.

    Args:
        config: Its description.
        base: Folder that its path is relative to.

    Raises:
        InputError: Unreadable; a column that is missing or holds no numbers, days or places; a point whose rows
            disagree about label, group or place; no row within the periods.
    """
    path = base / config.path
    what = f"table {path}"
    frame = _frame(path, config, what)
    start, end = config.period.span()
    periods = split_periods(start, end, config.period.step)
    days = _days(frame[config.time], config.time, what)
    edges = np.array([p.start for p in periods] + [periods[-1].end], "datetime64[D]")
    slot = np.searchsorted(edges, days, side="right") - 1
    inside = (slot >= 0) & (slot < len(periods))
    if not inside.any():
        raise InputError(
            f"{what}: no row lies in the period {start} to {end} (rows span {days.min()} to {days.max()})",
            remedy="check `period` of the description",
        )
    names, point = np.unique(frame[config.id].astype(str).to_numpy(str), return_inverse=True)
    first = np.full(len(names), -1)
    first[point[::-1]] = np.arange(len(point))[::-1]
    steady = [config.label, config.x, config.y, *filter(None, (config.group, config.weight))]
    for column in dict.fromkeys(steady):
        _refuse_disagreement(frame[column], first, point, names, column, what)
    head = frame.iloc[first]
    return SeriesTable(
        config=config,
        periods=periods,
        ids=tuple(names.tolist()),
        labels=tuple(_label(value) for value in head[config.label]),
        weights=_weights(head, config, what),
        groups=tuple(head[config.group].astype(str)) if config.group else (),
        xy_m=_places(head, config, what),
        series={
            name: _average(frame, source, point, np.where(inside, slot, -1), len(names), len(periods), what)
            for name, source in config.sources.items()
        },
        outside=int((~inside).sum()),
    )


def _frame(path: Path, config: TableConfig, what: str) -> Any:
    """The columns that are needed, as they are."""
    if not path.is_file():
        raise InputError(f"{what} does not exist", remedy="check `path` of the description")
    bands = [column for source in config.sources.values() for column in source.bands.values()]
    wanted = list(dict.fromkeys([config.id, config.time, config.x, config.y, config.label, *bands]))
    wanted += [name for name in (config.group, config.weight) if name and name not in wanted]
    try:
        if path.suffix.lower() == ".csv":
            known = list(pd.read_csv(path, nrows=0).columns)
        else:
            import pyarrow.parquet

            known = list(pyarrow.parquet.read_schema(path).names)
        missing = [name for name in wanted if name not in known]
        if missing:
            raise InputError(
                f"{what} has no column {missing[0]!r}", remedy=f"its columns: {', '.join(map(repr, known))}"
            )
        csv = path.suffix.lower() == ".csv"
        frame = pd.read_csv(path, usecols=wanted) if csv else pd.read_parquet(path, columns=wanted)
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001  pandas and pyarrow raise many classes for a broken file
        raise InputError(
            f"{what} is not readable: {reprlib.repr(str(error))}", remedy="give a Parquet or a CSV file"
        ) from None
    if frame.empty:
        raise InputError(f"{what} holds no row", remedy="give a table with rows")
    return frame


def _days(column: Any, name: str, what: str) -> np.ndarray:
    try:
        if pd.api.types.is_numeric_dtype(column):
            raise ValueError("numbers")  # 20210531 would be read as nanoseconds since 1970
        text = not pd.api.types.is_datetime64_any_dtype(column)
        found = pd.to_datetime(column, utc=True, format="ISO8601") if text else pd.to_datetime(column, utc=True)
        days: np.ndarray = found.dt.tz_localize(None).to_numpy().astype("datetime64[D]")
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{what}: column {name!r} holds what is no day ({reprlib.repr(str(error))})",
            remedy="write days as 2021-05-31",
        ) from None
    if np.isnat(days).any():
        raise InputError(f"{what}: column {name!r} has rows without a day", remedy="remove them, or give their day")
    return days


def _refuse_disagreement(
    column: Any, first: np.ndarray, point: np.ndarray, names: np.ndarray, name: str, what: str
) -> None:
    values = column.to_numpy()
    mine, theirs = values, values[first][point]
    differ = (mine != theirs) & ~(pd.isna(mine) & pd.isna(theirs))
    if differ.any():
        row = int(np.flatnonzero(differ)[0])
        raise InputError(
            f"{what}: rows of point {str(names[point[row]])!r} disagree about {name!r}: {theirs[row]} and {mine[row]}",
            remedy="give each point one label, one place and one group, or each of them an id of its own",
        )


def _label(value: Any) -> int | str | None:
    if pd.isna(value):
        return None
    plain = getattr(value, "item", lambda: value)()
    if isinstance(plain, float) and plain.is_integer():
        return int(plain)
    return plain if isinstance(plain, int) and not isinstance(plain, bool) else str(plain)


def _weights(head: Any, config: TableConfig, what: str) -> np.ndarray:
    if config.weight is None:
        return np.ones(len(head), np.float32)
    found = pd.to_numeric(head[config.weight], errors="coerce").fillna(-1.0).to_numpy(np.float32)
    if not (found >= 0).all() or not np.isfinite(found).all():
        raise InputError(f"{what}: column {config.weight!r} holds what is no weight", remedy="give numbers from 0 up")
    return found


def _places(head: Any, config: TableConfig, what: str) -> np.ndarray:
    x, y = (pd.to_numeric(head[name], errors="coerce").to_numpy(np.float64) for name in (config.x, config.y))
    try:
        to_grid = pyproj.Transformer.from_crs(config.crs, GRID_CRS, always_xy=True)
    except pyproj.exceptions.CRSError:
        raise ConfigError(f"{what}: crs {config.crs!r} is none", remedy="write e.g. EPSG:4326") from None
    xy = np.column_stack(to_grid.transform(x, y))
    if not np.isfinite(xy).all():
        row = int(np.flatnonzero(~np.isfinite(xy).all(axis=1))[0])
        raise InputError(
            f"{what}: point at ({x[row]}, {y[row]}) has no place in {config.crs}",
            remedy="check the columns `x` and `y`, and `crs`",
        )
    return xy


def _average(
    frame: Any, source: TableSource, point: np.ndarray, slot: np.ndarray, n_points: int, n_periods: int, what: str
) -> TableSeries:
    """Mean per point and period of the rows that have a value in every band."""
    columns = []
    for name in source.bands.values():
        numbers = pd.to_numeric(frame[name], errors="coerce").to_numpy(np.float64)
        broken = np.isnan(numbers) & ~frame[name].isna().to_numpy()
        if broken.any():
            shown = reprlib.repr(frame[name].to_numpy()[int(np.flatnonzero(broken)[0])])
            raise InputError(f"{what}: column {name!r} holds {shown}, which is no number", remedy="mend the column")
        columns.append(np.where(np.isin(numbers, source.nodata), np.nan, numbers))
    values = np.stack(columns, axis=1)
    values = (values if source.exponent == 1 else values**source.exponent) * source.scale + source.offset
    length = n_periods if source.kind == "series" else 1
    where = slot if source.kind == "series" else np.zeros_like(slot)
    usable = np.isfinite(values).all(axis=1) & (where >= 0)
    cell = point[usable] * length + where[usable]
    count = np.bincount(cell, minlength=n_points * length)
    total = np.stack(
        [np.bincount(cell, values[usable, band], minlength=n_points * length) for band in range(len(columns))], axis=1
    )
    mean = np.where(count[:, None] > 0, total / np.maximum(count, 1)[:, None], 0.0)
    return TableSeries(
        mean.reshape(n_points, length, -1).astype(np.float32),
        (count > 0).reshape(n_points, length),
        np.minimum(count, 65_535).reshape(n_points, length).astype(np.uint16),
    )


def groups_of(values: Sequence[str]) -> list[frozenset[str]]:
    """Groups as `assign_splits` takes them."""
    return [frozenset([value]) for value in values]
