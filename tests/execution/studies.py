"""The sweep in flows of a user: ``python -m tests.execution.studies KIND URL FOLDER RUNS``.

The kind is a ``flow``, an ``async`` flow, or a flow that is ``served`` as a deployment.
"""

import asyncio
import sys

from prefect import flow

from tests.execution.interrupted import sweep


@flow
def study(url: str, folder: str, runs: int):
    sweep(url, folder, runs)


@flow(name="study")
async def async_study(url: str, folder: str, runs: int):
    sweep(url, folder, runs)


def main(kind, url, folder, runs):
    given = {"url": url, "folder": folder, "runs": int(runs)}
    if kind == "flow":
        study(**given)
    elif kind == "async":
        asyncio.run(async_study(**given))
    else:
        study.serve("sweep", parameters=given)


if __name__ == "__main__":
    main(*sys.argv[1:])
