"""Experiments that are renamed, runs that are deleted or old, and what is wrong with them."""
