"""The whole pipeline file, and reading it with errors that name the key."""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator

from landcover_cli.config.base import Section
from landcover_cli.config.labels import LabelsConfig, TileConfig
from landcover_cli.config.learning import AssessConfig, PredictConfig, ReportConfig, TrainConfig
from landcover_cli.config.place import GridConfig, PeriodConfig, RegionConfig
from landcover_cli.config.runtime import RuntimeConfig
from landcover_cli.config.sources import SourceConfig
from landcover_cli.config.strictyaml import load_document
from landcover_cli.errors import ConfigError

S = TypeVar("S", bound=Section)
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class PipelineConfig(Section):
    """A pipeline file: what to map, from which sources, with which labels and model."""

    version: Literal[1] = Field(1, description="Version of this file's format.")
    workspace: str = Field("work", description="Folder of all results, relative to the pipeline file.")
    aoi: str | None = Field(None, description="Polygon file of the area to map (one region). Either this or `regions`.")
    regions: dict[str, RegionConfig] = Field(default_factory=dict, description="Several areas by name.")
    vars: dict[str, str] = Field(
        default_factory=dict, description="Values for `{name}` in paths, common to all regions (`--set vars.name=...`)."
    )
    grid: GridConfig = Field(default_factory=GridConfig, description="The product grid.")
    period: PeriodConfig | None = Field(None, description="From when to when; a region may override it.")
    sources: dict[str, SourceConfig] = Field(min_length=1, description="Inputs of the model by name.")
    labels: LabelsConfig | None = Field(None, description="Reference labels; without them the run ends with the cubes.")
    tile: TileConfig = Field(default_factory=TileConfig, description="Training patches.")
    train: TrainConfig = Field(default_factory=TrainConfig, description="Training.")
    predict: PredictConfig = Field(default_factory=PredictConfig, description="Prediction.")
    assess: AssessConfig = Field(default_factory=AssessConfig, description="Assessment.")
    report: ReportConfig = Field(default_factory=ReportConfig, description="Report.")
    runtime: RuntimeConfig = Field(default_factory=RuntimeConfig, description="How, not what: never changes a pixel.")

    @model_validator(mode="after")
    def _check(self) -> PipelineConfig:
        if bool(self.aoi) == bool(self.regions):
            raise ValueError("give either `aoi` (one region) or `regions` (several), not both and not neither")
        for kind, names in (("sources", self.sources), ("regions", self.regions)):
            for name in names:
                if not _NAME.fullmatch(name):
                    raise ValueError(f"{kind}: name {name!r} must be lower-case letters, digits and underscores")
        series = [name for name, source in self.sources.items() if source.type != "static"]
        if series and self.period is None and any(region.period is None for region in self.all_regions().values()):
            raise ValueError("`period` is missing: sources with dates need a start and an end")
        return self

    def all_regions(self) -> dict[str, RegionConfig]:
        """Regions by name; a lone `aoi` is the region `main`."""
        if self.regions:
            return dict(self.regions)
        return {"main": RegionConfig(aoi=self.aoi or "")}


def load_pipeline(path: Path) -> PipelineConfig:
    """Read and check a pipeline file.

    Raises:
        ConfigError: Not readable, not YAML, an unknown key (with the nearest known one), a value out of range.
    """
    return parse_pipeline(read_document(path), str(path))


def read_document(path: Path) -> dict[str, Any]:
    """The mapping that a pipeline file holds, unchecked.

    Raises:
        ConfigError: Not readable, not YAML, not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"pipeline file {path}: {error.strerror or error}", remedy="check the path") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"pipeline file {path} is not UTF-8 text ({error.reason})", remedy="save it as UTF-8"
        ) from None
    try:
        document = load_document(text)
    except ValueError as error:
        raise ConfigError(f"pipeline file {path} is not valid YAML: {error}", remedy="mend the line it names") from None
    if not isinstance(document, dict):
        raise ConfigError(f"pipeline file {path} holds no mapping", remedy="start from `lc config show` or examples/")
    return document


def parse_pipeline(document: dict[str, Any], name: str) -> PipelineConfig:
    """Check a pipeline document that was read from `name`.

    Raises:
        ConfigError: As `load_pipeline`.
    """
    try:
        return PipelineConfig.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"{name}: " + _explain(error), remedy="see `lc config schema` or docs/pipeline.md") from None


def parse_section(kind: type[S], document: dict[str, Any], key: str, command: str) -> S:
    """Check one section that a command was given through its options.

    Args:
        kind: Class of the section.
        document: Its values.
        key: Where it stands in a pipeline file; names the values in messages.
        command: What the values were given to.

    Raises:
        ConfigError: As `load_pipeline`.
    """
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        remedy = f"see docs/pipeline.md, section `{key}`"
        raise ConfigError(f"{command}: " + _explain(error, (key,)), remedy=remedy) from None


def pipeline_schema() -> str:
    """JSON schema of the pipeline file."""
    return json.dumps(PipelineConfig.model_json_schema(), indent=2, ensure_ascii=False)


def _explain(error: ValidationError, below: tuple[str, ...] = ()) -> str:
    """Every problem on a line of its own, with the key's path and the nearest known key."""
    lines = []
    for item in error.errors():
        # A discriminated union puts its tag into the path; the user never wrote it.
        path = [*below, *(str(part) for part in item["loc"])]
        if len(path) > 2 and path[0] == "sources":
            path.pop(2)
        where = ".".join(path)
        if item["type"] == "extra_forbidden":
            near = difflib.get_close_matches(path[-1], _known_keys(top=len(path) == 1), n=1, cutoff=0.6)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            lines.append(f"unknown key `{where}`{hint}")
        elif item["type"] == "missing":
            lines.append(f"key `{where}` is missing")
        else:
            message = item["msg"].removeprefix("Value error, ")
            shown = "" if isinstance(item["input"], dict | BaseModel) else f" (got {item['input']!r})"
            lines.append(f"`{where}`: {message}{shown}" if where else message)
    return "; ".join(lines)


def _known_keys(*, top: bool) -> set[str]:
    """Keys of the top level, or every key that some section knows; enough for a hint."""
    if top:
        return set(PipelineConfig.model_fields)
    found: set[str] = set()

    def walk(schema: Any) -> None:
        if isinstance(schema, dict):
            found.update(schema.get("properties", {}))
            for value in schema.values():
                walk(value)
        elif isinstance(schema, list):
            for value in schema:
                walk(value)

    walk(PipelineConfig.model_json_schema())
    return found
