"""The recorder: what is published with plain PUBLISH goes the one way too."""
import json
import os
import re
import signal
import tempfile
import time
from pathlib import Path

import pytest

from support.broker import Broker
from support.deadline import eventually
from support.job import Job
from support.redis_server import RedisServer
from support.resp import Resp
from support.ws_client import WsClient

LEASE_SECONDS = 3


@pytest.fixture
def place():
    """A folder of one test's own, with a short path."""
    with tempfile.TemporaryDirectory(prefix="progressd-") as path:
        yield Path(path)


@pytest.fixture(scope="module")
def recording(broker):
    """The module's broker, once its recorder holds the lease."""
    eventually(lambda: is_recording(broker))
    return broker


def is_recording(server):
    return server.status()["recorder"]["active"]


def publish(redis, task, kind, payload, prefix="progress:", **members):
    return publish_text(redis, task, json.dumps({"type": kind, "payload": payload, **members}),
                        prefix)


def publish_text(redis, task, text, prefix="progress:"):
    return redis.cli("PUBLISH", f"{prefix}{task}", text)


def update(percentage, stage="transcribing"):
    return {"percentage": percentage, "stage": stage}


def recorded(redis, task, kind="progress_update", prefix="progress:"):
    """The latest message of that type in the task's hash, or None."""
    text = redis.cli("HGET", f"{prefix}{task}", kind)
    return json.loads(text) if text else None


def percentage(redis, task, prefix="progress:"):
    message = recorded(redis, task, prefix=prefix)
    return message and message["payload"]["percentage"]


def drops(server, task, prefix="progress:"):
    return [line["why"] for line in server.logged(msg="message dropped", channel=prefix + task)]


def listens(redis, server):
    """Whether the server's recorder is subscribed, recording or not."""
    name = f"name=progressd:{server.status()['recorder']['pid']}:subscriber "
    return any(name in line and " psub=1 " in line
               for line in redis.cli("CLIENT", "LIST").splitlines())


# ── Messages ────────────────────────────────────────────────────────────────────────────────────

def test_a_plain_publish_is_recorded_with_a_rev(recording, redis):
    publish(redis, "plain", "progress_update", update(40))
    message = eventually(lambda: recorded(redis, "plain"))
    assert message["taskId"] == "plain" and message["payload"]["percentage"] == 40
    assert re.fullmatch(r"[0-9a-z]+-\d+", message["rev"])
    assert "timestamp" in message["payload"]
    assert redis.cli("TTL", "progress:plain") == "86400"


def test_a_poller_sees_what_was_published_plainly(recording, redis):
    publish(redis, "polled", "complete", {"resultUrl": "/r/1", "duration": 12.5}, taskId="polled")
    eventually(lambda: recorded(redis, "polled", "complete"))
    status, body = recording.poll("polled")
    assert status == 200 and json.loads(body)["done"] is True


def test_a_sum_that_rounds_to_100_is_seen_by_watchers(recording, redis):
    with WsClient(recording.ws_url("rounded")) as client:
        client.send_json({"type": "subscribe", "token": recording.token("rounded")})
        for value in (100.00000000000007, 99.99999999999993, 100.00000000000001):
            publish(redis, "rounded", "progress_update", update(value))
            client.recv_until(lambda message: message["type"] == "progress_update"
                              and message["payload"]["percentage"] == value)


def test_the_payload_is_passed_on_as_it_was_written(recording, redis):
    text = '{"percentage": 1.50e1,"stage":"caf\\u00e9 \\ud83c\\udfb5","own":[1,{"a":null}]}'
    publish_text(redis, "text", '{"type":"progress_update","payload":' + text + "}")
    stored = eventually(lambda: redis.cli("HGET", "progress:text", "progress_update"))
    assert text[:-1] in stored


def test_a_byte_order_mark_before_the_message_is_passed_over(recording, redis):
    publish_text(redis, "bom", "\ufeff" + json.dumps(
        {"type": "progress_update", "taskId": "bom", "payload": update(40)}))
    eventually(lambda: percentage(redis, "bom") == 40)


@pytest.mark.parametrize("text, member", [
    ("nonsense", "JSON"),
    ("[]", "object"),
    ('{"payload":{}}', "type"),
    ('{"type":1,"payload":{}}', "type"),
    ('{"type":"progress_update"}', "payload"),
    ('{"type":"progress_update","payload":[]}', "payload"),
    ('{"type":"no_such_type","payload":{}}', "type"),
    ('{"type":"progress_update","taskId":"other","payload":{"percentage":1,"stage":"a"}}', "taskId"),
    ('{"type":"progress_update","payload":{"percentage":101,"stage":"a"}}', "payload.percentage"),
    ('{"type":"progress_update","payload":{"percentage":1}}', "payload.stage"),
    ('{"type":"time_estimate","payload":{"estimatedTimeRemaining":1,"confidence":2}}',
     "payload.confidence"),
    ('{"type":"progress_update","payload":{"percentage":1,"stage":"' + "x" * 5000 + '"}}', "payload"),
])
def test_an_invalid_message_is_dropped_counted_and_logged(recording, redis, text, member):
    name = 'progressd_recorder_messages_dropped_total{reason="invalid"}'
    before = recording.metrics()[name]
    task = f"bad-{time.monotonic_ns()}"
    publish_text(redis, task, text)
    why = eventually(lambda: drops(recording, task))
    assert len(why) == 1 and member in why[0]
    assert recording.metrics()[name] == before + 1
    assert redis.cli("EXISTS", f"progress:{task}") == "0"


def test_what_comes_after_the_end_is_dropped_and_logged(recording, redis):
    publish(redis, "over", "complete", {"resultUrl": "/r/1", "duration": 1})
    publish(redis, "over", "progress_update", update(50))
    why = eventually(lambda: drops(recording, "over"))
    assert why[0].startswith("PROGRESS_DONE")
    assert recording.metrics()['progressd_recorder_messages_dropped_total{reason="other"}'] >= 1


@pytest.mark.parametrize("channel", ["progress:", "progress:a b", "progress:jobs/2026/42",
                                     "progress:" + "x" * 129])
def test_a_channel_that_names_no_task_is_counted_and_logged(recording, redis, channel):
    name = 'progressd_recorder_messages_dropped_total{reason="invalid"}'
    before = recording.metrics()[name]
    redis.cli("PUBLISH", channel, '{"type":"complete","payload":{"resultUrl":"","duration":1}}')
    lines = eventually(lambda: recording.logged(msg="message dropped", channel=channel))
    assert "task id" in lines[0]["why"]
    assert recording.metrics()[name] == before + 1


def test_channels_of_others_are_passed_over(recording, redis):
    redis.cli("PUBLISH", "other:1", "nonsense")
    publish(redis, "after", "progress_update", update(1))
    eventually(lambda: recorded(redis, "after"))
    assert recording.logged(msg="message dropped", channel="other:1") == []


def test_a_flood_of_invalid_messages_is_counted_and_not_all_logged(recording, redis):
    name = 'progressd_recorder_messages_dropped_total{reason="invalid"}'
    before = recording.metrics()[name]
    with Resp(redis.connect()) as connection:
        connection.pipeline([("PUBLISH", "progress:flood", "nonsense")] * 5000)
    eventually(lambda: recording.metrics()[name] == before + 5000)
    assert len(drops(recording, "flood")) <= 30
    eventually(lambda: recording.logged(msg="lines left out", of="message dropped"), 20)


def test_a_burst_keeps_its_order(recording, redis):
    with Resp(redis.connect()) as listener, Resp(redis.connect()) as connection:
        assert listener.call("SSUBSCRIBE", "progress:burst")[0] == b"ssubscribe"
        connection.pipeline([
            ("PUBLISH", "progress:burst", json.dumps(
                {"type": "progress_update", "payload": {**update(i / 10), "bytesProcessed": i}}))
            for i in range(1000)])
        messages = [json.loads(listener.reply()[2]) for _ in range(1000)]
    assert [message["payload"]["bytesProcessed"] for message in messages] == list(range(1000))
    revs = [int(message["rev"].partition("-")[2]) for message in messages]
    assert revs == sorted(set(revs))


def test_more_than_may_be_under_way_is_recorded_in_order_too(recording, redis):
    accepted = "progressd_recorder_messages_accepted_total"
    before = recording.metrics()[accepted]
    count = 20000
    text = [json.dumps({"type": "progress_update", "payload": {**update(1), "bytesProcessed": i}})
            for i in range(count)]
    with Resp(redis.connect()) as connection:
        connection.pipeline([("PUBLISH", "progress:many", t) for t in text], batch=count)
    eventually(lambda: recording.metrics()[accepted] == before + count, 30)
    assert recorded(redis, "many")["payload"]["bytesProcessed"] == count - 1


def test_without_room_in_redis_the_reason_is_logged(place):
    with RedisServer(place / "redis", settings={"maxmemory-policy": "noeviction"}) as redis:
        with Broker(place / "broker", redis.url, workers=1) as server:
            eventually(lambda: is_recording(server))
            redis.cli("CONFIG", "SET", "maxmemory", "1")
            publish(redis, "full", "progress_update", update(1))
            assert eventually(lambda: drops(server, "full"))[0].startswith("OOM")
            redis.cli("CONFIG", "SET", "maxmemory", "0")
            publish(redis, "full", "progress_update", update(2))
            eventually(lambda: percentage(redis, "full") == 2)


def test_a_redis_that_cannot_save_refuses_and_records_again_soon_after(place):
    """MISCONF: Redis takes no writes while its last attempt to save failed."""
    with RedisServer(place / "redis", settings={"save": "3600 1000000"}) as redis:
        with Broker(place / "broker", redis.url, workers=1) as server, Job(redis, "a") as job:
            eventually(lambda: is_recording(server))
            job.update(1)
            (redis.directory / "dump.rdb").mkdir()  # so that no file can take its place
            redis.cli("BGSAVE")
            eventually(lambda: "rdb_last_bgsave_status:err" in redis.cli("INFO", "persistence"))
            refusal = job.connection.call(*job.call("progress_update", update(2)))
            assert refusal.startswith("MISCONF")
            publish(redis, "b", "progress_update", update(2))
            assert "MISCONF" in eventually(lambda: drops(server, "b"))[0]
            assert server.poll("a")[0] == 200, "reading goes on"
            (redis.directory / "dump.rdb").rmdir()
            redis.cli("BGSAVE")
            eventually(lambda: "rdb_last_bgsave_status:ok" in redis.cli("INFO", "persistence"))
            job.update(3)
            eventually(lambda: is_recording(server), LEASE_SECONDS)
            publish(redis, "b", "progress_update", update(4))
            eventually(lambda: percentage(redis, "b") == 4)


# ── The lease ───────────────────────────────────────────────────────────────────────────────────

def test_of_two_brokers_exactly_one_records(brokers, redis):
    pair = [brokers(workers=1, options=["--redis-prefix", "two:"]) for _ in range(2)]
    eventually(lambda: any(is_recording(server) for server in pair))
    for i in range(50):
        publish(redis, "42", "progress_update", update(i), prefix="two:")
        assert sum(is_recording(server) for server in pair) == 1
    eventually(lambda: percentage(redis, "42", "two:") == 49)
    counted = [server.metrics()["progressd_recorder_messages_accepted_total"] for server in pair]
    assert sorted(counted) == [0, 50]


def test_another_takes_over_within_the_lease_when_the_holder_is_killed(brokers, redis):
    pair = [brokers(workers=1, options=["--redis-prefix", "kill:", "--worker-watchdog", "0"]) for _ in range(2)]
    eventually(lambda: any(is_recording(server) for server in pair))
    holder, other = sorted(pair, key=is_recording, reverse=True)
    killed = holder.status()["recorder"]["pid"]
    # Stopped first, so that the one who replaces it comes too late.
    os.kill(killed, signal.SIGSTOP)
    eventually(lambda: is_recording(other), LEASE_SECONDS + 2)
    publish(redis, "42", "progress_update", update(7), prefix="kill:")
    eventually(lambda: percentage(redis, "42", "kill:") == 7)
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: holder.status()["recorder"]["state"] == "ready")


def test_who_slept_over_its_lease_records_nothing_any_more(brokers, redis):
    pair = [brokers(workers=1, options=["--redis-prefix", "sleep:", "--worker-watchdog", "0"]) for _ in range(2)]
    eventually(lambda: any(is_recording(server) for server in pair))
    eventually(lambda: all(listens(redis, server) for server in pair))
    holder, other = sorted(pair, key=is_recording, reverse=True)
    pid = holder.status()["recorder"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    publish(redis, "42", "progress_update", update(1), prefix="sleep:")  # waits in its socket
    eventually(lambda: is_recording(other), LEASE_SECONDS + 2)
    publish(redis, "42", "progress_update", update(2), prefix="sleep:")
    eventually(lambda: percentage(redis, "42", "sleep:") == 2)
    os.kill(pid, signal.SIGCONT)
    eventually(lambda: not is_recording(holder))
    publish(redis, "42", "progress_update", update(3), prefix="sleep:")
    eventually(lambda: percentage(redis, "42", "sleep:") == 3)
    assert holder.metrics()["progressd_recorder_messages_accepted_total"] == 0
    eventually(lambda: other.metrics()["progressd_recorder_messages_accepted_total"] == 3)
    assert other.metrics()["progressd_recorder_messages_taken_over_total"] == 1


def test_what_is_under_way_when_the_lease_ends_goes_down_with_the_link(place):
    with RedisServer(place / "redis") as redis, Broker(place / "broker", redis.url) as server:
        eventually(lambda: is_recording(server))
        text = json.dumps({"type": "progress_update", "payload": update(1)})
        with Resp(redis.connect()) as connection:
            def stands_still_with_messages_under_way():
                redis.cont()
                for _ in range(3000):
                    connection.send("PUBLISH", "progress:42", text)
                redis.pause()
                return eventually(lambda: not is_recording(server), LEASE_SECONDS + 2) and \
                    server.logged(msg="link to Redis lost",
                                  why="the recorder's lease could not be renewed in time")
            eventually(stands_still_with_messages_under_way, 30)
            redis.cont()
            eventually(lambda: is_recording(server))
        # It has kept the newest, and takes up what Redis has not.
        publish(redis, "42", "complete", {"resultUrl": "/r", "duration": 1})
        eventually(lambda: recorded(redis, "42", "complete"))


@pytest.mark.deadline(180)
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_no_end_is_lost_when_the_node_that_records_stops(place, how):
    """Jobs end all the while, by plain PUBLISH, and nobody tells them that nobody listens."""
    count = 600
    with RedisServer(place / "redis") as redis, Resp(redis.connect()) as job, \
            Broker(place / "a", redis.url, workers=1) as first, \
            Broker(place / "b", redis.url, workers=1) as second:
        eventually(lambda: is_recording(first) or is_recording(second))
        eventually(lambda: listens(redis, first) and listens(redis, second))
        holder, other = sorted((first, second), key=is_recording, reverse=True)
        for i in range(count):
            if i == count // 3:
                if how == signal.SIGTERM:
                    holder.process.send_signal(how)
                else:
                    holder.kill()
            job.call("PUBLISH", f"progress:{i}", json.dumps(
                {"type": "complete", "payload": {"resultUrl": f"/r/{i}", "duration": 1}}))
            time.sleep(0.01)  # so that it takes longer than the lease
        eventually(lambda: is_recording(other), LEASE_SECONDS + 5)
        def missing():
            found = job.pipeline([("HEXISTS", f"progress:{i}", "complete") for i in range(count)])
            return [i for i in range(count) if not found[i]]
        eventually(lambda: missing() == [], 10, "ends are missing")
        if how == signal.SIGKILL:
            assert other.metrics()["progressd_recorder_messages_taken_over_total"] > 0
        assert other.metrics()['progressd_recorder_messages_dropped_total{reason="other"}'] == 0


def test_a_clean_stop_gives_the_lease_back(brokers, redis):
    first = brokers(workers=1, options=["--redis-prefix", "back:"])
    eventually(lambda: is_recording(first))
    assert redis.cli("EXISTS", "back:!recorder") == "1"
    first.stop()
    assert redis.cli("EXISTS", "back:!recorder") == "0"


def test_after_an_outage_of_redis_it_records_again(place):
    with RedisServer(place / "redis") as redis, Broker(place / "broker", redis.url) as server:
        eventually(lambda: is_recording(server))
        redis.restart()
        eventually(lambda: is_recording(server) and server.admin("/readyz")[1] == "ready\n")
        def seen():
            publish(redis, "42", "progress_update", update(5))
            return percentage(redis, "42") == 5
        eventually(seen)


def test_off_is_off(brokers, redis):
    server = brokers(workers=1, options=["--recorder", "off", "--redis-prefix", "off:"])
    assert server.status()["recorder"] is None
    publish(redis, "42", "progress_update", update(5), prefix="off:")
    assert redis.cli("EXISTS", "off:!recorder") == "0"
    assert recorded(redis, "42", prefix="off:") is None


# ── Rights ──────────────────────────────────────────────────────────────────────────────────────

@pytest.mark.parametrize("missing, message, right", [
    ("-psubscribe", "cannot subscribe to what is published", "psubscribe"),
    ("-set", "cannot get the lease", "set"),
])
def test_a_missing_right_is_named_once(place, missing, message, right):
    with RedisServer(place / "redis") as redis:
        redis.cli("ACL", "SETUSER", "broker", "on", ">secret", "~*", "&*", "+@all", missing)
        url = f"unix://broker:secret@{redis.socket_path}"
        with Broker(place / "broker", url, workers=1) as server:
            line = eventually(lambda: server.logged(process="recorder", msg=message))[0]
            assert "NOPERM" in line["why"] and right in line["why"].lower()
            time.sleep(2.5)
            assert len(server.logged(process="recorder", msg=message)) == 1
            assert not is_recording(server)
            redis.cli("ACL", "SETUSER", "broker", "+@all")
            eventually(lambda: is_recording(server))
