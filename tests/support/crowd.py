"""Many clients in one thread that read as fast as they can, and keep of each message only its type
and its n. They don't come back: who is closed stays so.

    crowd = Crowd()
    crowd.join(url, task, token)
    crowd.read_until(lambda: all(client.last_type == "complete" for client in crowd.clients))
"""
import re
import selectors
import struct
import time

from support.ws_client import CLOSE, PING, PONG, WsClient, closed_by, encode_frame, Frame

HEAD = re.compile(rb'{"type":"(\w+)","taskId":"[^"]*"(?:,"rev":"\w+-(\d+)")?')


class Member:
    """One client, and what it was sent: (type, n, time it came), n None without a rev."""

    def __init__(self, client):
        self.client = client
        self.buffer = client.unread
        self.messages = []
        self.closed = None

    @property
    def last_type(self):
        return self.messages[-1][0] if self.messages else None

    def ns(self, *types):
        return [n for kind, n, _ in self.messages if n and (kind in types or not types)]

    def read(self):
        """Takes what has come."""
        try:
            data = self.client.socket.recv(1 << 18)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        self.closed = self.closed or (None if data else "the stream ended")
        self.buffer += data
        now = time.time()
        at = 0
        while (end := self._frame_end(at)) is not None:
            begin, end = end
            self._take(self.buffer[at] & 0x0f, self.buffer[begin:end], now)
            at = end
        self.buffer = self.buffer[at:]

    def _take(self, opcode, payload, now):
        if opcode == CLOSE:
            self.closed = closed_by(Frame(True, opcode, payload))
        elif opcode == PING:
            self.client.socket.send(encode_frame(PONG, payload))
        else:
            kind, n = HEAD.match(payload).groups()
            self.messages.append((kind.decode(), int(n) if n else None, now))

    def _frame_end(self, at):
        """Where the payload of the frame at `at` begins and ends; None while it isn't whole."""
        if len(self.buffer) < at + 4:
            return None
        length, begin = self.buffer[at + 1], at + 2
        if length == 126:
            length, = struct.unpack_from("!H", self.buffer, begin)
            begin += 2
        assert length < 1 << 16, "no frame of a task is that long"
        return (begin, begin + length) if begin + length <= len(self.buffer) else None


class Crowd:
    """Ends with its connections at the end of the `with`."""

    def __init__(self):
        self.members = []
        self.selector = selectors.DefaultSelector()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for member in self.members:
            member.client.abort()
        self.selector.close()

    def join(self, url, task, token, receive_buffer=None):
        """Connects another client and subscribes it; doesn't wait for the answer."""
        client = WsClient(url, receive_buffer=receive_buffer)
        client.send_json({"type": "subscribe", "taskId": task, "token": token})
        client.socket.setblocking(False)
        self.members.append(Member(client))
        self.selector.register(client.socket, selectors.EVENT_READ, self.members[-1])
        return self.members[-1]

    def stall(self, member):
        """This one reads no more."""
        self.selector.unregister(member.client.socket)

    def go_on(self, member):
        self.selector.register(member.client.socket, selectors.EVENT_READ, member)

    def read(self, seconds=0.01):
        """Waits so long for something to come, and takes what is there."""
        for key, _ in self.selector.select(seconds):
            key.data.read()
            if key.data.closed:
                self.selector.unregister(key.fileobj)

    def read_for(self, seconds):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.read(left)

    def read_until(self, condition, timeout=20):
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"it didn't come within {timeout} s"
            self.read()
