"""From rows to runs and frames: which are chosen, and what their cells stand for."""
