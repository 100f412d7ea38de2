"""Promise 4: a client that can't keep up costs a cursor, not a queue. It holds at most one
half-written frame; when its socket drains it gets what is newest; it can't slow anyone else, nor
grow the worker.

Memory is measured with a build without sanitizers, whose allocator keeps what was freed: the one
that PROGRESSD_RELEASE_BUILD names, as scripts/test does."""
import contextlib
import os
import statistics
import threading
import time

import pytest

from support.broker import Broker
from support.crowd import Crowd
from support.job import Job, n_of
from support.ws_client import PING, WsClient, encode_frame

RATE = 1000
STALL_SECONDS = 10
# A queue of what is published meanwhile would be 3.5 MB a client; the allocator takes 132 kB at once.
GROWTH_MAX = 256 * 1024
TASK = "slow"


@pytest.fixture(scope="module")
def release_build():
    path = os.environ.get("PROGRESSD_RELEASE_BUILD")
    if not path:
        pytest.skip("PROGRESSD_RELEASE_BUILD isn't set; scripts/test sets it")
    return path


@pytest.fixture(scope="module")
def broker(directory, redis, release_build):
    with Broker(f"{directory}/broker", redis.url, workers=2, build=release_build) as server:
        yield server


class Publisher(threading.Thread):
    """Publishes RATE updates a second until it is told to end."""

    def __init__(self, redis):
        super().__init__(daemon=True)
        self.job = Job(redis, TASK)
        self.ended = threading.Event()
        self.count = 0

    def run(self):
        begin = time.monotonic()
        while not self.ended.wait(max(0, begin + self.count / RATE - time.monotonic())):
            self.job.publish_all([("progress_update", {"percentage": self.count % 100,
                                                       "stage": "x", "note": "-" * 200})] * 5)
            self.count += 5

    def finish(self):
        """The n of the last update and of the end."""
        self.ended.set()
        self.join()
        with self.job:
            return n_of(self.job.update(99)), n_of(self.job.complete())


def delays(members, begin):
    """Seconds from publication to arrival, of what came since; n tells the time of publication."""
    return sorted(came - n / 1e6 for member in members for _, n, came in member.messages
                  if n and came >= begin)


def read_for(crowd, seconds):
    """Reads all the while. The delays of the fast ones."""
    begin = time.time()
    crowd.read_for(seconds)
    return begin


def test_a_client_that_stops_reading_for_10_s_costs_nobody_anything(redis, broker):
    publisher = Publisher(redis)
    with Crowd() as crowd:
        publisher.start()
        fast = [crowd.join(broker.ws_url(), TASK, broker.token(TASK)) for _ in range(6)]
        slow = [crowd.join(broker.ws_url(), TASK, broker.token(TASK), receive_buffer=4096)
                for _ in range(2)]
        crowd.read_until(lambda: all(member.ns() for member in fast + slow))
        crowd.read_for(1)
        began = read_for(crowd, 3)
        before = delays(fast, began)
        for member in slow:
            crowd.stall(member)
        memory = {pid: broker.memory(pid) for pid in broker.worker_pids()}
        published = publisher.count
        began = read_for(crowd, STALL_SECONDS)
        meanwhile = delays(fast, began)
        growth = {pid: broker.memory(pid) - size for pid, size in memory.items()}
        published = publisher.count - published

        assert max(growth.values()) < GROWTH_MAX, growth
        assert published > RATE * STALL_SECONDS * 0.8, "the load wasn't what it should be"
        # Generously: a worker that waited for its slow clients would be late by seconds.
        assert statistics.median(meanwhile) < 3 * statistics.median(before) + 0.02
        assert meanwhile[len(meanwhile) * 99 // 100] < 3 * before[len(before) * 99 // 100] + 0.1

        came = [len(member.ns()) for member in slow]
        for member in slow:
            crowd.go_on(member)
        last, end = publisher.finish()
        crowd.read_until(lambda: all(member.last_type == "complete" for member in fast + slow))
        for member, count in zip(slow, came):
            ns = member.ns()
            assert ns[-2:] == [last, end], "the newest state or the end is missing"
            assert ns == sorted(set(ns))
            assert len(ns) - count < published / 2, "it wasn't slow, so nothing was shown"


def test_many_slow_clients_hold_no_more_than_a_frame_each(redis, broker):
    """64 of them, behind by 40 MB each: were that queued, even shared, it would show."""
    task = "many-slow"
    with Job(redis, task) as job, Crowd() as crowd:
        job.update(1)
        members = [crowd.join(broker.ws_url(), task, broker.token(task), receive_buffer=4096)
                   for _ in range(64)]
        crowd.read_until(lambda: all(member.ns() for member in members))
        for member in members:
            crowd.stall(member)
        large = ("progress_update", {"percentage": 1, "stage": "x", "note": "-" * 3500})
        job.publish_all([large] * 2000)  # their sockets are full now, if not long before
        memory = {pid: broker.memory(pid) for pid in broker.worker_pids()}
        for _ in range(10):
            job.publish_all([large] * 1000)
        last = n_of(job.update(2))
        growth = {pid: broker.memory(pid) - size for pid, size in memory.items()}
        assert max(growth.values()) < GROWTH_MAX, growth
        for member in members:
            crowd.go_on(member)
        crowd.read_until(lambda: all(member.ns()[-1] == last for member in members))


def test_a_client_that_floods_with_pings_and_never_reads_is_read_no_further(redis, broker):
    """While it doesn't take its pongs, TCP holds its pings back."""
    pings = b"".join(encode_frame(PING, b"%0124d" % number) for number in range(1000))
    with WsClient(broker.ws_url("pings"), receive_buffer=4096) as client:
        memory = {pid: broker.memory(pid) for pid in broker.worker_pids()}
        client.socket.settimeout(1)
        with contextlib.suppress(TimeoutError):  # when the worker reads no more either
            for _ in range(100):
                client.send_raw(pings)
        growth = {pid: broker.memory(pid) - size for pid, size in memory.items()}
        assert max(growth.values()) < GROWTH_MAX, growth
