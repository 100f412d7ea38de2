"""libprogressd-publisher against a real Redis that comes and goes, by tests/tools/publisher_driver."""
import json
import signal
import subprocess
import threading
import time

import pytest

from support.broker import build_directory, environment, program
from support.deadline import eventually
from support.redis_server import RedisServer
from support.resp import Resp

# The longest a call may keep the job waiting. It is a lock held for moments; the rest is how long
# a loaded machine, with sanitizers, may keep a thread from running.
SLOWEST_CALL_MS = 100


@pytest.fixture(scope="module")
def library():
    return (build_directory() / "proto" / "progress.lua").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def loaded(redis, library):
    redis.cli("-x", "FUNCTION", "LOAD", stdin=library)
    return redis


@pytest.fixture
def durable(directory, library, request):
    """A Redis of the test's own that keeps its data when it is killed."""
    settings = {"appendonly": "yes", "appendfsync": "always"}
    with RedisServer(f"{directory}/{abs(hash(request.node.name))}", settings=settings) as server:
        server.cli("-x", "FUNCTION", "LOAD", stdin=library)
        yield server


class Job:
    """A job that publishes by the library."""

    def __init__(self, url, task, *settings):
        self.task = task
        self.process = subprocess.Popen(
            [program("tests/tools/publisher_driver"), url, task, *settings], text=True,
            env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.opened = self.answer()

    def send(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def answer(self):
        return self.process.stdout.readline().rstrip("\n").removeprefix("PROGRESSD_")

    def __call__(self, command):
        self.send(command)
        return self.answer()

    def close(self, milliseconds=5000):
        """How closing went; the process must end well, too."""
        result = self(f"close {milliseconds}")
        self.process.stdin.close()
        assert self.process.wait(20) == 0
        return result


@pytest.fixture
def job(loaded, request):
    """job(task, settings…): a job on the module's Redis, or on that at `url`."""
    jobs = []

    def start(task, *settings, url=loaded.url):
        jobs.append(Job(url, task, *settings))
        return jobs[-1]

    yield start
    for started in jobs:
        started.process.kill()
        started.process.wait()
        started.process.stdin.close()
        started.process.stdout.close()


def message(redis, task, kind):
    text = redis.cli("HGET", f"progress:{task}", kind)
    return json.loads(text) if text else None


def payload(redis, task, kind):
    found = message(redis, task, kind)
    return found and found["payload"]


class Watch:
    """Collects what is published for a task."""

    def __init__(self, redis, task):
        self.db = Resp(redis.connect(timeout=30))
        self.db.call("SSUBSCRIBE", f"progress:{task}")
        self.messages = []
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        while not self.messages or self.messages[-1]["type"] not in ("complete", "error"):
            self.messages.append(json.loads(self.db.reply()[2]))

    def until_the_end(self):
        self.thread.join(30)
        self.db.__exit__()
        return self.messages


def of_type(messages, kind):
    return [found["payload"] for found in messages if found["type"] == kind]


# ── A job's life ─────────────────────────────────────────────────────────────────────────────────

def test_a_job_tells_all_of_its_life(loaded, job):
    watch = Watch(loaded, "life")
    told = job("life")
    assert told.opened == "OK"
    for command in ("stage download", "update 5 50 1000", "stage transcribe", "update 40 400 1000",
                    "flush 5000", "complete /results/life.txt"):
        assert told(command) == "OK"
    assert told.close() == "OK"
    messages = watch.until_the_end()
    assert [(p["fromStage"], p["toStage"]) for p in of_type(messages, "stage_change")] == [
        (None, "download"), ("download", "transcribe")]
    last = of_type(messages, "progress_update")[-1]
    assert (last["percentage"], last["stage"], last["bytesProcessed"], last["bytesTotal"]) == (
        40, "transcribe", 400, 1000)
    assert of_type(messages, "complete")[0]["resultUrl"] == "/results/life.txt"
    assert 0 <= of_type(messages, "complete")[0]["duration"] < 30


def test_speed_is_derived_from_bytes(loaded, job):
    told = job("speed")
    for done in range(0, 1500, 100):
        told(f"update {done / 20} {done} 2000")
        time.sleep(0.05)
    told("flush 5000")
    assert 1000 < payload(loaded, "speed", "progress_update")["processingSpeed"] < 2200
    told.close()


def test_an_update_before_any_stage_has_one(loaded, job):
    told = job("unstaged")
    told("update 1 0 0")
    assert told.close() == "OK"
    assert payload(loaded, "unstaged", "progress_update")["stage"] == "working"


def test_updates_are_thinned_out_and_the_newest_arrives(loaded, job):
    watch = Watch(loaded, "thin")
    told = job("thin")
    began = time.monotonic()
    result, calls, _ = told("load 1 1000 2000").split()
    told("update 99 0 0")
    told("flush 5000")
    passed = time.monotonic() - began
    assert (result, calls) == ("OK", "2000")
    assert payload(loaded, "thin", "progress_update")["percentage"] == 99
    told("complete /")
    told.close()
    updates = of_type(watch.until_the_end(), "progress_update")
    assert 5 <= len(updates) <= passed * 5 + 2


def test_all_stages_and_the_end_arrive_in_order(loaded, job):
    watch = Watch(loaded, "order")
    told = job("order")
    for number in range(200):
        told.send(f"stage {number}")
        told.send(f"update {number / 2} 0 0")
    told.send("complete /")
    for _ in range(401):
        assert told.answer() == "OK"
    assert told.close() == "OK"
    messages = watch.until_the_end()
    assert [p["toStage"] for p in of_type(messages, "stage_change")] == [str(i) for i in range(200)]
    stage = None
    for found in messages:
        if found["type"] == "stage_change":
            stage = found["payload"]["toStage"]
        elif found["type"] == "progress_update":
            assert found["payload"]["stage"] == stage


def test_a_failure_is_told_and_may_be_got_over(loaded, job):
    told = job("failing")
    assert told("retryable DISK the disk is full") == "OK"
    told("flush 5000")
    assert payload(loaded, "failing", "error") == {"code": "DISK", "message": "the disk is full",
                                                   "retryable": True}
    assert told("update 7 0 0") == "OK"
    told("flush 5000")
    assert message(loaded, "failing", "error") is None
    assert told("fail DECODER no sound in it") == "OK"
    assert told("update 8 0 0") == "DONE"
    assert told.close() == "OK"
    assert payload(loaded, "failing", "error")["retryable"] is False


def test_two_threads_publish_one_task(loaded, job):
    told = job("threads")
    result, calls, _ = told("load 2 1000 1500").split()
    assert (result, calls) == ("OK", "3000")
    assert told("complete /") == "OK"
    assert told.close() == "OK"
    assert payload(loaded, "threads", "complete")


def test_it_works_on_a_connection_of_the_callers_that_is_lost(durable, job):
    told = job("own", f"own={durable.socket_path}", url="")
    assert told("update 1 0 0") == "OK"
    assert told("flush 5000") == "OK"
    durable.restart()
    assert told("complete /") == "OK"
    assert told.close(10000) == "OK"
    assert payload(durable, "own", "complete")


def test_user_and_password_of_the_url_are_used(loaded, job):
    loaded.cli("ACL", "SETUSER", "j@b", "reset", "on", ">p@ss:/", "~*", "&*", "+@all")
    url = f"unix://j%40b:p%40ss%3A%2F@{loaded.socket_path}"
    told = job("user", url=url)
    assert told("update 1 0 0") == "OK"
    assert told.close() == "OK"
    assert payload(loaded, "user", "progress_update")
    denied = job("denied", url=url.replace(":p%40", ":q%40"))
    assert denied("update 1 0 0") == "OK"
    assert denied("flush 500") == "DENIED"
    assert denied("error").startswith("DENIED WRONGPASS")
    assert denied.close(100) == "DENIED"


# ── What is wrong ────────────────────────────────────────────────────────────────────────────────

@pytest.mark.parametrize("url,task,settings", [
    ("", "1", []), ("http://localhost", "1", []), ("rediss://localhost", "1", []),
    ("redis://", "1", []), ("redis://localhost:0", "1", []), ("redis://localhost", "", []),
    ("redis://localhost", "a b", []), ("redis://localhost", "x" * 129, []),
    ("redis://localhost", "1", ["prefix=x"]), ("redis://localhost", "1", ["alive=4"]),
    ("redis://localhost", "1", ["alive=86401"]),
])
def test_wrong_arguments_are_refused_at_once(job, url, task, settings):
    assert job(task, *settings, url=url).opened == "INVALID"


@pytest.mark.parametrize("command,why", [
    ("stage ", "stage"), ("stage " + "x" * 129, "stage"), ("stage " + "x" * 1_000_000, "stage"),
    ("update -1 0 0", "percentage"), ("update 101 0 0", "percentage"), ("update nan 0 0",
                                                                        "percentage"),
    ("update inf 0 0", "percentage"), ("complete " + "x" * 1_000_000, "result_url"),
    ("fail", "code"), ("fail " + "x" * 1_000_000, "code"),
], ids=lambda text: text[:12])
def test_a_wrong_payload_is_refused_at_once_and_changes_nothing(loaded, job, command, why):
    told = job("wrong", "alive=no")
    assert told(command) == "INVALID"
    assert told("error").startswith(f"INVALID {why} must be")
    assert told("error") == "OK"
    assert told.close() == "OK"
    assert loaded.cli("EXISTS", "progress:wrong") == "0"


def test_the_message_of_a_failure_may_be_a_megabyte(loaded, job):
    told = job("long")
    assert told("fail X " + "long " * 200_000) == "OK"
    assert told.close() == "OK"
    assert 3500 < len(payload(loaded, "long", "error")["message"]) < 4096


def test_what_redis_refuses_is_told_by_name(loaded, job):
    loaded.cli("SET", "progress:taken", "mine")
    told = job("taken", "alive=no")
    assert told("update 1 0 0") == "OK"
    assert told("flush 5000") == "REFUSED"
    assert told("error").startswith("REFUSED WRONGTYPE")
    assert told.close() == "OK"


def test_a_task_that_was_used_before_has_ended_until_it_is_reset(loaded, job):
    first = job("again")
    first("complete /1")
    assert first.close() == "OK"
    second = job("again")
    assert second("stage a") in ("OK", "DONE")  # its sign of life may have been refused already
    assert second("flush 5000") == "DONE"
    assert second("update 1 0 0") == "DONE"
    assert second("error").startswith("DONE PROGRESS_DONE ")
    assert second("reset") == "OK"
    assert second("stage b") == "OK"
    assert second("complete /2") == "OK"
    assert second.close() == "OK"
    assert payload(loaded, "again", "complete")["resultUrl"] == "/2"
    assert payload(loaded, "again", "stage_change")["fromStage"] is None


def test_nothing_follows_the_end(loaded, job):
    told = job("ended")
    told("complete /")
    for command in ("update 1 0 0", "stage a", "complete /", "fail A b", "retryable A b"):
        assert told(command) == "DONE"
    assert told.close() == "OK"


# ── Redis comes and goes ─────────────────────────────────────────────────────────────────────────

def slowest_of(answer):
    """Milliseconds of the slowest call of a load that went well."""
    result, _, slowest = answer.split()
    assert result == "OK"
    return int(slowest) / 1000


@pytest.mark.parametrize("fault", ["pause", "stop", "kill"])
def test_a_job_is_not_slowed_down_while_redis_is_away(durable, job, fault, record_property):
    told = job("away", url=durable.url)
    told("stage a")
    told.send("load 1 1000 4000")
    time.sleep(1)
    getattr(durable, fault)()
    time.sleep(2)
    if fault == "pause":
        durable.cont()
    else:
        durable.start()
    slowest = slowest_of(told.answer())
    record_property("slowest call, ms", slowest)
    print(f"slowest of 4,000 calls while Redis {fault}s: {slowest} ms")
    assert slowest < SLOWEST_CALL_MS
    assert told("stage b") == "OK"
    assert told("complete /away") == "OK"
    assert told.close(20000) == "OK"
    assert payload(durable, "away", "complete")["resultUrl"] == "/away"
    stages = json.loads(durable.cli("HGET", "progress:away", "stages"))
    assert [entry["stage"] for entry in stages] == ["a", "b"]


def test_what_is_told_while_redis_is_away_arrives_when_it_is_back(durable, job):
    durable.stop()
    told = job("later", url=durable.url)
    for command in ("stage a", "update 10 0 0", "update 20 0 0", "stage b", "update 30 0 0"):
        assert told(command) == "OK"
    assert told("flush 200") == "UNAVAILABLE"
    assert told("error").startswith("UNAVAILABLE ")
    durable.start()
    assert told("flush 10000") == "OK"
    assert told("error") == "OK"
    assert payload(durable, "later", "progress_update")["percentage"] == 30
    stages = json.loads(durable.cli("HGET", "progress:later", "stages"))
    assert [entry["stage"] for entry in stages] == ["a", "b"]
    told("complete /")
    assert told.close() == "OK"


@pytest.mark.parametrize("fault", ["stop", "pause"])
def test_closing_waits_no_longer_than_its_deadline_and_says_so(durable, job, fault):
    told = job("closing", url=durable.url)
    told("update 1 0 0")
    told("flush 5000")
    getattr(durable, fault)()
    told("complete /")
    began = time.monotonic()
    assert told("close 700") == "UNAVAILABLE"
    assert 0.6 < time.monotonic() - began < 2
    told.process.stdin.close()
    assert told.process.wait(20) == 0


def test_a_full_redis_gets_the_end_when_it_has_room(durable, job):
    told = job("full", url=durable.url)
    told("update 1 0 0")
    told("flush 5000")
    durable.cli("CONFIG", "SET", "maxmemory", "1mb")
    told("complete /")
    assert told("flush 500") == "UNAVAILABLE"
    assert told("error").startswith("UNAVAILABLE OOM ")
    durable.cli("CONFIG", "SET", "maxmemory", "0")
    assert told.close() == "OK"
    assert payload(durable, "full", "complete")


def test_a_replica_gets_the_end_when_it_is_a_master(durable, job):
    durable.cli("REPLICAOF", "127.0.0.1", "1")
    told = job("replica", url=durable.url)
    told("complete /")
    assert told("flush 500") == "UNAVAILABLE"
    assert told("error").split()[1] in ("READONLY", "MASTERDOWN")
    durable.cli("REPLICAOF", "NO", "ONE")
    assert told.close(10000) == "OK"


def test_a_redis_without_the_library_gets_everything_when_it_has_it(durable, job, library):
    durable.cli("FUNCTION", "FLUSH")
    told = job("bare", url=durable.url)
    told("stage a")
    told("complete /")
    assert told("flush 500") == "NO_LIBRARY"
    durable.cli("-x", "FUNCTION", "LOAD", stdin=library)
    assert told.close(10000) == "OK"
    assert payload(durable, "bare", "stage_change")["toStage"] == "a"


def test_the_library_is_replaced_while_jobs_publish(durable, job, library):
    told = job("newer", url=durable.url)
    told.send("load 2 500 2000")
    for _ in range(20):
        durable.cli("-x", "FUNCTION", "LOAD", "REPLACE", stdin=library)
        time.sleep(0.05)
    slowest_of(told.answer())
    told("complete /")
    assert told.close() == "OK"


def test_an_end_whose_answer_was_lost_is_stored_once(durable, job):
    """Redis takes the message, and the connection is gone before it answers."""
    told = job("unsure", url=durable.url)
    told("update 1 0 0")
    assert told("flush 5000") == "OK"
    durable.pause()
    told("complete /unsure")
    time.sleep(0.3)
    durable.process.send_signal(signal.SIGSTOP)
    time.sleep(5.5)
    durable.cont()
    assert told.close(10000) == "OK"
    assert payload(durable, "unsure", "complete")["resultUrl"] == "/unsure"


# ── Signs of life ────────────────────────────────────────────────────────────────────────────────

def deadline_of(redis, task):
    return int(redis.cli("HGET", f"progress:{task}", "_alive") or 0)


def test_a_job_gives_signs_of_life(loaded, job):
    told = job("living", "alive=5")
    first = eventually(lambda: deadline_of(loaded, "living"))
    eventually(lambda: deadline_of(loaded, "living") >= first + 1_000_000)
    told("complete /")
    assert told.close() == "OK"
    assert deadline_of(loaded, "living") == 0


def test_a_job_that_is_killed_leaves_its_deadline_behind(loaded, job):
    told = job("killed")
    told("update 1 0 0")
    eventually(lambda: deadline_of(loaded, "killed"))
    told.process.kill()
    told.process.wait()
    assert deadline_of(loaded, "killed")
    assert message(loaded, "killed", "complete") is None


def test_a_job_may_give_no_sign_of_life(loaded, job):
    told = job("quiet", "alive=no")
    told("update 1 0 0")
    assert told.close() == "OK"
    assert deadline_of(loaded, "quiet") == 0


def test_a_job_that_stood_still_says_that_it_was_not_lost(loaded, job):
    told = job("stopped", "alive=5")
    told("update 33 0 0")
    eventually(lambda: deadline_of(loaded, "stopped"))
    told.process.send_signal(signal.SIGSTOP)
    time.sleep(6)
    assert loaded.cli("FCALL", "progress_lost", "1", "progress:stopped")
    assert payload(loaded, "stopped", "error")["code"] == "JOB_LOST"
    told.process.send_signal(signal.SIGCONT)
    eventually(lambda: message(loaded, "stopped", "error") is None)
    assert payload(loaded, "stopped", "progress_update")["percentage"] == 33
    assert told.close() == "OK"
