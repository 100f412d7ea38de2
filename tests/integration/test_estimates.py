"""What progress_publish estimates for jobs that send no estimates, by traces on a turned clock."""
import json

import pytest

from support import traces
from support.broker import build_directory
from support.estimates import (BEGAN, by_moving_average, by_share, errors, hits, largest_rise,
                               mean_error, publish, replay, told, with_turned_clock)
from support.resp import Resp

KEY = "progress:1"


@pytest.fixture(scope="module")
def loaded(redis):
    library = (build_directory() / "proto" / "progress.lua").read_text(encoding="utf-8")
    redis.cli("-x", "FUNCTION", "LOAD", stdin=with_turned_clock(library))
    return redis


@pytest.fixture
def db(loaded):
    with Resp(loaded.connect()) as connection:
        connection.call("FLUSHALL")
        set_clock(connection, 0)
        yield connection


def set_clock(db, seconds):
    whole, microseconds = divmod(round((BEGAN + seconds) * 1e6), 1_000_000)
    db.call("HSET", "clock", "seconds", whole, "microseconds", microseconds)


def update(db, seconds, percentage, stage="working"):
    set_clock(db, seconds)
    rev = db.call(*publish(KEY, "progress_update", {"percentage": percentage, "stage": stage}))
    assert isinstance(rev, bytes), rev
    return rev.decode()


def work(db, begin, end, rate=1.0, stage="working", every=1.0):
    """A job at a constant rate from one second to another."""
    seconds = begin
    while seconds <= end:
        rev = update(db, seconds, min(100, seconds * rate), stage)
        seconds += every
    return rev


def estimate(db):
    """The message of the estimate, or None."""
    text = db.call("HGET", KEY, "time_estimate")
    return json.loads(text) if text else None


def seconds_left(db):
    return estimate(db)["payload"]["estimatedTimeRemaining"]


# ── How good they are ────────────────────────────────────────────────────────────────────────────

@pytest.fixture(scope="module")
def replayed(loaded):
    """[(trace, what is estimated)] of recorded and made jobs."""
    every = list(traces.recorded().values())
    for length in (20, 120, 1200):
        every += traces.made(length, seed="test").values()
    with Resp(loaded.connect()) as db:
        return [(trace, replay(db, trace)) for trace in every]


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def test_they_are_better_than_the_usual_ways(replayed):
    ours = mean(mean_error(errors(trace, estimates)) for trace, estimates in replayed)
    ways = [by_share] + [lambda trace, window=window: by_moving_average(trace, window)
                         for window in (10, 30, 60)]
    for way in ways:
        assert ours < mean(mean_error(errors(trace, way(trace))) for trace, _ in replayed)


def test_they_never_jump_up_within_a_stage(replayed):
    assert max(largest_rise(estimates) for _, estimates in replayed) <= 1.2


def test_they_come_every_2_seconds_unless_they_moved_by_more_than_a_tenth(replayed):
    for _, estimates in replayed:
        for (at, left, _, stage), (then, later, _, later_stage) in zip(estimates, estimates[1:]):
            if stage == later_stage and then - at < 2 - 1e-3:
                assert abs(later - left) > 0.1 * left - 0.02, (at, left, then, later)


def test_their_confidence_is_the_chance_to_be_right_within_a_quarter(replayed):
    judged = [(confidence, hit, 1 / len(found)) for found in
              (hits(trace, estimates) for trace, estimates in replayed)
              for confidence, hit in found]
    for low, high in ((0.3, 0.5), (0.5, 0.7), (0.7, 0.9)):
        these = [(hit, weight) for confidence, hit, weight in judged if low <= confidence < high]
        share = sum(hit * weight for hit, weight in these) / sum(weight for _, weight in these)
        assert low - 0.1 < share < high + 0.1


# ── How they come ────────────────────────────────────────────────────────────────────────────────

def test_an_estimate_follows_its_cause_with_a_rev_of_its_own(loaded, db):
    work(db, 0, 9)
    with Resp(loaded.connect()) as watcher:
        watcher.call("SSUBSCRIBE", KEY)
        work(db, 10, 11)
        db.call("SPUBLISH", KEY, "over")
        messages = [json.loads(text) for text in iter(lambda: watcher.reply()[2], b"over")]
    assert [message["type"] for message in messages].count("time_estimate") == 1
    at = [message["type"] for message in messages].index("time_estimate")
    run, n = messages[at - 1]["rev"].split("-")
    assert messages[at]["rev"] == f"{run}-{int(n) + 1}"
    assert list(messages[at]) == ["type", "taskId", "rev", "payload"]
    assert list(messages[at]["payload"]) == ["estimatedTimeRemaining", "confidence"]
    assert estimate(db) == messages[at]
    assert db.call("HGET", KEY, "n").decode() == messages[-1]["rev"].split("-")[1]


def test_the_rev_after_an_estimate_is_higher_though_the_clock_stands_still(db):
    work(db, 0, 4)
    rev = estimate(db)["rev"]
    numbers = [int(update(db, 4, 50).split("-")[1]) for _ in range(3)]
    assert numbers == sorted(set(numbers)) and numbers[0] > int(rev.split("-")[1])


def test_a_job_that_sends_estimates_gets_none_for_good(db):
    work(db, 0, 10)
    assert estimate(db)
    db.call(*publish(KEY, "time_estimate", {"estimatedTimeRemaining": 7, "confidence": 1}))
    work(db, 11, 60)
    work(db, 61, 90, stage="next")
    assert estimate(db)["payload"] == {"estimatedTimeRemaining": 7, "confidence": 1}
    db.call("FCALL", "progress_reset", 1, KEY)
    work(db, 91, 99)
    assert estimate(db)["payload"]["estimatedTimeRemaining"] != 7


def test_an_estimate_clears_no_error(db):
    work(db, 0, 10)
    before = estimate(db)
    db.call(*publish(KEY, "error", {"code": "X", "message": "", "retryable": True}))
    assert estimate(db) == before and db.call("HGET", KEY, "error")


def test_nothing_is_estimated_without_progress(db):
    for second in range(30):
        update(db, second, 0)
    assert estimate(db) is None


def test_nothing_is_estimated_from_the_first_two_percentages(db):
    update(db, 0, 40)
    update(db, 1, 41)
    assert estimate(db) is None


def test_a_thousand_updates_a_second_make_no_more_estimates(loaded, db):
    with Resp(loaded.connect()) as watcher:
        watcher.call("SSUBSCRIBE", KEY)
        work(db, 0, 10, every=0.001)
        db.call("SPUBLISH", KEY, "over")
        texts = iter(lambda: watcher.reply()[2], b"over")
        assert 3 <= sum(text.startswith(b'{"type":"time_estimate"') for text in texts) <= 6


def test_a_clock_that_is_set_back_or_forth_harms_nothing(db):
    work(db, 0, 30)
    for jump in (-3600, 3600, 3600 * 23, 0):
        for second in range(20):
            update(db, 40 + jump + second, 30 + second)
            assert 1 <= seconds_left(db) < 400
    assert estimate(db)["payload"]["confidence"] <= 1


def test_after_a_clock_that_was_a_year_ahead_they_begin_anew(db):
    """What is more than a day ahead is nobody's n: the task has a new run then."""
    work(db, 0, 30)
    ahead = update(db, 86400 * 365, 31)
    again = work(db, 31, 60)
    assert again.split("-")[0] != ahead.split("-")[0]
    assert 1 <= seconds_left(db) < 400


def test_a_percentage_that_falls_harms_nothing(db):
    work(db, 0, 90)
    work(db, 91, 120, rate=0.1)
    assert seconds_left(db) > 15


def test_all_of_the_work_done_leaves_a_second_at_most(db):
    work(db, 0, 100)
    assert seconds_left(db) == 1


def test_a_new_stage_may_raise_the_estimate_at_once(db):
    work(db, 0, 50)
    before = seconds_left(db)
    for second in range(20):
        update(db, 51 + second, 50 + second * 0.1, "slow")
    assert seconds_left(db) > 4 * before


def test_a_newer_library_goes_on_with_the_estimates_of_an_older_one(db):
    db.call("HSET", KEY, "_estimate", "what another version wrote")
    work(db, 0, 10)
    assert 80 < seconds_left(db) < 100


def test_traces_are_replayed_as_they_were_made():
    trace = traces.made(20)["constant rate, 20 s"]
    assert trace == traces.made(20)["constant rate, 20 s"]
    assert list(told([(0, "a", None), (1, None, 50)], [None, None])) == []
