"""Studies as HTML: pages, parts of notebooks, files. No script, and nothing from elsewhere."""
