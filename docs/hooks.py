"""Build hooks of the documentation: reference pages come from the code, so that they cannot go stale."""

from __future__ import annotations

import json
from typing import Any

MARKER = "<!-- generated: pipeline file -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the marker by the reference of the pipeline file."""
    return markdown.replace(MARKER, pipeline_reference()) if MARKER in markdown else markdown


def pipeline_reference() -> str:
    """One table per section, in the order of the file."""
    from landcover_cli.config.pipeline import pipeline_schema

    schema = json.loads(pipeline_schema())
    sections = [("The top level", schema), *sorted(schema["$defs"].items())]
    return "\n".join(_section(name, section) for name, section in sections)


def _section(name: str, section: dict[str, Any]) -> str:
    required = set(section.get("required", ()))
    rows = [
        f"| `{key}` | {_type(value)} | {_default(key, value, required)} | {_cell(value.get('description', ''))} |"
        for key, value in section.get("properties", {}).items()
    ]
    title = name if " " in name else f"`{name}`"
    text = _cell(section.get("description", "")) if " " not in name else ""
    head = f"\n## {title}\n\n{text}\n\n| key | type | default | meaning |\n|---|---|---|---|\n"
    return head + "\n".join(rows) + "\n"


def _type(value: dict[str, Any]) -> str:  # noqa: PLR0911  one line per form a JSON schema has
    if "$ref" in value:
        name = value["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return " or ".join(f"`{item}`" for item in value["enum"])
    for union in ("anyOf", "oneOf"):
        if union in value:
            return " or ".join(_type(item) for item in value[union] if item.get("type") != "null")
    kind = value.get("type", "any")
    if kind == "array":
        return f"list of {_type(value.get('items', {}))}"
    if kind == "object" and isinstance(value.get("additionalProperties"), dict):
        return f"name → {_type(value['additionalProperties'])}"
    return f"{kind}{_range(value)}"


def _range(value: dict[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    parts = [f"{sign} {value[key]:g}" for key, sign in signs.items() if key in value]
    return f" ({', '.join(parts)})" if parts else ""


def _default(key: str, value: dict[str, Any], required: set[str]) -> str:
    if key in required:
        return "**required**"
    default = value.get("default")
    if default is None:
        return "–"
    text = json.dumps(default, ensure_ascii=False)
    return f"`{text}`" if len(text) <= 60 else "see the section"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
