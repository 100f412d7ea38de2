"""What clients may do wrong: each gets a clear error, nothing is lost, nobody else is disturbed."""
import contextlib
import json
import os
import resource
import signal
import socket
import struct
import time

import pytest

from support.broker import Broker
from support.deadline import eventually
from support.http_client import HttpClient, http
from support.job import Job
from support.ws_client import (BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Closed,
                               HandshakeRefused, WsClient, encode_frame)

TASK = "bad-input"
MAX_SUBSCRIPTIONS = 5
MESSAGE_RATE = 50


@pytest.fixture(scope="module")
def broker(directory, redis):
    with Broker(f"{directory}/broker", redis.url, workers=2,
                options=["--max-subscriptions", MAX_SUBSCRIPTIONS, "--message-rate", MESSAGE_RATE,
                         "--handshake-timeout", "0.5", "--subscribe-timeout", "2",
                         "--shutdown-timeout", "0.5"]) as server:
        yield server


@pytest.fixture(scope="module")
def job(redis, broker):
    with Job(redis, TASK) as publisher:
        publisher.update(1)
        yield publisher


@pytest.fixture
def bystander(broker, job):
    """Somebody else, who must not notice anything."""
    with watch(broker, TASK) as client:
        yield client
        rev = job.update(50)
        assert client.recv_until(lambda message: message.get("rev") == rev)


@pytest.fixture
def client(broker, bystander):
    """One who watches already, on a connection whose address names a task."""
    with watch(broker, TASK) as one:
        yield one


def watch(broker, task, **settings):
    client = WsClient(broker.ws_url(task), **settings)
    client.send_json({"type": "subscribe", "token": broker.token(task)})
    client.recv_until(lambda message: message["type"] == "progress_update")
    return client


def is_alive(client):
    """The client is served as before: its ping is answered, and nothing comes first."""
    client.send_json({"type": "ping", "timestamp": 99})
    return client.recv_until("pong")[-1] == {"type": "pong", "timestamp": 99}


# ── Messages ────────────────────────────────────────────────────────────────────────────────────

NO_MESSAGES = [
    "", " ", "x", "{", "{}", "[]", "null", "1", '"ping"', '{"type":"ping"', '{"type":"ping"}x',
    '{"type":"ping"}{"type":"ping"}', '{"type":"ping",}', "{'type':'ping'}", '{"type":"ping\n"}',
    '\ufeff{"type":"ping"}', '{"type":"ping","timestamp":01}', '{"type":"ping","timestamp":1.}',
    '{"type":"ping","timestamp":NaN}', '{"type":"ping\\u0000"}', "[" * 5000, '{"a":' * 2000,
]
WRONG_MEMBERS = [
    ({"type": 1}, "type"), ({"type": None}, "type"), ({"type": ["ping"]}, "type"),
    ({"type": "Ping"}, "type"), ({"type": "progress_update", "payload": {}}, "type"),
    ({"type": "reset"}, "type"), ({"type": ""}, "type"),
    ({"Type": "ping"}, "type"), ({"taskId": TASK}, "type"),
    ({"type": "subscribe", "taskId": 42, "token": "x"}, "taskId"),
    ({"type": "subscribe", "taskId": None, "token": "x"}, "taskId"),
    ({"type": "subscribe", "token": 1}, "token"),
    ({"type": "subscribe", "token": {}}, "token"),
    ({"type": "subscribe", "token": "x", "rev": 5}, "rev"),
    ({"type": "subscribe", "token": "x", "rev": "5"}, "rev"),
    ({"type": "get_state", "rev": []}, "rev"),
    ({"type": "ping", "timestamp": "now"}, "timestamp"),
    ({"type": "ping", "timestamp": None}, "timestamp"),
]
BAD_IDS = ["", " ", ".", "..", "a b", "a/b", "a*", "\u00e9", "x" * 129, "a\n", "progress:{a}", "a,b",
           "\U0001f600"]


def expect_error(client, code, task=TASK):
    message = client.recv_json()
    assert (message["type"], message["taskId"]) == ("error", task), message
    payload = message["payload"]
    assert (payload["code"], payload["scope"]) == (code, "request"), message
    assert isinstance(payload["retryable"], bool)
    return payload["message"]


def test_what_is_no_message_is_refused_and_closes_nothing(broker, bystander):
    for text in NO_MESSAGES:
        with watch(broker, TASK) as client:
            client.send_text(text)
            expect_error(client, "INVALID_MESSAGE")
            assert is_alive(client), text


@pytest.mark.parametrize("message, member", WRONG_MEMBERS, ids=str)
def test_a_wrong_member_is_named(client, message, member):
    client.send_json(message)
    assert member in expect_error(client, "INVALID_MESSAGE")
    assert is_alive(client)


def test_a_member_that_comes_twice_is_refused_and_unknown_ones_are_not(client):
    client.send_text('{"type":"ping","type":"ping"}')
    assert "type" in expect_error(client, "INVALID_MESSAGE")
    client.send_text('{"type":"ping","timestamp":1,"x":{"type":[1,{"y":null}]},"x":2}')
    assert client.recv_json() == {"type": "pong", "timestamp": 1}


@pytest.mark.parametrize("kind", ["subscribe", "unsubscribe", "get_state"])
def test_a_task_id_out_of_range_is_refused(broker, bystander, kind):
    for task in BAD_IDS:
        with watch(broker, TASK) as client:
            client.send_json({"type": kind, "taskId": task, "token": broker.token()})
            message = client.recv_json()
            assert message["payload"]["code"] == "INVALID_TASK_ID", task
            assert message["taskId"] in (TASK, "") or message["taskId"] == task
            assert is_alive(client)


def test_a_task_id_out_of_range_in_the_address_gets_400(broker):
    for target in ("a%20b", "x" * 129, "%", "%00", "a/b", "%ff", "%2e", "%2E%2e"):
        with pytest.raises(HandshakeRefused) as refused:
            WsClient(broker.ws_url(target))
        assert refused.value.status == 400, target


def test_what_needs_a_subscription_says_so(broker, bystander):
    with WsClient(broker.ws_url()) as client:
        for kind in ("get_state", "unsubscribe"):
            client.send_json({"type": kind, "taskId": "a"})
            expect_error(client, "NOT_SUBSCRIBED", "a")
        client.send_json({"type": "subscribe"})
        assert "taskId" in expect_error(client, "INVALID_MESSAGE", "")


def test_one_connection_watches_no_more_tasks_than_it_may(broker, bystander):
    token = broker.token()
    with WsClient(broker.ws_url()) as client:
        for number in range(MAX_SUBSCRIPTIONS):
            client.send_json({"type": "subscribe", "taskId": f"a{number}", "token": token})
            client.recv_until("subscribed")
        client.send_json({"type": "subscribe", "taskId": "one-more", "token": token})
        expect_error(client, "TOO_MANY_SUBSCRIPTIONS", "one-more")
        # What it has may be renewed, and what it gives up leaves room.
        client.send_json({"type": "subscribe", "taskId": "a0", "token": token})
        assert client.recv_json()["type"] == "subscribed"
        client.send_json({"type": "unsubscribe", "taskId": "a0"})
        assert client.recv_json()["type"] == "unsubscribed"
        client.send_json({"type": "subscribe", "taskId": "one-more", "token": token})
        assert client.recv_json()["type"] == "subscribed"


# ── Frames that break RFC 6455 ──────────────────────────────────────────────────────────────────

PING_TEXT = b'{"type":"ping"}'
BROKEN = {
    "unmasked": (encode_frame(TEXT, PING_TEXT, mask=False), 1002),
    "reserved bit 1": (encode_frame(TEXT, PING_TEXT, rsv=4), 1002),
    "reserved bit 3": (encode_frame(TEXT, PING_TEXT, rsv=1), 1002),
    "opcode 3": (encode_frame(3, b"x"), 1002),
    "opcode 11": (encode_frame(11, b""), 1002),
    "continuation of nothing": (encode_frame(CONTINUATION, b"x"), 1002),
    "a text in a text": (encode_frame(TEXT, b"{", fin=False) + encode_frame(TEXT, b"}"), 1002),
    "a ping in pieces": (encode_frame(PING, b"x", fin=False), 1002),
    "a ping of 126 bytes": (encode_frame(PING, b"x" * 126), 1002),
    "a close of one byte": (encode_frame(CLOSE, b"\x03"), 1002),
    "a close with code 1005": (encode_frame(CLOSE, struct.pack("!H", 1005)), 1002),
    "a close with code 999": (encode_frame(CLOSE, struct.pack("!H", 999)), 1002),
    "a length not the shortest": (b"\x81\xfe\x00\x05" + b"\0" * 9, 1002),
    "a length of 2^63": (b"\x81\xff\x80" + b"\0" * 7, 1002),
    "binary": (encode_frame(BINARY, PING_TEXT), 1003),
    "no UTF-8": (encode_frame(TEXT, b'{"type":"\xff"}'), 1007),
    "half of a character": (encode_frame(TEXT, b'\xe2\x82'), 1007),
    "half of a character, then another": (
        encode_frame(TEXT, b'\xe2\x82', fin=False) + encode_frame(CONTINUATION, b"x"), 1007),
    "a surrogate": (encode_frame(TEXT, b"\xed\xa0\x80"), 1007),
    "a close reason that is no UTF-8": (encode_frame(CLOSE, b"\x03\xe8\xff"), 1007),
    "32 KiB and a byte": (encode_frame(TEXT, b" " * 32769), 1009),
    "32 KiB and a byte, in pieces": (
        encode_frame(TEXT, b" " * 32000, fin=False) + encode_frame(CONTINUATION, b" " * 769), 1009),
    "a frame of 2 GiB announced": (b"\x81\xff" + struct.pack("!Q", 1 << 31) + b"abcd", 1009),
}


@pytest.mark.parametrize("data, code", BROKEN.values(), ids=BROKEN)
def test_a_broken_frame_closes_that_client_with_the_right_code(client, data, code):
    client.send_raw(data)
    assert client.expect_close().code == code
    client.expect_end()


def test_the_right_code_also_when_the_frame_comes_byte_by_byte(broker, bystander):
    for name in ("unmasked", "no UTF-8", "a length not the shortest", "a close with code 999"):
        data, code = BROKEN[name]
        with watch(broker, TASK) as client:
            with contextlib.suppress(OSError):
                for at in range(len(data)):
                    client.send_raw(data[at:at + 1])
            assert client.expect_close().code == code, name


def test_what_the_standard_allows_is_taken(client):
    client.send_frame(PING, b"x" * 125)
    assert client.recv_frame() == (True, PONG, b"x" * 125, 0)
    client.send_frame(PONG, b"nobody asked")
    client.send_frame(TEXT, b'{"type":', fin=False)
    client.send_frame(PING, b"between")
    client.send_frame(CONTINUATION, b"", fin=False)
    client.send_frame(CONTINUATION, b'"ping","timestamp":5}')
    assert client.recv_frame().payload == b"between"
    assert client.recv_json() == {"type": "pong", "timestamp": 5}
    client.send_text('{"type":"ping","timestamp":6}' + " " * (32768 - 29))
    assert client.recv_json() == {"type": "pong", "timestamp": 6}
    client.send_text(json.dumps({"type": "ping", "timestamp": 7, "\u00e9": "\U0001f600"}))
    assert client.recv_json() == {"type": "pong", "timestamp": 7}


@pytest.mark.parametrize("code, answer", [(1000, 1000), (1001, 1001), (3000, 3000), (4999, 4999)])
def test_a_close_is_answered_with_its_own_code(client, code, answer):
    assert client.close(code, "bye").code == answer


def test_a_close_without_a_code_is_answered(client):
    client.send_frame(CLOSE)
    assert client.expect_close().code in (1000, 1005)
    client.expect_end()


# ── Clients that don't do what they should ──────────────────────────────────────────────────────

@pytest.mark.parametrize("begin", [b"", b"GET /ws/progress HTTP/1.1\r\nHost: a\r\n", b"G"])
def test_who_never_finishes_the_handshake_is_hung_up_on(broker, bystander, begin):
    with HttpClient(broker.address, timeout=8) as client:
        client.send(begin)
        assert client.is_at_end()


def test_dribbling_does_not_prolong_the_handshake(broker, bystander):
    with HttpClient(broker.address) as client:
        data = client.encode("GET", "/" + "x" * 2000, {})
        with pytest.raises(OSError):
            for at in range(len(data)):
                client.send(data[at:at + 1])
                time.sleep(0.01)
            raise AssertionError("20 s for a request")


def test_who_never_subscribes_is_closed_with_4401(broker, bystander):
    with WsClient(broker.ws_url(TASK)) as client:
        assert client.expect_close(timeout=8).code == 4401
    with watch(broker, TASK) as client:
        client.send_json({"type": "unsubscribe"})
        assert client.expect_close(timeout=8).code == 4401


def test_who_sends_100000_messages_is_served_at_the_rate_and_delays_only_itself(
        broker, job, bystander):
    flood = encode_frame(TEXT, PING_TEXT, mask=b"abcd") * 1000
    with watch(broker, TASK) as client:
        client.socket.settimeout(0.2)
        started = time.monotonic()
        with contextlib.suppress(OSError):
            for _ in range(100):
                client.send_raw(flood)
        for percentage in range(51, 61):
            rev = job.update(percentage)
            assert bystander.recv_until(lambda message: message.get("rev") == rev)
        told = client.recv_until(lambda _: time.monotonic() > started + 3)
        took = time.monotonic() - started
        kinds = {message["type"] for message in told}
        assert "error" not in kinds, "nothing is refused"
        pongs = sum(message["type"] == "pong" for message in told)
        assert pongs <= MAX_SUBSCRIPTIONS + MESSAGE_RATE * (took + 1), "the burst, and the rate"
        assert any(message["type"] == "progress_update" for message in told), "it watches on"


def test_who_is_silent_is_closed_with_4408(brokers, redis):
    broker = brokers(options=["--idle-timeout", "1", "--ping-interval", "0.2",
                              "--shutdown-timeout", "0.5"])
    with Job(redis, "idle") as job:
        job.update(1)
        with watch(broker, "idle") as silent:
            pings = 0
            with pytest.raises(Closed) as closed:  # it gets pings, and answers none
                while (frame := silent.recv_frame()).opcode != CLOSE:
                    pings += frame.opcode == PING
                raise Closed(struct.unpack("!H", frame.payload[:2])[0])
            assert closed.value.code == 4408 and pings >= 2
        with watch(broker, "idle") as awake:  # while this one answers
            with pytest.raises(TimeoutError):
                awake.recv_json(timeout=2)
            assert is_alive(awake)


def test_who_never_reads_is_given_up_with_4408_and_costs_nothing_then(brokers, redis):
    broker = brokers(options=["--idle-timeout", "1", "--ping-interval", "0.2",
                              "--shutdown-timeout", "0.5"])
    with Job(redis, "idle") as job:
        job.update(1)
        with watch(broker, "idle", receive_buffer=4096):
            job.publish_all([("progress_update", {"percentage": 1, "stage": "x",
                                                  "note": "-" * 3500})] * 1500)
            eventually(lambda: broker.metrics()['progressd_closes_total{code="4408"}'] == 1, 10)
            eventually(lambda: broker.metrics()["progressd_websocket_connections"] == 0, 10)


def test_who_says_something_and_breaks_off_is_gone(broker, bystander):
    """Both are there when the worker looks: it must read the one, and still learn of the other."""
    before = broker.metrics()["progressd_connections"]
    clients = [watch(broker, TASK) for _ in range(4)]
    workers = broker.worker_pids()
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    for client in clients:
        client.send_frame(PONG)  # nothing to be answered, which would fail
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.abort()
    for pid in workers:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: broker.metrics()["progressd_connections"] == before, 10)


# ── More clients than there is room for ─────────────────────────────────────────────────────────

def test_over_max_connections_there_is_503_with_retry_after(brokers, redis):
    broker = brokers(workers=1, options=["--max-connections", "4"])
    with Job(redis, "full") as job, contextlib.ExitStack() as stack:
        job.update(1)
        inside, refused = [], []
        for _ in range(20):
            try:
                inside.append(stack.enter_context(watch(broker, "full")))
            except HandshakeRefused as refusal:
                refused.append(refusal)
        assert len(inside) == 4 and len(refused) == 16
        for refusal in refused:
            assert refusal.status == 503
            assert 1 <= int(refusal.headers["retry-after"]) <= 30
            assert json.loads(refusal.body)["error"]["code"] == "BUSY"
        assert len({refusal.headers["retry-after"] for refusal in refused}) > 1, "no jitter"
        answer = http(broker.address, "GET", "/api/progress/full")
        assert answer.status == 503 and answer.headers["connection"] == "close"
        rev = job.update(2)
        for client in inside:
            assert client.recv_json()["rev"] == rev
        # Who leaves makes room.
        for client in inside:
            client.close()

        def let_in():
            with contextlib.suppress(HandshakeRefused):
                return stack.enter_context(watch(broker, "full"))
        assert is_alive(eventually(let_in, 10))


def test_one_address_gets_no_more_connections_than_its_share(brokers, redis):
    broker = brokers(workers=1, options=["--max-connections-per-address", "2"])
    with contextlib.ExitStack() as stack:
        refused = 0
        for _ in range(10):
            try:
                stack.enter_context(WsClient(broker.ws_url("x")))
            except HandshakeRefused as refusal:
                assert refusal.status == 503 and "retry-after" in refusal.headers
                refused += 1
        assert refused == 8


def test_when_descriptors_run_out_accepting_pauses_and_the_rest_goes_on(brokers, redis):
    broker = brokers(options=["--recorder", "off"])
    with Job(redis, "scarce") as job, contextlib.ExitStack() as stack:
        job.update(1)
        inside = [stack.enter_context(watch(broker, "scarce")) for _ in range(4)]
        for pid in broker.worker_pids():
            limit_descriptors(pid, spare=3)
        # The kernel completes these; the broker takes up six of them.
        outside = [stack.enter_context(HttpClient(broker.address)) for _ in range(12)]
        eventually(lambda: broker.metrics()["progressd_accepting_paused"] == 2, 10,
                   "accepting doesn't pause")
        said = len(broker.logged(msg="accepting pauses"))
        rev = job.update(2)
        for client in inside:
            assert client.recv_json()["rev"] == rev
            assert is_alive(client)
        assert broker.admin("/readyz")[0] == 503, "it can't take anybody"
        # It tries again each second, and complains once.
        assert said == 2 and len(broker.logged(msg="accepting pauses")) == 2
        # Who was let in and leaves makes room for those who wait.
        for client in outside[:9]:
            client.__exit__()
        for client in outside[9:]:
            assert client.request("GET", "/nowhere").status == 404
        for pid in broker.worker_pids():
            limit_descriptors(pid, spare=100)
        eventually(lambda: broker.metrics()["progressd_accepting_paused"] == 0, 10,
                   "accepting doesn't go on")
        eventually(lambda: broker.admin("/readyz")[0] == 200, 10)
        assert is_alive(stack.enter_context(watch(broker, "scarce")))


def limit_descriptors(pid, spare):
    """Leaves the process so many descriptors more than it has: the limit is on their numbers, the
    lowest free one of which is taken next."""
    used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    free = [number for number in range(len(used) + spare + 1) if number not in used]
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free[spare], hard))


def test_no_handshake_is_lost_where_only_few_may_be_under_way(brokers, redis):
    broker = brokers(options=["--max-handshakes", "2", "--handshake-timeout", "1"])
    with contextlib.ExitStack() as stack:
        for _ in range(12):  # nobody finishes
            stack.enter_context(HttpClient(broker.address))
        # This one waits in the kernel's queue until their time is up.
        assert http(broker.address, "GET", "/nowhere").status == 404
