"""From numbers to groups, tables and plots; knows neither Prefect nor SQL."""
