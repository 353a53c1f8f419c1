"""Contents of files on this machine."""

import contextlib
import hashlib

from mltraq_prefect.model.spool import FileEntry, Spool


def test_a_copy_that_another_thread_has_made_meanwhile_and_reads_is_given(tmp_path):
    spool, content = Spool(str(tmp_path)), b"content"
    entry = FileEntry(len(content), hashlib.sha256(content).hexdigest(), pieces=lambda: [content])
    with contextlib.ExitStack() as reading:

        def pieces():
            reading.enter_context(spool.local("a", entry).open("rb"))
            yield content

        path = spool.local("a", entry._replace(pieces=pieces))
        assert path.read_bytes() == content
        assert [*path.parent.iterdir()] == [path]
