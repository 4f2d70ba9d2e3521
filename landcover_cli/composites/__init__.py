"""Temporal composites; one file per method, each a ``Reducer`` with feed, merge, result."""
