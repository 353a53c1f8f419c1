"""Results pages: a web server that shows a database of experiments, and changes nothing."""
