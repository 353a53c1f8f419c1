"""Kill what executes a shared sweep: ``python -m tests.deployments.shared_soak [RUNS] [KILLS]``.

Four flow runs of one deployment, on a process work pool with three workers, execute a sweep on
PostgreSQL. The clock of one is an hour ahead, and one joins late. Every few seconds a random flow
run or worker is killed by SIGKILL, and another one started in its place. At the end the result is
compared with that of one process, bit for bit. Exits with 1 if it differs.
"""

import random
import sys
import tempfile
import time
from pathlib import Path

from prefect.settings import PREFECT_API_URL, temporary_settings

import mltraq_prefect as mltraq
from deployments.local import LocalPrefect
from tests import homes, session_servers
from tests.deployments.pool import HOUR, Pool
from tests.polling import poll
from tests.servers import postgresql_database
from tests.sweeps import Sweep, undisturbed

RUNS, KILLS, LEASE_SECONDS = 2_000, 8, 5
FLOW_RUNS, WORKERS = 4, 3
SECONDS = 1_200


def main(runs, kills):
    with session_servers.opened(), tempfile.TemporaryDirectory() as root:
        home = homes.furnish(Path(root) / "prefect", homes.made_once())
        with (
            LocalPrefect(home) as prefect,
            temporary_settings({PREFECT_API_URL: f"{prefect.url}/api"}),
            postgresql_database() as url,
            Pool(url, Path(root) / "marks", runs, LEASE_SECONDS) as pool,
        ):
            started = time.monotonic()
            ids = _disturb(pool, kills)
            print(f"{runs} runs in {time.monotonic() - started:.0f} s", flush=True)
            return _compare(pool, Path(root), ids)


def _disturb(pool, kills):
    """Start the sweep, and kill and replace what executes it; return the flow runs."""
    for _ in range(WORKERS):
        pool.start_worker()
    ids = [pool.start_flow_run(ahead=HOUR if number == 1 else 0) for number in range(FLOW_RUNS - 1)]
    pool.wait_for(lambda found: sum(own["completed"] for own in found) > 0)
    ids.append(pool.start_flow_run())
    done = {"flow run": 0, "worker": 0}
    while sum(done.values()) < kills:
        time.sleep(random.uniform(1, 5))
        if random.random() < 0.3:
            pool.kill_worker()
            pool.start_worker()
            done["worker"] += 1
        elif pool.kill_flow_run() is not None:
            ids.append(pool.start_flow_run())
            done["flow run"] += 1
        known = [(own["worker"], own["completed"], own["is_live"]) for own in pool.claims()]
        print(done, known, flush=True)
    pool.hurry()
    left = [one for one in ids if one not in pool.killed]
    states = poll(
        lambda: pool.states(left),
        lambda found: "COMPLETED" in found.values() and not pool.claims(),
        SECONDS,
    )
    print(done, states, flush=True)
    return ids


def _compare(pool, root, ids):
    runs = pool.given["runs"]
    executions = pool.executions()
    sweep = Sweep(pool.given["url"], root / "sweep", runs, {})
    is_same = sweep.results() == undisturbed(root / "undisturbed", runs)
    with mltraq.create_session(pool.given["url"]) as session:
        by = session.query("SELECT flow_run_id, count(*) AS n FROM experiment_runs GROUP BY 1")
        steps = session.query(
            "SELECT count(*) AS n, count(DISTINCT id_run) AS runs FROM experiment_run_steps"
        ).values.tolist()
    print(f"{len(pool.killed)} flow runs killed; {sum(executions) - runs} executions repeated")
    print(f"runs by flow run: {dict(by.values.tolist())}")
    is_whole = len(executions) == runs and steps == [[3 * runs, runs]]
    is_known = set(by["flow_run_id"]) <= set(ids)
    print(f"same as undisturbed: {is_same}; each recorded once: {is_whole}; by these: {is_known}")
    return 0 if is_same and is_whole and is_known else 1


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    sys.exit(main(*given, *(RUNS, KILLS)[len(given) :]))
