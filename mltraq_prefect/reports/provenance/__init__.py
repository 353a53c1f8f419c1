"""Where results come from, for people: executions, their code, and what differs between two."""
