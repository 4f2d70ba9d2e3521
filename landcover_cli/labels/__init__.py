"""Legends, crosswalks, rasterising, sampling, splits."""
