"""A page with many tasks: each request is answered by its own task, with default options."""
import json

import pytest

from support.job import Job
from support.ws_client import TEXT, WsClient, encode_frame

STATE_EACH = 3  # one task of so many has a state


@pytest.fixture(scope="module")
def tasks(redis, broker):
    """500 tasks, some of them with a state."""
    names = [f"many-{number}" for number in range(500)]
    for name in names[::STATE_EACH]:
        with Job(redis, name) as job:
            job.update(7)
    return names


def answers(client, count):
    """The tasks of `count` answers: {task: its "subscribed", or its error's code}."""
    found = {}
    while len(found) < count:
        message = client.recv_json(timeout=30)
        if message["type"] in ("subscribed", "unsubscribed", "error"):
            assert message["taskId"] not in found, "it was answered twice"
            found[message["taskId"]] = message["payload"].get("code", message["type"])
    return found


def in_one_write(messages):
    return b"".join(encode_frame(TEXT, json.dumps(message).encode()) for message in messages)


def test_500_single_subscribes_in_one_write_are_all_answered_also_after_two_reconnects(
        broker, tasks):
    subscribes = in_one_write({"type": "subscribe", "taskId": task, "token": broker.token(task)}
                              for task in tasks)
    for _ in range(3):
        with WsClient(broker.ws_url()) as client:
            client.send_raw(subscribes)
            assert answers(client, len(tasks)) == dict.fromkeys(tasks, "subscribed")


def test_one_message_subscribes_to_many_tasks_each_answered_on_its_own(broker, redis, tasks):
    others = [f"not-allowed-{number}" for number in range(3)]
    with WsClient(broker.ws_url()) as client:
        for part in (tasks[:250], tasks[250:] + others):
            client.send_json({"type": "subscribe", "taskIds": part, "token": broker.token("many-*")})
        assert answers(client, len(tasks) + len(others)) == {
            **dict.fromkeys(tasks, "subscribed"), **dict.fromkeys(others, "FORBIDDEN")}
        with Job(redis, tasks[499]) as job:
            rev = job.update(42)
        assert client.recv_until(lambda message: message.get("rev") == rev)


def test_a_state_comes_unless_its_rev_is_current(broker, redis):
    revs = {}
    for task in ("rev-a", "rev-b", "rev-c"):
        with Job(redis, task) as job:
            revs[task] = job.update(1)
    with WsClient(broker.ws_url()) as client:
        client.send_json({"type": "subscribe", "taskIds": list(revs), "token": broker.token(),
                          "revs": [revs["rev-a"], None, "x-1"]})
        client.send_json({"type": "ping", "timestamp": 1})
        messages = client.recv_until("progress_update") + client.recv_until("progress_update")
        states = [message["taskId"] for message in messages if message["type"] == "progress_update"]
        assert sorted(states) == ["rev-b", "rev-c"]


def test_without_a_token_each_of_the_tasks_is_refused(broker):
    with WsClient(broker.ws_url()) as client:
        client.send_json({"type": "subscribe", "taskIds": ["a", "b"]})
        assert answers(client, 2) == {"a": "UNAUTHORIZED", "b": "UNAUTHORIZED"}
        client.send_json({"type": "subscribe", "taskIds": ["c", "d"], "token": "x"})
        assert answers(client, 2) == {"c": "UNAUTHORIZED", "d": "UNAUTHORIZED"}


def test_many_tasks_are_left_and_asked_about_in_one_message(broker, tasks):
    with WsClient(broker.ws_url()) as client:
        client.send_json({"type": "subscribe", "taskIds": tasks[:40], "token": broker.token()})
        answers(client, 40)
        client.send_json({"type": "get_state", "taskIds": tasks[39:41]})
        assert answers(client, 2) == {tasks[39]: "subscribed", tasks[40]: "NOT_SUBSCRIBED"}
        client.send_json({"type": "unsubscribe", "taskIds": tasks[1:41]})
        assert answers(client, 40) == {**dict.fromkeys(tasks[1:40], "unsubscribed"),
                                       tasks[40]: "NOT_SUBSCRIBED"}
        client.send_json({"type": "get_state", "taskId": tasks[0]})
        assert answers(client, 1) == {tasks[0]: "subscribed"}


def test_above_max_subscriptions_each_task_is_told_so(broker):
    names = [f"above-{number}" for number in range(1010)]
    with WsClient(broker.ws_url()) as client:
        client.send_raw(in_one_write({"type": "subscribe", "taskIds": names[at:at + 101],
                                      "token": broker.token()} for at in range(0, 1010, 101)))
        assert answers(client, len(names)) == {
            **dict.fromkeys(names[:1000], "subscribed"),
            **dict.fromkeys(names[1000:], "TOO_MANY_SUBSCRIPTIONS")}
