"""Files of runs: planned, written, and read piece by piece."""
