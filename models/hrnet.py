"""HRNetV2-W32 for segmentation: four resolutions side by side, mixed after every module; 29.68 M parameters.

Source: Wang et al., "Deep High-Resolution Representation Learning for Visual Recognition" (TPAMI 2020); sizes as
published (stem 64, one bottleneck stage of 4, then 1, 4, 3 modules of 4 basic blocks; widths 32, 64, 128, 256; head
1×1 over all 480 features). Own implementation. A library's encoder is to be had as `smp:<arch>:tu-hrnet_w32`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from models._resnet import Residual
from models.batch import Modality
from models.layers import align, channels_last_, dates_as_channels, resize, stack_images
from models.spec import Port, Reference, bands


def _conv(c_in: int, c_out: int, kernel: int, stride: int = 1, *, relu: bool = True) -> nn.Sequential:
    parts: list[nn.Module] = [
        nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(c_out),
    ]
    return nn.Sequential(*parts, *([nn.ReLU(inplace=True)] if relu else []))


def _down(c_in: int, c_out: int, steps: int) -> nn.Sequential:
    """Halve `steps` times; only the last convolution changes the width and has no ReLU."""
    return nn.Sequential(
        *(_conv(c_in, c_in if step < steps - 1 else c_out, 3, 2, relu=step < steps - 1) for step in range(steps))
    )


class Exchange(nn.Module):
    """Every branch becomes the sum of all, each brought to its width and resolution."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.paths = nn.ModuleList(
            nn.ModuleList(self._path(widths, source, target) for source in range(len(widths)))
            for target in range(len(widths))
        )

    @staticmethod
    def _path(widths: Sequence[int], source: int, target: int) -> nn.Module:
        if source == target:
            return nn.Identity()
        if source > target:  # coarser: width by 1×1, then interpolated
            return _conv(widths[source], widths[target], 1, relu=False)
        return _down(widths[source], widths[target], target - source)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Branches from fine to coarse."""
        out = []
        for target, paths in zip(maps, self.paths, strict=True):
            assert isinstance(paths, nn.ModuleList)
            parts = [path(x) for path, x in zip(paths, maps, strict=True)]
            total = torch.stack([resize(part, target.shape[-2:]) for part in parts]).sum(0)
            out.append(functional.relu(total))
        return out


class Module(nn.Module):
    """Basic blocks in every branch, then the exchange."""

    def __init__(self, widths: Sequence[int], blocks: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(Residual(width, width, 1, 1, bottleneck=False) for _ in range(blocks))) for width in widths
        )
        self.exchange = Exchange(widths)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Branches from fine to coarse."""
        out: list[Tensor] = self.exchange([branch(x) for branch, x in zip(self.branches, maps, strict=True)])
        return out


class Model(nn.Module):
    """Images (or series of a fixed length, dates as channels) → logits ``[B, K, H, W]``, decided at stride 4.

    Args:
        ports: Inputs; their bands are stacked.
        n_classes: K.
        width: Of the finest branch; each coarser one doubles it.
        stem: Features of the stem and of the bottlenecks (their output has 4 times as many).
        modules: Modules of the stages with 2, 3 and 4 branches.
        blocks: Basic blocks per branch of a module, and bottlenecks of the first stage.
    """

    SOURCE: ClassVar[str] = "Wang et al., HRNetV2, TPAMI 2020"
    LICENCE: ClassVar[str] = "Apache-2.0"
    STRIDE: ClassVar[int] = 4
    FIXED_T: ClassVar[bool] = True
    TINY: ClassVar[dict[str, Any]] = {"width": 4, "stem": 4, "modules": [1], "blocks": 1}
    REFERENCE: ClassVar[Reference] = Reference(
        (Port("hyperspectral", "image", bands(249), 1.0, "reflectance"),),
        8,
        300,
        parameters=29_683_000,
        tolerance=0.001,
        printed="29.68 M",
    )

    def __init__(
        self,
        ports: Sequence[Port],
        n_classes: int,
        *,
        width: int = 32,
        stem: int = 64,
        modules: Sequence[int] = (1, 4, 3),
        blocks: int = 4,
    ) -> None:
        super().__init__()
        self.ports = tuple(ports)
        channels = sum(dates_as_channels(port) for port in ports)
        self.stem = nn.Sequential(_conv(channels, stem, 3, 2), _conv(stem, stem, 3, 2))
        self.first = nn.Sequential(
            *(Residual(stem if i == 0 else 4 * stem, stem, 1, 1, bottleneck=True) for i in range(blocks))
        )
        self.multiple = 1 << (2 + len(modules))
        widths, before = [width], [4 * stem]
        self.fit, self.grow, self.stages = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for count in modules:
            fits = [nn.Identity() if a == b else _conv(a, b, 3) for a, b in zip(before, widths, strict=True)]
            self.fit.append(nn.ModuleList(fits))
            # The new branch comes from the coarsest there was.
            widths = [*widths, widths[-1] * 2]
            self.grow.append(_conv(before[-1], widths[-1], 3, 2))
            self.stages.append(nn.Sequential(*(Module(widths, blocks) for _ in range(count))))
            before = widths
        total = sum(widths)
        self.head = nn.Sequential(
            nn.Conv2d(total, total, 1), nn.BatchNorm2d(total), nn.ReLU(inplace=True), nn.Conv2d(total, n_classes, 1)
        )
        channels_last_(self)

    def forward(self, inputs: dict[str, Modality]) -> Tensor:
        """Logits ``[B, K, H, W]``."""
        aligned, (height, width) = align(inputs, self.ports, self.multiple)
        image = stack_images(aligned, self.ports).contiguous(memory_format=torch.channels_last)
        maps = [self.first(self.stem(image))]
        for fit, grow, stage in zip(self.fit, self.grow, self.stages, strict=True):
            coarser = grow(maps[-1])
            assert isinstance(fit, nn.ModuleList)
            maps = [*(f(x) for f, x in zip(fit, maps, strict=True)), coarser]
            maps = stage(maps)
        joined = torch.cat([resize(x, maps[0].shape[-2:]) for x in maps], 1)
        logits = resize(self.head(joined), image.shape[-2:])
        return logits[..., :height, :width]
