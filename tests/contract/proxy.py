"""A TCP proxy between a client and its server, which can cut a connection at a COMMIT."""

import contextlib
import re
import socket
import threading

import sqlalchemy as sa

COMMIT = re.compile(rb"COMMIT(\0|$)")
"""As the drivers send it; not the level READ COMMITTED."""

PLAIN = {"postgresql": {"sslmode": "disable"}, "mysql": {"ssl_disabled": "true"}}
"""By which options it is legible; some servers have certificates of their own making."""


class Proxy:
    """Forwards connections to a server; a context manager.

    Attributes:
        commits: How many COMMITs it has seen.
        cut_at: At which of them it cuts the connection: 1 is the first, 0 none.
        late: Whether the server gets this COMMIT, so that only its answer is lost.
        sent: What the clients have sent, a part for each connection.
        in_order: The same in the order in which it came.
    """

    def __init__(self, host, port):
        self.commits = 0
        self.cut_at = 0
        self.late = False
        self.sent = []
        self.in_order = []
        self._event = None
        self._ends = []
        self._server = host, port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exception):
        self._listener.close()

    def begin_again(self):
        """Be there again after the end, as a server that was started again."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def end(self):
        """End as a server that is killed: cut all connections, and refuse new ones."""
        for end in (self._listener, *self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def arm(self, at, *, late):
        """Cut the connection at a COMMIT, counted from now."""
        self.commits, self.cut_at, self.late = 0, at, late

    @contextlib.contextmanager
    def held_back(self, event):
        """Let no new connection through, once one was cut, until an event is set."""
        self._event = event
        yield
        self._event = None

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._event is not None and 0 < self.cut_at <= self.commits:
                    assert self._event.wait(180), "what is awaited does not come"
                server = socket.create_connection(self._server)
                self._ends += [client, server]
                answers = _Answers(server, client)
                threading.Thread(target=self._ask, args=(client, server, answers)).start()
                threading.Thread(target=answers.forward, daemon=True).start()

    def _ask(self, client, server, answers):
        with client, server:
            with contextlib.suppress(OSError):
                self._forward(client, server, answers)
            for end in (client, server):  # close() waits for threads that read
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _forward(self, client, server, answers):
        recorded = bytearray()
        self.sent.append(recorded)
        while sent := client.recv(65536):
            recorded += sent
            self.in_order.append(sent)
            if COMMIT.search(sent):
                self.commits += 1
                if self.commits == self.cut_at:
                    self._cut(server, sent, answers)
                    return
            server.sendall(sent)

    def _cut(self, server, sent, answers):
        if self.late:
            answers.withhold()
            server.sendall(sent)
            answers.wait_for_one()


class _Answers:
    """What the server says, forwarded to the client or withheld from it."""

    def __init__(self, server, client):
        self._server, self._client = server, client
        self._withheld = False
        self._came = threading.Event()

    def withhold(self):
        self._withheld = True

    def wait_for_one(self):
        assert self._came.wait(180), "the server does not answer a COMMIT"

    def forward(self):
        with contextlib.suppress(OSError):
            while received := self._server.recv(65536):
                if self._withheld:
                    self._came.set()
                    return
                self._client.sendall(received)
        with contextlib.suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def proxied(url):
    """Yield a proxy, and the URL by which the database behind it is reached."""
    direct = sa.make_url(url)
    kind = direct.get_backend_name().replace("mariadb", "mysql")
    port = {"postgresql": 5432, "mysql": 3306}[kind]
    with Proxy(direct.host, direct.port or port) as proxy:
        through = direct.set(host="127.0.0.1", port=proxy.port)
        through = through.update_query_dict(PLAIN[kind])
        yield proxy, through.render_as_string(hide_password=False)
