"""What an execution knows of the database: stored results, fields that are there alone, resume."""
