"""`progressctl run` with real commands, a real Redis and a real broker."""
import contextlib
import json
import os
import pty
import random
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.broker import SANITIZER_REPORT, build_directory, environment, program
from support.deadline import eventually
from support.redis_server import RedisServer
from support.ws_client import Watchers

NOWHERE = "unix:///nonexistent/redis.sock"


def command_line(url, task, *arguments):
    return [str(program("client/cli/progressctl")), "run", "--redis-url", url, "--task", task,
            *map(str, arguments)]


class Run:
    """A `progressctl run` in the background."""

    def __init__(self, url, task, *arguments, stdin=subprocess.DEVNULL):
        self.process = subprocess.Popen(command_line(url, task, *arguments), stdin=stdin,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        env=environment())

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()

    def read_line(self):
        return self.process.stdout.readline().decode().rstrip("\n")

    def wait(self, seconds=40):
        """(exit status, standard output, standard error)"""
        out, err = self.process.communicate(timeout=seconds)
        assert not SANITIZER_REPORT.search(err.decode("utf-8", "replace")), err
        return self.process.returncode, out, err


@pytest.fixture
def start(broker):
    """start(task, arguments…, url=…): a run on the broker's Redis unless told otherwise."""
    runs = []

    def start_one(task, *arguments, url=broker.redis_url, **settings):
        runs.append(Run(url, task, *arguments, **settings))
        return runs[-1]

    yield start_one
    for started in runs:
        started.kill()


@pytest.fixture
def watch(broker):
    """watch(task): what somebody sees who has the task open."""
    with contextlib.ExitStack() as stack:
        def watch_one(task):
            watchers = stack.enter_context(
                Watchers([(broker.ws_url(task), task, broker.token(task))]))
            watchers.wait_subscribed()
            return Seen(watchers)

        yield watch_one


class Seen:
    def __init__(self, watchers):
        self.watchers = watchers

    def until_the_end(self):
        self.watchers.wait(lambda watcher: {"complete", "error"} & set(watcher.types()))
        return self

    def payloads(self, kind):
        return [message["payload"] for watcher in self.watchers for message in watcher.messages
                if message["type"] == kind]

    def percentages(self):
        return [payload["percentage"] for payload in self.payloads("progress_update")]


def stored(redis, task, kind):
    text = redis.cli("HGET", f"progress:{task}", kind)
    return json.loads(text)["payload"] if text else None


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# ── The formats ──────────────────────────────────────────────────────────────────────────────────

@pytest.fixture(scope="module")
def speech(directory):
    path = f"{directory}/speech.wav"
    subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=duration=60", path],
                   check=True)
    return path


@pytest.mark.parametrize("outlet", [1, 2])
def test_ffmpeg_is_followed_through_its_encoding(start, watch, speech, directory, outlet):
    task = f"ffmpeg-{outlet}"
    seen = watch(task)
    result = f"{directory}/speech-{outlet}.mp3"
    status, out, err = start(
        task, "--format", "ffmpeg", "--stage", "encoding", "--result-url", "/results/a.mp3", "--",
        "ffmpeg", "-nostdin", "-readrate", "30", "-i", speech, "-progress", f"pipe:{outlet}",
        "-stats_period", "0.2", "-nostats", "-y", result).wait()
    assert status == 0, err
    assert os.path.getsize(result) > 10000
    assert b"progress=end" in (out if outlet == 1 else err) and b"Duration: 00:01:00" in err
    seen.until_the_end()
    percentages = seen.percentages()
    assert len(percentages) >= 3 and percentages == sorted(percentages)
    assert any(20 < percentage < 80 for percentage in percentages)
    assert {payload["stage"] for payload in seen.payloads("progress_update")} == {"encoding"}
    assert seen.payloads("stage_change")[0]["toStage"] == "encoding"
    end = seen.payloads("complete")[0]
    assert end["resultUrl"] == "/results/a.mp3" and 1 < end["duration"] < 60


def test_ffmpeg_that_names_no_duration_is_given_one(start, redis, speech):
    # The newest update must have had its turn before the end comes.
    script = 'ffmpeg -nostdin -v error -i "$0" -progress pipe:2 -nostats -f null -; sleep 0.5'
    status, _, err = start("ffmpeg-short", "--format", "ffmpeg", "--duration", "120", "--", "sh",
                           "-c", script, speech).wait()
    assert status == 0 and b"Duration" not in err
    assert stored(redis, "ffmpeg-short", "progress_update")["percentage"] == 50


def test_percentages_are_read_where_they_are_rewritten(start, watch):
    seen = watch("percent")
    script = r"""for i in 0 12.5 40 99; do printf '\r%5s%%|##  | x' $i >&2; sleep 0.4; done; echo text"""
    status, out, err = start("percent", "-f", "percent", "--", "sh", "-c", script).wait()
    assert (status, out) == (0, b"text\n")
    assert err == b"".join(b"\r%5s%%|##  | x" % i for i in (b"0", b"12.5", b"40", b"99"))
    assert seen.until_the_end().percentages() == [0, 12.5, 40, 99]
    assert seen.payloads("complete")[0]["resultUrl"] == ""


def test_percentages_are_read_from_one_output_if_told_so(start, redis):
    script = "echo 10%; sleep 0.3; echo 90% >&2; sleep 0.3"
    for task, output, percentage in (("from-out", "stdout", 10), ("from-err", "stderr", 90)):
        start(task, "-f", "percent", "--from", output, "--", "sh", "-c", script).wait()
        assert stored(redis, task, "progress_update")["percentage"] == percentage


def test_what_a_program_says_is_not_taken_for_its_progress(start, watch):
    seen = watch("said")
    script = ("echo I am 100% sure.; for i in 5 10 15; do"
              " echo \"whisper_print_progress_callback: progress =  $i%\" >&2; sleep 0.4;"
              " echo \"[00:00:0$i.000 --> 00:00:12.000]   90% of $i\"; done")
    assert start("said", "-f", "percent", "--", "sh", "-c", script).wait()[0] == 0
    assert seen.until_the_end().percentages() == [5, 10, 15]


def test_a_command_that_begins_again_enters_a_stage_of_its_own(start, watch):
    seen = watch("passes")
    script = "for i in 50 99.7 99.5 10 20; do printf '\\r%s%%' $i >&2; sleep 0.4; done"
    assert start("passes", "-f", "percent", "--stage", "pass", "--", "sh", "-c",
                 script).wait()[0] == 0
    seen.until_the_end()
    assert [(update["stage"], update["percentage"]) for update in
            seen.payloads("progress_update")] == [
                ("pass", 50), ("pass", 99.7), ("pass", 99.5), ("pass (2)", 10), ("pass (2)", 20)]
    assert [change["toStage"] for change in seen.payloads("stage_change")] == ["pass", "pass (2)"]


def test_lines_are_counted_against_the_total(start, watch):
    seen = watch("lines")
    script = "for i in 1 2 3; do echo $i; echo noise >&2; sleep 0.4; done"
    status, out, err = start("lines", "-f", "lines", "--total", 4, "--", "sh", "-c", script).wait()
    assert (status, out, err) == (0, b"1\n2\n3\n", b"noise\n" * 3)
    assert seen.until_the_end().percentages() == [25, 50, 75]


def test_without_a_format_stage_and_end_are_told(start, watch):
    seen = watch("plain")
    assert start("plain", "--stage", "upload", "echo", "50%").wait() == (0, b"50%\n", b"")
    assert seen.until_the_end().percentages() == []
    assert seen.payloads("stage_change")[0]["toStage"] == "upload"


# ── Passing on ───────────────────────────────────────────────────────────────────────────────────

def test_output_is_passed_on_byte_for_byte(start, directory):
    blob = random.Random(7).randbytes(3_000_000)
    path = Path(directory) / "blob"
    path.write_bytes(blob)
    for form in ("ffmpeg", "percent"):
        run = start(f"bytes-{form}", "-f", form, "--", "sh", "-c", 'cat "$0" >&2 & cat "$0"; wait',
                    path)
        status, out, err = run.wait()
        assert (status, out == blob, err == blob) == (0, True, True)


def test_output_comes_as_it_is_printed(start):
    run = start("prompt", "--", "sh", "-c", "printf 'ready? '; read answer; echo $answer",
                stdin=subprocess.PIPE)
    assert run.process.stdout.read(7) == b"ready? "
    run.process.stdin.write(b"yes\n")
    run.process.stdin.close()
    run.process.stdin = None
    assert run.wait() == (0, b"yes\n", b"")


def test_a_slow_reader_gets_all_of_it(start):
    # The command ends while most of it waits in its pipe, made large.
    script = "import fcntl, os; fcntl.fcntl(1, 1031, 1 << 20); os.write(1, bytes(900000))"
    run = start("slow-reader", "--", sys.executable, "-c", script)
    first = 0
    while first < 200000:
        first += len(run.process.stdout.read1(65536))
        time.sleep(0.3)
    status, out, _ = run.wait()
    assert (status, first + len(out)) == (0, 900000)


def test_who_reads_no_further_ends_the_command(start, redis):
    run = start("head", "--", "sh", "-c", "while echo line; do sleep 0.01; done; exit 9")
    assert run.read_line() == "line"
    run.process.stdout.close()
    assert run.process.wait(20) in (9, 128 + signal.SIGPIPE)
    assert stored(redis, "head", "error")["code"] in ("KILLED", "EXIT_STATUS")


def test_what_the_command_leaves_behind_holds_nobody_up(start):
    began = time.monotonic()
    run = start("background", "--", "sh", "-c", "sleep 30 & echo $!")
    leftover = int(run.read_line())
    try:
        assert run.process.wait(20) == 0
        assert time.monotonic() - began < 15
    finally:
        os.kill(leftover, signal.SIGKILL)


def test_arguments_are_the_commands_own(start):
    status, out, _ = start("arguments", "printf", "%s,", "--task", "-f", "--", "a b").wait()
    assert (status, out) == (0, b"--task,-f,--,a b,")


# ── The end ──────────────────────────────────────────────────────────────────────────────────────

def test_a_command_that_fails_fails_the_task(start, watch):
    seen = watch("fails")
    assert start("fails", "--", "sh", "-c", "exit 42").wait()[0] == 42
    error = seen.until_the_end().payloads("error")[0]
    assert (error["code"], error["message"]) == ("EXIT_STATUS", "sh ended with status 42")
    assert not error.get("retryable")


def test_a_failure_may_be_retryable(start, redis):
    start("again", "--retryable", "--", "false").wait()
    assert stored(redis, "again", "error")["retryable"] is True
    assert start("again", "--", "true").wait() == (0, b"", b"")
    assert stored(redis, "again", "error") is None
    assert stored(redis, "again", "complete")


def test_a_command_that_is_killed_fails_the_task(start, watch):
    seen = watch("killed")
    run = start("killed", "--", "sh", "-c", "echo $$; exec sleep 30")
    os.kill(int(run.read_line()), signal.SIGKILL)
    assert run.wait()[0] == 128 + signal.SIGKILL
    error = seen.until_the_end().payloads("error")[0]
    assert (error["code"], error["message"]) == ("KILLED", "sh was ended by signal 9")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_are_sent_on(start, redis, number):
    task = f"signal-{number}"
    script = f"trap 'echo caught; exit 3' {number.name[3:]}; echo ready; while :; do sleep 0.05; done"
    run = start(task, "--", "sh", "-c", script)
    assert run.read_line() == "ready"
    run.process.send_signal(number)
    status, out, _ = run.wait()
    assert (status, out) == (3, b"caught\n")
    assert stored(redis, task, "error")["code"] == "CANCELLED"


def test_ctrl_c_reaches_the_command_once(redis, broker):
    """The terminal sends it to both; it must not come twice."""
    script = ("import signal, sys, time\n"
              "count = 0\n"
              "def on_signal(*_):\n"
              "    global count\n"
              "    count += 1\n"
              "signal.signal(signal.SIGINT, on_signal)\n"
              "print('ready', flush=True)\n"
              "while not count: time.sleep(0.05)\n"
              "time.sleep(1.5)\n"
              "print('interrupts:', count, flush=True)\n"
              "sys.exit(4)\n")
    pid, terminal = pty.fork()
    if pid == 0:
        arguments = command_line(broker.redis_url, "ctrl-c", "--", sys.executable, "-c", script)
        os.execve(arguments[0], arguments, environment())
    try:
        output = read_until(terminal, b"ready")
        # Two that come close together would be one: so the program gets its own a little later.
        os.kill(pid, signal.SIGSTOP)
        os.write(terminal, b"\x03")
        time.sleep(0.5)
        os.kill(pid, signal.SIGCONT)
        output += read_until(terminal, b"interrupts:", b"\n")
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(terminal)
    assert b"interrupts: 1" in output and status == 4
    assert stored(redis, "ctrl-c", "error")["code"] == "CANCELLED"


def on_a_terminal(url, task, *command):
    """A run that leads the session of a terminal of its own: (pid, terminal)."""
    pid, terminal = pty.fork()
    if pid == 0:
        arguments = command_line(url, task, "--", *command)
        os.execve(arguments[0], arguments, environment())
    return pid, terminal


def pid_of_command(terminal):
    return int(re.search(rb"pid=(\d+)", read_until(terminal, b"pid=", b"\n"))[1])


REPORT_PID = "import os, sys, time; print(f'pid={os.getpid()}', flush=True); time.sleep(60)"


@pytest.mark.parametrize("prefix", [[], ["setsid"]], ids=["same session", "own session"])
@pytest.mark.parametrize("ending", ["interrupt", "hang up"])
def test_a_terminal_reaches_the_command_wherever_it_lives(redis, broker, prefix, ending):
    task = f"terminal-{len(prefix)}-{ending[:4]}"
    pid, terminal = on_a_terminal(broker.redis_url, task, *prefix, sys.executable, "-c", REPORT_PID)
    command = None
    try:
        command = pid_of_command(terminal)
        if ending == "interrupt":
            os.write(terminal, b"\x03")
        else:
            os.close(terminal)  # what becomes of it when the SSH connection is lost
            terminal = None
        eventually(lambda: not is_running(command), 20, "the command lives on")
        eventually(lambda: not is_running(pid), 20, "progressctl lives on")
    finally:
        for process in filter(None, (command, pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        os.waitpid(pid, 0)
        if terminal is not None:
            os.close(terminal)
    assert stored(redis, task, "error")["code"] == "CANCELLED"


def test_a_signal_reaches_all_of_a_process_group_of_the_commands_own(start, redis):
    script = ("(trap 'echo inner; exit 0' TERM; echo ready; while :; do sleep 0.05; done) & "
              "trap 'wait; exit 3' TERM; wait; wait; exit 3")
    run = start("group", "--", "setsid", "sh", "-c", script)
    assert run.read_line() == "ready"
    run.process.send_signal(signal.SIGTERM)
    status, out, _ = run.wait()
    assert (status, out) == (3, b"inner\n")
    assert stored(redis, "group", "error")["code"] == "CANCELLED"


def read_until(terminal, *wanted):
    output = b""
    while not all(text in output for text in wanted):
        assert select.select([terminal], [], [], 20)[0], output
        output += os.read(terminal, 4096)
    return output


def test_the_command_dies_with_the_program(start, redis):
    run = start("orphan", "--", "sh", "-c", "echo $$; exec sleep 30")
    pid = int(run.read_line())
    eventually(lambda: redis.cli("HGET", "progress:orphan", "_alive"))
    run.process.kill()
    eventually(lambda: not is_running(pid))
    # Nobody told the end, so the broker will when the sign of life is overdue.
    assert stored(redis, "orphan", "error") is None
    assert redis.cli("HGET", "progress:orphan", "_alive")


@pytest.mark.parametrize("command, status", [("no-such-command", 127), ("/etc/passwd", 126)])
def test_a_command_that_cannot_run_is_told(start, redis, command, status):
    task = f"unable-{status}"
    found, out, err = start(task, "--", command).wait()
    assert (found, out) == (status, b"")
    assert err.startswith(f"progressctl run: cannot run {command}: ".encode())
    assert stored(redis, task, "error")["code"] == "NOT_STARTED"


def test_a_task_that_has_ended_is_run_again_only_with_reset(start, redis):
    assert start("used", "--", "true").wait()[2] == b""
    status, _, err = start("used", "--", "false").wait()
    assert status == 1 and b"not all was stored: PROGRESS_DONE" in err
    assert start("used", "--reset", "--", "false").wait() == (1, b"", b"")
    assert stored(redis, "used", "complete") is None
    assert stored(redis, "used", "error")["code"] == "EXIT_STATUS"


# ── Redis comes and goes ─────────────────────────────────────────────────────────────────────────

@pytest.fixture
def own_redis(directory, request):
    """A Redis of the test's own that keeps its data, with the function library."""
    library = (build_directory() / "proto" / "progress.lua").read_text(encoding="utf-8")
    name = f"{directory}/{abs(hash(request.node.name))}"
    with RedisServer(name, settings={"appendonly": "yes", "appendfsync": "always"}) as server:
        server.cli("-x", "FUNCTION", "LOAD", stdin=library)
        yield server


def test_redis_may_be_away_in_the_middle(start, own_redis):
    script = "for i in 10 20 30; do echo $i%; read line; done; exit 0"
    run = start("away", "-f", "percent", "--from", "stdout", "--", "sh", "-c", script, url=own_redis.url,
                stdin=subprocess.PIPE)
    eventually(lambda: stored(own_redis, "away", "progress_update"))
    own_redis.stop()
    began = time.monotonic()
    for _ in range(2):
        run.process.stdin.write(b"\n")
        run.process.stdin.flush()
        run.read_line()
    assert time.monotonic() - began < 5, "the command waited for Redis"
    own_redis.start()
    eventually(lambda: stored(own_redis, "away", "progress_update")["percentage"] == 30)
    run.process.stdin.close()
    run.process.stdin = None
    assert run.wait()[0] == 0
    assert stored(own_redis, "away", "complete")


def test_the_end_waits_for_redis(start, own_redis):
    own_redis.stop()
    run = start("late", "--close-timeout", 30, "--", "sh", "-c", "exit 5", url=own_redis.url)
    time.sleep(1)
    assert run.process.poll() is None
    own_redis.start()
    assert run.wait()[::2] == (5, b"")
    assert stored(own_redis, "late", "error")["code"] == "EXIT_STATUS"


def test_without_redis_the_command_runs_all_the_same(start):
    began = time.monotonic()
    status, out, err = start("nowhere", "--close-timeout", 1, "--", "sh", "-c", "echo done; exit 6",
                             url=NOWHERE).wait()
    assert (status, out) == (6, b"done\n")
    assert b"not all was stored: No such file or directory" in err
    assert 1 <= time.monotonic() - began < 15


# ── Wrong usage ──────────────────────────────────────────────────────────────────────────────────

@pytest.mark.parametrize("arguments, complaint", [
    (["--task", "a"], "too few arguments"),
    (["true"], "--task is missing"),
    (["--task", "a b", "true"], "a task id is"),
    (["--task", "a", "-f", "json", "true"], "--format: must be"),
    (["--task", "a", "-f", "lines", "true"], "--total and --format lines"),
    (["--task", "a", "-f", "percent", "--total", "5", "true"], "--total and --format lines"),
    (["--task", "a", "-f", "lines", "--total", "0", "true"], "--total: must be"),
    (["--task", "a", "-f", "ffmpeg", "--duration", "-1", "true"], "--duration: must be"),
    (["--task", "a", "-f", "ffmpeg", "--duration", "1m", "true"], "--duration: must be"),
    (["--task", "a", "--duration", "5", "true"], "--duration: must be"),
    (["--task", "a", "-f", "ffmpeg", "--from", "stdout", "true"], "--from: must be"),
    (["--task", "a", "-f", "percent", "--from", "stdin", "true"], "--from: must be"),
    (["--task", "a", "--stage", "", "true"], "--stage: must be"),
    (["--task", "a", "--stage", "x" * 129, "true"], "--stage: must be"),
    (["--task", "a", "--result-url", b"\xff", "true"], "--result-url: must be"),
    (["--task", "a", "--redis-url", "http://x", "true"], "--redis-url must"),
    (["--task", "a", "--prefix", "x", "true"], "--prefix: must be"),
])
def test_wrong_usage_runs_nothing(arguments, complaint):
    done = subprocess.run([program("client/cli/progressctl"), "run", *arguments], check=False,
                          capture_output=True, env=environment(), timeout=30)
    assert done.returncode == 2 and complaint in done.stderr.decode(), done.stderr


# ── Secrets ──────────────────────────────────────────────────────────────────────────────────────

def test_the_password_of_a_url_is_covered_in_ps(redis):
    redis.cli("ACL", "SETUSER", "job", "on", ">secret-word", "~*", "&*", "+@all")
    url = redis.url.replace("unix://", "unix://job:secret-word@")
    run = Run(url, "covered", "--", "sh", "-c", "echo ready; sleep 30")
    try:
        assert run.read_line() == "ready"
        seen = Path(f"/proc/{run.process.pid}/cmdline").read_bytes()
        assert b"secret-word" not in seen and b"unix://job:xxxxxxxxxxx@/" in seen
        eventually(lambda: stored(redis, "covered", "stage_change"), 20, "nothing is published")
    finally:
        run.kill()


def test_a_url_may_stand_in_a_file(redis, tmp_path):
    (tmp_path / "url").write_text(redis.url + "\r\n", encoding="ascii")
    program_and_arguments = [str(program("client/cli/progressctl")), "publish", "filed",
                             "stage_change", '{"fromStage":null,"toStage":"x"}']
    environ = environment({"PROGRESSD_REDIS_URL_FILE": str(tmp_path / "url")})
    subprocess.run(program_and_arguments, env=environ, check=True, stdout=subprocess.PIPE)
    assert stored(redis, "filed", "stage_change")["toStage"] == "x"
    environ["PROGRESSD_REDIS_URL_FILE"] = str(tmp_path / "missing")
    refused = subprocess.run(program_and_arguments, env=environ, check=False,
                             stderr=subprocess.PIPE)
    assert refused.returncode == 2 and b"No such file" in refused.stderr
