"""The only part of the package that imports Prefect: flows, task runs, and what they show.

The facade uses it through `api`, which imports all of it, and through `current`, which imports
Prefect only if the program has done so. This module imports nothing: Prefect imports `blocks` when
it looks for block types, and must not wait for the rest.
"""
