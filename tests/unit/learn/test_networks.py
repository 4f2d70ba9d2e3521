"""Figures of networks, and training through the loop of those that need a fixed number of dates."""

from __future__ import annotations

import pytest

from landcover_cli import registry
from landcover_cli.learn.networks import network_facts, networks


def test_every_network_of_ours_but_the_default_states_a_reference() -> None:
    assert set(registry.names("model")) - set(networks()) <= {"fusion_utae", "pixel_ltae"}


def test_multiply_accumulates_by_hand() -> None:
    """ConvLSTM 10 → 18, 30×30 px, 31 dates: 3×3 convolutions of inputs and of states (not of the first), and a head."""
    facts = network_facts("convlstm")
    pixels = 30 * 30
    gates = 9 * 72 * pixels * (31 * 10 + 30 * 18)
    assert facts.gmacs * 1e9 == pytest.approx(gates + 9 * 18 * 8 * pixels)


def test_attention_counts_too() -> None:
    """The transformer of TSViT, per patch of 2×2 pixels: 60 dates and 20 classes, then 144 patches per class."""
    facts = network_facts("tsvit")
    width, inner, hidden = 128, 128, 512
    layer = 4 * width * inner + 2 * width * hidden  # linear maps, per token
    tokens, patches = 80, 144
    temporal = 4 * patches * (tokens * layer + 2 * tokens * tokens * inner)
    spatial = 4 * 20 * (patches * layer + 2 * patches * patches * inner)
    rest = patches * 60 * 40 * width + 60 * 365 * width + 20 * patches * width * 4
    assert facts.gmacs * 1e9 == pytest.approx(temporal + spatial + rest)
