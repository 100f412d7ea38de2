"""Jobs that die without a word: their watchers are told, once, whoever finds out."""
import json
import signal
import subprocess
import time

import pytest

from support.broker import environment, program
from support.deadline import eventually
from support.job import Job
from support.resp import Resp
from support.ws_client import WsClient

RESYNC_SECONDS = 2
ALIVE_SECONDS = 5  # the least that the library takes
FAST = ["--resync-interval", str(RESYNC_SECONDS)]


@pytest.fixture
def job(redis):
    """job(task): a job that gives signs of life by itself."""
    jobs = []

    def start(task):
        jobs.append(subprocess.Popen(
            [program("tests/tools/publisher_driver"), redis.url, task, f"alive={ALIVE_SECONDS}"],
            text=True, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        tell(jobs[-1], "update 33 0 0")
        eventually(lambda: redis.cli("HGET", f"progress:{task}", "_alive"))
        return jobs[-1]

    yield start
    for started in jobs:
        started.kill()
        started.communicate()


def tell(job, command):
    job.stdin.write(command + "\n")
    job.stdin.flush()


def deadline_of(redis, task):
    """When the job is lost, by time.time(): Redis and the tests share their clock."""
    return int(redis.cli("HGET", f"progress:{task}", "_alive")) / 1e6


def errors_published(redis, task):
    """Begins to collect the errors of a task; call the result for what came so far."""
    db = Resp(redis.connect())
    db.call("SSUBSCRIBE", f"progress:{task}")

    def so_far():
        with db:
            redis.cli("SPUBLISH", f"progress:{task}", "over")
            texts = iter(lambda: db.reply()[2], b"over")
            return [text for text in texts if text.startswith(b'{"type":"error"')]
    return so_far


def watch(broker, task):
    client = WsClient(broker.ws_url(task), timeout=20)
    client.send_json({"type": "subscribe", "taskId": task, "token": broker.token(task)})
    return client


def test_a_killed_job_is_declared_lost_once_by_many_brokers(redis, brokers, job):
    nodes = [brokers(workers=2, options=FAST) for _ in range(2)]
    killed = job("killed")
    errors = errors_published(redis, "killed")
    watchers = [watch(node, "killed") for node in nodes for _ in range(4)]
    killed.kill()
    killed.wait()
    deadline = deadline_of(redis, "killed")
    for client in watchers:
        error = client.recv_until("error")[-1]
        assert error["payload"]["code"] == "JOB_LOST" and error["payload"]["retryable"] is True
        assert -0.05 < time.time() - deadline < RESYNC_SECONDS + 1
    time.sleep(2 * RESYNC_SECONDS)
    assert len(errors()) == 1
    assert sum(node.metrics()["progressd_jobs_lost_total"] for node in nodes) == 1
    for client in watchers:
        client.close()


def test_a_job_that_stood_still_goes_on(redis, brokers, job):
    broker = brokers(options=FAST)
    stopped = job("stopped")
    client = watch(broker, "stopped")
    stopped.send_signal(signal.SIGSTOP)
    assert client.recv_until("error")[-1]["payload"]["code"] == "JOB_LOST"
    stopped.send_signal(signal.SIGCONT)
    assert client.recv_until("progress_update")[-1]["payload"]["percentage"] == 33
    assert redis.cli("HEXISTS", "progress:stopped", "error") == "0"
    tell(stopped, "complete /")
    assert client.recv_until("complete")
    client.close()


def test_who_comes_to_a_lost_job_is_told(redis, brokers):
    broker = brokers(options=["--resync-interval", "3600"])
    with Job(redis, "old") as publisher:
        publisher.update(50)
    redis.cli("FCALL", "progress_alive", "1", "progress:old", "1")
    time.sleep(1.1)
    client = watch(broker, "old")
    assert client.recv_until("error")[-1]["payload"]["code"] == "JOB_LOST"
    client.close()


def test_a_poller_of_a_lost_job_is_told(redis, brokers):
    broker = brokers(options=["--resync-interval", "3600"])
    with Job(redis, "polled") as publisher:
        publisher.update(50)
    redis.cli("FCALL", "progress_alive", "1", "progress:polled", "1")
    time.sleep(1.1)

    def told():
        _, body = broker.poll("polled", broker.token("polled"))
        return [message for message in json.loads(body)["messages"] if message["type"] == "error"]
    eventually(told, 5)


def test_a_job_that_never_gave_a_sign_of_life_is_not_lost(redis, brokers):
    broker = brokers(options=["--resync-interval", "1"])
    with Job(redis, "silent") as publisher:
        publisher.update(50)
        client = watch(broker, "silent")
        time.sleep(3)
        publisher.update(51)
        seen = client.recv_until(
            lambda message: message.get("payload", {}).get("percentage") == 51)
    assert "error" not in [message["type"] for message in seen]
    client.close()
