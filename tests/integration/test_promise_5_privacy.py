"""Promise 5: nobody sees a task that its token doesn't name; also not its existence."""
import base64
import json
import time

import pytest

from support.broker import Broker, make_token
from support.http_client import http
from support.job import Job
from support.ws_client import HandshakeRefused, WsClient

SECOND_KEY = b"another key, which the broker knows by another name, of 64 bytes......"
SUBSCRIBE_TIMEOUT = 1


@pytest.fixture(scope="module")
def broker(directory, redis):
    with Broker(f"{directory}/broker", redis.url, workers=2,
                options=["--subscribe-timeout", SUBSCRIBE_TIMEOUT]) as server:
        yield server


@pytest.fixture(scope="module")
def there(redis):
    """The id of a task that exists."""
    with Job(redis, "there") as job:
        job.update(40)
        yield "there"


def bearer(token):
    return {"Authorization": f"Bearer {token}"} if token is not None else {}


def ask_http(broker, task, token):
    """Status and body, and the headers but for the date."""
    answer = http(broker.address, "GET", f"/api/progress/{task}", bearer(token))
    answer.headers.pop("date", None)
    return answer.status, answer.body, answer.headers


def ask_websocket(broker, task, token):
    """The answer to subscribe, as text, without the task's id."""
    message = {"type": "subscribe", "taskId": task}
    with WsClient(broker.ws_url()) as client:
        client.send_json(message if token is None else {**message, "token": token})
        return client.recv_message().replace(f'"{task}"', '"…"')


def code_of(text):
    return json.loads(text)["payload"].get("code")


def unsigned(claims):
    """A token of algorithm none."""
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
    return f"{part({'alg': 'none', 'typ': 'JWT', 'kid': 'test'})}.{part(claims)}."


def tampered(token):
    """The same signature under other claims."""
    head, claims, signature = token.split(".")
    decoded = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    decoded["tasks"] = ["*"]
    claims = base64.urlsafe_b64encode(json.dumps(decoded).encode()).rstrip(b"=").decode()
    return f"{head}.{claims}.{signature}"


def with_algorithm_of_its_own(broker, claims):
    """Signed with the right key, by another algorithm than the key's."""
    return make_token(claims, broker.key, "test", "HS512")


def bad_tokens(broker, task):
    claims = {"tasks": [task], "exp": int(time.time()) + 60}
    good = broker.token(task)
    return {
        "none at all": None,
        "no token": "abc",
        "three dots": "...",
        "no base64": "a!b.c?d.e",
        "long": "x" * 3000,
        "expired": broker.token(task, ttl=-1),
        "expires now": broker.token(task, ttl=0),
        "without exp": make_token({"tasks": [task]}),
        "exp no number": make_token({"tasks": [task], "exp": "soon"}),
        "not yet": broker.token(task, claims={"nbf": int(time.time()) + 600}),
        "names nothing": make_token({"exp": claims["exp"]}),
        "tasks no array": make_token({"tasks": task, "exp": claims["exp"]}),
        "algorithm none": unsigned(claims),
        "tampered": tampered(good),
        "signature cut": good[:-4],
        "signature missing": good.rpartition(".")[0] + ".",
        "another key": broker.token(task, key=b"a key that the broker has never seen, long enough"),
        "unknown kid": broker.token(task, kid="nobody"),
        "names what is no task": make_token({"tasks": ["*there", task], "exp": claims["exp"]}),
        "another algorithm": with_algorithm_of_its_own(broker, claims),
    }


def test_every_bad_token_gets_the_same_over_both_transports_whether_the_task_exists_or_not(
        broker, there):
    tokens = bad_tokens(broker, there)
    for name, token in tokens.items():
        status, body, headers = ask_http(broker, there, token)
        assert status == 401 and json.loads(body)["error"]["code"] == "UNAUTHORIZED", name
        assert headers["www-authenticate"].startswith("Bearer"), name
        assert (status, body, headers) == ask_http(broker, "missing", token), name
        answer = ask_websocket(broker, there, token)
        assert code_of(answer) == "UNAUTHORIZED", name
        assert json.loads(answer)["payload"]["scope"] == "request"
        assert answer == ask_websocket(broker, "missing", token), name
    # The broker says neither more nor less to the next one with a good token.
    assert ask_http(broker, there, broker.token(there))[0] == 200


@pytest.mark.parametrize("names", [["other"], ["ther"], ["therefore"], ["THERE"], ["x*"],
                                   ["there-*"], ["a", "b*", "there."]])
def test_a_token_for_other_tasks_gets_the_same_whether_the_task_exists_or_not(broker, there, names):
    token = broker.token(names)
    answer = ask_http(broker, there, token)
    assert answer[0] == 403 and json.loads(answer[1])["error"]["code"] == "FORBIDDEN"
    assert answer == ask_http(broker, "missing", token)
    answer = ask_websocket(broker, there, token)
    assert code_of(answer) == "FORBIDDEN"
    assert answer == ask_websocket(broker, "missing", token)


@pytest.mark.parametrize("names", [["there"], ["a", "there"], ["th*"], ["*"], ["there*"]])
def test_a_token_that_names_it_is_shown_the_task(broker, there, names):
    token = broker.token(names)
    assert ask_http(broker, there, token)[0] == 200
    assert json.loads(ask_websocket(broker, there, token))["type"] == "subscribed"


def test_only_who_may_watch_a_task_is_told_that_it_is_missing(broker):
    status, body, _ = ask_http(broker, "missing", broker.token("missing"))
    assert status == 404 and json.loads(body)["error"]["code"] == "TASK_NOT_FOUND"


def test_the_claim_task_id_names_a_task_too(broker, there):
    token = make_token({"taskId": there, "exp": time.time() + 60})
    assert ask_http(broker, there, token)[0] == 200
    assert ask_http(broker, "missing", token)[0] == 403


def test_what_a_percent_encoded_id_hides_is_checked_as_what_it_is(broker, there, redis):
    with Job(redis, "a:b~c") as job:
        job.update(1)
    token = broker.token("a:b~c")
    assert ask_http(broker, "a%3ab%7Ec", token)[0] == 200
    assert ask_http(broker, "%74here", token)[0] == 403
    assert ask_http(broker, "%74here", broker.token(there))[0] == 200
    for target in ("%00there", "there%00", "%2e%2e%2f", "there%2fx", "th%2", "th%zz"):
        assert ask_http(broker, target, broker.token("*"))[0] == 400, target


def test_a_token_in_the_address_counts_for_nothing(broker, there):
    token = broker.token(there)
    for query in (f"?token={token}", f"?access_token={token}"):
        assert ask_http(broker, there + query, None)[0] == 401


def test_one_subscription_allows_nothing_about_other_tasks(broker, there, redis):
    with Job(redis, "secret") as job, WsClient(broker.ws_url()) as client:
        client.send_json({"type": "subscribe", "taskId": there, "token": broker.token(there)})
        client.recv_until("progress_update")
        for kind in ("get_state", "unsubscribe"):
            client.send_json({"type": kind, "taskId": "secret"})
            assert client.recv_json()["payload"]["code"] == "NOT_SUBSCRIBED"
        client.send_json({"type": "subscribe", "taskId": "secret", "token": broker.token(there)})
        assert client.recv_json()["payload"]["code"] == "FORBIDDEN"
        job.update(50)
        with Job(redis, there) as mine:
            rev = mine.update(41)
        assert client.recv_json()["rev"] == rev


def test_a_failed_renewal_leaves_the_subscription_as_it_was(broker, there, redis):
    with WsClient(broker.ws_url(there)) as client, Job(redis, there) as job:
        client.send_json({"type": "subscribe", "token": broker.token(there)})
        client.recv_until("progress_update")
        client.send_json({"type": "subscribe", "token": broker.token("other")})
        assert client.recv_json()["payload"]["code"] == "FORBIDDEN"
        rev = job.update(42)
        assert client.recv_json()["rev"] == rev


def test_a_token_that_runs_out_ends_its_subscription_and_then_the_connection(broker, there, redis):
    with WsClient(broker.ws_url()) as client, Job(redis, there) as job:
        client.send_json({"type": "subscribe", "taskId": there,
                          "token": broker.token(there, ttl=2)})
        client.recv_until("progress_update")
        ended = client.recv_json(timeout=5)
        assert (ended["type"], ended["taskId"]) == ("unsubscribed", there)
        assert ended["payload"]["reason"] == "TOKEN_EXPIRED"
        job.update(43)
        closed = client.expect_close(timeout=5)
        assert closed.code == 4401
    # Nothing came between the two: expect_close() reads over messages, this doesn't.
    with WsClient(broker.ws_url()) as client, Job(redis, there) as job:
        client.send_json({"type": "subscribe", "taskId": there,
                          "token": broker.token(there, ttl=1)})
        messages = client.recv_until("unsubscribed", timeout=5)
        assert "error" not in [message["type"] for message in messages]
        job.update(44)
        client.send_json({"type": "ping", "timestamp": 7})
        assert client.recv_json() == {"type": "pong", "timestamp": 7}


def test_each_subscription_has_its_own_token(broker, there, redis):
    with WsClient(broker.ws_url()) as client, Job(redis, "second") as job:
        client.send_json({"type": "subscribe", "taskId": there,
                          "token": broker.token(there, ttl=1)})
        client.send_json({"type": "subscribe", "taskId": "second",
                          "token": broker.token("second", ttl=60)})
        ended = client.recv_until("unsubscribed", timeout=5)[-1]
        assert ended["taskId"] == there
        rev = job.update(1)
        assert client.recv_json()["rev"] == rev


def test_a_fresh_token_renews_in_place(broker, there, redis):
    with WsClient(broker.ws_url(there)) as client, Job(redis, there) as job:
        client.send_json({"type": "subscribe", "token": broker.token(there, ttl=2)})
        first = [client.recv_json()]
        current = first[0]["payload"]["rev"]
        first += client.recv_until(lambda message: message["rev"] == current)
        client.send_json({"type": "subscribe", "token": broker.token(there, ttl=600),
                          "rev": current})
        renewed = client.recv_json()
        assert renewed["type"] == "subscribed"
        assert renewed["payload"]["expiresAt"] > first[0]["payload"]["expiresAt"]
        with pytest.raises(TimeoutError):  # the first token has run out by then
            client.recv_json(timeout=3)
        rev = job.update(45)
        assert client.recv_json()["rev"] == rev


def test_who_comes_back_with_a_stale_token_is_told_so_and_closed_after_a_while(broker, there):
    with WsClient(broker.ws_url(there)) as client:
        client.send_json({"type": "subscribe", "token": broker.token(there, ttl=-5)})
        assert client.recv_json()["payload"]["code"] == "UNAUTHORIZED"
        assert client.expect_close(timeout=5).code == 4401


def test_a_key_is_chosen_by_its_name_and_none_stands_in_for_another(directory, redis, there):
    second = f"{directory}/second.key"
    with open(second, "wb") as file:
        file.write(SECOND_KEY)
    with Broker(f"{directory}/two-keys", redis.url,
                options=["--jwt-key", f"second=HS384:{second}"]) as broker:
        claims = {"tasks": [there], "exp": int(time.time()) + 60}
        good = {"test": make_token(claims), "second": make_token(claims, SECOND_KEY, "second",
                                                                 "HS384")}
        for token in good.values():
            assert ask_http(broker, there, token)[0] == 200
        for token in (make_token(claims, SECOND_KEY, "test", "HS256"),
                      make_token(claims, SECOND_KEY, "second", "HS256"),
                      make_token(claims, kid="second", algorithm="HS384")):
            assert ask_http(broker, there, token)[0] == 401


def test_a_page_of_another_origin_is_not_let_in(broker, there):
    for origin, let_in in ((f"http://{broker.address}", True), ("https://evil.example", False),
                           ("null", False)):
        try:
            WsClient(broker.ws_url(there), headers={"Origin": origin}).abort()
            assert let_in, origin
        except HandshakeRefused as refused:
            assert refused.status == 403 and not let_in, origin
