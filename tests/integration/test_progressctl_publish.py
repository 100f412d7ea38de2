"""`progressctl publish` with messages on standard input, one a line."""
import json
import subprocess
from pathlib import Path

from support.broker import build_directory, environment, program
from support.redis_server import RedisServer


def command_line(redis, *arguments):
    return [program("client/cli/progressctl"), "publish", "--redis-url", redis.url, *arguments]


def publish(redis, text, *arguments):
    done = subprocess.run(command_line(redis, *arguments), input=text.encode(), check=False,
                          capture_output=True, env=environment(), timeout=30)
    return done.returncode, done.stdout.decode().splitlines(), done.stderr.decode().splitlines()


def stored(redis, task, kind):
    return json.loads(redis.cli("HGET", f"progress:{task}", kind))["payload"]


def line(kind, task=None, **payload):
    return json.dumps({"type": kind, **({"taskId": task} if task else {}), "payload": payload})


def test_publish_takes_a_message_a_line(redis, broker):
    text = "\ufeff" + "\n".join([line("progress_update", percentage=5, stage="ä\u2028"), "", " \r",
                      line("progress_update", "in-1", percentage=6, stage="b"),
                      line("complete", resultUrl="/r", duration=1)])
    status, revs, err = publish(redis, text, "in-1")
    assert (status, len(revs), err) == (0, 3, [])
    assert stored(redis, "in-1", "progress_update")["percentage"] == 6
    assert stored(redis, "in-1", "complete") == {"resultUrl": "/r", "duration": 1}


def test_a_state_directory_may_be_named_from_here(redis, broker):
    socket = Path(redis.cli("CONFIG", "GET", "unixsocket").split()[-1])
    done = subprocess.run([program("client/cli/progressctl"), "publish", "--state-dir",
                           socket.parent.name, "in-here", "progress_update",
                           '{"percentage":1,"stage":"s"}'], cwd=socket.parent.parent, check=False,
                          capture_output=True, env=environment(), timeout=30)
    assert (done.returncode, done.stderr) == (0, b"")
    assert stored(redis, "in-here", "progress_update")["percentage"] == 1


def test_publish_finds_the_task_in_each_line(redis, broker):
    text = "".join(line("progress_update", f"in-2{name}", percentage=percentage, stage="s") + "\n"
                   for name, percentage in (("a", 1), ("b", 2), ("a", 3)))
    status, revs, err = publish(redis, text)
    assert (status, len(revs), err) == (0, 3, [])
    assert stored(redis, "in-2a", "progress_update")["percentage"] == 3
    assert stored(redis, "in-2b", "progress_update")["percentage"] == 2


def test_publish_names_the_lines_that_are_refused(redis, broker):
    lines = [line("progress_update", "in-3", percentage=1, stage="s"),
             line("progress_update", "in-3", percentage=101, stage="s"), "{", "[]", "\0",
             line("progress_update", percentage=1, stage="s"), line("note", "in-3"),
             line("progress_update", "no such task", percentage=1, stage="s"),
             line("progress_update", "in-3", percentage=2, stage="x" * 1_000_000),
             line("progress_update", "in-3", percentage=9, stage="s")]
    status, revs, err = publish(redis, "\n".join(lines))
    assert (status, len(revs)) == (1, 2)
    assert [text.split(":")[1] for text in err] == [f" line {number}" for number in range(2, 10)]
    assert "PROGRESS_INVALID payload.percentage" in err[0] and "not JSON" in err[1]
    assert "taskId must be" in err[4]
    assert stored(redis, "in-3", "progress_update")["percentage"] == 9


def test_publish_refuses_a_line_of_another_task(redis, broker):
    status, revs, err = publish(redis, line("progress_update", "b", percentage=1, stage="s"), "in-4")
    assert (status, revs) == (1, []) and "line 1: taskId" in err[0]


def test_publish_says_when_redis_is_gone(directory):
    library = (build_directory() / "proto" / "progress.lua").read_text(encoding="utf-8")
    with RedisServer(f"{directory}/gone") as gone:
        gone.cli("-x", "FUNCTION", "LOAD", stdin=library)
        with subprocess.Popen(command_line(gone, "in-5"), stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env=environment()) as process:
            update = line("progress_update", percentage=1, stage="s")
            process.stdin.write(update.encode() + b"\n")
            process.stdin.flush()
            assert process.stdout.readline(), "the rev comes as soon as the line is published"
            gone.stop()
            _, err = process.communicate(line("complete", resultUrl="", duration=1).encode(), 30)
    assert process.returncode == 3 and b"line 2: cannot reach Redis" in err


def test_publish_says_when_redis_was_never_there(directory):
    done = subprocess.run([program("client/cli/progressctl"), "publish", "in-6", "--redis-url",
                           f"unix://{directory}/none.sock"], stdin=subprocess.DEVNULL, check=False,
                          capture_output=True, env=environment(), timeout=30)
    assert done.returncode == 3 and b"cannot reach Redis" in done.stderr
