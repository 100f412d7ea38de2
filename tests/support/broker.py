"""The real progressd, started, watched and ended by a test.

    with Broker(directory, redis_url=redis.url, workers=2) as broker:
        connect(broker.ws_url("task-1"), broker.token("task-1"))

At the end the broker must exit with status 0 within a deadline, leave no process behind, and have
written nothing that a sanitizer reports: otherwise stop() raises AssertionError.
"""
import base64
import hashlib
import hmac
import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from support.deadline import eventually

START_SECONDS = 20
STOP_SECONDS = 20
KEY_ID = "test"
KEY = b"a key that only the tests know, and long enough for HS512 as well, 64 bytes"
DIGESTS = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}
SANITIZER_REPORT = re.compile(r"ERROR: \w*Sanitizer|runtime error:|SUMMARY: \w*Sanitizer")
LOGFMT_FIELD = re.compile(r'([^\s=]+)=("(?:[^"\\]|\\.)*"|\S*)')
SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "abort_on_error=1:detect_leaks=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "halt_on_error=1:abort_on_error=1:print_stacktrace=1",
}


def build_directory():
    """Where the programs under test are: PROGRESSD_BUILD, else build-test or build."""
    root = Path(__file__).resolve().parents[2]
    named = os.environ.get("PROGRESSD_BUILD")
    if named:
        return Path(named).resolve()
    return next((root / name for name in ("build-test", "build") if (root / name).exists()),
                root / "build-test")


def program(path, build=None):
    """A program of the build, e.g. program("broker/progressd"); of another one than
    build_directory() if `build` names it."""
    found = Path(build or build_directory()) / path
    if not found.exists():
        raise FileNotFoundError(f"{found}: not built; scripts/test integration builds it")
    return found


def environment(extra=None):
    """The environment for a program under test: sanitizers abort, no option comes from outside."""
    inherited = {name: value for name, value in os.environ.items()
                 if not name.startswith("PROGRESSD_")}
    return {**inherited, **SANITIZER_OPTIONS, **(extra or {})}


class Broker:
    """One progressd. Addresses, the log and the workers are there once start() has returned."""

    def __init__(self, directory, redis_url=None, workers=2, options=(), env=None, key=KEY,
                 algorithm="HS256", build=None, leeway=0, listen="127.0.0.1:0",
                 drain_timeout=0):
        """`directory` is made; it holds the key file and the state directory. Without `redis_url`
        the broker runs a Redis of its own. `options`: further flags. `key` None: no --jwt-key, so
        that the broker makes a key. `leeway`: of tokens, in seconds; tests of time want none, and
        None is the program's default; likewise `drain_timeout`. `build`: where the program is, instead of the usual place.
        `workers` None: as the options say."""
        self.directory = Path(directory)
        self.state_dir = self.directory / "state"
        self.redis_url = redis_url
        self.workers = workers
        self.options = list(options)
        self.env = dict(env or {})
        self.key, self.algorithm = key, algorithm
        self.build = build
        self.leeway = leeway
        self.listen = listen
        self.drain_timeout = drain_timeout
        self.process = None
        self.address = self.admin_address = None
        self._lines = []
        self._reader = None

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        if self.process is None:
            return
        if kind is None:
            self.stop()
        else:
            self.kill()

    # ── Life ──────────────────────────────────────────────────────────────────────────────────

    def command(self):
        command = [str(program("broker/progressd", self.build)), "--listen", self.listen,
                   "--admin-listen", "127.0.0.1:0", "--state-dir", str(self.state_dir),
                   "--log-format", "logfmt"]
        if self.workers is not None:
            command += ["--workers", str(self.workers)]
        if self.redis_url:
            command += ["--redis-url", self.redis_url]
        if self.key is not None:
            command += ["--jwt-key", f"{KEY_ID}={self.algorithm}:{self._key_file()}"]
        if self.leeway is not None:
            command += ["--jwt-leeway", str(self.leeway)]
        if self.drain_timeout is not None:
            command += ["--drain-timeout", str(self.drain_timeout)]
        return command + [str(option) for option in self.options]

    def launch(self):
        """Starts the process and returns at once."""
        assert self.process is None, "it runs already"
        self.directory.mkdir(parents=True, exist_ok=True)
        self._lines = []
        self.process = subprocess.Popen(
            self.command(), env=environment(self.env), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
        self._reader = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self._reader.start()
        return self

    def start(self):
        """Starts the process and returns once it is ready to serve."""
        self.launch()
        try:
            self.wait_until_listening()
            eventually(lambda: self.admin("/readyz")[0] == 200, START_SECONDS,
                       "the broker isn't ready")
        except BaseException:
            self.kill()
            raise
        return self

    def wait_until_listening(self):
        def found():
            if self.process.poll() is not None:
                self._reader.join(STOP_SECONDS)
                raise RuntimeError(
                    f"progressd ended with status {self.process.returncode}:\n{self.stderr()}")
            self.address = self._address("listening")
            self.admin_address = self._address("admin listening")
            return self.address and self.admin_address
        try:
            eventually(found, START_SECONDS, "the broker doesn't listen")
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self.stderr()}") from None

    def stop(self, how=signal.SIGTERM, seconds=STOP_SECONDS):
        """Ends the broker in good order, and checks that it did."""
        self.process.send_signal(how)
        self.expect_exit(0, seconds)

    def expect_exit(self, status, seconds=STOP_SECONDS):
        """The broker ends by itself, with that status, cleanly."""
        process = self.process
        try:
            ended = process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(
                f"progressd didn't end within {seconds} s:\n{self.stderr()}") from None
        self.process = None
        self._reader.join(STOP_SECONDS)
        left = processes_of_session(process.pid)
        _kill_session(process.pid)
        self.check_log()
        assert ended == status, f"progressd ended with status {ended}:\n{self.stderr()}"
        assert not left, f"progressd left processes behind: {left}"

    def kill(self):
        """Ends the broker and all of its processes as a power cut would."""
        _kill_session(self.process.pid)
        self.process.wait()
        self._reader.join(STOP_SECONDS)
        self.process = None

    def check_log(self):
        """No sanitizer had anything to report, and no process wrote anything but log lines."""
        text = self.stderr()
        assert not SANITIZER_REPORT.search(text), f"a sanitizer reports:\n{text}"
        strange = [line for line in text.splitlines() if not line.startswith("time=")]
        assert not strange, "not a log line: " + "\n".join(strange)

    # ── Its processes ─────────────────────────────────────────────────────────────────────────

    def worker_pids(self):
        return [worker["pid"] for worker in self.status()["workers"]]

    def kill_worker(self, index=0, how=signal.SIGKILL):
        """Ends one worker, and returns its pid."""
        pid = self.worker_pids()[index]
        os.kill(pid, how)
        return pid

    def wait_for_workers(self, without=(), seconds=START_SECONDS):
        """Until all workers run, none of them one of the pids `without`, and the broker is ready."""
        def complete():
            workers = self.status()["workers"]
            return (all(worker["state"] == "ready" and worker["pid"] not in without
                        for worker in workers) and self.admin("/readyz")[0] == 200)
        eventually(complete, seconds, "a worker is missing")

    def memory(self, pid):
        """What the process holds of its own, in bytes: private and dirty."""
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        return int(re.search(r"^Private_Dirty:\s+(\d+) kB", text, re.M)[1]) * 1024

    # ── What it says ──────────────────────────────────────────────────────────────────────────

    def stderr(self):
        return "".join(self._lines)

    def log(self):
        """The log so far: a dict of fields for each line."""
        return [parse_logfmt(line) for line in list(self._lines) if line.startswith("time=")]

    def logged(self, **fields):
        """The lines that have all these fields."""
        return [line for line in self.log()
                if all(line.get(name) == str(value) for name, value in fields.items())]

    def admin(self, path):
        """(status, body) of a GET to the admin port."""
        return http_get(f"http://{self.admin_address}{path}")

    def status(self):
        code, body = self.admin("/status")
        assert code == 200, f"/status answers {code}: {body}"
        return json.loads(body)

    def metrics(self):
        """Of each name and its labels, as Prometheus' text has them, the value."""
        code, body = self.admin("/metrics")
        assert code == 200, f"/metrics answers {code}: {body}"
        return parse_metrics(body)

    # ── What clients need ─────────────────────────────────────────────────────────────────────

    @property
    def host(self):
        return self.address.rpartition(":")[0]

    @property
    def port(self):
        return int(self.address.rpartition(":")[2])

    def ws_url(self, task=""):
        return f"ws://{self.address}/ws/progress" + (f"/{task}" if task else "")

    def url(self, task):
        return f"http://{self.address}/api/progress/{task}"

    def poll(self, task, token=None, headers=None):
        """(status, body) of what a poller gets."""
        bearer = {"Authorization": f"Bearer {token or self.token(task)}"}
        return http_get(self.url(task), {**bearer, **(headers or {})})

    def token(self, tasks="*", ttl=3600, key=None, kid=KEY_ID, algorithm=None, claims=None):
        """A token for a task, or for several, that runs out in `ttl` seconds. `claims` are added,
        or replace these."""
        tasks = [tasks] if isinstance(tasks, str) else list(tasks)
        return make_token({"tasks": tasks, "exp": int(time.time() + ttl), **(claims or {})},
                          key or self.key or self._made_key(), kid if self.key else None,
                          algorithm or self.algorithm)

    # ── Inside ────────────────────────────────────────────────────────────────────────────────

    def _key_file(self):
        path = self.directory / "jwt.key"
        path.write_bytes(self.key)
        path.chmod(0o600)
        return path

    def _made_key(self):
        return (self.state_dir / "jwt.key").read_bytes().rstrip(b"\r\n")

    def _read(self, pipe):
        with pipe:
            for line in pipe:
                self._lines.append(line.decode("utf-8", "replace"))

    @property
    def tls_address(self):
        """Where it listens by TLS; None: nowhere."""
        return self._address("listening by TLS")

    def _address(self, message):
        lines = self.logged(msg=message)
        return lines[0]["address"] if lines else None


def make_token(claims, key=KEY, kid=KEY_ID, algorithm="HS256"):
    """A signed JWT (RFC 7515, compact), made by hand so that the broker's library isn't its own
    judge."""
    header = {"alg": algorithm, "typ": "JWT", **({"kid": kid} if kid else {})}
    signed = ".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))
    signature = hmac.new(key, signed.encode(), DIGESTS[algorithm]).digest()
    return f"{signed}.{_base64url(signature)}"


def _base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def http_get(url, headers=None, seconds=10):
    """(status, body); status 0 when nobody answers."""
    request = urllib.request.Request(url, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read().decode()
    except OSError as failure:
        return 0, str(failure)


def parse_logfmt(line):
    """The fields of a line of logfmt; a value is bare, or a string as JSON has it."""
    return {name: json.loads(value) if value.startswith('"') else value
            for name, value in LOGFMT_FIELD.findall(line)}


def parse_metrics(text):
    """Prometheus' text format: {'name{label="x"}': value}."""
    values = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            values[name] = float(value)
    return values


def processes_of_session(session):
    """The pids of a session's processes that still live: the broker leads a session of its own."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        # After the name in parentheses: state, parent, process group, session.
        state, _, _, owner = text.rpartition(")")[2].split()[:4]
        if int(owner) == session and state != "Z":
            found.append(int(path.parent.name))
    return found


def _kill_session(session):
    for pid in processes_of_session(session):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
