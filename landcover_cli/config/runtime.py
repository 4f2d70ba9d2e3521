"""How a run is carried out; nothing here changes a pixel, and nothing here is hashed."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from landcover_cli.config.base import Section

_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


class RuntimeConfig(Section):
    """Executor, memory, device."""

    executor: Literal["serial", "threads", "processes", "dask"] = Field("threads", description="Where units run.")
    workers: int = Field(2, ge=1, le=1024, description="Units at a time.")
    scheduler: str | None = Field(
        None, description="Address of a Dask scheduler (`tcp://…`); default: a local cluster."
    )
    memory: str = Field("4GB", description="Working memory of all workers together.")
    device: str = Field("auto", description="`auto`, `cpu` or `cuda:<n>`.")
    on_error: Literal["stop", "continue"] = Field(
        "stop", description="After a failed unit: stop, or finish what does not depend on it (exit code 4)."
    )

    @field_validator("memory")
    @classmethod
    def _parsable(cls, value: str) -> str:
        parse_bytes(value)
        return value


def parse_bytes(text: str) -> int:
    """``4GB``, ``512MB``, ``1.5G`` → bytes (powers of 1024).

    Raises:
        ValueError: Not a size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?\s*", text, re.IGNORECASE)
    if not match:
        raise ValueError(f"{text!r} is no size in bytes; write e.g. 4GB")
    return int(float(match[1]) * _UNITS[match[2].upper()])
