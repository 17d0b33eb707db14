"""The version of the package, known without looking at what is installed."""

__version__ = "0.1.0"
