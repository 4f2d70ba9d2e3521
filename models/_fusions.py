"""Ways to join a fine image's map with a coarse series' map of the same size.

`Weights` is STSNet's own (Yu, Li, Huang, Information Fusion 2024; forms of the public code and of eq. 12). The others
are the ones that the paper compares with, each named after the idea that its abbreviation stands for there; the paper
gives no layers, so theirs are reconstructed:

* `Direct`: plain sum.
* `MSE`: squeeze and excitation (Hu et al. 2018) over both maps side by side, reduction 16, no biases: 131,072.
* `AFFB`: attentional feature fusion (Dai et al. 2021): local and global channel attention, reduction 4.
* `FFM`: cross attention between the maps, then a channel embedding (Zhang et al. 2023, CMX).
* `DPFN`: two paths, a dense one over both maps side by side and a residual one over their sum (own reading).

All: ``forward(fine [B, C, h, w], coarse [B, C, h, w], observed [B]) -> [B, C, h, w]``; a sample whose series observed
nothing keeps its fine map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Fusion(nn.Module):
    """What every way has in common: fine + α · joined, α only where it weights.

    Args:
        channels: C of both maps.
        alpha: Weight of what the two maps say together.
    """

    def __init__(self, channels: int, alpha: float) -> None:
        super().__init__()
        self.channels, self.alpha = channels, alpha

    def join(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """What is added to the fine map."""
        raise NotImplementedError

    def forward(self, fine: Tensor, coarse: Tensor, observed: Tensor) -> Tensor:
        """``[B, C, h, w]``."""
        return fine + self.join(fine, coarse) * observed.view(-1, 1, 1, 1).to(fine.dtype)


class Weights(Fusion):
    """α (fine · w_fine + coarse · w_coarse), weights from both maps' global mean and maximum.

    Args:
        channels: C; 512 gives 6,818,816 parameters in form `code`.
        alpha: (fine pixel / coarse pixel)².
        form: ``code``: shared 1×1 to 2C without bias on mean and maximum, summed; side by side through 4C → 4C → 2C.
            ``equation``: eq. 12 as printed: sigmoid first, then mean and maximum of each map (four vectors side by
            side; the paper names one of them twice, which is read as a slip), no shared convolution.
    """

    def __init__(self, channels: int, alpha: float, form: str = "code") -> None:
        super().__init__(channels, alpha)
        if form not in {"code", "equation"}:
            raise ValueError(f"weights = {form!r}: choose code or equation")
        self.form = form
        self.shared = nn.Conv2d(channels, 2 * channels, 1, bias=False) if form == "code" else nn.Identity()
        self.mlp = nn.Sequential(
            nn.Linear(4 * channels, 4 * channels),
            nn.ReLU(inplace=True),
            nn.Linear(4 * channels, 2 * channels),
            nn.Sigmoid(),
        )

    def _squeeze(self, x: Tensor) -> Tensor:
        if self.form == "equation":
            x = torch.sigmoid(x)
            return torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)  # [B, 2 C]
        pooled: Tensor = self.shared(x.mean((2, 3), keepdim=True)) + self.shared(x.amax((2, 3), keepdim=True))
        return pooled.flatten(1)  # [B, 2 C]

    def join(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """``[B, C, h, w]``."""
        weights = self.mlp(torch.cat([self._squeeze(fine), self._squeeze(coarse)], 1))  # [B, 2 C]
        w_fine, w_coarse = weights[:, :, None, None].chunk(2, 1)
        out: Tensor = self.alpha * (fine * w_fine + coarse * w_coarse)
        return out


class Direct(Fusion):
    """The sum."""

    def join(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """``[B, C, h, w]``."""
        return coarse


class MSE(Fusion):
    """Squeeze and excitation over both maps side by side."""

    def __init__(self, channels: int, alpha: float, reduction: int = 16) -> None:
        super().__init__(channels, alpha)
        hidden = max(1, 2 * channels // reduction)
        self.mlp = nn.Sequential(
            nn.Linear(2 * channels, hidden, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, 2 * channels, bias=False),
            nn.Sigmoid(),
        )

    def join(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """``[B, C, h, w]``."""
        both = torch.cat([fine, coarse], 1)
        both = both * self.mlp(both.mean((2, 3)))[:, :, None, None]
        out: Tensor = both[:, : self.channels] + both[:, self.channels :]
        return out


def _squeeze_conv(channels: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, hidden, 1), nn.BatchNorm2d(hidden), nn.ReLU(inplace=True), nn.Conv2d(hidden, channels, 1)
    )


class AFFB(Fusion):
    """m · coarse + (1 − m) · fine, m from local and global attention on the sum."""

    def __init__(self, channels: int, alpha: float, reduction: int = 4) -> None:
        super().__init__(channels, alpha)
        hidden = max(1, channels // reduction)
        self.local = nn.Sequential(_squeeze_conv(channels, hidden), nn.BatchNorm2d(channels))
        self.total = nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.ReLU(inplace=True), nn.Conv2d(hidden, channels, 1)
        )

    def join(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """``[B, C, h, w]``."""
        both = fine + coarse
        m = torch.sigmoid(self.local(both) + self.total(both.mean((2, 3), keepdim=True)))
        return m * (coarse - fine)


class FFM(Fusion):
    """Each map asks the other's summary (linear cross attention), then one channel embedding of both."""

    def __init__(self, channels: int, alpha: float, heads: int = 8) -> None:
        super().__init__(channels, alpha)
        self.heads = heads if channels % heads == 0 else 1
        self.project = nn.ModuleList(nn.Linear(channels, 2 * channels) for _ in range(2))
        self.key_value = nn.ModuleList(nn.Linear(channels, 2 * channels, bias=False) for _ in range(2))
        self.end = nn.ModuleList(nn.Linear(2 * channels, channels) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))
        self.residual = nn.Conv2d(2 * channels, channels, 1, bias=False)
        self.embed = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 1),
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 1),
            nn.BatchNorm2d(channels),
        )

    def join(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """``[B, C, h, w]``."""
        maps = (fine, coarse)
        tokens = [x.flatten(2).transpose(1, 2) for x in maps]  # [B, h·w, C]
        parts = [functional.relu(p(t)).chunk(2, -1) for p, t in zip(self.project, tokens, strict=True)]
        contexts = [self._context(kv(part[1])) for kv, part in zip(self.key_value, parts, strict=True)]
        out = []
        for index, (token, (kept, asking)) in enumerate(zip(tokens, parts, strict=True)):
            query = torch.unflatten(asking, -1, (self.heads, -1))
            answer = torch.einsum("blnd,bnde->blne", query, contexts[1 - index]).flatten(2)
            found = self.norms[index](token + self.end[index](torch.cat([kept, answer], -1)))
            out.append(found.transpose(1, 2).view_as(fine))
        both = torch.cat(out, 1)
        joined: Tensor = self.residual(both) + self.embed(both)
        return joined

    def _context(self, key_value: Tensor) -> Tensor:
        """``[B, L, 2 C]`` → ``[B, heads, d, d]``: what one map's tokens hold, whatever their number."""
        key, value = torch.unflatten(key_value, -1, (2, self.heads, -1)).unbind(2)  # [B, L, heads, d]
        scores = torch.einsum("blnd,blne->bnde", key, value) / key.shape[1] ** 0.5
        return torch.softmax(scores, -2)


class DPFN(Fusion):
    """Dense path over both maps side by side and residual path over their sum, joined by a 3×3 convolution."""

    def __init__(self, channels: int, alpha: float) -> None:
        super().__init__(channels, alpha)
        self.dense = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d((2 + index) * channels, channels, 3, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
            )
            for index in range(3)
        )
        self.residual = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
                nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                nn.BatchNorm2d(channels),
            )
            for _ in range(3)
        )
        self.out = nn.Conv2d(2 * channels, channels, 3, padding=1)

    def join(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """``[B, C, h, w]``."""
        stack, path = [fine, coarse], fine + coarse
        for dense, residual in zip(self.dense, self.residual, strict=True):
            stack.append(dense(torch.cat(stack, 1)))
            path = functional.relu(path + residual(path))
        out: Tensor = self.out(torch.cat([stack[-1], path], 1))
        return out


FUSIONS: dict[str, type[Fusion]] = {
    "weights": Weights,
    "direct": Direct,
    "mse": MSE,
    "affb": AFFB,
    "ffm": FFM,
    "dpfn": DPFN,
}
