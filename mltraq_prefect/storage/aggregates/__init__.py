"""Results that the database counts and averages, for pages and reports."""
