"""Plug-ins by file stem."""

from __future__ import annotations

import sys

import pytest

from landcover_cli import registry
from landcover_cli.errors import ConfigError


def test_listing_names_imports_nothing() -> None:
    before = set(sys.modules)
    assert "lee" in registry.names("speckle")
    assert not {name for name in set(sys.modules) - before if name.startswith(("landcover_cli.sar.speckle.", "numba"))}


def test_an_unknown_name_gets_a_hint() -> None:
    with pytest.raises(ConfigError, match="did you mean lee") as caught:
        registry.load("speckle", "leee")
    assert "available" in caught.value.remedy


@pytest.mark.parametrize("kind", sorted(registry.KINDS))
def test_every_plugin_loads_by_its_stem(kind: str) -> None:
    for name in registry.names(kind):
        plugin = registry.load(kind, name)
        assert plugin is not None
        if hasattr(plugin, "name") and isinstance(plugin.name, str):
            assert plugin.name == name
