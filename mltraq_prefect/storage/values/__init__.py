"""What a value is in SQL: kinds of columns, projections, layouts and names."""
