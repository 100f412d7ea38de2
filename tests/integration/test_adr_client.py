"""A client that knows only ADR-001's messages gets from subscribe to complete."""
import json

import pytest

from support.deadline import eventually
from support.job import Job
from support.ws_client import WsClient

KNOWN = {"progress_update", "stage_change", "time_estimate", "complete", "error", "pong"}


class AdrClient:
    """ADR-001, to the letter: it subscribes with `taskId` and `token`, pings, and shows what it
    knows; it ignores types and members that it doesn't know, and takes any error for the job's."""

    def __init__(self, url, task, token):
        self.socket = WsClient(url)
        self.task = task
        self.shown = []
        self.socket.send_json({"type": "subscribe", "taskId": task, "token": token})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.abort()

    def next(self):
        """The next message that it knows."""
        while True:
            message = self.socket.recv_json()
            if message["type"] not in KNOWN:
                continue
            assert message["type"] != "error", "the page says that the job failed"
            if message["type"] != "pong":
                assert message["taskId"] == self.task
                self.shown.append((message["type"], message["payload"]))
            return message

    def ping(self, timestamp):
        self.socket.send_json({"type": "ping", "timestamp": timestamp})
        return self.next()


@pytest.fixture(params=["named by the address", "named by messages only"])
def connect(request, broker):
    """connect(task): a client that has said subscribe."""
    by_address = request.param == "named by the address"
    clients = []

    def start(task):
        clients.append(AdrClient(broker.ws_url(task if by_address else ""), task,
                                 broker.token(task)))
        return clients[-1]

    yield start
    for client in clients:
        client.socket.abort()


@pytest.fixture
def task(request):
    return f"adr-{len(request.node.name)}-{abs(hash(request.node.name))}"


def test_it_gets_from_subscribe_to_complete(redis, connect, task):
    with Job(redis, task) as job:
        job.update(1, stage="download")
        client = connect(task)
        assert client.next()["payload"]["percentage"] == 1
        job.update(40, stage="transcribing", bytesProcessed=400, bytesTotal=1000,
                   processingSpeed=2.5)
        update = client.next()["payload"]
        assert update["percentage"] == 40 and update["stage"] == "transcribing"
        assert (update["bytesProcessed"], update["bytesTotal"]) == (400, 1000)
        assert update["processingSpeed"] == 2.5 and update["timestamp"].endswith("Z")
        job.stage("formatting", "transcribing")
        stage = client.next()["payload"]
        assert (stage["fromStage"], stage["toStage"]) == ("transcribing", "formatting")
        job.estimate(12.5, 0.8)
        assert client.next()["payload"] == {"estimatedTimeRemaining": 12.5, "confidence": 0.8}
        assert client.ping(1700000000000) == {"type": "pong", "timestamp": 1700000000000}
        job.complete()
        end = client.next()
        assert end["type"] == "complete" and end["payload"]["resultUrl"] == f"/results/{task}"
        assert end["payload"]["duration"] == 3.5
        assert [kind for kind, _ in client.shown] == [
            "progress_update", "progress_update", "stage_change", "time_estimate", "complete"]


def test_it_may_come_before_the_task_has_any_state(redis, connect, task):
    client = connect(task)
    assert client.ping(1)["type"] == "pong"  # and no error before it
    with Job(redis, task) as job:
        job.update(0)
        assert client.next()["payload"]["percentage"] == 0
        job.complete()
        assert client.next()["type"] == "complete"


def test_it_may_come_after_the_end(redis, connect, task):
    with Job(redis, task) as job:
        job.update(100)
        job.complete()
    client = connect(task)
    assert [client.next()["type"], client.next()["type"]] == ["progress_update", "complete"]


def test_it_may_ask_for_the_state_again_and_leave(redis, connect, task):
    with Job(redis, task) as job:
        job.update(40)
        client = connect(task)
        client.next()
        client.socket.send_json({"type": "get_state", "taskId": task})
        assert client.next()["payload"]["percentage"] == 40
        client.socket.send_json({"type": "unsubscribe", "taskId": task})
        client.socket.recv_until("unsubscribed")
        job.update(41)
        assert client.ping(2)["type"] == "pong"  # and no update before it
        assert client.socket.close().code == 1000


def test_without_a_state_subscribed_says_so_with_a_null(broker, task):
    with WsClient(broker.ws_url(task)) as client:
        client.send_json({"type": "subscribe", "token": broker.token(task)})
        message = client.recv_json()
        assert message["type"] == "subscribed" and message["taskId"] == task
        assert message["payload"]["rev"] is None and message["payload"]["stages"] == []


def test_plain_publish_goes_the_one_way_too(redis, broker, connect, task):
    """By the recorder, once it has its lease."""
    client = connect(task)
    client.ping(1)
    message = {"type": "progress_update", "taskId": task,
               "payload": {"percentage": 7, "stage": "download"}}
    eventually(lambda: broker.metrics()["progressd_recorder_active"] == 1, 10)
    eventually(lambda: redis.cli("PUBLISH", f"progress:{task}", json.dumps(message)) != "0", 10)
    assert client.next()["payload"]["percentage"] == 7
