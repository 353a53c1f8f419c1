"""One write or read of many runs in a fresh process: its seconds, and KiB of peak memory.

``python -m benchmarks.memory write|read URL RUNS``
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from benchmarks.runs import make_runs, record
from mltraq_prefect.storage import Store


def main(step: str, url: str, count: int) -> None:
    store = Store(url)
    store.check()
    at_start = peak()
    runs = make_runs(count) if step == "write" else []
    before = peak()
    start = time.perf_counter()
    if step == "write":
        store.write(record(runs), "fail")
    else:
        assert len(store.read("bench").runs) == count
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "before": before - at_start, "added": peak() - before}))


def peak() -> int:
    """Return the most memory that this process ever had, in KiB. Linux only."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return int(dict(line.split(":", 1) for line in lines)["VmHWM"].split()[0])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
