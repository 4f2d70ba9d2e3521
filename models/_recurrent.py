"""Convolutional recurrences over dates.

Sources: Shi et al., "Convolutional LSTM Network" (2015), without peepholes; Ballas et al., "Delving Deeper into
Convolutional Networks for Learning Video Representations" (2016) for the GRU. The convolution of the inputs runs on
all dates at once; only that of the state waits for the date before. Own implementation.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConvLSTM(nn.Module):
    """All hidden states of a convolutional LSTM: ``[B, T, C, H, W]`` → ``[B, T, D, H, W]``.

    Args:
        c_in: C.
        width: D.
        kernel: Edge of the convolutions.
    """

    def __init__(self, c_in: int, width: int, kernel: int = 3) -> None:
        super().__init__()
        self.width = width
        self.inputs = nn.Conv2d(c_in, 4 * width, kernel, padding=kernel // 2)
        self.state = nn.Conv2d(width, 4 * width, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """States in order of dates."""
        batch, dates = x.shape[:2]
        gates = torch.unflatten(self.inputs(x.flatten(0, 1)), 0, (batch, dates))
        hidden = gates.new_zeros(batch, self.width, *x.shape[-2:])
        cell = hidden
        states = []
        for date in range(dates):
            update = gates[:, date] + self.state(hidden) if date else gates[:, date]
            i, f, o, g = update.chunk(4, 1)
            cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
            hidden = torch.sigmoid(o) * torch.tanh(cell)
            states.append(hidden)
        return torch.stack(states, 1)


class ConvGRU(nn.Module):
    """All hidden states of a convolutional GRU: ``[B, T, C, H, W]`` → ``[B, T, D, H, W]``.

    Args:
        c_in: C.
        width: D.
        kernel: Edge of the convolutions.
    """

    def __init__(self, c_in: int, width: int, kernel: int = 3) -> None:
        super().__init__()
        self.width = width
        self.inputs = nn.Conv2d(c_in, 3 * width, kernel, padding=kernel // 2)
        self.gates = nn.Conv2d(width, 2 * width, kernel, padding=kernel // 2, bias=False)
        self.candidate = nn.Conv2d(width, width, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """States in order of dates."""
        batch, dates = x.shape[:2]
        found = torch.unflatten(self.inputs(x.flatten(0, 1)), 0, (batch, dates))
        hidden = found.new_zeros(batch, self.width, *x.shape[-2:])
        states = []
        for date in range(dates):
            to_gates, to_candidate = found[:, date].split([2 * self.width, self.width], 1)  # type: ignore[no-untyped-call]
            reset, update = torch.sigmoid(to_gates + self.gates(hidden)).chunk(2, 1)
            fresh = torch.tanh(to_candidate + self.candidate(reset * hidden))
            hidden = (1 - update) * hidden + update * fresh
            states.append(hidden)
        return torch.stack(states, 1)


def last_state(states: Tensor, there: Tensor) -> Tensor:
    """The state after the last date that is there: ``[B, T, D, H, W]``, ``[B, T]`` → ``[B, D, H, W]``; else zeros."""
    count = there.sum(1)
    index = (count - 1).clamp_min(0).view(-1, 1, 1, 1, 1).expand(-1, 1, *states.shape[2:])
    return states.gather(1, index).squeeze(1) * (count > 0).view(-1, 1, 1, 1)
