"""The versions of the package and of what it writes for values."""

__version__ = "0.1.0"

VALUES_FORMAT = 1
"""Version of the format of values; docs/format.md specifies it."""
