"""Runs, their identity, and grids of params; independent of the other packages."""
