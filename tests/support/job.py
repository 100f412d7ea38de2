"""A job: publishes for one task, as a real one does, over a connection of its own to Redis.

    with Job(redis, "task-1") as job:
        job.update(40)
        job.complete()
"""
import json

from support.resp import Resp, RespError, encode


def n_of(rev):
    """The part of a rev that orders."""
    return int(rev.rpartition("-")[2])


class Job:
    """Each of its calls returns the rev, and fails the test when Redis refuses."""

    def __init__(self, redis, task):
        self.task = task
        self.key = f"progress:{task}"
        self.connection = Resp(redis.connect())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.__exit__()

    # ── What jobs say ───────────────────────────────────────────────────────────────────────────

    def update(self, percentage, stage="transcribing", **more):
        return self.publish("progress_update", percentage=percentage, stage=stage, **more)

    def stage(self, to_stage, from_stage=None):
        return self.publish("stage_change", fromStage=from_stage, toStage=to_stage)

    def estimate(self, seconds, confidence=0.5):
        return self.publish("time_estimate", estimatedTimeRemaining=seconds, confidence=confidence)

    def complete(self):
        return self.publish("complete", resultUrl=f"/results/{self.task}", duration=3.5)

    def fail(self, **more):
        return self.publish("error", code="DECODER", message="no sound in it", **more)

    def publish(self, kind, **payload):
        return self.publish_all([(kind, payload)])[0]

    def publish_all(self, messages, first=()):
        """Publishes (type, payload) in one go, so that Redis takes them up one right after the
        other; and before them the commands of `first`, whose replies are passed over."""
        commands = [encode(command) for command in first]
        commands += [encode(self.call(kind, payload)) for kind, payload in messages]
        self.connection.connection.sendall(b"".join(commands))
        for _ in first:
            self.connection.reply()
        return [self._rev(self.connection.reply()) for _ in messages]

    def call(self, kind, payload):
        """The command that publishes it."""
        return ("FCALL", "progress_publish", 1, self.key, kind, json.dumps(payload))

    def reset(self):
        return self._rev(self.connection.call("FCALL", "progress_reset", 1, self.key))

    # ── What should not happen ──────────────────────────────────────────────────────────────────

    def write_unheard(self, kind, **payload):
        """Stores a message just as progress_publish does, but publishes nothing: what is left when
        pub/sub has lost a message without anybody noticing."""
        run, n = self.connection.call("HMGET", self.key, "run", "n")
        seconds, microseconds = self.connection.call("TIME")
        n = max(int(n) + 1, int(seconds) * 1000000 + int(microseconds))
        rev = f"{run.decode()}-{n}"
        message = json.dumps({"type": kind, "taskId": self.task, "rev": rev, "payload": payload},
                             separators=(",", ":"))
        self.connection.call("HSET", self.key, "n", n, kind, message)
        return rev

    def _rev(self, reply):
        assert not isinstance(reply, RespError), f"{self.key}: {reply}"
        return reply.decode()
