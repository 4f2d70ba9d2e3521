"""STSNet's spatio-temporal encoder and decoder for a series of images; 6.3 M parameters (published: 6.33 M).

Source: Yu, Li, Huang, "STSNet", Information Fusion 2024. Input 10 bands × 31 dates. No code of this part is public;
own implementation. As the text says: 3-D spectral convolution with a skip, patch partition 2×2×2, linear embedding,
a spatio-temporal block, patch merging 2×2×2, a second block, two up-convolutions with concatenated short cuts, reshape
to dates × features, 1×1 convolution. A block is layer norm, ConvLSTM, window attention, shifted window attention, MLP.

Reconstructed: widths 16, 88, 176 (the text names D2, D3, D4 without values), heads 4 and 8, windows 2×7×7, MLP ratio 4,
two 3×3×3 convolutions after each short cut; chosen to reach the published size within 1 %. A residual stands around
each part of a block.

`head: mean` replaces the fixed number of dates by the mean over those that are there; dates are then masked after
every operation, so that a padded one changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from models._recurrent import ConvLSTM
from models._windows3d import Sizes, WindowAttention
from models.batch import Modality
from models.layers import align, one_series, ordered
from models.spec import Port, Reference, bands


def conv3d_bn(c_in: int, c_out: int) -> nn.Sequential:
    """3×3×3 convolution, batch norm, ReLU."""
    return nn.Sequential(nn.Conv3d(c_in, c_out, 3, padding=1, bias=False), nn.BatchNorm3d(c_out), nn.ReLU(inplace=True))


def keep(x: Tensor, there: Tensor) -> Tensor:
    """Zero on dates that are not there: ``[B, C, T, H, W]``, ``[B, T]``."""
    return x * there[:, None, :, None, None].to(x.dtype)


def halve(there: Tensor) -> Tensor:
    """``[B, T]`` → ``[B, T / 2]``: whether either date of a pair is there."""
    return torch.unflatten(there, 1, (-1, 2)).any(-1)


class SpectralConv(nn.Module):
    """3×3×3 convolution with a skip: bands → D2."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.convolve = conv3d_bn(c_in, c_out)
        self.skip = nn.Conv3d(c_in, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, T, H, W]`` → ``[B, D2, T, H, W]``."""
        out: Tensor = self.convolve(x) + self.skip(x)
        return out


class Merge(nn.Module):
    """2×2×2 neighbours become one token: ``[B, C, T, H, W]`` → ``[B, c_out, T / 2, H / 2, W / 2]``."""

    def __init__(self, c_in: int, c_out: int, *, norm: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8 * c_in) if norm else nn.Identity()
        self.embed = nn.Linear(8 * c_in, c_out)

    def forward(self, x: Tensor) -> Tensor:
        """Even edges."""
        for axis in (2, 4, 6):
            x = torch.unflatten(x, axis, (-1, 2))  # ends as [B, C, t, 2, h, 2, w, 2]
        tokens = x.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4)  # [B, t, h, w, 8 C]
        out: Tensor = self.embed(self.norm(tokens))
        return out.movedim(-1, 1)


class SpatioTemporalBlock(nn.Module):
    """Layer norm and ConvLSTM, window attention, shifted window attention, MLP."""

    def __init__(self, width: int, heads: int, window: Sizes, mlp_ratio: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.recurrence = ConvLSTM(width, width)
        self.windows = nn.ModuleList(WindowAttention(width, heads, window, shifted=s) for s in (False, True))
        self.mlp = nn.Sequential(nn.Linear(width, mlp_ratio * width), nn.GELU(), nn.Linear(mlp_ratio * width, width))

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        """``[B, D, T, H, W]``, ``[B, T]`` → the same; zero on dates that are not there."""
        x = x.movedim(1, -1)  # [B, T, H, W, D]
        mask = there[:, :, None, None, None].to(x.dtype)
        states = self.recurrence(self.norms[0](x).movedim(-1, 2)).movedim(2, -1)
        x = (x + states) * mask
        for norm, attend in zip(self.norms[1:3], self.windows, strict=True):
            x = x + attend(norm(x), there)
        x = (x + self.mlp(self.norms[3](x))) * mask
        return x.movedim(-1, 1)


class TemporalEncoder(nn.Module):
    """A series → maps at strides 1, 2, 4 in dates, rows and columns.

    Args:
        channels: Bands.
        widths: D2, width of the first block, width of the second.
        heads: Of the two blocks.
        window: Dates, rows, columns of an attention window.
        mlp_ratio: Hidden width of the MLPs over their width.
    """

    def __init__(
        self, channels: int, widths: Sequence[int], heads: Sequence[int], window: Sequence[int], mlp_ratio: int
    ) -> None:
        super().__init__()
        first, second, third = widths
        sizes: Sizes = (window[0], window[1], window[2])
        self.spectral = SpectralConv(channels, first)
        self.partition = Merge(first, second, norm=False)
        self.block_one = SpatioTemporalBlock(second, heads[0], sizes, mlp_ratio)
        self.merge = Merge(second, third, norm=True)
        self.block_two = SpatioTemporalBlock(third, heads[1], sizes, mlp_ratio)

    def forward(self, x: Tensor, there: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """``[B, C, T, H, W]`` with edges divisible by 4, ``[B, T]`` → three maps and the dates each has."""
        masks = [there, halve(there), halve(halve(there))]
        fine = keep(self.spectral(x), masks[0])
        middle = self.block_one(keep(self.partition(fine), masks[1]), masks[1])
        coarse = self.block_two(keep(self.merge(middle), masks[2]), masks[2])
        return [fine, middle, coarse], masks


class UpConv(nn.Module):
    """Transposed 2×2×2 convolution, concatenation with the short cut, two 3×3×3 convolutions."""

    def __init__(self, c_in: int, c_up: int, c_skip: int, c_out: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose3d(c_in, c_up, 2, 2)
        self.first = conv3d_bn(c_up + c_skip, c_up)
        self.second = conv3d_bn(c_up, c_out)

    def forward(self, x: Tensor, skip: Tensor, there: Tensor) -> Tensor:
        """``[B, c_in, t, h, w]``, ``[B, c_skip, 2 t, 2 h, 2 w]`` → ``[B, c_out, 2 t, 2 h, 2 w]``."""
        x = keep(self.up(x), there)
        x = keep(self.first(torch.cat([x, skip], 1)), there)
        return keep(self.second(x), there)


class TemporalDecoder(nn.Module):
    """Three maps → ``[B, D2, T, H, W]``."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        first, second, third = widths
        self.up_one = UpConv(third, third, second, third)
        self.up_two = UpConv(third, second, first, first)

    def forward(self, maps: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
        """Maps from fine to coarse."""
        x = self.up_one(maps[2], maps[1], masks[1])
        out: Tensor = self.up_two(x, maps[0], masks[0])
        return out


def prepare(item: Modality, length: int | None) -> tuple[Tensor, Tensor]:
    """Dates in order, their number padded to a multiple of 4: ``[B, C, T, H, W]`` and ``[B, T]`` which to look at.

    With a fixed `length` every date counts, observed or not; with free T those without an observation are left out.
    """
    series = ordered(item, length, observed=length is None)
    there = series.present if length is None else torch.ones_like(series.present)
    extra = -there.shape[1] % 4
    x = functional.pad(series.data.movedim(1, 2), [0, 0, 0, 0, 0, extra])
    return x, functional.pad(there, [0, extra])


class Model(nn.Module):
    """One series → logits ``[B, K, H, W]``.

    Args:
        ports: One series; with `head` ``conv`` of a fixed length.
        n_classes: K.
        widths: D2, width of the first block, width of the second.
        heads: Attention heads of the two blocks.
        window: Dates, rows, columns of an attention window.
        mlp_ratio: Hidden width of the MLPs over their width.
        head: ``conv``: dates × features to classes by a 1×1 convolution; ``mean``: mean over dates first, T is free.
    """

    SOURCE: ClassVar[str] = "Yu, Li, Huang, STSNet, Information Fusion 2024 (spatio-temporal part)"
    LICENCE: ClassVar[str] = "Apache-2.0"
    FIXED_T: ClassVar[bool] = True
    TINY: ClassVar[dict[str, Any]] = {"widths": [4, 8, 8], "heads": [2, 2], "window": [4, 4, 4], "mlp_ratio": 1}
    REFERENCE: ClassVar[Reference] = Reference(
        (Port("s2", "series", bands(10), 10.0, "reflectance", length=31),),
        8,
        30,
        parameters=6_330_000,
        tolerance=0.01,
        printed="6.33 M",
    )

    def __init__(
        self,
        ports: Sequence[Port],
        n_classes: int,
        *,
        widths: Sequence[int] = (16, 88, 176),
        heads: Sequence[int] = (4, 8),
        window: Sequence[int] = (2, 7, 7),
        mlp_ratio: int = 4,
        head: Literal["conv", "mean"] = "conv",
    ) -> None:
        super().__init__()
        port = one_series(ports, "stsnet_temporal")
        if head == "conv" and port.length is None:
            raise ValueError(f"{port.name}: head conv needs a fixed number of dates; use head = mean")
        self.ports = tuple(ports)
        self.length = port.length if head == "conv" else None
        self.encoder = TemporalEncoder(len(port.bands), widths, heads, window, mlp_ratio)
        self.decoder = TemporalDecoder(widths)
        self.head = nn.Conv2d(widths[0] * (self.length or 1), n_classes, 1)

    def forward(self, inputs: dict[str, Modality]) -> Tensor:
        """Logits ``[B, K, H, W]``."""
        aligned, (height, width) = align(inputs, self.ports, 4)
        x, there = prepare(aligned[self.ports[0].name], self.length)
        x = self.decoder(*self.encoder(x, there))  # [B, D2, T, H, W]
        if self.length is None:
            x = x.sum(2) / there.sum(1).clamp_min(1).view(-1, 1, 1, 1)
        else:
            x = x[:, :, : self.length].flatten(1, 2)  # [B, D2 · T, H, W]
        logits: Tensor = self.head(x)
        return logits[..., :height, :width]
