"""Runs, what identifies them, and the grids that they are points of; knows nothing of the rest."""
