"""Building blocks that several networks share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.batch import Modality
from models.spec import Port


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each pixel of each date: ``[N, C, H, W]`` → the same.

    No statistic crosses pixels, dates or samples: neither a window's position nor a padded date changes a value.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        # In channels-last memory the permuted view is contiguous: no copy.
        normed = functional.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias)
        return normed.permute(0, 3, 1, 2)


class ConvBlock(nn.Sequential):
    """3×3 convolution, channel norm, ReLU; ``stride`` 2 halves the edges (even input)."""

    def __init__(self, c_in: int, c_out: int, stride: int = 1) -> None:
        super().__init__(nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), ChannelNorm(c_out), nn.ReLU(inplace=True))


class DayEncoding(nn.Module):
    """Day of year → features: sine and cosine of the year's first harmonics, then a learned linear map.

    Periodic, so that 31 December lies beside 1 January.

    Args:
        width: Features per date.
        harmonics: Number of harmonics; the highest resolves ``365 / harmonics`` days.
    """

    def __init__(self, width: int, harmonics: int = 6) -> None:
        super().__init__()
        order = torch.arange(1, harmonics + 1, dtype=torch.float32)
        self.register_buffer("frequency", 2 * math.pi * order / 365.25, persistent=False)
        self.frequency: Tensor
        self.linear = nn.Linear(2 * harmonics, width)

    def forward(self, doy: Tensor) -> Tensor:
        """``[B, T]`` int64 → ``[B, T, width]``."""
        angle = doy.to(self.frequency.dtype).unsqueeze(-1) * self.frequency
        out: Tensor = self.linear(torch.cat([angle.sin(), angle.cos()], -1))
        return out


def channels_last_(module: nn.Module) -> None:
    """Lay a network's weights out for channels-last maps, which convolutions on CPU and GPU prefer."""
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def masked_softmax(scores: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Softmax over the entries where `mask` holds; all zero where it holds nowhere (never NaN)."""
    scores = scores.float().masked_fill(~mask, -torch.inf)
    top = scores.amax(dim, keepdim=True)
    weights = torch.exp(scores - torch.where(torch.isfinite(top), top, torch.zeros_like(top)))
    return weights / weights.sum(dim, keepdim=True).clamp_min(1e-12)


def shrink_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """``[N, H, W]`` bool → ``[N, h, w]``: true where any pixel of the cell is; H and W are multiples of h and w."""
    n, height, width = mask.shape
    h, w = size
    return mask.view(n, h, height // h, w, width // w).amax((2, 4)) if (h, w) != (height, width) else mask


def align(
    inputs: Mapping[str, Modality], ports: Sequence[Port], multiple: int
) -> tuple[dict[str, Modality], tuple[int, int]]:
    """Bring every input onto the finest one's pixels, zero what is invalid, and pad the edges to a multiple.

    Coarser inputs are repeated (nearest), so that validity stays exact. Padding is invalid ground at the right and the
    bottom.

    Returns:
        The inputs that are there, by port name, and the edges ``(H, W)`` before padding.

    Raises:
        ValueError: A port that is not optional is missing, or nothing is given.
    """
    missing = [port.name for port in ports if port.name not in inputs and not port.optional]
    given = [port.name for port in ports if port.name in inputs]
    if missing or not given:
        raise ValueError(f"inputs missing: {', '.join(missing) or 'all'}")
    height = max(inputs[name].data.shape[-2] for name in given)
    width = max(inputs[name].data.shape[-1] for name in given)
    pad = (0, -width % multiple, 0, -height % multiple)
    aligned = {}
    for name in given:
        item = inputs[name]
        data = torch.where(item.valid.unsqueeze(2), item.data, torch.zeros((), dtype=item.data.dtype))
        valid = item.valid
        if data.shape[-2:] != (height, width):
            data = _repeat(data.flatten(0, 1), (height, width)).view(*data.shape[:3], height, width)
            valid = _repeat(valid.flatten(0, 1).unsqueeze(1).to(data.dtype), (height, width)).squeeze(1) > 0
            valid = valid.view(*item.valid.shape[:2], height, width)
        if any(pad):
            data, valid = functional.pad(data, pad), functional.pad(valid, pad)
        aligned[name] = item._replace(data=data, valid=valid)
    return aligned, (height, width)


def _repeat(x: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(x, size=size, mode="nearest-exact")


def ordered(item: Modality, length: int | None = None, *, observed: bool = False) -> Modality:
    """A series' dates by day, padding last, cut to the longest sample of the batch or to `length` dates.

    Padding is what has no day of year (``doy`` 0): it can stand anywhere in a batch and changes nothing. For networks
    that read dates in order (recurrent, 3-D convolutions, dates as channels).

    Args:
        item: As `align` returned it, so that invalid values are 0.
        length: Number of dates that a network with fixed T needs.
        observed: Leave out dates without any valid pixel, too; then ``present`` says what is left.

    Raises:
        ValueError: A sample has more dates than `length`.
    """

    def is_real(series: Modality) -> Tensor:
        return series.valid.flatten(2).any(-1) if observed else series.doy > 0

    real = is_real(item)
    # On the meta device (sizes alone) nothing can be looked at.
    longest = real.shape[1] if real.is_meta else max(int(real.sum(1).max()), 1)
    if length is not None and longest > length:
        raise ValueError(f"{longest} dates, the network was built for {length}")
    wanted = length or longest
    if item.doy.shape[1] < wanted:
        item = _pad_dates(item, wanted - item.doy.shape[1])
        real = is_real(item)
    order = torch.where(real, item.day, torch.iinfo(item.day.dtype).max).argsort(dim=1, stable=True)[:, :wanted]
    there = real.gather(1, order)

    def pick(x: Tensor) -> Tensor:
        index = order.view(*order.shape, *([1] * (x.ndim - 2))).expand(-1, -1, *x.shape[2:])
        return x.gather(1, index)

    valid = pick(item.valid) & there[:, :, None, None]
    data = pick(item.data) * there[:, :, None, None, None]
    present = there if observed else pick(item.present) & there
    return Modality(data, valid, pick(item.doy) * there, pick(item.day) * there, present)


def _pad_dates(item: Modality, count: int) -> Modality:
    return Modality(*(functional.pad(x, [0, 0] * (x.ndim - 2) + [0, count]) for x in item))


def dates_as_channels(port: Port) -> int:
    """Channels of an input whose dates are stacked: bands × dates.

    Raises:
        ValueError: A series without a fixed number of dates.
    """
    if port.kind == "series" and port.length is None:
        raise ValueError(f"{port.name}: this network needs a fixed number of dates or one image")
    return len(port.bands) * (port.length or 1)


def stack_images(aligned: Mapping[str, Modality], ports: Sequence[Port]) -> Tensor:
    """All inputs as one image ``[B, sum of bands × dates, H, W]``; what is missing or invalid is 0."""
    template = next(iter(aligned.values())).data
    batch, (height, width) = template.shape[0], template.shape[-2:]
    parts = []
    for port in ports:
        item = aligned.get(port.name)
        if item is None:
            parts.append(template.new_zeros(batch, dates_as_channels(port), height, width))
        elif port.kind == "image":
            parts.append(item.data[:, 0])
        else:
            parts.append(ordered(item, port.length).data.flatten(1, 2))
    return torch.cat(parts, 1)


def complete(aligned: Mapping[str, Modality], ports: Sequence[Port]) -> dict[str, Modality]:
    """The same with one unobserved date for every optional input that is missing, in the ports' order."""
    one = next(iter(aligned.values()))
    batch, (height, width) = one.data.shape[0], one.data.shape[-2:]
    whole = {}
    for port in ports:
        if port.name in aligned:
            whole[port.name] = aligned[port.name]
            continue
        whole[port.name] = Modality(
            one.data.new_zeros(batch, 1, len(port.bands), height, width),
            one.valid.new_zeros(batch, 1, height, width),
            one.doy.new_zeros(batch, 1),
            one.day.new_zeros(batch, 1),
            one.present.new_zeros(batch, 1),
        )
    return whole


def resize(x: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Bilinear to a size, pixel areas aligned; nothing to do where it fits."""
    if x.shape[-2:] == torch.Size(size):
        return x
    return functional.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


def one_series(ports: Sequence[Port], network: str) -> Port:
    """The only port, a series.

    Raises:
        ValueError: Anything else.
    """
    if len(ports) != 1 or ports[0].kind != "series":
        raise ValueError(f"{network} takes exactly one series; for several inputs use fusion_utae or multibranch")
    return ports[0]


def local_mean(x: Tensor, patch: int) -> Tensor:
    """Mean over the patch around each pixel, of what lies within the map: ``[B, C, H, W]`` → the same.

    A pixel has index ``patch // 2`` of its patch. So a network for patches is run on a whole map in one pass.
    """
    pad = _patch_pad(patch)
    count = functional.pad(x.new_ones(1, 1, *x.shape[-2:]), pad)
    total = functional.avg_pool2d(functional.avg_pool2d(functional.pad(x, pad), (patch, 1), 1), (1, patch), 1)
    return total / functional.avg_pool2d(count, patch, 1)


def local_max(x: Tensor, patch: int) -> Tensor:
    """Maximum over the patch around each pixel; as `local_mean`."""
    padded = functional.pad(x, _patch_pad(patch), value=torch.finfo(x.dtype).min)
    return functional.max_pool2d(functional.max_pool2d(padded, (patch, 1), 1), (1, patch), 1)


def _patch_pad(patch: int) -> tuple[int, int, int, int]:
    before, after = patch // 2, patch - 1 - patch // 2
    return before, after, before, after
