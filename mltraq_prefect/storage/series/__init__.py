"""Rows that runs log: encoded, chosen and written while runs are executed."""
