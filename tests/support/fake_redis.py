"""A server that speaks RESP2 and says what a test wants: for a Redis that one can't have.

    with FakeRedis({"INFO": info(version="6.2.14")}) as server:
        ... Broker(directory, redis_url=server.url) ...
"""
import socket
import threading

from support.redis_server import free_port
from support.resp import Resp

RUN_ID = "0123456789abcdef0123456789abcdef01234567"


def info(version="7.0.15", role="master", loading=0, mode="standalone"):
    """The reply to INFO, as far as anybody reads it."""
    text = (f"# Server\r\nredis_version:{version}\r\nredis_mode:{mode}\r\nrun_id:{RUN_ID}\r\n# Persistence\r\n"
            f"loading:{loading}\r\n# Replication\r\nrole:{role}\r\n").encode()
    return b"$%d\r\n%s\r\n" % (len(text), text)


class FakeRedis:
    """Answers each command by its name, with raw bytes; "*" is for all others."""

    def __init__(self, answers, port=None):
        self.answers = {"*": b"-ERR unknown command\r\n", **answers}
        self.port = port or free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.connections = []
        self.listener = None

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        """A command has the form of a reply: an array of strings."""
        try:
            with Resp(connection) as client:
                while True:
                    name = client.reply()[0].decode().upper()
                    connection.sendall(self.answers.get(name, self.answers["*"]))
        except (OSError, ConnectionError):
            pass
