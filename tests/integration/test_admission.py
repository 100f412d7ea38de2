"""Many clients that want nothing good, or leave in the middle: the others are served, what they can
make the broker hold is bounded, and what was asked for is answered."""
import contextlib
import json
import os
import signal
import socket
import time

import pytest

from support.broker import Broker
from support.deadline import eventually
from support.http_client import HttpClient, http
from support.job import Job
from support.redis_server import RedisServer
from support.tcp_proxy import TcpProxy
from support.ws_client import HandshakeRefused, WsClient, encode_frame, TEXT

API = "/api/progress/"
CLOSE = "Host: x\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def redis(directory):
    with RedisServer(f"{directory}/redis", tcp=True) as server:
        yield server


def watch(broker, task, **settings):
    client = WsClient(broker.ws_url(task), **settings)
    client.send_json({"type": "subscribe", "token": broker.token(task)})
    client.recv_until(lambda message: message["type"] == "progress_update")
    return client


def connect(address, data=b""):
    host, _, port = address.rpartition(":")
    client = socket.create_connection((host, int(port)), timeout=20)
    client.sendall(data)
    return client


def poll_of(broker, task, more=""):
    return (f"GET {API}{task} HTTP/1.1\r\nHost: x\r\n{more}"
            f"Authorization: Bearer {broker.token(task)}\r\n\r\n").encode()


def read_to_the_end(client):
    data = b""
    while chunk := client.recv(1 << 16):
        data += chunk
    return data


# ── Half-open requests ──────────────────────────────────────────────────────────────────────────

@pytest.mark.parametrize("said", [b"", b"G"])
def test_who_says_nothing_shuts_nobody_out(brokers, said):
    broker = brokers(options=["--max-handshakes", "50", "--handshake-timeout", "600"])
    with contextlib.ExitStack() as stack:
        for _ in range(600):
            client = stack.enter_context(connect(broker.address))
            with contextlib.suppress(OSError):
                client.sendall(said)
        for _ in range(10):
            began = time.monotonic()
            assert http(broker.address, "GET", "/nowhere").status == 404
            assert time.monotonic() - began < 5
            assert broker.admin("/readyz")[0] == 200
        metrics = broker.metrics()
        assert metrics["progressd_accepting_paused"] == 0
        assert metrics["progressd_handshakes_in_flight"] <= 100
        refused = metrics['progressd_connections_refused_total{reason="handshakes"}']
        assert refused >= 500


# ── Descriptors ─────────────────────────────────────────────────────────────────────────────────

class FewDescriptors(Broker):
    """A broker whose processes may open only so many descriptors."""

    def command(self):
        return ["sh", "-c", 'ulimit -n 400 && exec "$@"', "sh", *super().command()]


@pytest.mark.deadline(120)
@pytest.mark.parametrize("attack", ["refused", "unauthorized"])
def test_refused_clients_leave_the_link_to_redis_its_descriptors(directory, redis, attack):
    with TcpProxy(redis.port) as proxy, \
            FewDescriptors(f"{directory}/few-{attack}", proxy.url, workers=1,
                           options=["--recorder", "off", "--max-connections", "10000"]) as broker, \
            Job(redis, f"reserve-{attack}") as job, contextlib.ExitStack() as stack:
        job.update(1)
        watching = stack.enter_context(watch(broker, job.task))
        if attack == "refused":  # a crowd that watches, so that those who come after are refused
            with contextlib.suppress(HandshakeRefused):
                while True:
                    stack.enter_context(WsClient(broker.ws_url(job.task)))
        request = f"GET {API}{job.task} HTTP/1.1\r\nHost: x\r\n\r\n".encode()

        def flood():
            for _ in range(100):
                with contextlib.suppress(OSError):
                    stack.enter_context(connect(broker.address, request))
        for _ in range(4):
            flood()
        proxy.cut()
        flood()
        proxy.restore()
        flood()
        eventually(lambda: broker.metrics()["progressd_links_up"] == 1, 20, "no link to Redis")
        assert broker.metrics()["progressd_accepting_paused"] == 0
        rev = job.complete()
        assert watching.recv_until(lambda message: message["type"] == "complete")[-1]["rev"] == rev
        assert http(broker.admin_address, "GET", "/readyz").status == 200


# ── What a client makes the worker hold ─────────────────────────────────────────────────────────

WIDE = 40_000
CLIENTS = 20
HELD_MAX = 3 * WIDE  # of each client: an answer, its copy being built, and what was read
ONE_MESSAGE_MAX = 60_000  # the message, and a queue just over its bound


@pytest.fixture
def wide(brokers):
    """A worker of the release build, if there is one, and a task whose state has 40 kB."""
    release = os.environ.get("PROGRESSD_RELEASE_BUILD")
    if not release:
        pytest.skip("PROGRESSD_RELEASE_BUILD isn't set; scripts/test sets it")
    return brokers(workers=1, build=release, options=["--max-payload", "100000"])


def growth_of(broker, act):
    pid, = broker.worker_pids()
    before = broker.memory(pid)
    act()
    received = -1
    while received != (now := broker.metrics()["progressd_received_bytes_total"]):
        received = now
        time.sleep(0.3)
    return broker.memory(pid) - before


def test_pipelined_polls_that_nobody_reads_are_bounded_by_bytes(wide, redis):
    with Job(redis, "wide") as job, contextlib.ExitStack() as stack:
        job.update(1, note="x" * WIDE)
        request = poll_of(wide, "wide")

        def pipeline():
            for _ in range(CLIENTS):
                client = stack.enter_context(connect(wide.address))
                client.settimeout(0.2)
                with contextlib.suppress(TimeoutError):
                    client.sendall(request * 60)
        assert growth_of(wide, pipeline) < CLIENTS * HELD_MAX
        # Who reads in the end gets all of it.
        with HttpClient(wide.address) as client:
            client.send(request * 60)
            for _ in range(60):
                assert len(client.answer().body) > WIDE


def test_answers_to_messages_that_nobody_reads_are_bounded_by_bytes(wide, redis):
    with Job(redis, "steps") as job, contextlib.ExitStack() as stack:
        for i in range(32):  # each name is written in 6 times as many bytes
            job.stage(f"{i:03}" + "\x01" * 125)
        job.update(1)
        ask = encode_frame(TEXT, b'{"type":"get_state","taskId":"steps"}') * 38

        def question():
            for _ in range(CLIENTS):
                client = stack.enter_context(watch(wide, "steps", receive_buffer=4096))
                client.send_raw(ask)
        assert growth_of(wide, question) < CLIENTS * HELD_MAX
        with watch(wide, "steps") as client:
            client.send_raw(ask)
            for _ in range(38):
                client.recv_until(lambda message: message["type"] == "subscribed")


# Each is answered, and each answer is many times as long as what asked for it.
MANY = json.dumps({"type": "get_state", "taskIds": [f"{number:x}" for number in range(1000)]})


def test_answers_to_one_message_with_many_tasks_are_bounded_by_bytes(wide):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(WsClient(wide.ws_url(), receive_buffer=4096))
                   for _ in range(CLIENTS)]

        def question():
            for client in clients:
                client.send_text(MANY)
        assert growth_of(wide, question) < CLIENTS * ONE_MESSAGE_MAX
        # Who reads in the end gets all of them, in order, and is listened to again.
        for client in clients[:2]:
            client.send_json({"type": "ping", "timestamp": 1})
            for number in range(1000):
                message = client.recv_json()
                assert (message["taskId"], message["payload"]["code"]) == (
                    f"{number:x}", "NOT_SUBSCRIBED")
            assert client.recv_json()["type"] == "pong"


# ── Who sends no more, but reads ────────────────────────────────────────────────────────────────

@pytest.mark.parametrize("size", [100, 4_000_000])
@pytest.mark.parametrize("kind", ["keep-alive", "close", "pipelined"])
def test_who_half_closes_after_the_request_gets_all_of_the_answer(brokers, directory, size, kind):
    root = f"{directory}/root"
    os.makedirs(root, exist_ok=True)
    with open(f"{root}/file.txt", "w", encoding="ascii") as file:
        file.write("x" * size)
    broker = brokers(workers=1, options=["--web-root", root])
    requests = {"keep-alive": "GET /file.txt HTTP/1.1\r\nHost: x\r\n\r\n",
                "close": f"GET /file.txt HTTP/1.1\r\n{CLOSE}",
                "pipelined": "GET /file.txt HTTP/1.1\r\nHost: x\r\n\r\n" * 3}
    with connect(broker.address, requests[kind].encode()) as client:
        client.shutdown(socket.SHUT_WR)
        time.sleep(0.3)  # let the broker see the end before it is read
        answer = read_to_the_end(client)
    assert answer.count(b"HTTP/1.1 200 OK") == (3 if kind == "pipelined" else 1)
    assert answer.count(b"x" * size) == (3 if kind == "pipelined" else 1)
    eventually(lambda: broker.metrics()["progressd_connections"] == 0, 10, "it isn't closed")


def test_a_half_closed_poll_is_answered(brokers, redis):
    broker = brokers(workers=1)
    with Job(redis, "half") as job:
        rev = job.update(7)
        with connect(broker.address, poll_of(broker, "half")) as client:
            client.shutdown(socket.SHUT_WR)
            assert rev.encode() in read_to_the_end(client)


def test_an_idle_keep_alive_connection_is_closed_without_a_byte(brokers):
    broker = brokers(workers=1, options=["--idle-timeout", "1"])
    with HttpClient(broker.address) as client:
        assert client.request("GET", "/nowhere").status == 404
        assert client.reader.read() == b""


# ── The end of the broker ───────────────────────────────────────────────────────────────────────

@pytest.mark.parametrize("redis_comes_back", [True, False])
def test_a_poll_under_way_at_sigterm_is_answered(brokers, redis, redis_comes_back):
    broker = brokers(options=["--shutdown-timeout", "4"])
    with Job(redis, "under-way") as job, connect(broker.address) as client:
        rev = job.update(9)
        redis.pause()
        try:
            client.sendall(poll_of(broker, "under-way"))
            eventually(lambda: broker.metrics()["progressd_tasks_watched"] == 1, 10)
            broker.process.send_signal(signal.SIGTERM)
            eventually(lambda: len(broker.logged(module="worker", msg="stopping")) == 2, 10)
            if redis_comes_back:
                redis.cont()
            answer = read_to_the_end(client)
        finally:
            redis.cont()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Connection: close" in head
    if redis_comes_back:
        assert json.loads(body)["rev"] == rev
    else:
        assert head.startswith(b"HTTP/1.1 503 ") and b"Retry-After: " in head
    broker.expect_exit(0)


def test_after_sigterm_newcomers_are_refused_at_once(brokers, redis):
    broker = brokers(options=["--shutdown-timeout", "10"])
    with Job(redis, "draining") as job:
        job.update(1)
        # It doesn't answer the close frame, so the worker that holds it drains for 10 s.
        with watch(broker, "draining"):
            broker.process.send_signal(signal.SIGTERM)
            eventually(lambda: len(broker.logged(module="worker", msg="stopping")) == 2, 10)
            with pytest.raises(ConnectionRefusedError):
                connect(broker.address)
        broker.expect_exit(0)
