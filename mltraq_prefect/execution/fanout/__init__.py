"""Execution of many batches at once: submission, collection, retries, logs and progress.

A `BatchExecutor` executes the batches: threads of this process (`threads`), or, elsewhere, the task
runs of Prefect.
"""
