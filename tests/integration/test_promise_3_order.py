"""Promise 3: messages of one task arrive in the order of their revs, each once in a connection;
what is left out are progress_updates and time_estimates that a newer one supersedes, and nothing
else."""
import json
import threading
import time

import pytest

from support.job import Job, n_of
from support.crowd import Crowd

RATE = 3000
BATCH = 30


@pytest.fixture
def task(request):
    return request.node.name.translate(str.maketrans("[]", "--"))


class Publisher(threading.Thread):
    """Publishes `count` messages, RATE a second, in order, and then `complete`; every 100th is a
    stage_change, of the others every third a time_estimate."""

    def __init__(self, redis, task, count):
        super().__init__(daemon=True)
        self.job = Job(redis, task)
        self.count = count
        self.stages = []  # the ns of the stage_changes
        self.failure = None

    def run(self):
        try:
            with self.job:
                self._publish()
        except BaseException as failure:  # told by the test, in its own thread
            self.failure = failure

    def _publish(self):
        begin = time.monotonic()
        for at in range(0, self.count, BATCH):
            messages = [self._message(number) for number in range(at, at + BATCH)]
            revs = self.job.publish_all(messages)
            self.stages += [n_of(rev) for rev, (kind, _) in zip(revs, messages)
                            if kind == "stage_change"]
            # Who is late doesn't wait: the rate holds on the whole.
            time.sleep(max(0, begin + (at + BATCH) / RATE - time.monotonic()))
        self.end = n_of(self.job.complete())

    def _message(self, number):
        if number % 100 == 99:
            return "stage_change", {"fromStage": None, "toStage": f"stage {number}"}
        if number % 3 == 0:
            return "time_estimate", {"estimatedTimeRemaining": number, "confidence": 0.5}
        return "progress_update", {"percentage": 100 * number / self.count, "stage": "x"}

    def finish(self):
        self.join(30)
        if self.failure:
            raise self.failure
        assert not self.is_alive(), "the publisher doesn't end"


def rises(ns):
    return all(a < b for a, b in zip(ns, ns[1:]))


def test_100_subscriptions_that_begin_meanwhile_see_no_message_twice_and_none_go_back(
        redis, broker, task):
    publisher = Publisher(redis, task, 9000)
    with Crowd() as crowd:
        publisher.start()
        while len(crowd.members) < 100:
            crowd.join(broker.ws_url(), task, broker.token(task))
            crowd.read(0)
        assert publisher.is_alive(), "it was over before all had begun"
        crowd.read_until(lambda: all(member.last_type == "complete" for member in crowd.members))
        publisher.finish()
        for member in crowd.members:
            ns = member.ns()
            assert rises(ns), "a message came twice, or went back"
            assert ns[-1] == publisher.end
            assert not member.closed
            # From the first one that it was sent, it has all stage_changes.
            stages = member.ns("stage_change")
            assert stages == publisher.stages[len(publisher.stages) - len(stages):]
        # Those who were there from the beginning followed it live, not by a state now and then.
        assert max(len(member.messages) for member in crowd.members) > 300


def test_a_client_that_lags_behind_gets_all_stage_changes_but_only_the_newest_update(
        redis, broker, task):
    with Job(redis, task) as job, Crowd() as crowd:
        job.update(0)
        member = crowd.join(broker.ws_url(), task, broker.token(task), receive_buffer=4096)
        crowd.read_until(lambda: member.ns("progress_update"))
        crowd.stall(member)
        # More than all buffers on the way take.
        note = {"percentage": 1, "stage": "x", "note": "-" * 3500}
        updates = job.publish_all([("progress_update", note)] * 2000)
        stages = []
        for number in range(60):
            stages.append(n_of(job.stage(f"stage {number}")))
            updates += job.publish_all([("progress_update", note)] * 20)
        end = n_of(job.complete())
        crowd.go_on(member)
        crowd.read_until(lambda: member.last_type == "complete")
        ns = member.ns()
        assert rises(ns) and ns[-1] == end
        assert member.ns("stage_change") == stages
        got = member.ns("progress_update")
        assert got[-1] == n_of(updates[-1]), "the newest update is missing"
        assert len(got) < len(updates) / 2, "nothing was superseded, so nothing was shown"


def test_a_client_too_far_behind_for_the_ring_gets_the_state_and_the_end(redis, broker, task):
    with Job(redis, task) as job, Crowd() as crowd:
        job.update(0)
        member = crowd.join(broker.ws_url(), task, broker.token(task), receive_buffer=4096)
        crowd.read_until(lambda: member.ns("progress_update"))
        crowd.stall(member)
        padding = "-" * 3500
        stages = list(map(n_of, job.publish_all(
            [("stage_change", {"fromStage": None, "toStage": f"stage {number}", "note": padding})
             for number in range(2000)])))
        end = n_of(job.complete())
        crowd.go_on(member)
        crowd.read_until(lambda: member.last_type == "complete")
        ns = member.ns()
        assert rises(ns) and ns[-1] == end
        assert member.ns("stage_change")[-1] == stages[-1]
        assert len(member.ns("stage_change")) < len(stages), "it wasn't too far behind"


def test_subscribing_again_repeats_the_state_only_where_it_was_asked_for(redis, broker, task):
    with Job(redis, task) as job, Crowd() as crowd:
        rev = job.update(1)
        member = crowd.join(broker.ws_url(), task, broker.token(task))
        crowd.read_until(lambda: member.ns("progress_update"))
        client = member.client
        client.socket.setblocking(True)
        crowd.stall(member)
        # With the rev that is current there is nothing to be told.
        client.send_json({"type": "get_state", "taskId": task, "rev": rev})
        assert client.recv_json()["payload"]["rev"] == rev
        client.send_json({"type": "ping", "timestamp": 1})
        assert client.recv_json()["type"] == "pong"
        # Without one, or with an older one, it is told all of it.
        client.send_json({"type": "get_state", "taskId": task})
        assert [message["type"] for message in (client.recv_json(), client.recv_json())] == [
            "subscribed", "progress_update"]
        newer = job.stage("formatting")
        assert client.recv_json()["rev"] == newer
        client.send_json({"type": "get_state", "taskId": task, "rev": rev})
        assert client.recv_json()["type"] == "subscribed"
        assert client.recv_json()["rev"] == newer


def test_a_message_is_passed_on_byte_for_byte(redis, broker, task):
    payload = '{"percentage" : 40.0,"stage":"\\u00fc\u00fc \\"q\\"","more":[1,{"a":null}],' \
              '"timestamp":"2026-11-23T06:16:17Z"}'
    with Job(redis, task) as job, Crowd() as crowd:
        member = crowd.join(broker.ws_url(), task, broker.token(task))
        crowd.read_until(lambda: member.last_type == "subscribed")
        rev = job.connection.call("FCALL", "progress_publish", 1, job.key, "progress_update",
                                  payload).decode()
        crowd.stall(member)
        member.client.socket.setblocking(True)
        text = member.client.recv_message()
        assert text == (f'{{"type":"progress_update","taskId":"{task}","rev":"{rev}",'
                        f'"payload":{payload}}}')
        assert json.loads(text)["payload"]["stage"] == '\u00fc\u00fc "q"'
