"""HTTP/1.1 by hand: requests as the test writes them, answers read from the same connection.

    with HttpClient(broker.address) as client:
        answer = client.request("GET", "/api/progress/1", {"Authorization": f"Bearer {token}"})
        assert answer.status == 200
"""
import json
import socket
from typing import NamedTuple


class Answer(NamedTuple):
    status: int
    headers: dict  # names in lower case
    body: bytes

    def json(self):
        return json.loads(self.body)

    def error(self):
        """The code of an error's body."""
        return self.json()["error"]["code"]


class HttpClient:
    """One connection, which the server may keep open. `tls`: an ssl.SSLContext."""

    def __init__(self, address, timeout=10, tls=None, session=None):
        host, _, port = address.rpartition(":")
        self.host = address
        self.socket = socket.create_connection((host, int(port)), timeout=timeout)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_hostname=host, session=session)
        self.reader = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.reader.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def request(self, method, target, headers=None):
        self.send(self.encode(method, target, headers))
        return self.answer(method)

    def encode(self, method, target, headers=None):
        """The bytes of a request; a header of None is left out."""
        fields = {"Host": self.host, **(headers or {})}
        lines = [f"{name}: {value}\r\n" for name, value in fields.items() if value is not None]
        return f"{method} {target} HTTP/1.1\r\n{''.join(lines)}\r\n".encode()

    def answer(self, method="GET"):
        """The next answer; `method` is the request's, since HEAD's answer has no body."""
        line = self.reader.readline().decode("latin-1")
        if not line:
            raise ConnectionError("the server hung up")
        version, status, _ = line.split(" ", 2)
        assert version == "HTTP/1.1", line
        headers = {}
        while (line := self.reader.readline().decode("latin-1").rstrip("\r\n")):
            name, _, value = line.partition(":")
            assert name.lower() not in headers, f"{name} twice"
            headers[name.lower()] = value.strip()
        body = b""
        if method != "HEAD" and int(status) not in (204, 304):
            body = self.reader.read(int(headers["content-length"]))
        return Answer(int(status), headers, body)

    def is_at_end(self):
        """Whether the server has ended the connection: waits until it does or sends something."""
        try:
            return self.reader.read(1) == b""
        except ConnectionResetError:
            return True


def http(address, method, target, headers=None):
    """One request on a connection of its own."""
    with HttpClient(address) as client:
        return client.request(method, target, headers)
