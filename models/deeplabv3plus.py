"""DeepLabV3+ on ResNet-101, output stride 16; 59,344,309 parameters (3 bands, 21 classes), 59,369,706 (12, 10).

Source: Chen et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation" (ECCV 2018), in
the plain form that Yu et al., "Spatial Resolution Enhancement for Large-Scale Land Cover Mapping via Weakly Supervised
Deep Learning" (PE&RS 2021) use: spatial pyramid of ordinary (not separable) convolutions at rates 6, 12, 18, a 1×1 and
the image's mean, multi-grid 1-2-4, decoder of 48 + 256 features. Own implementation. Segmentation-models-pytorch's
network of that name (45,700,250) is another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from models._resnet import ResNet
from models.batch import Modality
from models.layers import align, channels_last_, dates_as_channels, resize, stack_images
from models.spec import Port, Reference, bands


def _conv(c_in: int, c_out: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, kernel, padding=dilation * (kernel // 2), dilation=dilation, bias=False),
        nn.BatchNorm2d(c_out),
        nn.ReLU(inplace=True),
    )


class Pyramid(nn.Module):
    """1×1, three dilated 3×3 and the image's mean, side by side, then 1×1."""

    def __init__(self, c_in: int, width: int, rates: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.parts = nn.ModuleList([_conv(c_in, width, 1), *(_conv(c_in, width, 3, rate) for rate in rates)])
        self.mean = _conv(c_in, width, 1)
        self.project = nn.Sequential(_conv((len(rates) + 2) * width, width, 1), nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, h, w]`` → ``[B, width, h, w]``."""
        mean = self.mean(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[-2:])
        out: Tensor = self.project(torch.cat([*(part(x) for part in self.parts), mean], 1))
        return out


class Model(nn.Module):
    """Images (or series of a fixed length, dates as channels) → logits ``[B, K, H, W]``, decided at stride 4.

    Args:
        ports: Inputs; their bands are stacked.
        n_classes: K.
        layers: Blocks per stage of the encoder (ResNet-101).
        width: Features of the encoder's first stage.
        pyramid: Features of the pyramid and of the decoder.
        low: Features of the fine map in the decoder.
        rates: Dilations of the pyramid.
        multi_grid: Factors of the dilation in the last stage.
        dropout: After the pyramid.
    """

    SOURCE: ClassVar[str] = "Chen et al., DeepLabV3+, ECCV 2018; form of Yu et al., PE&RS 2021"
    LICENCE: ClassVar[str] = "Apache-2.0"
    STRIDE: ClassVar[int] = 4
    FIXED_T: ClassVar[bool] = True
    TINY: ClassVar[dict[str, Any]] = {
        "layers": [1, 1, 1, 1],
        "width": 4,
        "pyramid": 8,
        "low": 4,
        "rates": [1, 2],
        "dropout": 0.0,
    }
    REFERENCE: ClassVar[Reference] = Reference(
        (
            Port("s2", "image", bands(10), 10.0, "reflectance"),
            Port("s1", "image", ("vv", "vh"), 10.0, "gamma0_linear", "db"),
        ),
        10,
        256,
        parameters=59_369_706,
    )

    def __init__(
        self,
        ports: Sequence[Port],
        n_classes: int,
        *,
        layers: Sequence[int] = (3, 4, 23, 3),
        width: int = 64,
        pyramid: int = 256,
        low: int = 48,
        rates: Sequence[int] = (6, 12, 18),
        multi_grid: Sequence[int] = (1, 2, 4),
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.ports = tuple(ports)
        channels = sum(dates_as_channels(port) for port in ports)
        self.encoder = ResNet(channels, layers, width=width, output_stride=16, multi_grid=multi_grid)
        self.pyramid = Pyramid(self.encoder.widths[-1], pyramid, rates, dropout)
        self.low = _conv(self.encoder.widths[0], low, 1)
        self.decoder = nn.Sequential(_conv(pyramid + low, pyramid, 3), _conv(pyramid, pyramid, 3))
        self.head = nn.Conv2d(pyramid, n_classes, 1)
        channels_last_(self)

    def forward(self, inputs: dict[str, Modality]) -> Tensor:
        """Logits ``[B, K, H, W]``."""
        aligned, (height, width) = align(inputs, self.ports, 16)
        x = stack_images(aligned, self.ports).contiguous(memory_format=torch.channels_last)
        maps = self.encoder(x)
        fine = self.low(maps[0])
        deep = resize(self.pyramid(maps[-1]), fine.shape[-2:])
        logits = resize(self.head(self.decoder(torch.cat([deep, fine], 1))), x.shape[-2:])
        return logits[..., :height, :width]
