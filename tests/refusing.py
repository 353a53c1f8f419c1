"""A server that refuses whatever it is asked."""

import http.server
import threading
from contextlib import contextmanager


@contextmanager
def refusing_server(status):
    """Yield the port of a server whose answers all have this status."""

    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(status)

        do_POST = do_GET

        def log_message(self, *_):
            """Tell nobody."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
