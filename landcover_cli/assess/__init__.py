"""Accuracy and area statistics: error matrices, estimators, intervals. Pure functions on arrays and counts."""
