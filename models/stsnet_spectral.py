"""STSNet's spatial–spectral encoder and decoder for a fine image with many bands; 18,966,562 parameters as published.

Source: Yu, Li, Huang, "STSNet", Information Fusion 2024; widths, order and pooling sizes after the authors' public code
(no licence: facts only, own implementation). Input 249 bands at 1 m, 8 classes.

Four branches at strides 4, 8, 16, 32. Departures of the public code from the text, followed here because only they
reach the published size: blocks are 1×1, 3×3, 1×1 without a residual (the text: three 3×3); the finest branch has two
gates and two blocks; max-pooled, not up-sampled, input enters the coarser branches; gates stand in every branch
(`gates: first` has them in the first alone, as the text says). The decoder concatenates (`decoder: sum`: 1×1 to equal
widths, transposed convolution, sum, as the text says). No activation on the logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.batch import Modality
from models.layers import align, channels_last_, dates_as_channels, resize, stack_images
from models.spec import Port, Reference, bands


class SeparableConv(nn.Sequential):
    """3×3 per channel, 1×1 across channels, both with bias."""

    def __init__(self, channels: int) -> None:
        super().__init__(nn.Conv2d(channels, channels, 3, padding=1, groups=channels), nn.Conv2d(channels, channels, 1))


def conv_bn(c_in: int, c_out: int, kernel: int, stride: int = 1, *, bias: bool = False) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=bias), nn.BatchNorm2d(c_out), nn.ReLU(inplace=True)
    )


def block(c_in: int, c_out: int) -> nn.Sequential:
    """1×1, 3×3, 1×1, each with batch norm and ReLU."""
    return nn.Sequential(conv_bn(c_in, c_out, 1), conv_bn(c_out, c_out, 3), conv_bn(c_out, c_out, 1))


class SpectralGate(nn.Module):
    """x · (sigmoid MLP(mean x) + sigmoid MLP(max x)); one MLP for both."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.mlp = nn.Sequential(
            nn.Linear(channels, hidden, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]`` → the same."""
        weights: Tensor = self.mlp(x.mean((2, 3))) + self.mlp(x.amax((2, 3)))
        return x * weights[:, :, None, None]


class CoarserBranch(nn.Module):
    """The branch above, halved, plus the max-pooled stem: convolution, gate, block."""

    def __init__(
        self, c_stem: int, c_in: int, c_out: int, pool: tuple[int, int], *, gate: bool, reduction: int
    ) -> None:
        super().__init__()
        self.down = conv_bn(c_in, c_out, 3, 2, bias=True)
        self.pool = nn.MaxPool2d(pool[0], pool[1], 2)
        self.widen = nn.Conv2d(c_stem, c_out, 1)
        self.separable = SeparableConv(c_out)
        self.gate = SpectralGate(c_out, reduction) if gate else nn.Identity()
        self.block = block(c_out, c_out)

    def forward(self, above: Tensor, stem: Tensor) -> tuple[Tensor, Tensor]:
        """``[B, c_in, h, w]``, ``[B, c_stem, H, W]`` → what the next branch takes and this one's output, at h / 2."""
        x = self.down(above) + self.widen(self.pool(stem))
        x = self.gate(self.separable(x))
        return x, self.block(x)


class SpectralEncoder(nn.Module):
    """A fine image → maps at strides 4, 8, 16, 32.

    Args:
        channels: Bands of the image.
        widths: Of the four branches; None in first place: as many as bands.
        gates: ``all`` branches (public code) or ``first`` alone (text).
        reduction: Of the gates.
    """

    def __init__(self, channels: int, widths: Sequence[int], gates: str = "all", reduction: int = 16) -> None:
        super().__init__()
        first = widths[0]
        self.stem = SeparableConv(channels)
        self.shrink = nn.Sequential(conv_bn(channels, first, 3, 2), conv_bn(first, first, 3, 2))
        self.gate_in = SpectralGate(first, reduction)
        self.block_in = block(first, first)
        self.gate_out = SpectralGate(first, reduction)
        self.block_out = block(first, first)
        # Kernel and stride that bring the stem to strides 8, 16, 32, each rounded up like the convolutions beside it.
        pools = ((5, 8), (5, 16), (8, 32))
        self.branches = nn.ModuleList(
            CoarserBranch(channels, c_in, c_out, pool, gate=gates == "all", reduction=reduction)
            for c_in, c_out, pool in zip(widths[:-1], widths[1:], pools, strict=True)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """``[B, C, H, W]``, H and W multiples of 4 → four maps, from fine to coarse."""
        stem = self.stem(x)  # [B, C, H, W]
        x = self.block_in(self.gate_in(self.shrink(stem)))  # [B, C1, H / 4, W / 4]
        maps, x = [self.block_out(x)], self.gate_out(x)
        for branch in self.branches:
            x, out = branch(x, stem)
            maps.append(out)
        return maps


class SpectralDecoder(nn.Module):
    """Second cross-scale connection and decoder: four maps → logits at the finest one's pixels (stride 4).

    Args:
        widths: Of the four maps.
        n_classes: K.
        kind: ``concat`` (public code) or ``sum`` (text).
    """

    def __init__(self, widths: Sequence[int], n_classes: int, kind: str = "concat") -> None:
        super().__init__()
        # A map is widened to its finer neighbour; where the widths are equal the public code has no convolution.
        self.adapt = nn.ModuleList(
            nn.Identity() if fine == coarse else conv_bn(coarse, fine, 1) for fine, coarse in pairwise(widths)
        )
        depth = widths[-1]
        self.kind = kind
        outs = (depth, depth // 2, depth // 4, depth // 4) if kind == "concat" else (depth // 4,) * 4
        make = block if kind == "concat" else _one_by_one
        self.blocks = nn.ModuleList(make(c_in, c_out) for c_in, c_out in zip(widths, outs, strict=True))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(outs[0], outs[0], 2, 2) for _ in range(0 if kind == "concat" else len(widths) - 1)
        )
        last = sum(outs) if kind == "concat" else outs[0]
        self.head = nn.Sequential(nn.Conv2d(last, n_classes, 1, bias=False), nn.BatchNorm2d(n_classes))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Four maps, from fine to coarse → ``[B, K, h, w]`` at the finest."""
        joined = [
            fine + adapt(resize(coarse, fine.shape[-2:]))
            for fine, coarse, adapt in zip(maps[:-1], maps[1:], self.adapt, strict=True)
        ]
        parts = [convolve(x) for convolve, x in zip(self.blocks, [*joined, maps[-1]], strict=True)]
        x = parts[-1]
        for level in range(len(parts) - 2, -1, -1):
            fine = parts[level]
            if self.kind == "concat":
                x = torch.cat([fine, resize(x, fine.shape[-2:])], 1)
            else:
                x = fine + functional.relu(self.up[level](x))[..., : fine.shape[-2], : fine.shape[-1]]
        logits: Tensor = self.head(x)
        return logits


def _one_by_one(c_in: int, c_out: int) -> nn.Sequential:
    return conv_bn(c_in, c_out, 1)


class Model(nn.Module):
    """One image (or dates stacked as channels) → logits ``[B, K, H, W]``, decided at stride 4.

    Args:
        ports: Images, or series of a fixed length; their bands are stacked.
        n_classes: K.
        widths: Of the four branches; the first default is the number of bands, as published.
        gates: Spectral gates in ``all`` branches or the ``first``.
        decoder: ``concat`` or ``sum``.
        reduction: Of the gates.
    """

    SOURCE: ClassVar[str] = "Yu, Li, Huang, STSNet, Information Fusion 2024 (spatial–spectral part)"
    LICENCE: ClassVar[str] = "Apache-2.0"
    STRIDE: ClassVar[int] = 4
    FIXED_T: ClassVar[bool] = True
    TINY: ClassVar[dict[str, Any]] = {"widths": [8, 8, 16, 16], "reduction": 2}
    REFERENCE: ClassVar[Reference] = Reference(
        (Port("hyperspectral", "image", bands(249), 1.0, "reflectance"),),
        8,
        300,
        parameters=18_966_562,
        printed="22.81 M (its table fits no single family of networks)",
    )

    def __init__(
        self,
        ports: Sequence[Port],
        n_classes: int,
        *,
        widths: Sequence[int | None] = (None, 300, 512, 512),
        gates: Literal["all", "first"] = "all",
        decoder: Literal["concat", "sum"] = "concat",
        reduction: int = 16,
    ) -> None:
        super().__init__()
        self.ports = tuple(ports)
        channels = sum(dates_as_channels(port) for port in ports)
        filled = spectral_widths(widths, channels)
        self.encoder = SpectralEncoder(channels, filled, gates, reduction)
        self.decoder = SpectralDecoder(filled, n_classes, decoder)
        channels_last_(self)

    def forward(self, inputs: dict[str, Modality]) -> Tensor:
        """Logits ``[B, K, H, W]``."""
        aligned, (height, width) = align(inputs, self.ports, 4)
        x = stack_images(aligned, self.ports).contiguous(memory_format=torch.channels_last)
        logits = resize(self.decoder(self.encoder(x)), x.shape[-2:])
        return logits[..., :height, :width]


def spectral_widths(widths: Sequence[int | None], channels: int) -> list[int]:
    """Four widths, the number of bands standing for None.

    Raises:
        ValueError: Not four of them.
    """
    if len(widths) != 4:
        raise ValueError(f"widths = {list(widths)}: give four")
    return [channels if width is None else width for width in widths]
