"""A connection to Redis without a client library: commands in RESP2, many at a time."""


class Resp:
    """Speaks over a connected socket, which it closes in the end."""

    def __init__(self, connection):
        self.connection = connection
        self.reader = connection.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.reader.close()
        self.connection.close()

    def send(self, *args):
        self.connection.sendall(encode(args))

    def call(self, *args):
        """The reply to one command. An error reply is returned as a RespError, not raised."""
        self.send(*args)
        return self.reply()

    def pipeline(self, commands, batch=500):
        """The replies to many commands, `batch` of which are under way at a time."""
        replies = []
        for begin in range(0, len(commands), batch):
            part = commands[begin:begin + batch]
            self.connection.sendall(b"".join(encode(command) for command in part))
            replies += [self.reply() for _ in part]
        return replies

    def reply(self):
        line = self.reader.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("Redis hung up")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b"-":
            return RespError(rest.decode("utf-8", "replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.reader.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self.reply() for _ in range(int(rest))]
        raise ValueError(f"no RESP2: {line!r}")


class RespError(str):
    """The text of an error reply."""


def encode(args):
    parts = [arg if isinstance(arg, bytes) else str(arg).encode() for arg in args]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)
