"""Comparing groups of runs: which one is better, by how much, and how sure that is."""
