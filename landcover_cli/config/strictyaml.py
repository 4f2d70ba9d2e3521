"""YAML and JSON documents that people write: safe, and duplicate keys are refused instead of swallowed."""

from __future__ import annotations

from typing import Any

import yaml


class StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses duplicate keys, which YAML readers otherwise swallow silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping, if no key stands in it twice."""
        seen = set()
        for key_node, _ in node.value:
            key = str(key_node.value)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key!r}", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def load_document(text: str) -> Any:
    """Plain values (mappings, lists, text, numbers) of a YAML or JSON text; no object is ever built.

    Raises:
        ValueError: Not YAML, a duplicate key, a date or number that does not exist, nesting without end.
    """
    try:
        return yaml.load(text, Loader=StrictLoader)  # noqa: S506  derived from SafeLoader
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        # yaml's timestamps and integers raise bare ValueErrors ("day is out of range").
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from None
