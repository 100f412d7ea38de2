"""The function library in a real Redis, by redis-cli and over a connection of our own."""
import json
import random
import re
import shlex
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from support.broker import build_directory
from support.resp import Resp, RespError

UPDATE = '{"percentage":40,"stage":"transcribing"}'
ESTIMATE = '{"estimatedTimeRemaining":12.5,"confidence":0.5}'
COMPLETE = '{"resultUrl":"/results/1","duration":3.5}'
FAILED = '{"code":"DECODER","message":"no sound in it"}'
RETRYABLE = '{"code":"DECODER","message":"out of disk space","retryable":true}'
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
TYPES = ("progress_update", "stage_change", "time_estimate", "complete", "error")
JOB_RIGHTS = ["~progress:*", "&progress:*", "+fcall", "+hmget", "+hset", "+hdel", "+pexpire",
              "+time", "+spublish"]


@pytest.fixture(scope="module")
def library():
    return (build_directory() / "proto" / "progress.lua").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def loaded(redis, library):
    assert redis.cli("-x", "FUNCTION", "LOAD", stdin=library) == "progress"
    return redis


@pytest.fixture
def db(loaded):
    """A connection to an empty Redis that has the library."""
    with Resp(loaded.connect()) as connection:
        connection.call("FLUSHALL")
        yield connection


def fcall(payload, kind="progress_update", key="progress:1"):
    return ("FCALL", "progress_publish", 1, key, kind, payload)


def publish(db, payload, kind="progress_update", key="progress:1"):
    """Publishes what must be accepted; the rev's run and n."""
    rev = db.call(*fcall(payload, kind, key))
    assert isinstance(rev, bytes), rev
    run, n = rev.decode().split("-")
    return run, int(n)


def refusal(db, payload, kind="progress_update", key="progress:1"):
    """Publishes what must be refused, and change nothing; the error's text."""
    before = everything(db)
    error = db.call(*fcall(payload, kind, key))
    assert isinstance(error, RespError), (payload, error)
    assert everything(db) == before
    return str(error)


def everything(db):
    """All that is in Redis."""
    return {key: as_dict(db.call("HGETALL", key)) for key in db.call("KEYS", "*")}


def as_dict(flat):
    return dict(zip(flat[::2], flat[1::2]))


def stored(db, key="progress:1"):
    """A task's hash, as text."""
    fields = as_dict(db.call("HGETALL", key))
    return {name.decode(): value.decode() for name, value in fields.items()}


def payload_of(db, kind="progress_update", key="progress:1"):
    return json.loads(stored(db, key)[kind])["payload"]


def with_member(name, value):
    """An update with one more member, whose value is given as raw text."""
    if isinstance(value, str):
        value = value.encode()
    return b'{"percentage":40,"stage":"a","%s":%s}' % (name.encode(), value)


# ── One call ─────────────────────────────────────────────────────────────────────────────────────

def test_redis_cli_alone_publishes(loaded, db):
    rev = loaded.cli("FCALL", "progress_publish", "1", "progress:42", "progress_update", UPDATE)
    assert re.fullmatch(r"[0-9a-z]{10,11}-\d{16}", rev)
    message = stored(db, "progress:42")["progress_update"]
    stamp = json.loads(message)["payload"]["timestamp"]
    assert TIMESTAMP.fullmatch(stamp)
    assert message == ('{"type":"progress_update","taskId":"42","rev":"' + rev + '","payload":'
                       + UPDATE[:-1] + ',"timestamp":"' + stamp + '"}}')


def test_every_type_is_stored_under_its_name(db):
    payloads = (UPDATE, '{"fromStage":null,"toStage":"b"}', ESTIMATE, RETRYABLE)
    for kind, payload in zip(("progress_update", "stage_change", "time_estimate", "error"),
                             payloads):
        run, n = publish(db, payload, kind)
        fields = stored(db)
        message = json.loads(fields[kind])
        assert list(message) == ["type", "taskId", "rev", "payload"]
        assert (message["type"], message["taskId"], message["rev"]) == (kind, "1", f"{run}-{n}")
        assert (fields["run"], fields["n"]) == (run, str(n))
        assert json.loads(payload).items() <= message["payload"].items()
    publish(db, COMPLETE, "complete", "progress:2")
    assert payload_of(db, "complete", "progress:2") == json.loads(COMPLETE)


def test_the_payload_is_passed_on_as_it_was_written(db):
    payload = (' \t{ "stage" :"\\u00e4\\ud83d\\ude00 ü€😀\x7f\\/" ,\r\n"percentage":4.0E+1,'
               '"timestamp":"2026-01-01T00:00Z","x":[1,{"":null}],"big":123456789012345678901}\n')
    publish(db, payload)
    message = stored(db)["progress_update"]
    assert message.endswith(',"payload":' + payload.strip() + "}")


def test_a_timestamp_is_added_behind_what_a_payload_has(db):
    publish(db, '{"percentage":1,"stage":"a" \n } ')
    assert re.search(r'"stage":"a" \n ,"timestamp":"[^"]+"}}$', stored(db)["progress_update"])
    publish(db, ESTIMATE, "time_estimate")
    assert stored(db)["time_estimate"].endswith(ESTIMATE + "}")


def test_the_timestamp_added_is_redis_time(db):
    for _ in range(3):
        seconds, microseconds = (int(part) for part in db.call("TIME"))
        _, n = publish(db, UPDATE)
        stamp = payload_of(db)["timestamp"]
        assert 0 <= n - (seconds * 1000000 + microseconds) < 10_000_000
        whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(n // 1000000))
        assert stamp == f"{whole}.{n // 1000 % 1000:03d}Z"


@pytest.mark.parametrize("moment", [
    "1970-01-01T00:00:01.000Z", "2000-02-28T23:59:59.999Z", "2000-02-29T12:34:56.001Z",
    "2000-03-01T00:00:00.000Z", "2023-12-31T23:59:59.999Z", "2024-01-01T00:00:00.000Z",
    "2024-02-29T01:00:00.010Z", "2025-02-28T22:59:00.100Z", "2026-11-30T09:08:07.654Z",
    "2100-02-28T23:00:00.000Z", "2100-03-01T00:00:00.000Z", "2199-07-31T10:59:59.999Z",
])
def test_the_timestamp_added_is_right_at_any_time(loaded, db, library, moment):
    passed = (datetime.fromisoformat(moment.replace("Z", "+00:00"))
              - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(milliseconds=1)
    clock = '{ "%d", "%d" }' % (passed // 1000, passed % 1000 * 1000)
    loaded.cli("-x", "FUNCTION", "LOAD", "REPLACE",
               stdin=library.replace('redis.call("TIME")', clock, 1))
    try:
        assert publish(db, UPDATE)[1] == passed * 1000
        assert payload_of(db)["timestamp"] == moment
        assert publish(db, UPDATE)[1] == passed * 1000 + 1
    finally:
        loaded.cli("-x", "FUNCTION", "LOAD", "REPLACE", stdin=library)


def test_the_run_is_the_time_it_began_in_base_36(db):
    run, n = publish(db, UPDATE)
    assert int(run, 36) == n
    assert publish(db, UPDATE)[0] == run


def test_each_write_renews_the_expiry(db):
    publish(db, UPDATE)
    assert db.call("PTTL", "progress:1") > 86_390_000
    db.call("PEXPIRE", "progress:1", 1000)
    publish(db, UPDATE)
    assert db.call("PTTL", "progress:1") > 86_390_000
    db.call("PEXPIRE", "progress:1", 1000)
    db.call("FCALL", "progress_reset", 1, "progress:1")
    assert db.call("PTTL", "progress:1") > 86_390_000


def test_what_is_stored_is_what_the_channel_delivers(loaded, db):
    with Resp(loaded.connect()) as watcher:
        assert watcher.call("SSUBSCRIBE", "progress:1") == [b"ssubscribe", b"progress:1", 1]
        for kind, payload in (("progress_update", UPDATE), ("error", RETRYABLE),
                              ("complete", COMPLETE)):
            publish(db, payload, kind)
            assert watcher.reply() == [b"smessage", b"progress:1", stored(db)[kind].encode()]
        refusal(db, UPDATE)
        rev = db.call("FCALL", "progress_reset", 1, "progress:1").decode()
        assert watcher.reply()[2] == (b'{"type":"reset","taskId":"1","rev":"' + rev.encode()
                                      + b'","payload":{}}')


def test_it_works_within_multi(db):
    db.call("MULTI")
    for _ in range(3):
        db.call(*fcall(UPDATE))
    db.call("FCALL", "progress_reset", 1, "progress:1")
    db.call(*fcall(UPDATE))
    revs = [rev.decode().split("-") for rev in db.call("EXEC")]
    numbers = [int(n) for _, n in revs]
    assert numbers == sorted(set(numbers))
    assert [run == revs[0][0] for run, _ in revs] == [True, True, True, False, False]


# ── Refusals ─────────────────────────────────────────────────────────────────────────────────────

def cases(*texts):
    return pytest.mark.parametrize("payload,fault", texts)


@cases(
    ('{"stage":"a"}', "payload.percentage must be a number from 0 to 100, and is missing"),
    ('{"percentage":1}', "payload.stage must be a string of 1 to 128 bytes, and is missing"),
    ('{"percentage":"1","stage":"a"}', "payload.percentage must be a number from 0 to 100"),
    ('{"percentage":null,"stage":"a"}', "payload.percentage must be a number from 0 to 100"),
    ('{"percentage":true,"stage":"a"}', "payload.percentage must be a number from 0 to 100"),
    ('{"percentage":-0.001,"stage":"a"}', "payload.percentage must be a number from 0 to 100"),
    ('{"percentage":100.001,"stage":"a"}', "payload.percentage must be a number from 0 to 100"),
    ('{"percentage":1e999,"stage":"a"}', "payload.percentage must be a number from 0 to 100"),
    ('{"percentage":1,"percentage":101,"stage":"a"}',
     "payload.percentage must be a number from 0 to 100"),
    ('{"percentage":1,"stage":""}', "payload.stage must be a string of 1 to 128 bytes"),
    ('{"percentage":1,"stage":7}', "payload.stage must be a string of 1 to 128 bytes"),
    ('{"percentage":1,"stage":null}', "payload.stage must be a string of 1 to 128 bytes"),
    ('{"percentage":1,"stage":"' + "x" * 129 + '"}',
     "payload.stage must be a string of 1 to 128 bytes"),
    (with_member("bytesProcessed", "-1"), "payload.bytesProcessed must be a number from 0 up"),
    (with_member("bytesTotal", "null"), "payload.bytesTotal must be a number from 0 up"),
    (with_member("processingSpeed", '"1"'), "payload.processingSpeed must be a number from 0 up"),
    (with_member("processingSpeed", "1e999"), "payload.processingSpeed must be a number from 0 up"),
    ("", "payload must be a JSON object"),
    ("[]", "payload must be a JSON object"),
    ("null", "payload must be a JSON object"),
    ("1", "payload must be a JSON object"),
    ('"{}"', "payload must be a JSON object"),
    ("\ufeff" + UPDATE, "payload must be a JSON object"),
    (UPDATE + "x", "payload must be a JSON object"),
    (UPDATE + "\0", "payload must be a JSON object"),
    (with_member("x", '"' + "y" * 4096 + '"'), "payload must not be longer than 4096 bytes"),
)
def test_an_update_is_refused_with_the_member_at_fault(db, payload, fault):
    assert refusal(db, payload) == f"PROGRESS_INVALID {fault}"


@pytest.mark.parametrize("kind,payload,fault", [
    ("stage_change", '{"toStage":"a"}',
     "payload.fromStage must be a string of at most 128 bytes or null, and is missing"),
    ("stage_change", '{"fromStage":1,"toStage":"a"}',
     "payload.fromStage must be a string of at most 128 bytes or null"),
    ("stage_change", '{"fromStage":"a","toStage":null}',
     "payload.toStage must be a string of 1 to 128 bytes"),
    ("time_estimate", '{"estimatedTimeRemaining":-1,"confidence":0}',
     "payload.estimatedTimeRemaining must be a number from 0 up"),
    ("time_estimate", '{"estimatedTimeRemaining":1,"confidence":1.5}',
     "payload.confidence must be a number from 0 to 1"),
    ("complete", '{"resultUrl":1,"duration":1}', "payload.resultUrl must be a string"),
    ("complete", '{"resultUrl":"/"}', "payload.duration must be a number from 0 up, and is missing"),
    ("error", '{"code":"","message":""}', "payload.code must be a string that isn't empty"),
    ("error", '{"code":"A"}', "payload.message must be a string, and is missing"),
    ("error", '{"code":"A","message":"","retryable":1}', "payload.retryable must be true or false"),
    ("error", '{"code":"A","message":"","scope":"request"}', 'payload.scope must be "task"'),
    ("error", '{"code":"A","message":"","scope":null}', 'payload.scope must be "task"'),
])
def test_other_types_are_refused_with_the_member_at_fault(db, kind, payload, fault):
    assert refusal(db, payload, kind) == f"PROGRESS_INVALID {fault}"


def test_the_bounds_themselves_are_accepted(db):
    for percentage in ("0", "-0", "100", "1e2", "100.0", "0.1e-5",
                       "100.00000000000007", "-1e-15"):
        publish(db, '{"percentage":%s,"stage":"%s"}' % (percentage, "x" * 128))
    publish(db, '{"percentage":101,"percentage":1,"stage":"a"}')
    publish(db, '{"fromStage":"","toStage":"a"}', "stage_change")
    publish(db, '{"estimatedTimeRemaining":0,"confidence":1}', "time_estimate")
    publish(db, with_member("x", '"' + "y" * (4096 - len(with_member("x", '""'))) + '"'))


@pytest.mark.parametrize("kind", ["", "reset", "subscribe", "Complete", "complete ", 'x","y":"',
                                  "__index", "progress_update\0", "ü"])
def test_an_unknown_type_is_refused(db, kind):
    assert refusal(db, UPDATE, kind) == ("PROGRESS_INVALID type must be one of " + ", ".join(TYPES))


@pytest.mark.parametrize("key", [
    "", "progress", "progress:", ":1", "1", "pro gress:1", "progress:a b", "progress:a\n",
    "progress:!recorder", "progress:{1}", "progress:ü", "progress:a\0b", "progress:a*",
    'progress:x","type":"complete', "progress:x/../y", "progress:" + "x" * 129, "x" * 64 + ":1",
    "prögress:1", "pro.gress:1", "progress:.", "progress:..",
])
def test_a_forged_key_is_refused(db, key):
    error = refusal(db, UPDATE, key=key)
    assert error.startswith("PROGRESS_INVALID the key must be a prefix")
    assert str(db.call("FCALL", "progress_reset", 1, key)) == error
    assert everything(db) == {}


@pytest.mark.parametrize("key", ["progress:1", "p:" + "x" * 128, "x" * 63 + ":1", "A-z_9:a:b:c",
                                 "progress:._~:-", "-:-"])
def test_a_key_at_the_bounds_is_accepted(db, key):
    publish(db, UPDATE, key=key)
    assert json.loads(stored(db, key)["progress_update"])["taskId"] == key.split(":", 1)[1]


def test_a_call_with_too_few_or_too_many_arguments_says_how_to_call(db):
    how = "PROGRESS_INVALID call: FCALL progress_publish 1 <key> <type> <payload>"
    for rest in ([1, "progress:1"], [1, "progress:1", "complete"], [0, "a", "b"],
                 [1, "progress:1", "progress_update", UPDATE, "more"],
                 [2, "progress:1", "progress:2", "progress_update", UPDATE]):
        assert str(db.call("FCALL", "progress_publish", *rest)) == how
    assert db.call("FCALL", "progress_reset", 1, "progress:1", "more").startswith(
        "PROGRESS_INVALID call: FCALL progress_reset")
    assert everything(db) == {}


@pytest.mark.parametrize("stamp,good", [
    ("2026-11-23T06:16:17.123Z", True), ("2026-11-23T06:16:17Z", True),
    ("2026-11-23T06:16Z", True), ("2026-11-23T06:16:17", True),
    ("2026-11-23T06:16:17.123456789+02:00", True), ("2026-11-23T23:59:59-23:59", True),
    ("2024-02-29T00:00:00Z", True), ("2000-02-29T00:00:00Z", True),
    ("2026-02-29T00:00:00Z", False), ("1900-02-29T00:00:00Z", False),
    ("2026-00-01T00:00:00Z", False), ("2026-13-01T00:00:00Z", False),
    ("2026-04-31T00:00:00Z", False), ("2026-01-00T00:00:00Z", False),
    ("2026-01-32T00:00:00Z", False), ("2026-01-01T24:00:00Z", False),
    ("2026-01-01T00:60:00Z", False), ("2026-01-01T00:00:60Z", False),
    ("2026-01-01T00:00:00.Z", False), ("2026-01-01T00:00.5Z", False),
    ("2026-01-01T00:00:00+24:00", False), ("2026-01-01T00:00:00+00:60", False),
    ("2026-01-01T00:00:00+0000", False), ("2026-01-01T00:00:00z", False),
    ("2026-01-01 00:00:00Z", False), ("2026-01-01", False), ("20260101T000000Z", False),
    ("1795415613", False), ("", False), ("now", False), ("2026-11-23T06:16:17.1234567890+02:00",
                                                         False),
])
def test_a_timestamp_is_iso_8601_and_on_the_calendar(db, stamp, good):
    payload = with_member("timestamp", json.dumps(stamp))
    if good:
        publish(db, payload)
        assert payload_of(db)["timestamp"] == stamp
    else:
        assert refusal(db, payload).startswith(
            "PROGRESS_INVALID payload.timestamp must be an ISO 8601 date and time")


@pytest.mark.parametrize("raw", ["1795415613", "null", "{}", "true"])
def test_a_timestamp_that_is_no_string_is_refused(db, raw):
    assert "payload.timestamp must be" in refusal(db, with_member("timestamp", raw))


# ── What JSON forbids ────────────────────────────────────────────────────────────────────────────

def is_json(text):
    """Whether a text is what JSON.parse reads without throwing, in UTF-8, and says the same in
    every reader: Python's json, made strict."""
    def refuse(name):
        raise ValueError(name)

    try:
        json.loads(text.decode("utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError):
        return False
    return True


FORBIDDEN = [
    # numbers
    b"1.", b"-.5", b".5", b"1.e5", b"01", b"-01", b"00", b"+1", b"0x10", b"-0x1", b"1e", b"1e+",
    b"1.5.5", b"1e5.5", b"- 1", b"--1", b"-", b"1_000", b"0b1", b"1.,", b"-.", b"[1.]", b"[1.,2]",
    b"[-.5]", b"1.E5", b"-1.e-5",
    # literals
    b"NaN", b"nan", b"-NaN", b"Infinity", b"-Infinity", b"inf", b"-inf", b"-nan", b"True", b"TRUE",
    b"nul", b"nulll", b"undefined", b"None", b"truefalse",
    # strings
    b"'a'", b'"a', b'a"', b'"\n"', b'"\r"', b'"\t"', b'"\x01"', b'"\x1f"', b'"\x00"', b'"a\x00b"',
    b'"\\x41"', b'"\\\'"', b'"\\u12"', b'"\\u12g4"', b'"\\U00000041"', b'"\\0"', b'"\\a"',
    b'"\\\n"', b'"\\"', b'"\\\\\n"', b'"x\\n\x1ey"',
    b'"\\n","y":"\n"', b'{"\n":1}', b'{"\x00":1}',
    # UTF-8: stray and missing continuations, overlong forms, surrogates, beyond U+10FFFF
    b'"\x80"', b'"\xbf"', b'"\xc3"', b'"\xc3\xc3\xa4"', b'"\xe2\x82"', b'"\xf0\x9f\x98"',
    b'"\xc0\x80"', b'"\xc1\xbf"', b'"\xe0\x80\x80"', b'"\xe0\x9f\xbf"', b'"\xf0\x80\x80\x80"',
    b'"\xf0\x8f\xbf\xbf"', b'"\xed\xa0\x80"', b'"\xed\xbf\xbf"', b'"\xf4\x90\x80\x80"',
    b'"\xf5\x80\x80\x80"', b'"\xf8\x88\x80\x80\x80"', b'"\xff"', b'"\xfe"',
    b'"\xe1\xc2\x80\x80\x80"', b'"\xe2\x82\xac\x82"', b'{"\xff":1}', b'"\xc3\\n\xa4"',
    # structure
    b"[1,]", b"[,1]", b"[1 2]", b"[", b"]", b"{", b"}", b'{"a"}', b'{"a":}', b'{"a":1,}', b"{1:2}",
    b'{a:1}', b'{"a" 1}', b'{"a"::1}', b"[1}", b"", b"1,,", b"1;", b"1 /* x */", b"// x\n1",
    b"# x\n1", b"1 2", b"\x0b1", b"\x0c1", b"1\x0b", b"\x001", b"1\x00", b"\xc2\xa01",
    b"\xe2\x80\xa81", b"\xef\xbb\xbf1", b"\x7f1", b'1}\x00{"a":1', b"1}\x00", b"1}{",
]
# What Python's json lets through and this protocol doesn't: half a surrogate pair is no character,
# and some readers refuse what is nested too deeply.
REFUSED_TOO = [
    b'"\\ud800"', b'"\\udc00"', b'"\\udfff"', b'"\\ud800x"', b'"\\ud800\\u0041"',
    b'"\\ud800\\ud800"', b'"\\udc00\\ud800"', b'"\\ud83d\\n\\ude00"', b"[" * 16 + b"]" * 16,
    b'{"a":' * 16 + b"1" + b"}" * 16, b"[" * 2000 + b"]" * 2000,
]
ALLOWED = [
    b"0", b"-0", b"0.0", b"1.5e+10", b"1E5", b"-1.5E-5", b"0e0", b"1e400", b"-1e400", b"1e-400",
    b"123456789012345678901234567890", b"[]", b"{}", b"[[],{}]", b'""', b'"."', b'"1."', b'"-.5"',
    b'"\\""', b'"\\\\"', b'"\\\\\\""', b'"\\/\\b\\f\\n\\r\\t"', b'"\\u0000"', b'"\\u001f"',
    b'"\\uD83D\\uDE00"', b'"\\u00e4"', b'"\x7f"', b'"\xc2\x80"', b'"\xdf\xbf"', b'"\xe0\xa0\x80"',
    b'"\xed\x9f\xbf"', b'"\xee\x80\x80"', b'"\xef\xbf\xbf"', b'"\xef\xbb\xbf"', b'"\xf0\x90\x80\x80"',
    b'"\xf4\x8f\xbf\xbf"', b'"\xe2\x80\xa8"', b'"{\\"a\\":1.}"', b'["a","1.\\\\","b"]', b"true",
    b"false", b"null", b" \t\r\n1 \t\r\n", b"[1 , 2]", b'{"":""}', b'{"a":1,"a":2}',
    b"[" * 15 + b"]" * 15, b'"[[[[[[[[[[[[[[[[[[[["', b"[0.5,-0.5,0.5e1]", b'"a.b",  "y" : 0.5',
    b'{"\\u0000\xc3\xa4\\"":"\xc3\xa4.\\\\"}', b'"\xd0\xb4\xd0\xb0"', b'"\xe2\x82\xac","y":1.5',
]


@pytest.mark.parametrize("raw", FORBIDDEN, ids=repr)
def test_what_json_forbids_is_refused(db, raw):
    payload = with_member("x", raw)
    assert not is_json(payload), "the test is wrong"
    assert refusal(db, payload).startswith("PROGRESS_INVALID payload ")


@pytest.mark.parametrize("raw", REFUSED_TOO, ids=lambda raw: repr(raw[:20]))
def test_half_a_surrogate_pair_and_deep_nesting_are_refused(db, raw):
    assert refusal(db, with_member("x", raw)).startswith("PROGRESS_INVALID payload ")


@pytest.mark.parametrize("raw", ALLOWED, ids=repr)
def test_what_json_allows_is_stored_unchanged(db, raw):
    payload = with_member("x", raw)
    assert is_json(payload), "the test is wrong"
    publish(db, payload)
    message = as_dict(db.call("HGETALL", "progress:1"))[b"progress_update"]
    assert is_json(message)
    assert message.split(b',"payload":', 1)[1].startswith(payload[:-1] + b',"timestamp":"')


def test_nothing_that_is_not_json_is_stored_of_20000_broken_payloads(db):
    random.seed(7)
    pieces = ([piece for piece in FORBIDDEN + ALLOWED if len(piece) < 20]
              + [bytes([byte]) for byte in range(256)] + [b'"', b"\\", b",", b":", b"{", b"}"] * 20)
    payloads = []
    for _ in range(20000):
        payload = bytearray(with_member("x", random.choice(ALLOWED[:40])))
        for _ in range(random.randint(1, 3)):
            at = random.randrange(24, len(payload) + 1)
            payload[at:at + random.randint(0, 2)] = random.choice(pieces)
        payloads.append(bytes(payload))
    accepted = 0
    for payload, reply in zip(payloads, db.pipeline([fcall(payload) for payload in payloads])):
        if not isinstance(reply, RespError):
            assert is_json(payload), payload
            accepted += 1
        elif not reply.startswith("PROGRESS_INVALID payload."):
            assert not is_json(payload) or b"\\u" in payload or not payload.startswith(b"{"), (
                payload, reply)
    assert 500 < accepted < 19500


# ── Revisions ────────────────────────────────────────────────────────────────────────────────────

def test_revs_rise_strictly_over_100000_pipelined_calls(db):
    replies = db.pipeline([fcall(UPDATE)] * 100_000, batch=5000)
    runs, numbers = zip(*(reply.decode().split("-") for reply in replies))
    numbers = [int(n) for n in numbers]
    assert len(set(runs)) == 1
    assert all(later > earlier for earlier, later in zip(numbers, numbers[1:]))


def test_revs_rise_when_the_clock_was_set_back(db):
    run, n = publish(db, UPDATE)
    ahead = n + 3_600_000_000
    db.call("HSET", "progress:1", "n", ahead)
    assert [publish(db, UPDATE) for _ in range(3)] == [(run, ahead + i) for i in (1, 2, 3)]
    new_run, n = db.call("FCALL", "progress_reset", 1, "progress:1").decode().split("-")
    assert (int(n), new_run != run) == (ahead + 4, True)


def test_revs_rise_over_expiry(db):
    run, n = publish(db, UPDATE)
    db.call("DEL", "progress:1")
    new_run, new_n = publish(db, UPDATE)
    assert new_n > n and new_run != run


@pytest.mark.parametrize("junk", ["", "x", "-1", "1.5", "0x10", "1e5", "inf", "nan", "01", " 1",
                                  "9007199254740991", "9007199254740992", "9" * 400, "\xff\0"])
def test_a_spoilt_n_counts_as_none(db, junk):
    publish(db, UPDATE)
    db.call("HSET", "progress:1", "n", junk)
    seconds = int(db.call("TIME")[0])
    _, n = publish(db, UPDATE)
    assert 0 <= n - seconds * 1000000 < 60_000_000


def test_an_n_too_far_ahead_of_the_clock_begins_a_new_run(db):
    run, n = publish(db, UPDATE)
    fcall_stage = ("FCALL", "progress_publish", 1, "progress:1", "stage_change",
                   '{"fromStage":null,"toStage":"x"}')
    db.call(*fcall_stage)
    ahead = n + 90_000_000_000
    db.call("HSET", "progress:1", "n", ahead)
    new_run, new_n = publish(db, UPDATE)
    assert new_run != run and int(new_run, 36) == new_n and n < new_n < ahead
    fields = db.call("HGETALL", "progress:1")[::2]
    assert b"stage_change" not in fields, "readers would drop it, being of another run"
    assert publish(db, UPDATE)[0] == new_run


@pytest.mark.parametrize("junk", ["", "A", 'x","', "a-b", "z" * 14, "\xff\0"])
def test_a_spoilt_run_is_begun_anew(db, junk):
    _, before = publish(db, UPDATE)
    db.call("HSET", "progress:1", "run", junk)
    run, n = publish(db, UPDATE)
    assert int(run, 36) == n > before
    assert publish(db, UPDATE)[0] == run


def test_a_forged_n_of_the_far_future_does_not_stop_what_comes(db):
    """Readers drop what lies far ahead; so the run that was forged into ends, and all of it goes."""
    run, n = publish(db, UPDATE)
    db.call("HSET", "progress:1", "n", 2 ** 53 - 1, "time_estimate", "forged")
    new_run, new_n = publish(db, COMPLETE, "complete")
    assert new_run != run and new_n > n
    assert set(stored(db)) - {"run", "n"} == {"complete", "_end"}
    assert stored(db)["n"] == str(new_n)


def test_an_n_a_day_ahead_is_of_a_clock_that_was_set_back_and_goes_on(db):
    run, n = publish(db, UPDATE)
    ahead = n + 86_000_000_000
    db.call("HSET", "progress:1", "n", ahead)
    assert publish(db, UPDATE) == (run, ahead + 1)
    db.call("HSET", "progress:1", "n", ahead + 1_000_000_000)
    assert publish(db, UPDATE)[1] < ahead


def test_spoilt_bookkeeping_harms_nobody(db):
    publish(db, UPDATE)
    db.call("HSET", "progress:1", "_end", "?", "_stage", "\0", "stages", "[[", "error", "{",
            "_estimate", "0 0 nan inf -1 9 nan 0 0 0 nan 0")
    publish(db, UPDATE)
    assert json.loads(stored(db)["stages"])[-1]["stage"] == "transcribing"


def test_a_forged_end_without_a_message_that_ends_does_not_stop_the_real_one(db):
    publish(db, UPDATE)
    db.call("HSET", "progress:1", "_end", "done")
    assert alive(db, 20) == b"OK"
    let_the_deadline_pass(db)
    assert lost(db)
    db.call("HSET", "progress:1", "_end", "done")
    db.call("HDEL", "progress:1", "error")
    publish(db, COMPLETE, "complete")


@pytest.mark.parametrize("junk", [
    "[[", "[]", "x", '[{"stage":""}]', '[{"stage":"a"}]', '[{"stage":"a","timestamp":"today"}]',
    '[{"stage":"a","timestamp":"2026-01-01T00:00:00Z"},oops{"stage":"b"}]',
    '[{"stage":"a","timestamp":"2026-01-01T00:00:00Z"},{"stage":7,"timestamp":"x"}]',
    '[{"stage":"\xff","timestamp":"2026-01-01T00:00:00Z","x":"y"}]'.encode("latin-1"),
    '[{"stage":"' + "a" * 129 + '","timestamp":"2026-01-01T00:00:00Z"}]',
    '[{"stage":"' + "a" * 70000 + '"}]',
])
def test_spoilt_stages_are_begun_anew(db, junk):
    publish(db, UPDATE)
    db.call("HSET", "progress:1", "stages", junk)
    publish(db, '{"percentage":50,"stage":"encoding"}')
    assert [entry["stage"] for entry in stages_of(db)] == ["encoding"]
    assert all(set(entry) == {"stage", "timestamp"} for entry in stages_of(db))


def test_forged_members_of_a_stage_are_not_kept(db):
    publish(db, UPDATE)
    entry = '{"stage":"a","forged":"x","timestamp":"2026-01-01T00:00:00Z","more":"y"}'
    db.call("HSET", "progress:1", "stages", f"[{entry}]")
    publish(db, '{"percentage":50,"stage":"encoding"}')
    assert [set(entry) for entry in stages_of(db)] == [{"stage", "timestamp"}] * 2


def test_more_stages_than_the_last_32_are_cut_to_them(db):
    publish(db, UPDATE)
    entries = [{"stage": f"s{i}", "timestamp": "2026-01-01T00:00:00Z"} for i in range(100)]
    db.call("HSET", "progress:1", "stages", json.dumps(entries, separators=(",", ":")))
    publish(db, '{"percentage":50,"stage":"encoding"}')
    assert [entry["stage"] for entry in stages_of(db)] == [f"s{i}" for i in range(69, 100)] + [
        "encoding"]


def test_a_key_of_another_kind_is_left_alone(db):
    db.call("SET", "progress:1", "mine")
    assert db.call(*fcall(UPDATE)).startswith("WRONGTYPE")
    assert db.call("FCALL", "progress_reset", 1, "progress:1").startswith("WRONGTYPE")
    assert db.call("GET", "progress:1") == b"mine"


# ── Stages ───────────────────────────────────────────────────────────────────────────────────────

def stages_of(db):
    return json.loads(stored(db)["stages"])


def test_stages_are_entered_by_updates_and_by_changes(db):
    at = [f"2026-01-01T00:00:0{i}Z" for i in range(6)]
    for stamp, stage in zip(at, ("a", "a", "b", "a")):
        publish(db, json.dumps({"percentage": 1, "stage": stage, "timestamp": stamp}))
    publish(db, json.dumps({"fromStage": "a", "toStage": "c", "timestamp": at[4]}), "stage_change")
    publish(db, json.dumps({"percentage": 1, "stage": "c", "timestamp": at[5]}))
    assert stages_of(db) == [{"stage": "a", "timestamp": at[0]}, {"stage": "b", "timestamp": at[2]},
                             {"stage": "a", "timestamp": at[3]}, {"stage": "c", "timestamp": at[4]}]


def test_a_stage_change_enters_the_same_stage_again(db):
    for _ in range(2):
        publish(db, '{"fromStage":"a","toStage":"a"}', "stage_change")
    assert [entry["stage"] for entry in stages_of(db)] == ["a", "a"]


def test_a_stage_entered_without_a_timestamp_has_the_messages(db):
    publish(db, UPDATE)
    assert stages_of(db) == [{"stage": "transcribing", "timestamp": payload_of(db)["timestamp"]}]


def test_the_last_32_stages_are_kept(db):
    for i in range(100):
        publish(db, json.dumps({"percentage": i, "stage": f"stage {i}"}))
    assert [entry["stage"] for entry in stages_of(db)] == [f"stage {i}" for i in range(68, 100)]


def test_stages_are_escaped_as_the_broker_does(db):
    nasty = ['"},{"stage":"x', "\\", 'a"b\\c/ä😀\x7f', "".join(chr(c) for c in range(32)), "]}"]
    for stage in nasty:
        payload = json.dumps({"percentage": 1, "stage": stage})
        publish(db, payload)
        publish(db, payload)
    assert [entry["stage"] for entry in stages_of(db)] == nasty
    raw = stored(db)["stages"]
    assert '"a\\"b\\\\c/ä😀\x7f"' in raw
    assert '"\\u0000\\u0001' in raw and "\\b" not in raw and "\\u0008\\t\\n\\u000b\\u000c\\r" in raw


# ── The end, and a new beginning ─────────────────────────────────────────────────────────────────

@pytest.mark.parametrize("kind,payload", [
    ("complete", COMPLETE), ("error", FAILED), ("error", RETRYABLE.replace("true", "false")),
    ("complete", COMPLETE.replace("}", ',"retryable":true}')),
])
def test_nothing_follows_the_end(db, kind, payload):
    publish(db, UPDATE)
    publish(db, payload, kind)
    for later, text in (("progress_update", UPDATE), ("time_estimate", ESTIMATE),
                        ("stage_change", '{"fromStage":"a","toStage":"b"}'),
                        ("complete", COMPLETE), ("error", FAILED), ("error", RETRYABLE)):
        assert refusal(db, text, later).startswith("PROGRESS_DONE ")


@pytest.mark.parametrize("kind,payload", [
    ("progress_update", UPDATE), ("stage_change", '{"fromStage":"a","toStage":"b"}'),
    ("complete", COMPLETE),
])
def test_a_retryable_error_is_cleared_by_what_follows(db, kind, payload):
    publish(db, RETRYABLE, "error")
    publish(db, ESTIMATE, "time_estimate")
    assert "error" in stored(db)
    publish(db, payload, kind)
    assert "error" not in stored(db)
    if kind != "complete":
        assert "_end" not in stored(db)
        publish(db, UPDATE)
    else:
        assert refusal(db, UPDATE).startswith("PROGRESS_DONE ")


def test_a_retryable_error_may_be_followed_by_a_final_one(db):
    publish(db, RETRYABLE, "error")
    publish(db, RETRYABLE, "error")
    publish(db, FAILED, "error")
    assert payload_of(db, "error")["code"] == "DECODER"
    assert refusal(db, UPDATE).startswith("PROGRESS_DONE ")


def test_a_reset_begins_a_new_run(db):
    run, n = publish(db, UPDATE)
    publish(db, ESTIMATE, "time_estimate")
    publish(db, RETRYABLE, "error")
    publish(db, '{"fromStage":"a","toStage":"b"}', "stage_change")
    publish(db, COMPLETE, "complete")
    rev = db.call("FCALL", "progress_reset", 1, "progress:1").decode()
    new_run, new_n = rev.split("-")
    assert stored(db) == {"run": new_run, "n": new_n}
    assert new_run != run and int(new_n) > n
    assert publish(db, UPDATE)[0] == new_run
    assert [entry["stage"] for entry in stages_of(db)] == ["transcribing"]


def test_a_reset_works_where_there_was_no_task(db):
    run, n = db.call("FCALL", "progress_reset", 1, "progress:new").decode().split("-")
    assert stored(db, "progress:new") == {"run": run, "n": n}


# ── Signs of life ────────────────────────────────────────────────────────────────────────────────

def alive(db, seconds, key="progress:1"):
    return db.call("FCALL", "progress_alive", 1, key, seconds)


def lost(db, key="progress:1"):
    """The rev of the error published, or None."""
    return db.call("FCALL", "progress_lost", 1, key)


def let_the_deadline_pass(db, key="progress:1"):
    deadline = int(db.call("HGET", key, "_alive"))
    db.call("HSET", key, "_alive", deadline - 86_401_000_000)


def test_a_sign_of_life_sets_a_deadline_and_tells_nobody(loaded, db):
    publish(db, UPDATE)
    before = stored(db)
    with Resp(loaded.connect()) as watcher:
        watcher.call("SSUBSCRIBE", "progress:1")
        seconds, microseconds = (int(part) for part in db.call("TIME"))
        assert alive(db, 20) == b"OK"
        publish(db, UPDATE)
        assert json.loads(watcher.reply()[2])["type"] == "progress_update"
    deadline = int(stored(db)["_alive"])
    assert 0 <= deadline - (seconds + 20) * 1_000_000 - microseconds < 10_000_000
    assert {**before, "_alive": ""}.keys() == stored(db).keys()


def test_a_sign_of_life_renews_the_expiry(db):
    publish(db, UPDATE)
    db.call("PEXPIRE", "progress:1", 1000)
    alive(db, 1)
    assert db.call("PTTL", "progress:1") > 86_390_000


def test_a_job_is_lost_once_its_deadline_has_passed(loaded, db):
    run, n = publish(db, UPDATE)
    alive(db, 20)
    assert lost(db) is None
    let_the_deadline_pass(db)
    with Resp(loaded.connect()) as watcher:
        watcher.call("SSUBSCRIBE", "progress:1")
        rev = lost(db).decode()
        message = watcher.reply()[2].decode()
    assert rev.split("-")[0] == run and int(rev.split("-")[1]) > n
    assert message == stored(db)["error"] == (
        '{"type":"error","taskId":"1","rev":"' + rev + '","payload":{"code":"JOB_LOST",'
        '"message":"the job stopped giving signs of life","retryable":true}}')


def test_a_job_is_declared_lost_only_once(db):
    publish(db, UPDATE)
    alive(db, 20)
    let_the_deadline_pass(db)
    assert [lost(db) is None for _ in range(3)] == [False, True, True]


def test_a_job_that_never_gave_a_sign_of_life_is_never_lost(db):
    assert lost(db) is None
    assert everything(db) == {}
    publish(db, UPDATE)
    before = everything(db)
    assert lost(db) is None
    assert everything(db) == before


def test_a_lost_job_goes_on_with_its_next_progress(db):
    publish(db, UPDATE)
    alive(db, 20)
    let_the_deadline_pass(db)
    lost(db)
    alive(db, 20)
    assert "error" in stored(db)
    publish(db, UPDATE)
    assert "error" not in stored(db)
    let_the_deadline_pass(db)
    assert lost(db)


@pytest.mark.parametrize("kind,payload", [("complete", COMPLETE), ("error", FAILED),
                                          ("error", RETRYABLE)])
def test_the_end_takes_the_deadline_away(db, kind, payload):
    publish(db, UPDATE)
    alive(db, 20)
    publish(db, payload, kind)
    assert "_alive" not in stored(db)
    assert lost(db) is None


def test_an_error_that_stands_is_not_replaced(db):
    publish(db, UPDATE)
    publish(db, RETRYABLE, "error")
    alive(db, 20)
    let_the_deadline_pass(db)
    assert lost(db) is None
    assert payload_of(db, "error")["code"] == "DECODER"
    assert "_alive" not in stored(db)


def test_a_task_that_ended_takes_no_sign_of_life(db):
    publish(db, COMPLETE, "complete")
    before = everything(db)
    assert alive(db, 20).startswith("PROGRESS_DONE ")
    assert everything(db) == before


def test_a_job_that_dies_before_its_first_message_is_lost(db):
    alive(db, 20)
    let_the_deadline_pass(db)
    run, n = lost(db).decode().split("-")
    assert (stored(db)["run"], stored(db)["n"]) == (run, n)


def test_a_reset_takes_the_deadline_away(db):
    publish(db, UPDATE)
    alive(db, 20)
    let_the_deadline_pass(db)
    db.call("FCALL", "progress_reset", 1, "progress:1")
    assert lost(db) is None
    assert "error" not in stored(db)


@pytest.mark.parametrize("junk", ["", "x", "nan", "-inf", "\xff"])
def test_a_spoilt_deadline_is_none_or_has_passed(db, junk):
    publish(db, UPDATE)
    db.call("HSET", "progress:1", "_alive", junk)
    lost(db)
    publish(db, UPDATE)
    assert "error" not in stored(db)


@pytest.mark.parametrize("seconds", ["0", "-1", "1.5", "x", "", "86401", "9" * 400, "1e3", " 1"])
def test_a_sign_of_life_for_no_time_is_refused(db, seconds):
    assert alive(db, seconds).startswith("PROGRESS_INVALID the seconds must be")
    assert everything(db) == {}


def test_the_calls_about_life_say_how_they_are_called(db):
    for args in ([1, "progress:1"], [0, "1"], [1, "progress:1", "1", "2"]):
        assert db.call("FCALL", "progress_alive", *args).startswith("PROGRESS_INVALID call: ")
    assert db.call("FCALL", "progress_lost", 1, "progress:1", "x").startswith(
        "PROGRESS_INVALID call: ")
    for key in ("progress:", "progress:{1}", "progress:!recorder"):
        assert alive(db, 1, key).startswith("PROGRESS_INVALID the key must be")
        assert lost(db, key).startswith("PROGRESS_INVALID the key must be")


# ── Taking over ──────────────────────────────────────────────────────────────────────────────────

def take_over(db, *messages, key="progress:1", age=0):
    """The answer: how many were recorded and refused."""
    reply = db.call("FCALL", "progress_take_over", 1, key,
                    *(part for kind, payload in messages for part in (kind, age, payload)))
    return reply if isinstance(reply, RespError) else tuple(map(int, reply.split()))


def test_what_another_left_is_recorded_in_order_and_once(loaded, db):
    left = [("stage_change", '{"fromStage":null,"toStage":"a"}'), ("progress_update", UPDATE),
            ("complete", COMPLETE)]
    assert take_over(db, *left) == (3, 0)
    before = everything(db)
    assert take_over(db, *left) == (0, 0)
    assert everything(db) == before


@pytest.mark.parametrize("recorded", [0, 1, 2, 3])
def test_only_what_comes_behind_the_last_one_recorded_is(db, recorded):
    left = [("progress_update", UPDATE), ("error", RETRYABLE), ("time_estimate", ESTIMATE)]
    for kind, payload in left[:recorded]:
        publish(db, payload, kind)
    assert take_over(db, *left) == (3 - recorded, 0)


def test_an_error_that_was_cleared_is_not_raised_again(db):
    publish(db, RETRYABLE, "error")
    publish(db, UPDATE)
    assert take_over(db, ("error", RETRYABLE), ("progress_update", UPDATE)) == (0, 0)
    assert "error" not in stored(db)


def test_a_payload_with_white_space_or_a_timestamp_is_recognised(db):
    for payload in (' {"percentage":40,"stage":"a"} ',
                    '{"percentage":40,"stage":"a","timestamp":"2026-01-01T00:00:00Z"}'):
        publish(db, payload)
        assert take_over(db, ("progress_update", payload)) == (0, 0)


def test_one_that_is_longer_by_a_member_is_another(db):
    publish(db, '{"percentage":40,"stage":"a","own":1}')
    assert take_over(db, ("progress_update", '{"percentage":40,"stage":"a"}')) == (1, 0)


def test_what_is_invalid_or_comes_after_the_end_is_refused(db):
    assert take_over(db, ("progress_update", "{}"), ("complete", COMPLETE),
                     ("time_estimate", ESTIMATE)) == (1, 2)


def test_what_came_before_a_reset_is_not_recorded_behind_it(db):
    publish(db, FAILED, "error")
    db.call("FCALL", "progress_reset", 1, "progress:1")
    assert take_over(db, ("error", FAILED), age=5000) == (0, 0)
    assert "error" not in stored(db)
    assert take_over(db, ("progress_update", UPDATE), age=0) == (1, 0)


def test_a_bad_call_to_take_over_is_refused(db):
    for args in ([1, "progress:1"], [1, "progress:1", "complete", 1],
                 [0, "complete", 1, COMPLETE]):
        assert db.call("FCALL", "progress_take_over", *args).startswith("PROGRESS_INVALID call: ")
    assert take_over(db, ("x", "{}")).startswith("PROGRESS_INVALID each message")
    for age in ("x", "-1", "1.5", "", "9" * 10):
        assert take_over(db, ("complete", COMPLETE), age=age).startswith(
            "PROGRESS_INVALID each message")
    assert take_over(db, ("complete", COMPLETE), key="progress:!x").startswith(
        "PROGRESS_INVALID the key")
    assert everything(db) == {}


# ── The recorder's lease ─────────────────────────────────────────────────────────────────────────

def lease(db, holder, milliseconds, key="progress:!recorder"):
    return db.call("FCALL", "progress_lease", 1, key, holder, milliseconds)


def test_one_holder_has_the_lease_and_renews_it(db):
    assert lease(db, "a", 60_000) == 1
    assert lease(db, "b", 60_000) == 0
    db.call("PEXPIRE", "progress:!recorder", 10_000)
    assert lease(db, "a", 60_000) == 1
    assert db.call("PTTL", "progress:!recorder") > 50_000


def test_a_lease_is_given_back_only_by_its_holder(db):
    assert lease(db, "a", 60_000) == 1
    assert lease(db, "b", 0) == 0
    assert lease(db, "b", 60_000) == 0
    assert lease(db, "a", 0) == 0
    assert lease(db, "b", 60_000) == 1
    assert lease(db, "nobody", 0, "other:!recorder") == 0


def test_a_lease_runs_out(db):
    assert lease(db, "a", 1) == 1
    time.sleep(0.05)
    assert lease(db, "b", 60_000) == 1


@pytest.mark.parametrize("key,holder,milliseconds", [
    ("progress:1", "a", "1"), ("progress:", "a", "1"), ("!recorder", "a", "1"),
    ("a:b:!recorder", "a", "1"), ("x" * 64 + ":!recorder", "a", "1"),
    ("progress:!recorder", "", "1"), ("progress:!recorder", "a", "-1"),
    ("progress:!recorder", "a", "x"), ("progress:!recorder", "a", "1.5"),
    ("progress:!recorder", "a", ""), ("progress:!recorder", "a", "3600001"),
    ("progress:!recorder", "a", "9" * 400),
])
def test_a_bad_call_for_the_lease_is_refused(db, key, holder, milliseconds):
    assert lease(db, holder, milliseconds, key).startswith("PROGRESS_INVALID the ")
    assert db.call("KEYS", "*") == []


def test_the_lease_says_how_it_is_called(db):
    for args in ([1, "progress:!recorder"], [1, "progress:!recorder", "a"], [0, "a", "1"]):
        assert db.call("FCALL", "progress_lease", *args).startswith("PROGRESS_INVALID call: ")


# ── The server around it ─────────────────────────────────────────────────────────────────────────

def test_a_full_redis_stores_and_publishes_nothing(loaded, db):
    publish(db, UPDATE)
    before = everything(db)
    with Resp(loaded.connect()) as watcher:
        watcher.call("SSUBSCRIBE", "progress:1")
        db.call("CONFIG", "SET", "maxmemory", "1mb")
        try:
            assert db.call(*fcall(COMPLETE, "complete")).startswith("OOM ")
            assert db.call("FCALL", "progress_reset", 1, "progress:1").startswith("OOM ")
            assert everything(db) == before
        finally:
            db.call("CONFIG", "SET", "maxmemory", "0")
        publish(db, COMPLETE, "complete")
        assert json.loads(watcher.reply()[2])["type"] == "complete"


def test_a_job_needs_just_the_rights_that_the_documents_name(loaded, db):
    db.call("ACL", "SETUSER", "job", "reset", "on", "nopass", *JOB_RIGHTS)
    with Resp(loaded.connect()) as job:
        assert job.call("AUTH", "job", "x") == b"OK"
        publish(job, UPDATE)
        publish(job, RETRYABLE, "error")
        publish(job, UPDATE)
        publish(job, COMPLETE, "complete")
        assert isinstance(job.call("FCALL", "progress_reset", 1, "progress:1"), bytes)
        assert alive(job, 20) == b"OK"
        assert job.call(*fcall(UPDATE, key="other:1")).startswith("NOPERM")
        assert job.call("GET", "progress:1").startswith("NOPERM")


@pytest.mark.parametrize("right", JOB_RIGHTS)
def test_without_one_of_the_rights_nothing_is_stored(loaded, db, right):
    publish(db, RETRYABLE, "error")
    before = everything(db)
    rights = [other for other in JOB_RIGHTS if other != right]
    db.call("ACL", "SETUSER", "job", "reset", "on", "nopass", *rights)
    with Resp(loaded.connect()) as job:
        job.call("AUTH", "job", "x")
        for error in (job.call(*fcall(UPDATE)), alive(job, 20), lost(job),
                      job.call("FCALL", "progress_reset", 1, "progress:1")):
            assert isinstance(error, RespError)
            assert error.startswith("NOPERM ") and (right[0] != "+" or right[1:] in error.lower())
    assert everything(db) == before


def test_other_libraries_keep_their_json(db):
    """The shared cjson's settings are the same after our calls."""
    publish(db, UPDATE)
    assert db.call("EVAL", "return tostring(cjson.decode('[1e400, NaN]')[2])", 0) in (b"nan",
                                                                                     b"-nan")


def test_the_library_survives_a_flush_of_data_and_lists_its_functions(loaded, db):
    publish(db, UPDATE)
    db.call("FLUSHALL")
    listed = loaded.cli("FUNCTION", "LIST")
    for name in ("progress_publish", "progress_reset", "progress_alive", "progress_lost",
                 "progress_lease", "progress_take_over", "progress_rights"):
        assert name in listed


def test_another_setting_of_payload_and_expiry_is_obeyed(loaded, db, library):
    changed = library.replace("= 86400, 4096 --", "= 60, 8192 --", 1)
    assert changed != library
    loaded.cli("-x", "FUNCTION", "LOAD", "REPLACE", stdin=changed)
    try:
        publish(db, with_member("x", '"' + "y" * 8000 + '"'))
        assert 0 < db.call("PTTL", "progress:1") <= 60_000
        assert "8192 bytes" in refusal(db, with_member("x", '"' + "y" * 8192 + '"'))
    finally:
        loaded.cli("-x", "FUNCTION", "LOAD", "REPLACE", stdin=library)


# ── The documents ────────────────────────────────────────────────────────────────────────────────

PROTOCOL = Path(__file__).resolve().parents[2] / "docs" / "PROTOCOL.md"


def console_examples():
    """The commands of the document's console blocks, each with what it prints."""
    examples = []
    for block in re.findall(r"^```console\n(.*?)^```$", PROTOCOL.read_text(encoding="utf-8"),
                            re.DOTALL | re.MULTILINE):
        for example in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = example.partition("\n")
            examples.append((shlex.split(command), output))
    return examples


def without_revs(text):
    """A text in which revs, and their parts on lines of their own, are all the same."""
    text = re.sub(r"\b[0-9a-z]{10,11}-\d{16}\b", "REV", text)
    text = re.sub(r"^\d{16}$", "N", text, flags=re.MULTILINE)
    return re.sub(r"^[0-9a-z]{10,11}$", "RUN", text, flags=re.MULTILINE).rstrip("\n")


def test_the_examples_of_the_protocols_document_are_true(loaded, db):
    examples = console_examples()
    assert len(examples) >= 10
    for command, output in examples:
        assert command[0] == "redis-cli"
        assert without_revs(loaded.cli(*command[1:])) == without_revs(output), command


def test_the_brokers_rights_of_the_document_are_enough(loaded, db, library):
    command = next(words for words, _ in console_examples() if words[1:4] == ["ACL", "SETUSER",
                                                                             "progressd"])
    db.call(*command[1:4], "reset", *command[4:])
    with Resp(loaded.connect()) as user:
        for call in (("AUTH", "progressd", "secret"), ("INFO",),
                     ("FUNCTION", "LIST", "LIBRARYNAME", "progress", "WITHCODE"),
                     ("FUNCTION", "LOAD", "REPLACE", library), fcall(UPDATE),
                     ("FCALL", "progress_lease", 1, "progress:!recorder", "a", 1000),
                     ("FCALL", "progress_lease", 1, "progress:!recorder", "a", 0),
                     ("FCALL", "progress_reset", 1, "progress:1"), ("HGETALL", "progress:1"),
                     ("SSUBSCRIBE", "progress:1"), ("SUNSUBSCRIBE", "progress:1"),
                     ("PSUBSCRIBE", "progress:*")):
            reply = user.call(*call)
            assert not isinstance(reply, RespError), (call, reply)
