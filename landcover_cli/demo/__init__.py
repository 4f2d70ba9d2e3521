"""A seeded, simulated region written as products of the real formats: the demo, and the fixtures of the tests."""
