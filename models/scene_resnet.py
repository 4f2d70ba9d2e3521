"""ResNet per input, joined late: one class per scene, or per pixel; the networks of transfer under clouds.

Sources: He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016) for the encoders; ESCCS (multi-modality
transfer under clouds with an information regulation mechanism, arXiv:2501.04283) for their roles: a source model on
cloud-free optical, an auxiliary per modality, a target model on optical + SAR. Own implementation; that paper's code is
not public, and its joining of the modalities is reconstructed as plain concatenation before the classifier.

With one image of 3 bands, 1000 classes and `per: scene` the encoder is ResNet-18 with its 11,689,512 parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from models._resnet import ResNet
from models.batch import Modality
from models.layers import align, channels_last_, complete, dates_as_channels, resize, stack_images
from models.spec import Port, Reference


class Model(nn.Module):
    """Images (or series of a fixed length, dates as channels) → logits.

    Args:
        ports: Inputs, one encoder each; an optional one that is missing counts as zero.
        n_classes: K.
        per: ``pixel``: ``[B, K, H, W]``, decided at stride 8; ``scene``: ``[B, K, 1, 1]``.
        layers: Blocks per stage.
        width: Features of the first stage.
        bottleneck: Bottleneck blocks (ResNet-50 and deeper).
    """

    SOURCE: ClassVar[str] = "He et al., CVPR 2016; roles after ESCCS, arXiv:2501.04283"
    LICENCE: ClassVar[str] = "Apache-2.0"
    STRIDE: ClassVar[int] = 8
    FIXED_T: ClassVar[bool] = True
    TINY: ClassVar[dict[str, Any]] = {"layers": [1, 1, 1, 1], "width": 4}
    REFERENCE: ClassVar[Reference] = Reference(
        (Port("rgb", "image", ("red", "green", "blue"), 10.0, "reflectance"),),
        1000,
        224,
        options={"per": "scene"},
        parameters=11_689_512,
    )

    def __init__(
        self,
        ports: Sequence[Port],
        n_classes: int,
        *,
        per: Literal["pixel", "scene"] = "pixel",
        layers: Sequence[int] = (2, 2, 2, 2),
        width: int = 64,
        bottleneck: bool = False,
    ) -> None:
        super().__init__()
        if not ports:
            raise ValueError("no input: give at least one port")
        if per not in {"pixel", "scene"}:
            raise ValueError(f"per = {per!r}: choose pixel or scene")
        self.ports, self.per = tuple(ports), per
        stride = 32 if per == "scene" else 8
        self.encoders = nn.ModuleDict(
            {
                port.name: ResNet(
                    dates_as_channels(port), layers, width=width, bottleneck=bottleneck, output_stride=stride
                )
                for port in ports
            }
        )
        features = sum(encoder.widths[-1] for encoder in self.encoders.values() if isinstance(encoder, ResNet))
        self.head = nn.Conv2d(features, n_classes, 1)
        channels_last_(self)

    def forward(self, inputs: dict[str, Modality]) -> Tensor:
        """Logits ``[B, K, H, W]`` or ``[B, K, 1, 1]``."""
        aligned, (height, width) = align(inputs, self.ports, 32 if self.per == "scene" else 8)
        whole = complete(aligned, self.ports)
        parts = []
        for port in self.ports:
            item = whole[port.name]
            deep = self.encoders[port.name](stack_images({port.name: item}, (port,)))[-1]
            # What was not observed at all adds nothing, whatever an encoder makes of zeros.
            seen = item.valid.flatten(1).any(1).view(-1, 1, 1, 1).to(deep.dtype)
            parts.append(deep * seen)
        joined = torch.cat(parts, 1)
        if self.per == "scene":
            pooled: Tensor = self.head(joined.mean((2, 3), keepdim=True))
            return pooled
        step = 8
        logits: Tensor = self.head(joined)
        logits = resize(logits, (step * logits.shape[-2], step * logits.shape[-1]))
        return logits[..., :height, :width]
