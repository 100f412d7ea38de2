"""What Redis has lost, forgotten, or was given by others than progress_publish: every worker of every
broker gives the same answer within the resync interval, and nothing that is published later is
missed."""
import contextlib
import json

import pytest

from support.broker import Broker
from support.deadline import eventually
from support.job import Job
from support.ws_client import Watchers, WsClient

RESYNC_SECONDS = 1
PROGRESS = {"percentage": 1, "stage": "x", "timestamp": "2026-01-01T00:00:00Z"}
COMPLETE = {"resultUrl": "/r", "duration": 1}


@pytest.fixture(scope="module")
def pair(directory, redis):
    """Two brokers of two workers each, on one Redis."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Broker(f"{directory}/broker-{number}", redis.url, workers=2,
                                          options=["--resync-interval", RESYNC_SECONDS,
                                                   "--linger", 60, "--recorder", "off"]))
               for number in range(2)]


@pytest.fixture
def task(request):
    """A task of this test's own."""
    return request.node.name.translate(str.maketrans("[] ", "---"))


@pytest.fixture
def watchers(pair, task):
    """Watchers of the task, on both brokers in turn."""
    with Watchers((pair[number % 2].ws_url(), task, pair[0].token(task))
                  for number in range(6)) as crowd:
        yield crowd


def message(task, kind, rev, payload):
    return json.dumps({"type": kind, "taskId": task, "rev": rev, "payload": payload},
                      separators=(",", ":"))


def last_is(**members):
    """Whether the last message that a watcher was sent has these members."""
    return lambda watcher: watcher.messages and all(
        name in watcher.messages[-1] and watcher.messages[-1][name] == value
        for name, value in members.items())


def polls(pair, task):
    """What a poll gets, of each worker, as likely as can be."""
    return {broker.poll(task)[0] for broker in pair for _ in range(8)}


@pytest.mark.parametrize("how", ["del", "expiry", "flush"])
def test_a_state_that_is_gone_is_gone_everywhere(redis, pair, task, watchers, how):
    key = f"progress:{task}"
    with Job(redis, task) as job:
        rev = job.update(40)
        watchers.wait(last_is(rev=rev))
        {"del": lambda: redis.cli("DEL", key), "flush": lambda: redis.cli("FLUSHALL"),
         "expiry": lambda: redis.cli("PEXPIRE", key, "1")}[how]()
        watchers.wait(last_is(type="reset", rev=None, payload={}))
        eventually(lambda: polls(pair, task) == {404}, 10, "a worker goes on serving it")
        with WsClient(pair[0].ws_url()) as late:
            late.send_json({"type": "subscribe", "taskId": task, "token": pair[0].token(task)})
            assert late.recv_json()["payload"]["rev"] is None
            rev = job.complete()  # and what comes next begins anew
            assert late.recv_until("complete")[-1]["rev"] == rev
        watchers.wait(last_is(rev=rev))


def test_a_client_that_comes_back_to_a_state_that_is_gone_is_told(redis, pair, task):
    with WsClient(pair[0].ws_url()) as client:
        client.send_json({"type": "subscribe", "taskId": task, "token": pair[0].token(task),
                          "rev": "abc-1700000000000000"})
        assert client.recv_json()["type"] == "subscribed"
        assert client.recv_json() == {"type": "reset", "taskId": task, "rev": None, "payload": {}}


@pytest.mark.parametrize("behind", [8, 60])
def test_a_redis_that_lost_data_with_its_clock_behind(redis, pair, task, watchers, behind):
    """The new run's n is smaller than the lost one's."""
    key = f"progress:{task}"
    with Job(redis, task) as job:
        rev = job.update(40)
        watchers.wait(last_is(rev=rev))
        n = int(rev.rpartition("-")[2]) - behind * 1_000_000
        first = message(task, "progress_update", f"newrun-{n}", PROGRESS)
        job.connection.call("EVAL", "redis.call('DEL', KEYS[1]) redis.call('HSET', KEYS[1], 'run', "
                            "'newrun', 'n', ARGV[1], 'progress_update', ARGV[2])", 1, key, n, first)
        watchers.wait(last_is(rev=f"newrun-{n}"))
        for watcher in watchers:
            assert [m["type"] for m in watcher.messages[-2:]] == ["reset", "progress_update"]
        # What comes over the channel goes on from there, whatever the old n was.
        end = message(task, "complete", f"newrun-{n + 1}", COMPLETE)
        job.connection.call("HSET", key, "n", n + 1, "complete", end)
        job.connection.call("SPUBLISH", key, end)
        watchers.wait(last_is(rev=f"newrun-{n + 1}"))
        eventually(lambda: {json.loads(broker.poll(task)[1])["rev"] for broker in pair
                            for _ in range(8)} == {f"newrun-{n + 1}"}, 10)


BAD = {
    "invalid UTF-8": b'{"percentage":1,"stage":"\xff"}',
    "no JSON": b"{oops}",
    "a member missing": b'{"percentage":1}',
    "a member out of range": b'{"percentage":101,"stage":"x"}',
    "two objects": b'{"percentage":1,"stage":"x"},"type":{}',
}


@pytest.mark.parametrize("what", BAD)
def test_a_message_that_progress_publish_would_refuse_reaches_nobody(redis, pair, task, watchers,
                                                                     what):
    with Job(redis, task) as job:
        rev = job.update(40)
        watchers.wait(last_is(rev=rev))
        run, n = rev.split("-")
        forged = (f'{{"type":"progress_update","taskId":"{task}","rev":"{run}-{int(n) + 1}",'
                  '"payload":').encode() + BAD[what] + b"}"
        assert job.connection.call("SPUBLISH", job.key, forged) >= 1
        job.connection.call("HSET", job.key, "time_estimate", forged)
        update, rev = rev, job.complete()
        watchers.wait(last_is(rev=rev))
        for watcher in watchers:
            assert [m["rev"] for m in watcher.messages if m.get("rev")][-2:] == [update, rev]
        with WsClient(pair[1].ws_url()) as late:
            late.send_json({"type": "subscribe", "taskId": task, "token": pair[0].token(task)})
            assert [m["type"] for m in late.recv_until("complete")] == \
                ["subscribed", "progress_update", "complete"]
        status, body = pair[0].poll(task)
        assert status == 200 and len(json.loads(body)["messages"]) == 2


@pytest.mark.parametrize("where", ["channel", "hash", "field n"])
def test_a_rev_from_the_future_keeps_nothing_away(redis, pair, task, watchers, where):
    before = sum(broker.metrics()['progressd_redis_messages_dropped_total{reason="future"}']
                 for broker in pair)
    with Job(redis, task) as job:
        rev = job.update(40)
        watchers.wait(last_is(rev=rev))
        forged = message(task, "progress_update", f"{rev.split('-')[0]}-{2 ** 53 - 1}", PROGRESS)
        if where == "channel":
            job.connection.call("SPUBLISH", job.key, forged)
        elif where == "hash":
            job.connection.call("HSET", job.key, "progress_update", forged, "n", 2 ** 53 - 1)
        else:
            job.connection.call("HSET", job.key, "n", 2 ** 53 - 1)
        eventually(lambda: sum(
            broker.metrics()['progressd_redis_messages_dropped_total{reason="future"}']
            for broker in pair) > before, 10)
        rev = job.complete()
        watchers.wait(last_is(rev=rev))
        eventually(lambda: {json.loads(broker.poll(task)[1])["rev"] for broker in pair
                            for _ in range(8)} == {rev}, 10)


def test_one_bad_field_of_a_hash_hides_no_other(redis, pair, task):
    with Job(redis, task) as job:
        job.stage("one")
        job.update(40, stage="one")
        rev = job.estimate(30)
        job.connection.call("HSET", job.key, "stage_change", "{oops}", "stages", b"[\xff]")
        status, body = pair[0].poll(task)
        state = json.loads(body)
        assert (status, state["rev"], state["stages"]) == (200, rev, [])
        assert [m["type"] for m in state["messages"]] == ["progress_update", "time_estimate"]


def test_polls_of_tasks_that_nobody_knows_leave_nothing_behind(redis, pair):
    broker = pair[0]
    for number in range(300):
        assert broker.poll(f"unknown-{number}", token=broker.token("*"))[0] == 404
    # Far sooner than they would if they lingered.
    eventually(lambda: broker.metrics()["progressd_tasks_without_state"] == 0, 10)
    eventually(lambda: not [channel for channel in redis.cli("PUBSUB", "SHARDCHANNELS").split()
                            if "unknown-" in channel], 10)
