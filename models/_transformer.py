"""Pre-norm transformer with a key mask, for networks that need more than `nn.TransformerEncoder` promises.

Source: Vaswani et al., "Attention Is All You Need" (2017), eq. 1; normalisation before each part after Xiong et al.,
"On Layer Normalization in the Transformer Architecture" (2020). Masked keys get no weight at all, so that a padded
date changes no bit; a query without any key gets zeros.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Multi-head attention of tokens ``[N, L, D]`` to context ``[N, M, D]`` (default: themselves).

    Args:
        width: D.
        heads: Number of heads.
        head_width: Width per head; default D / heads.
        bias: Biases of the query, key and value maps.
        dropout: Dropout after the output map.
    """

    def __init__(
        self, width: int, heads: int, head_width: int | None = None, *, bias: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if head_width is None and width % heads:
            raise ValueError(f"heads = {heads} does not divide the width {width}")
        self.heads, self.head_width = heads, head_width or width // heads
        inner = heads * self.head_width
        self.query = nn.Linear(width, inner, bias=bias)
        self.key_value = nn.Linear(width, 2 * inner, bias=bias)
        self.out = nn.Linear(inner, width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, *, context: Tensor | None = None, scores: Tensor | None = None
    ) -> Tensor:
        """``[N, L, D]``.

        Args:
            x: ``[N, L, D]`` queries.
            mask: ``[N, M]`` bool, which keys may be looked at; default all.
            context: ``[N, M, D]`` keys and values.
            scores: Added to the scores, broadcast to ``[N, heads, L, M]`` (relative positions).
        """
        source = x if context is None else context
        query = torch.unflatten(self.query(x), -1, (self.heads, -1)).transpose(1, 2)  # [N, heads, L, d]
        key, value = torch.unflatten(self.key_value(source), -1, (2, self.heads, -1)).unbind(2)
        key, value = key.transpose(1, 2), value.transpose(1, 2)  # [N, heads, M, d]
        bias, any_key = _attention_bias(mask, scores, query.dtype)
        out = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        if any_key is not None:
            out = out * any_key[:, None, None, None].to(out.dtype)
        result: Tensor = self.dropout(self.out(out.transpose(1, 2).flatten(2)))
        return result


def _attention_bias(
    mask: Tensor | None, scores: Tensor | None, dtype: torch.dtype
) -> tuple[Tensor | None, Tensor | None]:
    """What is added to the scores, and which samples ``[N]`` have a key at all (None: every one).

    A sample without any key is let look at everything, for a softmax over nothing is not a number; the caller zeroes
    its result.
    """
    if mask is None:
        return (None if scores is None else scores.to(dtype)), None
    any_key = mask.any(-1)
    seen = (mask | ~any_key.unsqueeze(-1))[:, None, None]  # [N, 1, 1, M]
    if scores is None:
        return seen, any_key
    return torch.where(seen, scores.to(dtype), torch.full((), -torch.inf, dtype=dtype, device=scores.device)), any_key


class Block(nn.Module):
    """x + attention(norm x), then x + MLP(norm x)."""

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        *,
        head_width: int | None = None,
        bias: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads, head_width, bias=bias, dropout=dropout)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, width),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """``[N, L, D]``, keys ``[N, L]`` → ``[N, L, D]``."""
        x = x + self.attention(self.norm(x), mask)
        out: Tensor = x + self.mlp(x)
        return out
