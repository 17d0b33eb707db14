"""Measures the speed that the project holds itself to, as ratios within one run; see README.md."""
