"""What there is to see in the results of an experiment, however it is shown."""
