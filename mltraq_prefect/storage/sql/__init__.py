"""Connections, dialects, the fixed tables and their migrations."""
