"""progressctl against real brokers: its exit statuses, what it prints, and how it stays with a task
while the way to the server breaks."""
import fcntl
import http.server
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import termios
import threading
import time

import pytest

from support.broker import SANITIZER_REPORT, environment, make_token, program
from support.deadline import eventually
from support.redis_server import RedisServer, free_port

COMPLETE, FAILED, USAGE, NO_WAY = 0, 1, 2, 3
PLAIN_LINE = re.compile(r"\d\d:\d\d:\d\d .+")


def command(*arguments):
    return [str(program("client/cli/progressctl")), *map(str, arguments)]


def run(*arguments, env=None, stdin="", seconds=40):
    """Runs progressctl to its end: (exit status, standard output, standard error)."""
    done = subprocess.run(command(*arguments), input=stdin, capture_output=True, text=True,
                          env=environment(env), timeout=seconds, check=False)
    assert not SANITIZER_REPORT.search(done.stderr), done.stderr
    return done.returncode, done.stdout, done.stderr


class Watch:
    """`progressctl watch` in the background, its output not a terminal."""

    def __init__(self, task, url, token, *options, env=None):
        self.output = ""
        self.process = subprocess.Popen(
            command("watch", task, "--url", url, *(["--token", token] if token else []), *options),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=environment(env))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(10)
        self.process.stdout.close()

    def _read(self):
        for line in self.process.stdout:
            self.output += line

    def wait_for(self, text, seconds=20):
        eventually(lambda: text in self.output, seconds, f"{text!r} isn't in the output")

    def wait(self, seconds=30):
        """The exit status."""
        status = self.process.wait(seconds)
        self._reader.join(10)
        assert not SANITIZER_REPORT.search(self.output), self.output
        return status


class Proxy:
    """A TCP relay at an address that stays, to a broker that may come and go. It refuses WebSocket
    with 403, if told to, and can cut what it relays."""

    def __init__(self, address, refuses_websocket=False):
        self.address, self.refuses_websocket = address, refuses_websocket
        self.upgrades = 0
        self._pairs = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self):
        """Ends all connections at once."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client:
            head = b""
            while b"\r\n\r\n" not in head:
                data = client.recv(65536)
                if not data:
                    return
                head += data
            if b"upgrade: websocket" in head.lower():
                self.upgrades += 1
                if self.refuses_websocket:
                    client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n"
                                   b"Connection: close\r\n\r\n")
                    return
            self._relay(client, head)

    def _relay(self, client, head):
        host, _, port = self.address.rpartition(":")
        try:
            server = socket.create_connection((host, int(port)), timeout=5)
        except OSError:
            return
        with server:
            self._pairs.append((client, server))
            server.sendall(head)
            there = threading.Thread(target=self._copy, args=(client, server), daemon=True)
            there.start()
            self._copy(server, client)
            there.join()

    @staticmethod
    def _copy(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


@pytest.fixture
def publish(redis):
    """publish(task, type, payload): the rev; it must be accepted."""
    def call(task, kind, **payload):
        status, out, err = run("publish", task, kind, json.dumps(payload),
                               "--redis-url", f"unix://{redis.socket_path}")
        assert status == 0, err
        return out.strip()
    return call


@pytest.fixture
def url(broker):
    return f"http://{broker.address}"


# ── token, and how commands are called ──────────────────────────────────────────────────────────

def test_the_token_of_a_broker_that_made_its_own_key_is_good_there(brokers):
    broker = brokers(key=None)
    status, token, err = run("token", "mine", "your*", "--state-dir", broker.state_dir)
    assert (status, err) == (0, "")
    assert token.count("\n") == 1
    assert broker.poll("mine", token.strip())[0] == 404
    assert broker.poll("yours", token.strip())[0] == 404
    assert broker.poll("other", token.strip())[0] == 403


def test_a_named_key_signs_for_the_broker_that_has_it(broker):
    key = f"test=HS256:{broker.directory}/jwt.key"
    status, token, _ = run("token", "*", "--key", key, "--ttl", "30")
    assert status == 0
    assert broker.poll("any", token.strip())[0] == 404


@pytest.mark.parametrize("arguments, complaint", [
    ((), "usage: progressctl COMMAND"),
    (("fly",), 'there is no command "fly"'),
    (("token",), "too few arguments"),
    (("token", "a/b"), "a task id is 1 to 128"),
    (("token", ""), "a task id is 1 to 128"),
    (("token", "a", "--ttl", "0"), "--ttl: must be a whole number from 1"),
    (("token", "a", "--ttl", "1x"), "--ttl: must be a whole number from 1"),
    (("token", "a", "--key", "HS256:/nonexistent"), "/nonexistent"),
    (("token", "a", "--key", "x", "--state-dir", "y"), "exclude each other"),
    (("watch",), "too few arguments"),
    (("watch", "a", "b"), "too many arguments"),
    (("watch", "a", "--nonsense"), "unrecognized option"),
    (("watch", "a", "--url"), "requires an argument"),
    (("watch", "a", "--url", "ftp://h", "--token", "t"), "--url: must be http[s]://HOST[:PORT]"),
    (("watch", "a", "--token", "a\r\nb"), "that is no JSON Web Token"),
    (("watch", "a b", "--token", "t"), "a task id is 1 to 128"),
    (("get", "a", "--token", "t", "--etag", 'x"y'), "--etag: must be a rev"),
    (("publish", "a", "complete", "{}", "--redis-url", "http://h"), "must begin with redis://"),
    (("publish", "a", "complete", "{}", "--prefix", "none"), "--prefix: must be"),
    (("publish", "a", "complete"), "too few arguments"),
    (("reset", "a b"), "a task id is 1 to 128"),
    (("ping", "-c", "10"), "--count: must be a whole number from 1 to 9"),
    (("status", "--admin-url", "x"), "--admin-url: must be http[s]://HOST[:PORT]"),
])
def test_wrong_usage_is_told_with_status_2(arguments, complaint):
    status, out, err = run(*arguments)
    assert (status, out) == (USAGE, "")
    assert complaint in err


@pytest.mark.parametrize("name", ["token", "watch", "get", "publish", "run", "reset", "ping",
                                  "status"])
def test_help_is_printed_for_each_command(name):
    status, out, err = run(name, "--help")
    assert (status, err) == (0, "")
    assert out.startswith(f"usage: progressctl {name} ")
    assert name in run("--help")[1]
    assert all(len(line) <= 100 for line in out.splitlines())


def test_the_version_is_printed():
    status, out, _ = run("--version")
    assert status == 0 and re.fullmatch(r"progressctl \d+\.\d+\.\d+\n", out)


def test_output_that_cannot_be_written_is_a_failure():
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run(command("--version"), stdout=full, stderr=subprocess.PIPE,
                              env=environment(), check=False, timeout=10)
    assert done.returncode == FAILED and b"No space left" in done.stderr


# ── publish and reset ───────────────────────────────────────────────────────────────────────────

def test_publish_prints_the_rev_and_reset_begins_another_run(redis, broker, publish):
    first = publish("pub-1", "progress_update", percentage=1, stage="a")
    status, out, _ = run("publish", "pub-1", "progress_update", "-", "--redis-url",
                         f"unix://{redis.socket_path}", stdin='{"percentage":2,"stage":"a"}')
    assert status == 0
    second = out.strip()
    status, out, _ = run("reset", "pub-1", "--redis-url", f"unix://{redis.socket_path}")
    assert status == 0
    runs = [rev.split("-")[0] for rev in (first, second, out.strip())]
    numbers = [int(rev.split("-")[1]) for rev in (first, second, out.strip())]
    assert runs[0] == runs[1] != runs[2] and numbers == sorted(set(numbers))


@pytest.mark.parametrize("kind, payload, refusal", [
    ("progress_update", '{"percentage":140,"stage":"x"}',
     "PROGRESS_INVALID payload.percentage must be a number from 0 to 100\n"),
    ("fly", "{}", "PROGRESS_INVALID "),
    ("complete", "", "PROGRESS_INVALID "),
    ("complete", "{", "PROGRESS_INVALID "),
])
def test_what_the_function_says_is_printed_as_it_is(redis, broker, kind, payload, refusal):
    status, out, err = run("publish", "pub-2", kind, payload,
                           "--redis-url", f"unix://{redis.socket_path}")
    assert (status, out) == (FAILED, "")
    assert err.startswith(refusal)


def test_a_task_that_ended_refuses_more(redis, broker, publish):
    publish("pub-3", "complete", resultUrl="u", duration=1)
    status, _, err = run("publish", "pub-3", "complete", '{"resultUrl":"u","duration":1}',
                         "--redis-url", f"unix://{redis.socket_path}")
    assert status == FAILED and err.startswith("PROGRESS_DONE ")


def test_input_that_is_far_too_long_is_refused_here(redis):
    status, _, err = run("publish", "pub-4", "complete", "-", stdin=" " * 2_000_000,
                         env={"PROGRESSD_REDIS_URL": f"unix://{redis.socket_path}"})
    assert status == FAILED and "longer than any payload" in err


def test_a_redis_with_a_password_is_logged_in_to(tmp_path):
    settings = {"requirepass": "p@ss"}
    with RedisServer(tmp_path, tcp=True, settings=settings) as server:
        where = f"127.0.0.1:{server.port}"
        reset = ("reset", "t", "--redis-url")
        assert run(*reset, f"redis://{where}")[2].startswith("NOAUTH ")
        assert run(*reset, f"redis://:wrong@{where}")[2].startswith("WRONGPASS ")
        assert run(*reset, f"redis://:p%40ss@{where}")[2] == "ERR Function not found\n"
        assert run(*reset, f"redis://default:p%40ss@{where}")[2] == "ERR Function not found\n"


def test_a_redis_out_of_reach_is_status_3(tmp_path):
    status, _, err = run("reset", "t", "--redis-url", f"redis://127.0.0.1:{free_port()}")
    assert status == NO_WAY and "Connection refused" in err
    status, _, err = run("reset", "t", "--state-dir", tmp_path)
    assert status == NO_WAY and "No such file" in err


# ── get, ping, status ───────────────────────────────────────────────────────────────────────────

def test_get_prints_the_state(broker, url, publish):
    rev = publish("get-1", "progress_update", percentage=40, stage="upload")
    get = ("get", "get-1", "--url", url, "--token", broker.token("get-1"))
    status, out, err = run(*get)
    assert (status, err) == (0, "")
    state = json.loads(out)
    assert state["rev"] == rev and state["messages"][0]["payload"]["percentage"] == 40
    assert run(*get, "--etag", rev) == (0, "", "not modified\n")


def test_get_tells_what_is_wrong(broker, url):
    token = broker.token("get-2")
    status, _, err = run("get", "get-2", "--url", url, env={"PROGRESSD_TOKEN": token})
    assert status == FAILED and "no state yet" in err and "404" in err
    status, _, err = run("get", "get-2", "--url", url, "--token", token + "\r\n")
    assert status == FAILED and "404" in err
    status, _, err = run("get", "other", "--url", url, "--token", token)
    assert status == USAGE and "403" in err
    status, _, err = run("get", "get-2", "--url", url, "--token", "x.y.z")
    assert status == USAGE and "401" in err
    status, _, err = run("get", "get-2", "--url", f"http://127.0.0.1:{free_port()}", "--token",
                         token)
    assert status == NO_WAY and "Connection refused" in err


def test_ping_measures_round_trips(url):
    status, out, _ = run("ping", "-c", "2", "--url", url)
    assert status == 0
    assert re.search(r"^pong 1: \d+\.\d+ ms\npong 2: .*\n2 of 2 answered", out)
    assert run("ping", "--url", f"http://127.0.0.1:{free_port()}")[0] == NO_WAY


def test_status_shows_the_processes(broker):
    admin = f"http://{broker.admin_address}"
    status, out, _ = run("status", "--admin-url", admin)
    assert status == 0
    for pid in broker.worker_pids():
        assert f"pid {pid}, ready, link to Redis up" in out
    status, out, _ = run("status", "--json", "--admin-url", admin)
    assert status == 0 and json.loads(out)["workers"][0]["pid"] == broker.worker_pids()[0]


# ── watch ───────────────────────────────────────────────────────────────────────────────────────

def test_a_job_is_watched_to_its_completion(broker, url, publish):
    with Watch("watch-1", url, broker.token("watch-1")) as watch:
        watch.wait_for("over WebSocket")
        publish("watch-1", "stage_change", fromStage=None, toStage="converting")
        publish("watch-1", "progress_update", percentage=40, stage="upload", processingSpeed=128e3)
        publish("watch-1", "time_estimate", estimatedTimeRemaining=65, confidence=1)
        watch.wait_for("%  1:0")
        publish("watch-1", "complete", resultUrl="file:///result", duration=61)
        assert watch.wait() == COMPLETE
    lines = watch.output.splitlines()
    assert all(PLAIN_LINE.fullmatch(line) for line in lines), watch.output
    assert any(re.search(r"[✓+] converting  0:0\d$", line) for line in lines), watch.output
    assert any(re.search(r" upload   40\.0 %  1:0\d left  128 kB/s$", line) for line in lines)
    assert re.search(r"[✓+] complete in 1:01  file:///result$", lines[-1])
    assert "\x1b" not in watch.output and "\r" not in watch.output


def test_a_job_that_fails_is_status_1_with_its_error(broker, url, publish):
    with Watch("watch-2", url, broker.token("watch-2")) as watch:
        watch.wait_for("over WebSocket")
        publish("watch-2", "error", code="BROKEN", message="a \x1b[31mred\n end", retryable=True)
        watch.wait_for("BROKEN: a ?[31mred? end (it may go on)")
        publish("watch-2", "error", code="DEAD", message="for good")
        assert watch.wait() == FAILED
    assert re.search(r"[✗x] failed with DEAD: for good$", watch.output.splitlines()[-1])


def test_a_job_that_begins_anew_is_followed(redis, broker, url, publish):
    publish("watch-3", "progress_update", percentage=80, stage="upload")
    with Watch("watch-3", url, broker.token("watch-3")) as watch:
        watch.wait_for("80.0 %")
        run("reset", "watch-3", "--redis-url", f"unix://{redis.socket_path}")
        watch.wait_for("the task begins anew")
        publish("watch-3", "progress_update", percentage=5, stage="again")
        watch.wait_for("again    5.0 %")
        publish("watch-3", "complete", resultUrl="", duration=1)
        assert watch.wait() == COMPLETE


def test_a_job_that_ended_before_is_shown_with_all_its_stages(broker, url, publish):
    for stage in ("one", "two", "three"):
        publish("watch-4", "stage_change", fromStage=None, toStage=stage)
    publish("watch-4", "complete", resultUrl="r", duration=5)
    status, out, _ = run("watch", "watch-4", "--url", url, "--token", broker.token("watch-4"))
    assert status == COMPLETE
    assert re.search(r"one  0:00\n.* two  0:00\n.* three\n.* complete in 0:05  r\n$", out), out


def test_json_is_the_messages_themselves_one_a_line(broker, url, publish):
    publish("watch-5", "progress_update", percentage=80, stage="upload")
    publish("watch-5", "complete", resultUrl="r", duration=5)
    status, out, err = run("watch", "watch-5", "--json", "--url", url, "--token",
                           broker.token("watch-5"))
    assert status == COMPLETE and "over WebSocket" in err
    assert [json.loads(line)["type"] for line in out.splitlines()] == [
        "subscribed", "progress_update", "complete"]


def test_a_token_that_is_refused_is_status_2(broker, url):
    for token, complaint in ((broker.token("other"), "FORBIDDEN"),
                             (broker.token("watch-6", ttl=-5), "UNAUTHORIZED"),
                             ("x.y.z", "UNAUTHORIZED")):
        status, _, err = run("watch", "watch-6", "--url", url, "--token", token)
        assert status == USAGE and complaint in err


def test_a_token_that_runs_out_is_replaced_if_a_key_is_there(broker, url, publish):
    publish("watch-7", "progress_update", percentage=1, stage="a")
    key = f"test=HS256:{broker.directory}/jwt.key"
    given = broker.token("watch-7", ttl=2)
    with Watch("watch-7", url, given) as watch:
        assert watch.wait() == USAGE
        assert "the token has run out" in watch.output
    with Watch("watch-7", url, None, "--key", key, "--ttl", "2") as watch:
        watch.wait_for("over WebSocket")
        time.sleep(5)
        publish("watch-7", "complete", resultUrl="", duration=1)
        assert watch.wait() == COMPLETE
    assert watch.output.count("over WebSocket") == 1, watch.output


def test_no_server_is_status_3_after_a_while():
    begun = time.monotonic()
    status, _, err = run("watch", "t", "--url", f"http://127.0.0.1:{free_port()}", "--give-up", "2",
                         "--token", make_token({"tasks": ["t"]}))
    assert status == NO_WAY and "Connection refused" in err
    assert 1.9 <= time.monotonic() - begun < 10


def test_a_broker_that_is_killed_and_started_again_is_found_again(brokers, publish):
    broker = brokers()
    with Proxy(broker.address) as proxy, \
            Watch("watch-8", proxy.url, broker.token("watch-8")) as watch:
        publish("watch-8", "progress_update", percentage=10, stage="upload")
        watch.wait_for("10.0 %")
        broker.kill()
        watch.wait_for("trying again")
        publish("watch-8", "progress_update", percentage=60, stage="upload")
        broker.start()
        proxy.address = broker.address
        watch.wait_for("60.0 %")
        publish("watch-8", "complete", resultUrl="", duration=1)
        assert watch.wait() == COMPLETE
    assert watch.output.count("over WebSocket") == 2, watch.output


def test_a_cut_connection_resumes_without_telling_anything_twice(broker, publish):
    publish("watch-9", "stage_change", fromStage=None, toStage="one")
    publish("watch-9", "stage_change", fromStage="one", toStage="two")
    with Proxy(broker.address) as proxy, \
            Watch("watch-9", proxy.url, broker.token("watch-9"), "--json") as watch:
        watch.wait_for('"two"')
        proxy.cut()
        eventually(lambda: watch.output.count('"subscribed"') == 2, 20, "it doesn't come back")
        publish("watch-9", "complete", resultUrl="", duration=1)
        assert watch.wait() == COMPLETE
    assert watch.output.count('"stage_change"') == 1, watch.output


def test_without_websocket_the_task_is_polled(broker, publish):
    with Proxy(broker.address, refuses_websocket=True) as proxy, \
            Watch("watch-10", proxy.url, broker.token("watch-10"), "--give-up", "3") as watch:
        watch.wait_for("refuses WebSocket (HTTP status 403)")
        watch.wait_for("over HTTP, by polling")
        publish("watch-10", "stage_change", fromStage=None, toStage="one")
        publish("watch-10", "progress_update", percentage=33, stage="two")
        watch.wait_for("two   33.0 %")
        publish("watch-10", "complete", resultUrl="r", duration=1)
        assert watch.wait() == COMPLETE
        assert proxy.upgrades >= 2
    assert re.search(r"one  0:00\n", watch.output), watch.output


class Elsewhere(http.server.BaseHTTPRequestHandler):
    """A server whose paths are others than a broker's."""

    def do_GET(self):
        self.send_response(404)
        self.end_headers()
        self.wfile.write(b'{"error":{"code":"NOT_FOUND","message":"there is no such path"}}')

    def log_message(self, *_):
        pass


def test_a_server_without_the_path_is_not_taken_for_a_task_without_state():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            url = f"http://127.0.0.1:{server.server_port}"
            with Watch("watch-12", url, "a.b.c", "--give-up", "3") as watch:
                assert watch.wait() == NO_WAY
                assert "there is no such path" in watch.output
        finally:
            server.shutdown()


def test_a_redis_outage_is_waited_for(brokers, tmp_path):
    with RedisServer(tmp_path) as own:
        broker = brokers(redis_url=own.url)
        own.kill()
        url = f"http://{broker.address}"
        with Watch("watch-11", url, broker.token("watch-11"), "--give-up", "30") as watch:
            watch.wait_for("UNAVAILABLE")
            own.start()
            watch.wait_for("over WebSocket")
            def completes():
                return run("publish", "watch-11", "complete", '{"resultUrl":"","duration":1}',
                           "--redis-url", own.url)[0] == 0
            eventually(completes, 20, "it can't be published")
            assert watch.wait() == COMPLETE


# ── watch at a terminal ─────────────────────────────────────────────────────────────────────────

class Terminal:
    """`progressctl watch` at a terminal of its own."""

    def __init__(self, arguments, columns=60, env=None):
        self.output = ""
        settings = environment({"TERM": "xterm", "LC_ALL": "C.UTF-8", **(env or {})})
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(arguments[0], arguments, settings)
        self.resize(columns)

    def resize(self, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def read(self, text=None, seconds=20):
        """What it wrote up to `text`, or to its end."""
        deadline = time.monotonic() + seconds
        while text is None or text not in self.output:
            assert time.monotonic() < deadline, self.output
            if not select.select([self.fd], [], [], 0.2)[0]:
                continue
            try:
                data = os.read(self.fd, 4096)
            except OSError:
                break
            self.output += data.decode()
        assert text is None or text in self.output, self.output
        return self.output

    def wait(self):
        self.read()
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.fd)
        return status


def shown(line):
    """A line of the terminal without its colours."""
    return re.sub(r"\x1b\[\d*m|\x1b\[K", "", line)


def test_a_terminal_has_one_line_drawn_again_and_again(broker, url, publish):
    publish("tty-1", "progress_update", percentage=25, stage="upload")
    terminal = Terminal(command("watch", "tty-1", "--url", url, "--token", broker.token("tty-1")))
    terminal.read("25.0 %")
    assert "\x1b[36m" in terminal.output and "█" in terminal.output
    publish("tty-1", "progress_update", percentage=75, stage="finish")
    terminal.read("75.0 %")
    publish("tty-1", "complete", resultUrl="r", duration=1)
    assert terminal.wait() == COMPLETE
    drawn = [shown(part) for part in re.split(r"[\r\n]+", terminal.output)]
    assert any(re.fullmatch(r"upload  █{7,}.?░+   25\.0 %", part) for part in drawn), drawn
    assert any(re.fullmatch(r"\d\d:\d\d:\d\d ✓ upload  0:0\d", part) for part in drawn), drawn
    assert max(map(len, drawn)) < 60
    assert terminal.output.endswith("complete in 0:01  r\r\n\r\x1b[K")


def test_the_line_follows_the_terminals_width(broker, url, publish):
    publish("tty-2", "progress_update", percentage=25, stage="a-rather-long-stage")
    terminal = Terminal(command("watch", "tty-2", "--url", url, "--token", broker.token("tty-2")))
    terminal.read("25.0 %")
    terminal.resize(20)
    terminal.read("a-rather-…   25.0 %")
    publish("tty-2", "complete", resultUrl="", duration=1)
    assert terminal.wait() == COMPLETE


def test_no_color_and_ascii_are_respected(broker, url, publish):
    publish("tty-3", "progress_update", percentage=25, stage="upload")
    publish("tty-3", "progress_update", percentage=25, stage="finish")
    terminal = Terminal(command("watch", "tty-3", "--url", url, "--token", broker.token("tty-3")),
                        env={"NO_COLOR": "1", "LC_ALL": "C"})
    terminal.read("25.0 %")
    publish("tty-3", "complete", resultUrl="", duration=1)
    assert terminal.wait() == COMPLETE
    assert terminal.output.isascii() and not re.search(r"\x1b\[\d*m", terminal.output)
    assert "finish  ###" in terminal.output and "+ upload" in terminal.output


def test_a_dumb_terminal_gets_plain_lines(broker, url, publish):
    publish("tty-4", "complete", resultUrl="", duration=1)
    terminal = Terminal(command("watch", "tty-4", "--url", url, "--token", broker.token("tty-4")),
                        env={"TERM": "dumb"})
    assert terminal.wait() == COMPLETE
    assert "\x1b" not in terminal.output


def test_ctrl_c_leaves_the_line_and_is_status_130(broker, url, publish):
    publish("tty-5", "progress_update", percentage=25, stage="upload")
    terminal = Terminal(command("watch", "tty-5", "--url", url, "--token", broker.token("tty-5")))
    terminal.read("25.0 %")
    os.write(terminal.fd, b"\x03")
    assert terminal.wait() == 128 + signal.SIGINT
    assert terminal.output.endswith("\x1b[0m\r\r\n")
