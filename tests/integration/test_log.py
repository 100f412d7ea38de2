"""The log neither floods nor stops the process that writes it."""
import fcntl
import threading

import pytest

from support.broker import Broker
from support.deadline import eventually
from support.job import Job
from support.ws_client import WsClient


class UnreadBroker(Broker):
    """A broker whose standard error is a small pipe, which is read only while `reading` is set."""

    def __init__(self, *args, **settings):
        super().__init__(*args, **settings)
        self.reading = threading.Event()
        self.reading.set()

    def _read(self, pipe):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
        with pipe:
            for line in pipe:
                self._lines.append(line.decode("utf-8", "replace"))
                self.reading.wait()


@pytest.mark.deadline(120)
def test_an_unread_standard_error_stops_no_process(redis, tmp_path):
    broker = UnreadBroker(tmp_path, redis.url, workers=1, options=["--log-level", "debug"])
    with broker, Job(redis, "heard") as job:
        broker.reading.clear()
        try:
            # Each poll of another task logs at this level, well beyond what the pipe takes.
            for i in range(100):
                assert broker.poll(f"nobody-{i}")[0] == 404
            with WsClient(broker.ws_url("heard")) as client:
                client.send_json({"type": "subscribe", "taskId": "heard",
                                  "token": broker.token("heard")})
                client.recv_until("subscribed")
                job.update(40)
                client.recv_until("progress_update")
            broker.wait_for_workers(without=[broker.kill_worker()])
        finally:
            broker.reading.set()
        eventually(lambda: broker.logged(msg="lines lost, standard error took no more"))
