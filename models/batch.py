"""What a network is fed: one `Modality` per port."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Modality(NamedTuple):
    """One input of a network, batched. An image has T = 1.

    Attributes:
        data: ``[B, T, C, H, W]`` float32, normalised. What stands where `valid` is false decides nothing.
        valid: ``[B, T, H, W]`` bool; never inferred from values.
        doy: ``[B, T]`` int64, day of year 1..366 of the middle of each date's period; 0 for padding and images.
        day: ``[B, T]`` int64, days since the first date of the sample's calendar; 0 for padding and images.
        present: ``[B, T]`` bool; false for padded dates and for dates without any observation.
    """

    data: Tensor
    valid: Tensor
    doy: Tensor
    day: Tensor
    present: Tensor
