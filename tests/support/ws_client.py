"""WebSocket clients for tests.

WsClient is one client on a plain socket, which sends and receives frames as the test says, broken
ones too. Everything that waits has a timeout.

    with WsClient(broker.ws_url("task-1")) as client:
        client.send_json({"type": "subscribe", "taskId": "task-1", "token": token})
        assert client.recv_json()["type"] == "subscribed"

Watchers is many well-behaved clients at once, in a thread of their own, that come back when they
lose their connection.
"""
import asyncio
import base64
import hashlib
import json
import os
import random
import socket
import struct
import threading
import time
import urllib.parse
from typing import NamedTuple

import websockets

from support.deadline import eventually

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
NO_CODE = 1005
ABNORMAL = 1006


class HandshakeRefused(Exception):
    """The answer was not 101."""

    def __init__(self, status, headers, body):
        super().__init__(f"{status}: {body!r}")
        self.status, self.headers, self.body = status, headers, body


class Closed(Exception):
    """The server closed: with a close frame, or (code 1006) without."""

    def __init__(self, code, reason=""):
        super().__init__(f"{code} {reason}")
        self.code, self.reason = code, reason


class Frame(NamedTuple):
    fin: bool
    opcode: int
    payload: bytes
    rsv: int = 0


def encode_frame(opcode, payload=b"", fin=True, mask=True, rsv=0):
    """The bytes of a frame. `mask` may be the four bytes to mask with."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    masked = 0x80 if mask else 0
    if len(payload) < 126:
        head = struct.pack("!BB", first, masked | len(payload))
    elif len(payload) < 1 << 16:
        head = struct.pack("!BBH", first, masked | 126, len(payload))
    else:
        head = struct.pack("!BBQ", first, masked | 127, len(payload))
    if not mask:
        return head + payload
    key = mask if isinstance(mask, bytes) else os.urandom(4)
    return head + key + xor(payload, key)


def xor(payload, key):
    length = len(payload)
    stream = (key * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(length, "big")


class WsClient:
    """Connects and shakes hands, or raises HandshakeRefused. `receive_buffer`: SO_RCVBUF, for a
    client that is to be slow; `timeout`: the seconds that anything may take; `tls`: an
    ssl.SSLContext, for wss URLs."""

    def __init__(self, url, headers=None, timeout=10, receive_buffer=None, tls=None):
        parts = urllib.parse.urlsplit(url)
        self.timeout = timeout
        self.unread = b""
        self.socket = socket.socket(socket.AF_INET6 if ":" in parts.hostname else socket.AF_INET)
        try:
            if receive_buffer:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self.socket.settimeout(timeout)
            self.socket.connect((parts.hostname, parts.port or 80))
            if tls:
                self.socket = tls.wrap_socket(self.socket, server_hostname=parts.hostname)
            self._shake_hands(parts, headers or {})
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.abort()

    # ── Sending ─────────────────────────────────────────────────────────────────────────────────

    def send_raw(self, data):
        self.socket.sendall(data)

    def send_frame(self, opcode, payload=b"", fin=True, mask=True, rsv=0):
        self.send_raw(encode_frame(opcode, payload, fin, mask, rsv))

    def send_text(self, text):
        self.send_frame(TEXT, text.encode())

    def send_json(self, message):
        self.send_text(json.dumps(message))

    # ── Receiving ───────────────────────────────────────────────────────────────────────────────

    def recv_frame(self, timeout=None):
        """The next frame, whatever it is. Closed(1006) at the end of the stream, TimeoutError."""
        deadline = self._deadline(timeout)
        first, second = self._read(2, deadline)
        length = second & 0x7f
        if length == 126:
            length, = struct.unpack("!H", self._read(2, deadline))
        elif length == 127:
            length, = struct.unpack("!Q", self._read(8, deadline))
        assert not second & 0x80, "a server must not mask (RFC 6455, 5.1)"
        payload = self._read(length, deadline)
        return Frame(bool(first & 0x80), first & 0x0f, payload, first >> 4 & 7)

    def recv_message(self, timeout=None):
        """The next message, put together: str or bytes. Answers pings on the way, and raises Closed
        when a close frame comes."""
        deadline = self._deadline(timeout)
        opcode, pieces = None, []
        while True:
            frame = self.recv_frame(deadline - time.monotonic())
            if frame.opcode == PING:
                self.send_frame(PONG, frame.payload)
            elif frame.opcode == CLOSE:
                raise closed_by(frame)
            elif frame.opcode != PONG:
                opcode = frame.opcode or opcode
                pieces.append(frame.payload)
                if frame.fin:
                    payload = b"".join(pieces)
                    return payload.decode() if opcode == TEXT else payload

    def recv_json(self, timeout=None):
        return json.loads(self.recv_message(timeout))

    def recv_until(self, wanted, timeout=None):
        """All JSON messages up to the first for which wanted(message) is true, that one included;
        `wanted` may be the name of a type."""
        deadline = self._deadline(timeout)
        messages = []
        while True:
            try:
                messages.append(self.recv_json(deadline - time.monotonic()))
            except TimeoutError as error:
                raise TimeoutError(f"{wanted} didn't come, but {messages}") from error
            if wanted(messages[-1]) if callable(wanted) else messages[-1]["type"] == wanted:
                return messages

    # ── Ending ──────────────────────────────────────────────────────────────────────────────────

    def expect_close(self, timeout=None):
        """Reads over all that comes until the server closes, and returns the Closed."""
        deadline = self._deadline(timeout)
        while True:
            try:
                self.recv_message(deadline - time.monotonic())
            except Closed as closed:
                return closed

    def close(self, code=1000, reason="", timeout=None):
        """The closing handshake; the server's answer as Closed. The stream must end after it."""
        deadline = self._deadline(timeout)
        self.send_frame(CLOSE, struct.pack("!H", code) + reason.encode())
        closed = self.expect_close(deadline - time.monotonic())
        self.expect_end(deadline - time.monotonic())
        return closed

    def expect_end(self, timeout=None):
        """The server ends the stream, and sends nothing more before."""
        self.socket.settimeout(max(self._deadline(timeout) - time.monotonic(), 0.001))
        rest = self.unread + self.socket.recv(4096)
        assert rest == b"", f"something came behind the end: {rest!r}"
        self.abort()

    def abort(self):
        """Hangs up. May be called twice."""
        self.socket.close()

    # ── Inside ──────────────────────────────────────────────────────────────────────────────────

    def _deadline(self, timeout):
        return time.monotonic() + (self.timeout if timeout is None else timeout)

    def _receive(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("nothing came in time")
        self.socket.settimeout(left)
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        finally:
            self.socket.settimeout(self.timeout)
        if not data:
            raise Closed(ABNORMAL, "the stream ended")
        self.unread += data

    def _read(self, length, deadline):
        while len(self.unread) < length:
            self._receive(deadline)
        data, self.unread = self.unread[:length], self.unread[length:]
        return data

    def _shake_hands(self, parts, headers):
        deadline = self._deadline(None)
        key = base64.b64encode(os.urandom(16)).decode()
        fields = {"Host": parts.netloc, "Connection": "Upgrade", "Upgrade": "websocket",
                  "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key, **headers}
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = [f"{name}: {value}\r\n" for name, value in fields.items() if value is not None]
        self.send_raw(f"GET {target} HTTP/1.1\r\n{''.join(lines)}\r\n".encode())
        while b"\r\n\r\n" not in self.unread:
            self._receive(deadline)
        head, _, self.unread = self.unread.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        self.headers = {name.lower(): value.strip()
                        for name, value in (line.split(":", 1) for line in lines)}
        status = int(status_line.split()[1])
        if status != 101:
            body = self._read(int(self.headers.get("content-length", 0)), deadline)
            raise HandshakeRefused(status, self.headers, body)
        digest = hashlib.sha1((fields["Sec-WebSocket-Key"] + GUID).encode()).digest()
        assert self.headers["sec-websocket-accept"] == base64.b64encode(digest).decode()


def closed_by(frame):
    if not frame.payload:
        return Closed(NO_CODE)
    code, = struct.unpack("!H", frame.payload[:2])
    return Closed(code, frame.payload[2:].decode())


async def end_other_tasks():
    """Those that the library has for each connection, and with them the connections."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


class Watcher:
    """What one of Watchers has seen. Its thread only ever appends, so that a test may read."""

    def __init__(self, url, task, token):
        self.url, self.task, self.token = url, task, token
        self.messages = []  # of all its connections, in order, as objects
        self.connections = []  # the same, apart
        self.closes = []  # the close codes of connections that were lost

    def types(self):
        return [message["type"] for message in self.messages]


class Watchers:
    """Connects and subscribes a client for each (url, task, token), all at once, and collects what
    they are sent. Who loses the connection, or isn't let in, tries again, as ADR-001's client does
    but sooner. They stop at stop(), or at the end of the `with`.

        with Watchers((broker.ws_url(), "task-1", token) for broker in brokers) as watchers:
            watchers.wait(lambda watcher: "complete" in watcher.types(), timeout=30)
    """

    def __init__(self, targets):
        self.watchers = [Watcher(*target) for target in targets]
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def __iter__(self):
        return iter(self.watchers)

    def wait(self, condition, timeout=30):
        """Until condition(watcher) holds for every watcher; AssertionError when not in time."""
        def all_are_there():
            late = [watcher for watcher in self.watchers if not condition(watcher)]
            assert not late, (f"{len(late)} of {len(self.watchers)} watchers are late; the first "
                              f"has seen {late[0].messages[-5:]}, closed with {late[0].closes}")
            return True

        eventually(all_are_there, timeout, interval=0.05)

    def wait_subscribed(self, timeout=30):
        self.wait(lambda watcher: "subscribed" in watcher.types(), timeout)

    def stop(self):
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.everybody.cancel)
            self.thread.join()

    def _run(self):
        self.everybody = self.loop.create_task(self._watch_all())
        try:
            self.loop.run_until_complete(self.everybody)
        except asyncio.CancelledError:
            pass
        finally:
            self.loop.run_until_complete(end_other_tasks())
            self.loop.close()

    async def _watch_all(self):
        await asyncio.gather(*(self._watch_for_ever(watcher) for watcher in self.watchers))

    async def _watch_for_ever(self, watcher):
        while True:
            try:
                await self._watch(watcher)
            except websockets.ConnectionClosed as closed:
                watcher.closes.append(closed.rcvd.code if closed.rcvd else ABNORMAL)
            except (OSError, asyncio.TimeoutError, websockets.InvalidHandshake):
                watcher.closes.append(None)
            await asyncio.sleep(random.uniform(0.05, 0.3))

    async def _watch(self, watcher):
        async with websockets.connect(watcher.url, ping_interval=None, close_timeout=1) as client:
            await client.send(json.dumps(
                {"type": "subscribe", "taskId": watcher.task, "token": watcher.token}))
            watcher.connections.append([])
            while True:
                message = json.loads(await client.recv())
                watcher.messages.append(message)
                watcher.connections[-1].append(message)
