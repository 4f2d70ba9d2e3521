"""Samples, objectives, training loop, predictor; the only room that imports torch and ``models``."""
