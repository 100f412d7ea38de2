"""Replays traces through the function library, and judges what it estimates.

An estimate is (seconds, what is left, confidence, number of the stage).
"""
import json

from support.resp import RespError

POINTS = (10, 25, 50, 75, 90)
CLOCK = 'redis.call("TIME")'
TURNED_CLOCK = 'redis.call("HMGET", "clock", "seconds", "microseconds")'
BEGAN = 1_700_000_000


def with_turned_clock(library):
    """The library with a clock that replay() sets."""
    assert library.count(CLOCK) == 1
    return library.replace(CLOCK, TURNED_CLOCK)


def replay(db, trace, key="progress:replayed"):
    """The estimates that a Redis publishes for a trace. Its library has the turned clock."""
    calls, stage = [], "working"
    for seconds, entered, percentage in trace:
        whole, microseconds = divmod(round((BEGAN + seconds) * 1e6), 1_000_000)
        calls.append(("HSET", "clock", "seconds", whole, "microseconds", microseconds))
        if entered is not None:
            stage = entered
            calls.append(publish(key, "stage_change", {"fromStage": None, "toStage": stage}))
        elif percentage is not None:
            calls.append(publish(key, "progress_update", {"percentage": percentage, "stage": stage}))
        else:
            calls.append(publish(key, "complete", {"resultUrl": "", "duration": seconds}))
        calls.append(("HGET", key, "time_estimate"))
    db.call("DEL", key)
    replies = db.pipeline(calls)
    failed = next((reply for reply in replies if isinstance(reply, RespError)), None)
    assert not failed, failed
    return list(told(trace, replies[2::3]))


def publish(key, kind, payload):
    return ("FCALL", "progress_publish", 1, key, kind, json.dumps(payload))


def told(trace, messages):
    before, stage = None, 0
    for (seconds, entered, _), message in zip(trace, messages):
        stage += entered is not None
        if message != before:
            before = message
            payload = json.loads(message)["payload"]
            yield seconds, payload["estimatedTimeRemaining"], payload["confidence"], stage


# ── The two usual ways ───────────────────────────────────────────────────────────────────────────

def by_share(trace):
    """Elapsed time over percentage: as much again for each point."""
    stage = 0
    for seconds, entered, percentage in trace:
        stage += entered is not None
        if percentage:
            yield seconds, seconds * (100 - percentage) / percentage, None, stage


def by_moving_average(trace, window):
    """The rate over the last `window` seconds."""
    seen, stage = [], 0
    for seconds, entered, percentage in trace:
        stage += entered is not None
        if percentage is None:
            continue
        seen.append((seconds, percentage))
        while len(seen) > 2 and seen[1][0] < seconds - window:
            seen.pop(0)
        since, before = seen[0]
        if percentage > before:
            yield seconds, (100 - percentage) * (seconds - since) / (percentage - before), None, stage


# ── Judging ──────────────────────────────────────────────────────────────────────────────────────

def errors(trace, estimates):
    """{point: the relative error of the estimate that stands when the task comes to that point};
    None where there is none yet. A point that comes with the end has no error."""
    estimates = list(estimates)
    end = trace[-1][0]
    found = {}
    for seconds, _, percentage in trace:
        for point in POINTS:
            if percentage is None or percentage < point or point in found or seconds >= end:
                continue
            standing = [left for at, left, *_ in estimates if at <= seconds]
            found[point] = (abs(standing[-1] - (end - seconds)) / (end - seconds)
                            if standing else None)
    return found


def mean_error(found):
    """Of a trace's points; no estimate counts as one that is wrong by all of it."""
    return sum(1 if error is None else error for error in found.values()) / len(found)


def largest_rise(estimates, within=10):
    """The largest quotient of two estimates of a stage that are at most so many seconds apart."""
    worst, recent = 1.0, []
    for seconds, left, _, stage in estimates:
        recent = [(at, before, of_stage) for at, before, of_stage in recent
                  if at >= seconds - within and of_stage == stage and before > 0]
        worst = max([worst] + [left / before for _, before, _ in recent])
        recent.append((seconds, left, stage))
    return worst


def hits(trace, estimates, margin=0.25):
    """(confidence, whether what is left is within that part of the estimate) of each estimate but
    those of the last second."""
    end = trace[-1][0]
    return [(confidence, abs(left - (end - seconds)) <= margin * left)
            for seconds, left, confidence, _ in estimates if end - seconds >= 1]
