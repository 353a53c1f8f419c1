"""Figures as SVG that goes into a page and has the colours of that; no script is needed."""
