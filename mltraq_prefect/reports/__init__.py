"""From numbers to groups, comparisons, tables, plots and pages; knows neither Prefect nor SQL."""
