"""From numbers to groups, comparisons, tables and plots; knows neither Prefect nor SQL."""
