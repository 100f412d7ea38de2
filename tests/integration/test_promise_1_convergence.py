"""Promise 1: a subscribed client shows the latest state at once in normal running, and at most the
resync interval after any fault is over, with nothing done by the job or the user."""
import contextlib
import json
import os
import signal

import pytest

from support.broker import Broker
from support.deadline import eventually
from support.job import Job
from support.redis_server import RedisServer
from support.ws_client import Watchers, WsClient

RESYNC_SECONDS = 1
TASKS = [f"task-{number}" for number in range(20)]
STATE_TYPES = ("progress_update", "stage_change", "time_estimate", "complete", "error")


@pytest.fixture(scope="module")
def redis(directory):
    """Keeps every message that it has accepted, however it ends."""
    with RedisServer(f"{directory}/redis",
                     settings={"appendonly": "yes", "appendfsync": "always"}) as server:
        yield server


@pytest.fixture(scope="module")
def pair(directory, redis):
    """Two brokers of two workers each, on one Redis: four links."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Broker(f"{directory}/broker-{number}", redis.url, workers=2,
                                          options=["--resync-interval", RESYNC_SECONDS,
                                                   "--recorder", "off"]))
               for number in range(2)]


@pytest.fixture
def task(request):
    """A task of this test's own."""
    return request.node.name.translate(str.maketrans("[]", "--"))


def watch(brokers, task, count=8):
    """Watchers of one task, on all brokers in turn."""
    chosen = [brokers[number % len(brokers)] for number in range(count)]
    return Watchers((broker.ws_url(), task, broker.token(task)) for broker in chosen)


def saw(rev):
    return lambda watcher: any(message.get("rev") == rev for message in watcher.messages)


def state_of(watcher):
    """What a page that shows all it was sent has in the end: of each type the last message."""
    return {message["type"]: message for message in watcher.messages
            if message["type"] in STATE_TYPES}


def metric(brokers, name):
    return sum(broker.metrics()[name] for broker in brokers)


def wait_for_links(brokers):
    eventually(lambda: metric(brokers, "progressd_links_up") == sum(
        broker.workers for broker in brokers), 20, "a link didn't come back")


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_200_watchers_of_2_brokers_see_the_same_end_while_redis_is_restarted(redis, pair, how):
    tasks = [f"{how}-{name}" for name in TASKS]
    targets = [(pair[number % 2].ws_url(), tasks[number % 20], pair[0].token(tasks))
               for number in range(200)]
    for name in tasks:
        with Job(redis, name) as job:
            job.update(10)
    with Watchers(targets) as watchers:
        watchers.wait(lambda watcher: "progress_update" in watcher.types())
        if how == "kill":
            redis.kill()
            redis.start()
        else:
            redis.restart()
        revs = {}
        for name in tasks:  # at once: the brokers may be back by now, or not
            with Job(redis, name) as job:
                job.stage("formatting", "transcribing")
                job.update(90, stage="formatting")
                revs[name] = job.complete()
        watchers.wait(lambda watcher: saw(revs[watcher.task])(watcher))
        for watcher in watchers:
            status, body = pair[1].poll(watcher.task)
            assert status == 200, body
            assert state_of(watcher) == state_of(AsIfWatched(body)), watcher.task
            assert not watcher.closes, "a client lost its connection, though only Redis was away"
    wait_for_links(pair)


class AsIfWatched:
    """A poller's answer, as one who watches has it."""

    def __init__(self, body):
        self.messages = json.loads(body)["messages"]


@pytest.mark.parametrize("kind", ["pubsub", "normal"])
def test_a_message_published_while_the_link_is_cut_arrives(redis, pair, task, kind):
    with Job(redis, task) as job, watch(pair, task) as watchers:
        job.update(10)
        watchers.wait(lambda watcher: "progress_update" in watcher.types())
        before = metric(pair, "progressd_link_losses_total")
        # In one go, so that Redis sends the message when nobody is subscribed any more.
        rev, = job.publish_all([("progress_update", {"percentage": 50, "stage": "x"})],
                               first=[("CLIENT", "KILL", "TYPE", kind)])
        watchers.wait(saw(rev))
        # The watchers may have it by the channel before the link's other half is found lost.
        eventually(lambda: metric(pair, "progressd_link_losses_total") == before + 4, 20,
                   "a link wasn't cut, so nothing was shown")
        wait_for_links(pair)
        assert not any(watcher.closes for watcher in watchers)


def silences(pair):
    return (metric(pair, "progressd_link_probes_failed_total")
            + metric(pair, "progressd_link_replies_overdue_total"))


def test_a_redis_that_stands_still_is_found_out(redis, pair, task):
    with Job(redis, task) as job, watch(pair, task) as watchers:
        job.update(10)
        watchers.wait(lambda watcher: "progress_update" in watcher.types())
        before = silences(pair)
        redis.pause()
        try:
            eventually(lambda: silences(pair) >= before + 4, 30, "nobody finds out")
        finally:
            redis.cont()
        rev = job.update(60)
        watchers.wait(saw(rev))
        wait_for_links(pair)


def test_a_loss_that_nobody_noticed_is_found_by_the_resync(redis, pair, task):
    with Job(redis, task) as job, watch(pair, task) as watchers:
        job.update(10)
        watchers.wait(lambda watcher: "progress_update" in watcher.types())
        found = metric(pair, "progressd_resyncs_newer_total")
        losses = metric(pair, "progressd_link_losses_total")
        rev = job.write_unheard("progress_update", percentage=55, stage="transcribing")
        # Far less than the interval would be if the option weren't obeyed.
        watchers.wait(saw(rev), timeout=8 * RESYNC_SECONDS)
        # Workers without a watcher of the task have nothing to find.
        assert found + 1 <= metric(pair, "progressd_resyncs_newer_total") <= found + 4
        assert metric(pair, "progressd_link_losses_total") == losses
        # And what comes over the channel goes on from there.
        rev = job.update(60)
        watchers.wait(saw(rev))


def test_a_subscriber_that_redis_cut_off_for_a_full_buffer_is_just_another_reconnect(redis, pair,
                                                                                     task):
    broker = pair[0]
    with Job(redis, task) as job, watch([broker], task) as watchers:
        job.update(10)
        watchers.wait(lambda watcher: "progress_update" in watcher.types())
        losses = metric([broker], "progressd_link_losses_total")
        redis.cli("CONFIG", "SET", "client-output-buffer-limit", "pubsub 32kb 0 0")
        workers = broker.worker_pids()
        try:
            for pid in workers:
                os.kill(pid, signal.SIGSTOP)
            # More than sockets take: Redis has to keep it, and gives the subscribers up.
            rev = job.publish_all(
                [("progress_update", {"percentage": 50, "stage": "x", "note": "-" * 3000})] * 1000
            )[-1]
        finally:
            for pid in workers:
                os.kill(pid, signal.SIGCONT)
            redis.cli("CONFIG", "SET", "client-output-buffer-limit", "pubsub 32mb 8mb 60")
        watchers.wait(saw(rev))
        eventually(lambda: metric([broker], "progressd_link_losses_total") > losses, 20,
                   "no subscriber was cut off, so nothing was shown")
        wait_for_links(pair)
        assert not any(watcher.closes for watcher in watchers)


def test_the_clients_of_a_killed_worker_find_everything_on_reconnecting(redis, pair, task):
    broker = pair[0]
    with Job(redis, task) as job, watch([broker], task, count=20) as watchers:
        job.update(10)
        watchers.wait(lambda watcher: "progress_update" in watcher.types())
        pids = broker.worker_pids()
        os.kill(pids[0], signal.SIGKILL)
        revs = [job.stage("formatting"), job.update(70)]
        watchers.wait(lambda watcher: all(saw(rev)(watcher) for rev in revs))
        broker.wait_for_workers(without=pids[:1])
        lost = [watcher for watcher in watchers if watcher.closes]
        assert all(watcher.closes[0] in (1006, None) for watcher in lost)
        # Who came back was told the state before anything else, from its beginning.
        for watcher in lost:
            types = [message["type"] for message in watcher.connections[-1]]
            assert types[0] == "subscribed" and "stage_change" in types
        assert metric([broker], "progressd_worker_restarts_total") >= 1


def test_a_task_whose_name_somebody_elses_key_has_disturbs_nobody_else(redis, pair, task):
    redis.cli("SET", f"progress:{task}-taken", "not a hash")
    with Job(redis, task) as job, watch(pair, task) as watchers:
        job.update(10)
        watchers.wait(lambda watcher: "progress_update" in watcher.types())
        losses = metric(pair, "progressd_link_losses_total")
        with WsClient(pair[0].ws_url()) as client:
            client.send_json({"type": "subscribe", "taskId": f"{task}-taken",
                              "token": pair[0].token()})
            message = client.recv_json()
            assert message["type"] in ("subscribed", "error"), message
        rev = job.update(20)
        watchers.wait(saw(rev), timeout=5)
        assert metric(pair, "progressd_link_losses_total") == losses
