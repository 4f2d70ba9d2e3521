"""The pipeline file: one pydantic model per section, frozen, unknown keys refused."""
