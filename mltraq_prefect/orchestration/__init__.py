"""The only part of the package that imports Prefect: flows, task runs, and what they show.

The facade uses it through `api`, which imports all of it, and through `current`, `configured` and
`links`, which import Prefect only if it has to do with the program. This module imports nothing:
Prefect imports `blocks` when it looks for block types, and must not wait for the rest.
"""
