"""U-TAE at its published size."""

from __future__ import annotations

import pytest

from models.spec import Port
from models.utae import Model


def test_refuses_two_series() -> None:
    port = Port("s2", "series", ("a",), 10.0, "reflectance")
    with pytest.raises(ValueError, match="one series"):
        Model((port, port), 3)
