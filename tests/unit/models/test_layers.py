"""What networks share: order of dates, stacking, what stands in for a missing input."""

from __future__ import annotations

import pytest
import torch

from models.batch import Modality
from models.layers import complete, local_max, local_mean, ordered, stack_images
from models.spec import Port


def item(doy: list[list[int]]) -> Modality:
    """One band, one pixel, its value the day of year; padding where that is 0."""
    days = torch.tensor(doy)
    there = days > 0
    return Modality(days.float()[:, :, None, None, None], there[:, :, None, None], days, (days - 1).clamp_min(0), there)


def test_dates_come_by_day_and_padding_goes() -> None:
    found = ordered(item([[0, 90, 30, 0, 60], [20, 0, 0, 10, 0]]))
    assert found.doy.tolist() == [[30, 60, 90], [10, 20, 0]]
    assert found.data[:, :, 0, 0, 0].tolist() == [[30, 60, 90], [10, 20, 0]]
    assert found.present.tolist() == [[True] * 3, [True, True, False]]


def test_a_fixed_length_is_filled_and_never_cut() -> None:
    found = ordered(item([[0, 90, 30]]), 4)
    assert found.doy.tolist() == [[30, 90, 0, 0]]
    with pytest.raises(ValueError, match="2 dates, the network was built for 1"):
        ordered(item([[0, 90, 30]]), 1)


def test_a_fixed_length_keeps_the_place_of_a_cloudy_date() -> None:
    series = item([[30, 60, 90]])
    series.valid[:, 1] = False
    assert ordered(series, 3).doy.tolist() == [[30, 60, 90]]
    assert ordered(series, observed=True).doy.tolist() == [[30, 90]]


def test_inputs_are_stacked_in_the_ports_order_and_missing_ones_are_zero() -> None:
    ports = (
        Port("a", "series", ("x",), 10.0, "1", length=2),
        Port("b", "image", ("y", "z"), 10.0, "1", optional=True),
        Port("c", "image", ("w",), 10.0, "1"),
    )
    image = Modality(*(x[:, :1] for x in item([[7]])))
    stacked = stack_images({"a": item([[90, 30]]), "c": image}, ports)
    assert stacked[0, :, 0, 0].tolist() == [30, 90, 0, 0, 7]
    whole = complete({"a": item([[90, 30]]), "c": image}, ports)
    assert list(whole) == ["a", "b", "c"]
    assert not whole["b"].valid.any()


def test_pooling_over_the_patch_around_each_pixel() -> None:
    x = torch.rand(1, 1, 20, 20)
    # The pixel of index 8 of the patch that starts at (2, 3); beyond the rim nothing counts.
    for pool, reduce in ((local_mean, torch.mean), (local_max, torch.amax)):
        found = pool(x, 16)[0, 0]
        torch.testing.assert_close(found[10, 11], reduce(x[0, 0, 2:18, 3:19]))
        torch.testing.assert_close(found[0, 0], reduce(x[0, 0, :8, :8]))
