"""Link between executions and the database: stored state, released fields, resuming."""
