"""lc: land-cover maps from raw satellite scenes, with honest accuracy."""

__version__ = "0.1.0"
