"""Studies, comparisons, figures, summaries and pages; knows neither Prefect nor SQL."""
