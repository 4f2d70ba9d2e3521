"""Periods, units, digests."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landcover_cli.core.digest import canonical_json, sha256_json
from landcover_cli.core.types import Period, split_periods
from landcover_cli.core.unit import Unit, UnitRef, plan_unit
from landcover_cli.errors import ConfigError


def test_months_of_a_year_are_labelled_by_month() -> None:
    periods = split_periods(date(2021, 1, 1), date(2022, 1, 1), "month")
    assert [p.label for p in periods] == [f"2021-{m:02d}" for m in range(1, 13)]
    assert periods[1].middle == date(2021, 2, 15)


@given(
    start=st.dates(date(2015, 1, 1), date(2030, 1, 1)),
    days=st.integers(1, 900),
    step=st.sampled_from(["month", "season", "all", "10d", "1d", "45d"]),
)
def test_periods_cover_every_day_once(start: date, days: int, step: str) -> None:
    end = start + timedelta(days=days)
    periods = split_periods(start, end, step)
    assert periods[0].start == start
    assert periods[-1].end == end
    assert all(a.end == b.start for a, b in pairwise(periods))
    assert len({p.label for p in periods}) == len(periods)


@pytest.mark.parametrize("step", ["week", "0d", "d", "-3d"])
def test_an_unknown_step_is_refused(step: str) -> None:
    with pytest.raises(ConfigError, match="step"):
        split_periods(date(2021, 1, 1), date(2021, 3, 1), step)


def test_a_period_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(ConfigError, match="before it starts"):
        split_periods(date(2021, 3, 1), date(2021, 1, 1), "month")


def test_an_instant_belongs_to_the_period_of_its_utc_day() -> None:
    period = Period(date(2021, 3, 1), date(2021, 4, 1))
    assert period.contains(datetime(2021, 3, 31, 23, 59, tzinfo=UTC))
    assert not period.contains(datetime(2021, 3, 31, 23, 59, tzinfo=timezone(timedelta(hours=-5))))


def test_canonical_json_ignores_order_and_refuses_nan() -> None:
    assert canonical_json({"b": 1, "a": [1.5, "é"]}) == '{"a":[1.5,"é"],"b":1}'
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"a": float("nan")})


@pytest.mark.parametrize("bad", ["a//b", "../x", "a/..", "a b", "", "a/ü"])
def test_unit_ids_are_safe_paths(bad: str) -> None:
    with pytest.raises(ValueError, match="unit id"):
        Unit("step", bad)


def test_a_key_depends_on_everything_that_decides_the_result() -> None:
    unit = Unit("s", "u", params={"a": 1}, files={"f": "x"}, needs={"n": UnitRef("t", "v")})
    base = plan_unit(unit, 1, {"f": "0"}, {"n": "k"}).key
    others = [
        plan_unit(unit, 2, {"f": "0"}, {"n": "k"}).key,
        plan_unit(unit, 1, {"f": "1"}, {"n": "k"}).key,
        plan_unit(unit, 1, {"f": "0"}, {"n": "l"}).key,
        plan_unit(Unit("s", "u", {"a": 2}, unit.files, unit.needs), 1, {"f": "0"}, {"n": "k"}).key,
        plan_unit(Unit("s", "w", unit.params, unit.files, unit.needs), 1, {"f": "0"}, {"n": "k"}).key,
    ]
    assert len({base, *others}) == 6
    # Where a file lies does not matter, only what is in it.
    moved = Unit("s", "u", {"a": 1}, {"f": "elsewhere"}, unit.needs)
    assert plan_unit(moved, 1, {"f": "0"}, {"n": "k"}).key == base


def test_digest_of_json_is_stable() -> None:
    assert sha256_json({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
