"""A redis-server of a test's own: on a Unix socket, and on a free TCP port if asked.

    with RedisServer(directory, tcp=True) as redis:
        redis.cli("SET", "greeting", "hello")

The server keeps nothing on disk, so restart() brings up an empty one, unless `settings` say
otherwise (`"appendonly": "yes"`). Everything it leaves behind lies in `directory`.
"""
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

START_SECONDS = 10
STOP_SECONDS = 10


class RedisServer:
    """One redis-server process at a time; its addresses stay the same across restarts."""

    def __init__(self, directory, tcp=False, settings=None):
        """`directory` exists, or is made. `settings`: redis.conf's names to their values."""
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.socket_path = self.directory / "redis.sock"
        self.log_path = self.directory / "redis.log"
        self.port = free_port() if tcp else 0
        self.settings = {"save": "", "appendonly": "no", **(settings or {})}
        self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    @property
    def url(self):
        """Where the server is, for --redis-url."""
        return f"redis://127.0.0.1:{self.port}" if self.port else f"unix://{self.socket_path}"

    def start(self):
        """Starts the server and returns once it answers."""
        assert self.process is None, "it runs already"
        # A killed server leaves its socket behind, which must not be taken for the new one's.
        self.socket_path.unlink(missing_ok=True)
        command = ["redis-server", "--dir", str(self.directory), "--port", str(self.port),
                   "--bind", "127.0.0.1", "--unixsocket", str(self.socket_path),
                   "--unixsocketperm", "700", "--daemonize", "no"]
        for name, value in self.settings.items():
            command += [f"--{name}", *([""] if value == "" else str(value).split())]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log)
        self._wait_until_it_answers()
        return self

    def stop(self):
        """Ends the server, paused or not, in good order."""
        self._end(signal.SIGTERM)

    def kill(self):
        """Ends the server as a crash would."""
        self._end(signal.SIGKILL)

    def restart(self):
        self.stop()
        self.start()

    def pause(self):
        """The server stands still: connections stay open, nothing answers."""
        self.process.send_signal(signal.SIGSTOP)

    def cont(self):
        """The server goes on after pause()."""
        self.process.send_signal(signal.SIGCONT)

    def cli(self, *args, stdin=None, check=True):
        """redis-cli's output for one command, without the last newline. `args` and `stdin` may be
        bytes. An error reply is output like any other, unless `-e` is among the first args."""
        command = ["redis-cli", "-s", str(self.socket_path), *args]
        done = subprocess.run(command, input=_as_bytes(stdin), capture_output=True, timeout=30,
                              check=False)
        if check and done.returncode != 0:
            raise RuntimeError(f"redis-cli: {(done.stdout + done.stderr).decode()}")
        return done.stdout.decode("utf-8", "replace").removesuffix("\n")

    def connect(self, timeout=10):
        """A plain socket to the server, for RESP by hand."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout)
        connection.connect(str(self.socket_path))
        return connection

    def _wait_until_it_answers(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            if self._answers():
                return
            time.sleep(0.01)
        self.kill()
        raise RuntimeError(f"redis-server didn't start:\n{self.log_path.read_text()}")

    def _answers(self):
        """Any answer to PING will do: a server with a password says NOAUTH."""
        try:
            with self.connect(timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                answer = connection.recv(64)
        except OSError:
            return False
        return answer != b"" and not answer.startswith(b"-LOADING")

    def _end(self, how):
        if self.process is None:
            return
        self.process.send_signal(how)
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


def free_port():
    """A TCP port on loopback that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _as_bytes(text):
    return text.encode() if isinstance(text, str) else text
