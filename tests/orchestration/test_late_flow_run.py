"""Who writes down which flow run runs are of, when the server has made it late."""

import datetime
import threading
from uuid import uuid4

from prefect.client.schemas.objects import FlowRun

from mltraq_prefect.errors import StoreError
from mltraq_prefect.orchestration.late_flow_run import LateFlowRun


def test_who_writes_may_wait_for_who_logs_and_who_cannot_write_keeps_nobody():
    late, told = LateFlowRun("late"), []
    now = datetime.datetime.now(datetime.UTC)
    made = FlowRun(id=uuid4(), flow_id=uuid4(), name="late", created=now)

    def refuse(_flow_run_id):
        raise StoreError("the database has gone")

    def write(flow_run_id):
        """Wait for another thread, which waits for nothing but the late flow run."""
        other = threading.Thread(target=late.when_known, args=(told.append,), daemon=True)
        other.start()
        other.join(10)
        told.append(flow_run_id)

    late.when_known(refuse)
    late.when_known(write)
    late.open(made)
    assert told == [str(made.id)] * 2
