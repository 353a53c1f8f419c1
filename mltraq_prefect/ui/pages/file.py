"""A file of a run, to be saved."""

from __future__ import annotations

import shutil
import tempfile
from typing import TYPE_CHECKING

from starlette.background import BackgroundTask
from starlette.responses import FileResponse

from mltraq_prefect.errors import ExperimentNotFound
from mltraq_prefect.model.spool import Spool, own_spool
from mltraq_prefect.ui.pages.requests import name_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from mltraq_prefect.storage import Store


def download(store: Store, request: Request) -> Response:
    """Return the content, whatever it is, as bytes that a browser saves and never shows.

    The copy that was verified goes when it has been sent: a server runs for weeks.

    Raises:
        ExperimentNotFound: There is no such experiment, run or file.
        CorruptData: It is not what was written.
    """
    table, id_run = request.path_params["table"], request.path_params["id_run"]
    name, path = name_of(store, table), request.query_params.get("name", "")
    runs = store.read(name, columns=[], ids=[id_run]).runs
    files = runs[0].files if runs else {}
    if path not in files:
        raise ExperimentNotFound(f"experiment {name!r} has no such file of a run; it may be gone")
    folder = tempfile.mkdtemp(dir=own_spool().folder)
    try:
        found = files[path].copied(Spool(folder))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return FileResponse(
        found,
        media_type="application/octet-stream",
        filename=found.name,
        content_disposition_type="attachment",
        background=BackgroundTask(shutil.rmtree, folder, ignore_errors=True),
    )
