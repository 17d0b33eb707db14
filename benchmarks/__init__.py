"""Measures the speed that the project holds itself to, as ratios within one run. README.md says how to read it."""
