"""Samples, objectives, training loop, predictor; the only room that imports torch and ``models``."""

import os

# Threads that wait for each other shall sleep, not spin: beside other work on the same cores, spinning made a training
# step four times slower (13 s against 58 s for twelve steps). Read once, when torch loads its OpenMP library.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
