"""GET /api/progress/{taskId}, and what else HTTP clients may try."""
import contextlib
import json
import re

import pytest

from support.broker import Broker
from support.deadline import eventually
from support.http_client import HttpClient, http
from support.job import Job
from support.redis_server import RedisServer
from support.tcp_proxy import TcpProxy
from support.ws_client import WsClient

PAGE = "https://app.example.com"
TASK = "http"
API = "/api/progress/"


@pytest.fixture(scope="module")
def redis(directory):
    with RedisServer(f"{directory}/redis", tcp=True) as server:
        yield server


@pytest.fixture(scope="module")
def proxy(redis):
    with TcpProxy(redis.port) as between:
        yield between


@pytest.fixture(scope="module")
def broker(directory, redis, proxy):
    with Broker(f"{directory}/broker", proxy.url, workers=2,
                options=["--allowed-origins", PAGE, "--linger", "0.2"]) as server:
        yield server


@pytest.fixture(scope="module")
def rev(redis, broker):
    """The rev of the task that most tests ask for."""
    with Job(redis, TASK) as job:
        job.stage("download")
        job.estimate(20)
        return job.update(40, stage="transcribing")


@pytest.fixture
def ask(broker, rev):
    """ask(target, method, **headers): with a token for the target's task, unless another
    Authorization is named."""
    def request(target=TASK, method="GET", **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return http(broker.address, method, target if target.startswith("/") else API + target,
                    {"Authorization": f"Bearer {broker.token()}", **headers})
    return request


# ── The state ───────────────────────────────────────────────────────────────────────────────────

def test_get_answers_with_the_state(ask, rev):
    answer = ask()
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["etag"] == f'"{rev}"'
    state = answer.json()
    assert list(state) == ["taskId", "rev", "done", "stages", "messages"]
    assert (state["taskId"], state["rev"], state["done"]) == (TASK, rev, False)
    assert [stage["stage"] for stage in state["stages"]] == ["download", "transcribing"]
    assert [message["type"] for message in state["messages"]] == [
        "stage_change", "time_estimate", "progress_update"]


def test_the_messages_are_the_same_as_over_websocket(ask, broker):
    with WsClient(broker.ws_url(TASK)) as client:
        client.send_json({"type": "subscribe", "token": broker.token(TASK)})
        told = client.recv_until("progress_update")
    state = ask().json()
    assert told[1:] == state["messages"]
    assert told[0]["payload"]["rev"] == state["rev"]
    assert told[0]["payload"]["stages"] == state["stages"]


def test_head_answers_as_get_does_but_for_the_body(ask):
    get, head = ask(), ask(method="HEAD")
    assert head.status == 200 and head.body == b""
    for name in ("content-length", "etag", "content-type", "cache-control"):
        assert head.headers[name] == get.headers[name], name


@pytest.mark.parametrize("form", ['"{}"', 'W/"{}"', '"other", "{}"', '"a","b" , W/"{}"', "*"])
def test_who_has_the_current_state_gets_304(ask, rev, form):
    for method in ("GET", "HEAD"):
        answer = ask(method=method, If_None_Match=form.format(rev))
        assert answer.status == 304
        assert answer.headers["etag"] == f'"{rev}"' and "retry-after" in answer.headers
        assert "content-type" not in answer.headers


@pytest.mark.parametrize("form", ['"{}x"', '"x{}"', "{}", '""', '"', 'W/"old"'])
def test_who_has_another_state_gets_this_one(ask, rev, form):
    assert ask(If_None_Match=form.format(rev)).status == 200


@pytest.mark.parametrize("changed", ['W/"{}"', '"{}-gzip"', 'W/"{}-br"', '"x", W/"{}"'])
def test_an_etag_that_a_proxy_changed_is_still_the_states(ask, rev, changed):
    assert ask(If_None_Match=changed.format(rev)).status == 304


@pytest.mark.parametrize("other", ['"{}0"', '"{}-x"', 'W/"x{}"', '{}'])
def test_an_etag_of_something_else_is_not(ask, rev, other):
    assert ask(If_None_Match=other.format(rev)).status == 200


def test_a_new_state_has_a_new_etag(redis, ask):
    with Job(redis, "moving") as job:
        first = job.update(1)
        assert ask("moving", If_None_Match=f'"{first}"').status == 304
        second = job.update(2)
        answer = eventually(lambda: (lambda got: got.status == 200 and got)(
            ask("moving", If_None_Match=f'"{first}"')), 10)
        assert answer.headers["etag"] == f'"{second}"'


@pytest.mark.parametrize("age, pace", [(0, 2), (60, 15), (3600, 30)])
def test_retry_after_follows_the_task(redis, ask, age, pace):
    """What moves no more is asked for seldom."""
    with Job(redis, f"pace-{age}") as job:
        job.update(1)
        if age:
            age_by(job, age)
        # A few seconds may have passed meanwhile.
        assert 0 <= int(ask(job.task).headers["retry-after"]) - pace <= 1


def test_an_ended_task_need_not_be_asked_for_again(redis, ask):
    with Job(redis, "paced-end") as job:
        job.update(99)
        job.complete()
    answer = ask("paced-end")
    assert answer.json()["done"] is True and "retry-after" not in answer.headers


def age_by(job, seconds):
    """Makes the task's state as old as that, for a broker that hasn't read it yet."""
    now, _ = job.connection.call("TIME")
    run = job.connection.call("HGET", job.key, "run").decode()
    rev = f"{run}-{(int(now) - seconds) * 1000000}"
    job.connection.call("HSET", job.key, "n", rev.partition("-")[2], "progress_update", json.dumps(
        {"type": "progress_update", "taskId": job.task, "rev": rev,
         "payload": {"percentage": 1, "stage": "x"}}, separators=(",", ":")))


# ── What is refused ─────────────────────────────────────────────────────────────────────────────

@pytest.mark.parametrize("target, code", [
    (API, "INVALID_TASK_ID"), (API + "a%20b", "INVALID_TASK_ID"), (API + "%", "INVALID_TASK_ID"),
    (API + "%e4", "INVALID_TASK_ID"), (API + "a/b", "INVALID_TASK_ID"),
    (API + "x" * 129, "INVALID_TASK_ID"), (API + "a,b", "INVALID_TASK_ID")])
def test_a_bad_task_id_gets_400(ask, target, code):
    answer = ask(target)
    assert (answer.status, answer.error()) == (400, code)


def test_the_longest_task_id_is_good_also_percent_encoded(ask):
    assert ask("x" * 128).status == 404
    assert ask("%78" * 128).status == 404


def test_the_task_id_may_be_percent_encoded(ask, rev):
    assert ask("".join(f"%{ord(letter):02x}" for letter in TASK)).json()["rev"] == rev


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer ", "Bearer x", "Basic abc",
                                           "Token x", "Bearer a.b.c"])
def test_without_a_good_token_there_is_401(ask, authorization):
    answer = ask(Authorization=authorization)
    assert (answer.status, answer.error()) == (401, "UNAUTHORIZED")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "retry-after" not in answer.headers


def test_the_scheme_is_known_in_any_case(ask, broker):
    assert ask(Authorization=f"bearer {broker.token()}").status == 200


def test_a_task_without_state_gets_404_and_when_to_come_again(ask):
    answer = ask("nothing-yet")
    assert (answer.status, answer.error()) == (404, "TASK_NOT_FOUND")
    assert answer.headers["retry-after"] == "2"


def test_polls_of_invented_tasks_are_limited_for_each_token_and_others_are_not(brokers, redis):
    broker = brokers(workers=1, options=["--linger", "3600"])
    with Job(redis, "known") as job:
        job.update(1)
    statuses = []
    with HttpClient(broker.address) as client:
        def poll(*targets, token=broker.token("*", claims={"sub": "somebody"})):
            for target in targets:
                client.send(client.encode("GET", f"/api/progress/{target}",
                                          {"Authorization": f"Bearer {token}"}))
            statuses.extend(client.answer().status for _ in targets)
            return statuses[-1]

        poll("known")
        for at in range(0, 30000, 20):
            poll(*(f"invented-{at + number}" for number in range(20)))
            if 429 in statuses:
                break
        assert set(statuses) == {200, 404, 429}, "the burst is used up"
        assert statuses.index(429) >= 2000, "which takes this many"
        assert poll("known") == 200, "what is known is answered as ever"
        assert poll("invented", token=broker.token("invented")) == 404, "and another token too"
    assert broker.metrics()['progressd_http_requests_total{code="429"}'] >= 1
    eventually(lambda: broker.logged(module="poller", level="warn"), 10)


@pytest.mark.parametrize("target", ["/", "/api", "/api/progress", "/ws", "/ws/progressx",
                                    "/favicon.ico", "//api/progress/x", "/metrics", "/status"])
def test_other_paths_get_404(ask, target):
    answer = ask(target)
    assert (answer.status, answer.error()) == (404, "NOT_FOUND")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_other_methods_get_405(ask, method):
    answer = ask(method=method)
    assert (answer.status, answer.error()) == (405, "METHOD_NOT_ALLOWED")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("target", ["/ws/progress", "/ws/progress/x", "/ws/progress/"])
def test_a_plain_request_where_websocket_is_spoken_gets_426(ask, target):
    answer = ask(target)
    assert (answer.status, answer.error()) == (426, "UPGRADE_REQUIRED")
    assert answer.headers["upgrade"] == "websocket"
    assert answer.headers["sec-websocket-version"] == "13"


@pytest.mark.parametrize("data", [
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n: empty\r\n\r\n",
    b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    b"GET / HTTP/0.9\r\nHost: a\r\n\r\n",
    b"GET / RTSP/1.0\r\nHost: a\r\n\r\n",
    b"GET /\xe4 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\nHost: a\x00\n\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"hello\r\n\r\n",
])
def test_what_breaks_http_gets_400_and_is_closed(broker, data):
    with HttpClient(broker.address) as client:
        client.send(data)
        answer = client.answer()
        assert (answer.status, answer.error()) == (400, "BAD_REQUEST")
        assert answer.headers["connection"] == "close"
        assert client.is_at_end()


def test_an_endless_header_gets_431(broker):
    with HttpClient(broker.address) as client, contextlib.suppress(ConnectionError):
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100000)
        assert client.answer().status == 431
        assert client.is_at_end()


# ── Connections ─────────────────────────────────────────────────────────────────────────────────

def test_a_connection_serves_many_requests(broker, rev):
    headers = {"Authorization": f"Bearer {broker.token()}"}
    with HttpClient(broker.address) as client:
        for _ in range(3):
            assert client.request("GET", API + TASK, headers).status == 200
            assert client.request("HEAD", API + TASK, headers).status == 200
            assert client.request("GET", API + TASK, {}).status == 401
            assert client.request("GET", "/nowhere", {}).status == 404
            assert client.request("GET", API + TASK,
                                  {**headers, "If-None-Match": f'"{rev}"'}).status == 304
        answer = client.request("GET", API + TASK, {**headers, "Connection": "close"})
        assert answer.status == 200 and answer.headers["connection"] == "close"
        assert client.is_at_end()


def test_pipelined_requests_are_answered_in_their_order(broker, redis):
    """Of tasks that the broker has to ask Redis for, and of some it needn't."""
    with HttpClient(broker.address) as client:
        headers = {"Authorization": f"Bearer {broker.token()}"}
        for number in range(30):
            with Job(redis, f"piped-{number}") as job:
                job.update(number)
        targets = [f"{API}piped-{number % 30}" if number % 3 else "/nowhere"
                   for number in range(90)]
        client.send(b"".join(client.encode("GET", target, headers) for target in targets))
        for number, target in enumerate(targets):
            answer = client.answer()
            if target == "/nowhere":
                assert answer.status == 404
            else:
                assert answer.json()["messages"][0]["payload"]["percentage"] == number % 30


def test_a_request_may_come_byte_by_byte(broker, rev):
    with HttpClient(broker.address) as client:
        data = client.encode("GET", API + TASK, {"Authorization": f"Bearer {broker.token()}"})
        for at in range(len(data)):
            client.send(data[at:at + 1])
        assert client.answer().json()["rev"] == rev


def test_a_websocket_upgrade_may_follow_requests(broker, rev):
    with HttpClient(broker.address) as client:
        assert client.request("GET", "/nowhere").status == 404
        client.send(client.encode("GET", "/ws/progress", {
            "Connection": "keep-alive, Upgrade", "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}))
        assert client.reader.readline().startswith(b"HTTP/1.1 101 ")


# ── CORS ────────────────────────────────────────────────────────────────────────────────────────

def test_preflight_allows_the_pages_on_the_list(ask):
    answer = ask(method="OPTIONS", Origin=PAGE, Access_Control_Request_Method="GET",
                 Access_Control_Request_Headers="authorization", Authorization=None)
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "GET" in answer.headers["access-control-allow-methods"]
    allowed = re.split(r"\s*,\s*", answer.headers["access-control-allow-headers"].lower())
    assert {"authorization", "if-none-match"} <= set(allowed)
    assert "origin" in answer.headers["vary"].lower()


@pytest.mark.parametrize("wanted", ["traceparent", "baggage,sentry-trace", "x-a, X-B_c!",
                                    "authorization,traceparent,tracestate,baggage"])
def test_preflight_allows_the_headers_that_tools_for_tracing_add(ask, wanted):
    answer = ask(method="OPTIONS", Origin=PAGE, Access_Control_Request_Method="GET",
                 Access_Control_Request_Headers=wanted, Authorization=None)
    allowed = re.split(r"\s*,\s*", answer.headers["access-control-allow-headers"].lower())
    assert {"authorization", *re.split(r"\s*,\s*", wanted.lower())} <= set(allowed)


@pytest.mark.parametrize("wanted", ["", "a b; c", "x" * 2000, 'a"b', "a\tb"],
                         ids=["empty", "semicolon", "long", "quote", "tab"])
def test_preflight_repeats_nothing_that_is_no_list_of_headers(ask, wanted):
    answer = ask(method="OPTIONS", Origin=PAGE, Access_Control_Request_Method="GET",
                 Access_Control_Request_Headers=wanted, Authorization=None)
    assert answer.status == 204
    assert answer.headers["access-control-allow-headers"] == "Authorization, If-None-Match"


@pytest.mark.parametrize("origin", ["https://evil.example", "http://app.example.com", "null",
                                    PAGE + ".evil.example", PAGE + ":8443"])
def test_other_pages_are_allowed_nothing(ask, origin):
    answer = ask(method="OPTIONS", Origin=origin, Authorization=None)
    assert (answer.status, answer.error()) == (403, "ORIGIN_NOT_ALLOWED")
    for answer in (answer, ask(Origin=origin)):
        assert "access-control-allow-origin" not in answer.headers


def test_a_refused_origin_is_logged_with_the_host_it_called(ask, broker):
    ask(Origin="https://logged.example")
    assert eventually(lambda: broker.logged(origin="https://logged.example",
                                            host=broker.address, level="warn"), 10)


def test_a_page_on_the_list_may_read_answers_and_errors(ask):
    for answer in (ask(Origin=PAGE), ask("missing", Origin=PAGE),
                   ask(Origin=PAGE, Authorization=None)):
        assert answer.headers["access-control-allow-origin"] == PAGE
        exposed = answer.headers["access-control-expose-headers"].lower()
        assert "etag" in exposed and "retry-after" in exposed
        assert "access-control-allow-credentials" not in answer.headers


# ── While Redis is away ─────────────────────────────────────────────────────────────────────────

def test_polling_while_redis_is_away_gets_503_and_then_again_the_state(broker, proxy, ask, rev):
    with WsClient(broker.ws_url("watched")) as client:
        client.send_json({"type": "subscribe", "token": broker.token("watched")})
        client.recv_json()
        proxy.cut()
        eventually(lambda: broker.metrics()["progressd_links_up"] == 0, 10)
        answer = ask("unknown")  # waits a little before it gives up
        assert (answer.status, answer.error()) == (503, "UNAVAILABLE")
        assert 1 <= int(answer.headers["retry-after"]) <= 30
        assert ask("unknown", Authorization=None).status == 401, "a stranger isn't told of Redis"
        # And over WebSocket, for a task that isn't known.
        client.send_json({"type": "subscribe", "taskId": "unknown",
                          "token": broker.token("unknown")})
        error = client.recv_json()
        assert error["payload"]["code"] == "UNAVAILABLE" and error["payload"]["retryable"] is True
        proxy.restore()
        answer = eventually(lambda: (lambda got: got.status == 200 and got)(ask()), 10)
        assert answer.json()["rev"] == rev
        client.send_json({"type": "ping", "timestamp": 1})
        assert client.recv_json()["type"] == "pong", "the client should have stayed"
