"""Promise 2: a complete or error that progress_publish accepted reaches every client that is
subscribed, or subscribes while the state lives."""
import contextlib
import json
import os
import signal

import pytest

from support.broker import Broker
from support.deadline import eventually
from support.job import Job
from support.redis_server import RedisServer
from support.tcp_proxy import TcpProxy
from support.ws_client import Watchers, WsClient

ENDS = {
    "complete": ("complete", {"resultUrl": "/results/1", "duration": 3.5}),
    "error": ("error", {"code": "DECODER", "message": "no sound in it"}),
}


@pytest.fixture(scope="module")
def redis(directory):
    with RedisServer(f"{directory}/redis", tcp=True) as server:
        yield server


@pytest.fixture(scope="module")
def proxy(redis):
    """What the brokers take for Redis; jobs reach the real one."""
    with TcpProxy(redis.port) as between:
        yield between


@pytest.fixture(scope="module")
def pair(directory, redis, proxy):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Broker(f"{directory}/broker-{number}", proxy.url, workers=2,
                                          options=["--recorder", "off"]))
               for number in range(2)]


@pytest.fixture(autouse=True)
def network(proxy, pair):
    """Each test begins with a whole network, however the one before ended."""
    if proxy.is_cut():
        proxy.restore()
    eventually(lambda: links_up(pair) == 4, 10, "not all links are up")


@pytest.fixture(params=ENDS)
def end(request):
    """The type of a terminal message, and its payload."""
    return ENDS[request.param]


@pytest.fixture
def task(request):
    return request.node.name.translate(str.maketrans("[]", "--"))


def watch(brokers, tasks, count):
    """So many watchers of each task, on all brokers in turn."""
    return Watchers((brokers[number % len(brokers)].ws_url(), task, brokers[0].token(tasks))
                    for task in tasks for number in range(count))


def has_ended(watcher):
    """Has been told the end, in its last connection; and nothing after it."""
    types = [message["type"] for message in watcher.connections[-1]]
    return bool(types) and types[-1] in ENDS


def links_up(brokers):
    return sum(broker.metrics()["progressd_links_up"] for broker in brokers)


def test_the_end_published_while_all_links_are_cut_reaches_everybody_after_they_are_back(
        redis, proxy, pair, task, end):
    kind, payload = end
    with Job(redis, task) as job, watch(pair, [task], 20) as watchers:
        job.update(90)
        watchers.wait(lambda watcher: "progress_update" in watcher.types())
        proxy.cut()
        eventually(lambda: links_up(pair) == 0, 10, "a link stays up without a network")
        rev = job.publish(kind, **payload)
        proxy.restore()
        watchers.wait(has_ended)
        for watcher in watchers:
            assert watcher.messages[-1]["rev"] == rev
            assert not watcher.closes, "a client lost its connection, though only Redis was away"


def test_who_comes_while_the_links_are_cut_is_told_what_is_known_and_then_the_end(
        redis, proxy, brokers, task, end):
    kind, payload = end
    broker = brokers(workers=1, redis_url=proxy.url, options=["--recorder", "off"])
    with Job(redis, task) as job, watch([broker], [task], 1) as watchers:
        job.update(90)
        watchers.wait(lambda watcher: "progress_update" in watcher.types())
        proxy.cut()
        eventually(lambda: links_up([broker]) == 0, 10, "a link stays up without a network")
        rev = job.publish(kind, **payload)
        with WsClient(broker.ws_url(task)) as late:
            late.send_json({"type": "subscribe", "token": broker.token(task)})
            assert [message["type"] for message in late.recv_until("progress_update")] == [
                "subscribed", "progress_update"]
            proxy.restore()
            assert late.recv_until(kind)[-1]["rev"] == rev


def test_who_subscribes_after_the_end_is_told_it_by_every_worker(redis, pair, task, end):
    kind, payload = end
    with Job(redis, task) as job:
        job.update(100)
        rev = job.publish(kind, **payload)
    with watch(pair, [task], 20) as watchers:
        watchers.wait(lambda watcher: kind in watcher.types())
        for watcher in watchers:
            assert watcher.types() == ["subscribed", "progress_update", kind]
            assert watcher.messages[-1]["rev"] == rev
    status, body = pair[0].poll(task)
    assert status == 200 and json.loads(body)["done"] is True


def test_the_kill_of_a_worker_loses_no_terminal_message(redis, pair, end):
    kind, payload = end
    tasks = [f"killed-{kind}-{number}" for number in range(40)]
    broker = pair[0]
    with watch([broker], tasks, 2) as watchers, contextlib.ExitStack() as stack:
        jobs = [stack.enter_context(Job(redis, task)) for task in tasks]
        for job in jobs:
            job.update(50)
        watchers.wait(lambda watcher: "progress_update" in watcher.types())
        pids = broker.worker_pids()
        for number, job in enumerate(jobs):
            if number in (10, 30):  # both workers, in the midst of the ends
                os.kill(pids[number // 20], signal.SIGKILL)
            job.publish(kind, **payload)
        watchers.wait(lambda watcher: watcher.connections and has_ended(watcher))
        broker.wait_for_workers(without=pids)
        assert any(watcher.closes for watcher in watchers), "nobody was on a worker that died"


def test_a_retryable_error_is_no_end_and_is_cleared_by_what_comes_next(redis, pair, task):
    with Job(redis, task) as job, WsClient(pair[0].ws_url(task)) as client:
        job.update(30)
        client.send_json({"type": "subscribe", "token": pair[0].token(task)})
        client.recv_until("progress_update")
        job.fail(retryable=True)
        assert client.recv_json()["payload"]["retryable"] is True
        assert "error" in types_of(pair[0], task)
        assert json.loads(pair[0].poll(task)[1])["done"] is False
        rev = job.update(31)
        assert client.recv_json()["rev"] == rev
        for broker in pair:  # a worker without the client may hear of it a little later
            eventually(lambda: types_of(broker, task) == ["progress_update"])


def types_of(broker, task):
    return [message["type"] for message in json.loads(broker.poll(task)[1])["messages"]]


def test_a_reset_after_the_end_begins_anew_for_those_who_watch(redis, pair, task):
    with Job(redis, task) as job, WsClient(pair[0].ws_url(task)) as client:
        job.complete()
        client.send_json({"type": "subscribe", "token": pair[0].token(task)})
        client.recv_until("complete")
        reset = job.reset()
        update = job.update(1)
        assert [message["rev"] for message in client.recv_until("progress_update")] == [reset,
                                                                                       update]
