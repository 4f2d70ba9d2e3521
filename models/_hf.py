"""``hf:<backbone>``: backbones of transformers (Swin, ConvNeXt, ResNet, DINOv2, ...) with a light pyramid decoder.

Source: transformers (Apache-2.0), the optional extra ``encoders``; needs no torchvision. The decoder is our own: every
stage's map by 1×1 to one width, summed from coarse to fine, one 3×3 convolution. Fresh weights only: nothing is ever
downloaded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import AutoBackbone, AutoConfig

from models.batch import Modality
from models.layers import align, dates_as_channels, resize, stack_images
from models.spec import Port

_STAGES = 4


class Model(nn.Module):
    """Images (or series of a fixed length, dates as channels) → logits ``[B, K, H, W]``.

    Args:
        ports: Inputs; their bands are stacked.
        n_classes: K.
        config: Further fields of the backbone's configuration (``depths``, ``hidden_sizes``, ...).
        decoder: Features of the decoder.
    """

    BACKBONE: ClassVar[str] = ""
    SOURCE: ClassVar[str] = "transformers"
    LICENCE: ClassVar[str] = "Apache-2.0"
    FIXED_T: ClassVar[bool] = True
    TINY: ClassVar[dict[str, Any]] = {}

    def __init__(
        self,
        ports: Sequence[Port],
        n_classes: int,
        *,
        config: Mapping[str, Any] | None = None,
        decoder: int = 128,
    ) -> None:
        super().__init__()
        self.ports = tuple(ports)
        channels = sum(dates_as_channels(port) for port in ports)
        settings = AutoConfig.for_model(self.BACKBONE, num_channels=channels, **dict(config or {}))
        stages = getattr(settings, "stage_names", None)
        if not stages:
            raise ValueError(f"hf:{self.BACKBONE} is no backbone: transformers gives it no stages")
        stages = stages[1:]  # without the stem
        # Plain vision transformers have one stage per layer: four of them, evenly.
        step = max(1, len(stages) // _STAGES)
        settings.out_features = [stages[i] for i in range(step - 1, len(stages), step)][-_STAGES:]
        try:
            self.backbone: nn.Module = AutoBackbone.from_config(settings)
        except ImportError as error:  # transformers looks for torchvision, and one of another build breaks it
            raise ValueError(f"hf:{self.BACKBONE}: {' '.join(str(error).split())[:200]}") from error
        patch = getattr(settings, "patch_size", 1)
        self.multiple = math.lcm(32, patch if isinstance(patch, int) else 1)
        widths: list[int] = list(self.backbone.channels)
        self.lateral = nn.ModuleList(nn.Conv2d(width, decoder, 1) for width in widths)
        self.smooth = nn.Sequential(nn.Conv2d(decoder, decoder, 3, padding=1), nn.ReLU(inplace=True))
        self.head = nn.Conv2d(decoder, n_classes, 1)

    def forward(self, inputs: dict[str, Modality]) -> Tensor:
        """Logits ``[B, K, H, W]``."""
        aligned, (height, width) = align(inputs, self.ports, self.multiple)
        image = stack_images(aligned, self.ports)
        maps = self.backbone(image).feature_maps
        x = self.lateral[-1](maps[-1])
        for lateral, fine in zip(reversed(self.lateral[:-1]), reversed(maps[:-1]), strict=True):
            x = lateral(fine) + resize(x, fine.shape[-2:])
        logits = resize(self.head(self.smooth(x)), image.shape[-2:])
        return logits[..., :height, :width]


def network(name: str) -> type[Model]:
    """The network class of a backbone's model type.

    Raises:
        ValueError: transformers knows no such backbone.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_BACKBONE_MAPPING_NAMES

    if name not in MODEL_FOR_BACKBONE_MAPPING_NAMES:
        known = ", ".join(sorted(MODEL_FOR_BACKBONE_MAPPING_NAMES))
        raise ValueError(f"hf:{name}: transformers has no such backbone; it has {known}")
    return type("Model", (Model,), {"BACKBONE": name, "SOURCE": f"{Model.SOURCE}: {name}"})
