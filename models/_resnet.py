"""ResNet encoders with any number of input channels, any width, and dilation in place of stride.

Source: He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016), stride on the 3×3 convolution of a
bottleneck as in common practice. Own implementation; ResNet-101 without its classifier has 42,500,160 parameters.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional


def _conv(c_in: int, c_out: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    return nn.Sequential(nn.Conv2d(c_in, c_out, kernel, stride, padding, dilation, bias=False), nn.BatchNorm2d(c_out))


class Residual(nn.Module):
    """relu(x + convolutions(x)); the short cut is a strided 1×1 convolution where the shape changes.

    Args:
        c_in: Features of the input.
        width: Of the inner convolutions.
        stride: Of the block.
        dilation: Of the 3×3 convolutions.
        bottleneck: 1×1, 3×3, 1×1 to 4 × width; else two 3×3.
    """

    def __init__(self, c_in: int, width: int, stride: int, dilation: int, *, bottleneck: bool) -> None:
        super().__init__()
        c_out = 4 * width if bottleneck else width
        if bottleneck:
            parts = [_conv(c_in, width, 1), _conv(width, width, 3, stride, dilation), _conv(width, c_out, 1)]
        else:
            parts = [_conv(c_in, width, 3, stride, dilation), _conv(width, c_out, 3, 1, dilation)]
        self.parts = nn.ModuleList(parts)
        plain = stride == 1 and c_in == c_out
        self.short = nn.Identity() if plain else _conv(c_in, c_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, c_in, H, W]`` → ``[B, c_out, H / stride, W / stride]``."""
        out = x
        for index, part in enumerate(self.parts):
            out = part(out if index == 0 else functional.relu(out))
        return functional.relu(out + self.short(x))


class ResNet(nn.Module):
    """Maps at strides 4, 8, 16, 32 (or less where dilated).

    Args:
        channels: Bands.
        layers: Blocks per stage (18: 2, 2, 2, 2; 50: 3, 4, 6, 3; 101: 3, 4, 23, 3).
        width: Of the first stage; 64 as published.
        bottleneck: Kind of block.
        output_stride: 32, 16 or 8.
        multi_grid: Factors of the dilation in the last stage's blocks.
    """

    def __init__(
        self,
        channels: int,
        layers: Sequence[int],
        *,
        width: int = 64,
        bottleneck: bool = True,
        output_stride: int = 32,
        multi_grid: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 7, 2, 3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        )
        self.stages = nn.ModuleList()
        self.widths: list[int] = []
        c_in, reached, dilation = width, 4, 1
        for index, blocks in enumerate(layers):
            inner = width << index
            stride = 1 if index == 0 else 2
            if stride == 2 and reached >= output_stride:
                stride, dilation = 1, dilation * 2
            reached *= stride
            stage = []
            for number in range(blocks):
                last = index == len(layers) - 1 and bool(multi_grid)
                grid = multi_grid[number % len(multi_grid)] if last else 1
                step = stride if number == 0 else 1
                stage.append(Residual(c_in, inner, step, dilation * grid, bottleneck=bottleneck))
                c_in = 4 * inner if bottleneck else inner
            self.stages.append(nn.Sequential(*stage))
            self.widths.append(c_in)

    def forward(self, x: Tensor) -> list[Tensor]:
        """``[B, C, H, W]`` → four maps, from fine to coarse."""
        x, maps = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps
