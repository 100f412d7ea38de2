"""Stands between the broker and Redis, and fails as networks do.

    with TcpProxy(redis.port) as proxy:
        ... Broker(directory, redis_url=proxy.url) ...
        proxy.cut()      # connections are reset, new ones refused
        proxy.restore()
"""
import socket
import struct
import threading

from support.redis_server import free_port

RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER, 0 s: RST instead of FIN


class TcpProxy:
    """Passes bytes on, a thread for each direction of a connection."""

    def __init__(self, to_port):
        self.to_port = to_port
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.listener = None
        self.sockets = set()
        self.silent = set()
        self.lock = threading.Lock()

    def __enter__(self):
        self.restore()
        return self

    def __exit__(self, *_):
        self.cut()

    def cut(self):
        """Resets all connections, and refuses new ones. May be called twice."""
        if not self.listener:
            return
        # Wakes the thread in accept(), which a mere close() doesn't.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.accepting.join()
        self.listener = None
        self.reset()

    def is_cut(self):
        return not self.listener

    def reset(self):
        """Resets all connections; they may come back at once."""
        with self.lock:
            sockets, self.sockets = self.sockets, set()
        for end in sockets:
            _reset(end)

    def silence(self, port):
        """Swallows what comes over the connection that the server sees with this port, and leaves it
        open; for good, since what follows would have a gap before it."""
        self.silent.add(port)

    def restore(self):
        """Lets connections through again."""
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.accepting = threading.Thread(target=self._accept, args=(self.listener,), daemon=True)
        self.accepting.start()

    def _accept(self, listener):
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.to_port), timeout=10)
            except OSError:
                _reset(near)
                continue
            far.settimeout(None)
            self.silent.discard(far.getsockname()[1])
            with self.lock:
                self.sockets |= {near, far}
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source, target):
        port = source.getsockname()[1]
        try:
            while data := source.recv(1 << 16):
                if port not in self.silent:
                    target.sendall(data)
        except OSError:
            pass
        with self.lock:
            self.sockets -= {source, target}
        _reset(source)
        _reset(target)


def _reset(end):
    """Ends a connection at once, wakes who reads from it. May be called twice."""
    try:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    end.close()
