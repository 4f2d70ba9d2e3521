"""U-TAE at its published size."""

from __future__ import annotations

import pytest

from models.spec import Port
from models.utae import Model


def test_published_number_of_parameters() -> None:
    """Garnot & Landrieu 2021, PASTIS configuration: 10 bands, 20 classes."""
    network = Model((Port("s2", "series", tuple("abcdefghij"), 10.0, "reflectance"),), 20)
    assert sum(p.numel() for p in network.parameters()) == 1_087_260


def test_refuses_two_series() -> None:
    port = Port("s2", "series", ("a",), 10.0, "reflectance")
    with pytest.raises(ValueError, match="one series"):
        Model((port, port), 3)
