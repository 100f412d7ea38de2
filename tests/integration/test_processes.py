"""The processes of a broker: started, replaced, ended, and nothing left behind. And the admin port."""
import base64
import contextlib
import errno
import json
import os
import re
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from support.broker import Broker, environment, http_get, processes_of_session, program
from support.deadline import eventually
from support.job import Job
from support.redis_server import RedisServer, free_port
from support.ws_client import WsClient

GONE_SECONDS = 10


@pytest.fixture
def place():
    """A folder of one test's own, with a short path."""
    with tempfile.TemporaryDirectory(prefix="progressd-") as path:
        yield Path(path)


def run(*options, env=None, seconds=20):
    """Runs progressd until it ends by itself: (exit status, standard output, standard error)."""
    done = subprocess.run([str(program("broker/progressd")), *map(str, options)], check=False,
                          env=environment(env), capture_output=True, timeout=seconds, text=True)
    return done.returncode, done.stdout, done.stderr


def publish(state_dir, task, percentage):
    """Publishes into an embedded Redis: (exit status, what redis-cli says)."""
    done = subprocess.run(
        ["redis-cli", "-e", "-s", f"{state_dir}/redis.sock", "FCALL", "progress_publish", "1",
         f"progress:{task}", "progress_update",
         json.dumps({"percentage": percentage, "stage": "transcribing"})],
        capture_output=True, timeout=10, check=False, text=True)
    return done.returncode, done.stdout + done.stderr


def percentage_of(server, task):
    """What a poller sees of the task, or None."""
    code, body = server.poll(task)
    messages = json.loads(body)["messages"] if code == 200 else []
    return messages[-1]["payload"]["percentage"] if messages else None


def redis_pid(server):
    return int(server.logged(msg="Redis started")[-1]["pid"])


def is_alive(pid):
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


# ── Workers ─────────────────────────────────────────────────────────────────────────────────────

def test_a_killed_worker_is_replaced_at_once(broker):
    before = broker.worker_pids()
    killed = broker.kill_worker(1)
    broker.wait_for_workers(without=[killed], seconds=5)
    worker = broker.status()["workers"][1]
    assert broker.worker_pids()[0] == before[0], "the other worker had nothing to do with it"
    assert worker["restarts"] == 1
    assert broker.metrics()["progressd_worker_restarts_total"] == 1
    exits = broker.logged(msg="exited", role="worker", pid=killed)
    assert len(exits) == 1 and exits[0]["signal"] == "Killed"


def test_a_worker_that_keeps_dying_is_waited_for_longer_and_longer(brokers):
    server = brokers(workers=1)
    last = None
    for _ in range(4):
        server.wait_for_workers(without=[last], seconds=10)
        last = server.kill_worker()
    eventually(lambda: len(server.logged(module="child_process", role="worker", pause_ms="400")) == 1)
    pauses = [line["pause_ms"] for line in server.logged(module="child_process", role="worker")
              if "pause_ms" in line]
    assert pauses == ["100", "200", "400"]
    server.wait_for_workers(without=[last], seconds=10)


def test_a_worker_that_stands_still_is_ended_and_replaced(brokers):
    server = brokers(workers=1, options=["--worker-watchdog", "2"])
    hung = server.kill_worker(how=signal.SIGSTOP)
    eventually(lambda: server.admin("/readyz") == (503, "no worker runs\n"))
    server.wait_for_workers(without=[hung])
    assert server.logged(msg="stands still for too long, killing it", role="worker", pid=hung)
    assert server.metrics()["progressd_watchdog_kills_total"] == 1
    assert server.poll("nobody")[0] == 404


def test_a_recorder_that_stands_still_is_ended_and_replaced(brokers):
    server = brokers(workers=1, options=["--worker-watchdog", "2"])
    hung = server.status()["recorder"]["pid"]
    os.kill(hung, signal.SIGSTOP)
    eventually(lambda: server.status()["recorder"]["pid"] not in (hung, 0))
    assert server.admin("/readyz")[0] == 200


def test_a_worker_that_stood_still_for_a_moment_goes_on(brokers):
    server = brokers(workers=1, options=["--worker-watchdog", "30"])
    paused = server.kill_worker(how=signal.SIGSTOP)
    eventually(lambda: server.status()["workers"][0]["state"] == "silent", 25)
    os.kill(paused, signal.SIGCONT)
    server.wait_for_workers()
    assert server.worker_pids() == [paused]


def test_children_are_not_blamed_for_a_standstill_of_all(brokers):
    server = brokers(workers=1, options=["--worker-watchdog", "3"])
    before = server.worker_pids()
    pids = [server.process.pid, *before]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(4)  # longer than the watchdog waits: what it must not count
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    server.wait_for_workers()
    assert server.worker_pids() == before


def test_the_gauges_of_a_killed_worker_are_zeroed(brokers):
    server = brokers(workers=1)
    with socket.create_connection((server.host, server.port)):
        eventually(lambda: server.metrics()["progressd_connections"] == 1)
        killed = server.kill_worker()
        server.wait_for_workers(without=[killed])
        assert server.metrics()["progressd_connections"] == 0
        assert server.metrics()["progressd_connections_accepted_total"] == 1


def test_a_killed_recorder_is_replaced(brokers):
    server = brokers(workers=1, options=["--redis-prefix", "alone:"])
    before = server.status()["recorder"]["pid"]
    os.kill(before, signal.SIGKILL)
    eventually(lambda: server.status()["recorder"]["pid"] not in (0, before))
    eventually(lambda: server.status()["recorder"]["active"], 10)
    assert server.metrics()["progressd_worker_restarts_total"] == 0


# ── The end ─────────────────────────────────────────────────────────────────────────────────────

@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("embedded", [True, False], ids=["embedded", "external"])
def test_told_to_stop_it_ends_with_0_and_leaves_nothing(place, redis, how, embedded):
    server = Broker(place / "broker", None if embedded else redis.url).start()
    session = server.process.pid
    server.stop(how)  # exit status, processes and sanitizers' reports are checked there
    assert processes_of_session(session) == []
    left = [path for path in (place / "broker").rglob("*") if stat.S_ISSOCK(path.stat().st_mode)]
    assert left == []
    assert socket.socket().connect_ex((server.host, server.port)) != 0


def test_ctrl_c_in_a_terminal_ends_it_in_the_same_order(place):
    # A terminal sends SIGINT to every process of the foreground group.
    server = Broker(place / "broker").start()
    os.killpg(server.process.pid, signal.SIGINT)
    server.expect_exit(0)
    messages = [line["msg"] for line in server.log()]
    assert messages.index("Redis exited") > max(
        i for i, message in enumerate(messages) if message == "exited")
    assert server.logged(msg="link to Redis lost") == []


def test_a_second_signal_kills_who_does_not_stop(place, redis):
    server = Broker(place / "broker", redis.url, workers=1).start()
    worker = server.worker_pids()[0]
    os.kill(worker, signal.SIGSTOP)
    server.process.send_signal(signal.SIGTERM)
    eventually(lambda: server.logged(msg="stopping", process="supervisor"))
    server.process.send_signal(signal.SIGTERM)
    server.expect_exit(1, seconds=3)


def test_a_worker_that_does_not_stop_is_killed_when_its_time_is_up(place, redis):
    server = Broker(place / "broker", redis.url, workers=1,
                    options=["--shutdown-timeout", "0.5"]).start()
    os.kill(server.worker_pids()[0], signal.SIGSTOP)
    server.stop(seconds=5)
    assert server.logged(msg="does not stop, killing it")


def test_while_it_stops_it_is_not_ready(place, redis):
    server = Broker(place / "broker", redis.url, workers=1,
                    options=["--shutdown-timeout", "1"]).start()
    os.kill(server.worker_pids()[0], signal.SIGSTOP)
    server.process.send_signal(signal.SIGTERM)
    eventually(lambda: server.admin("/readyz") == (503, "stopping\n"))
    assert server.admin("/healthz") == (200, "ok\n")
    server.expect_exit(0, seconds=10)


def test_stopped_before_its_redis_answers_it_ends_with_0(place):
    server = Broker(place / "broker").launch()
    eventually(lambda: server.logged(msg="admin listening"))
    server.stop()


@pytest.mark.parametrize("embedded", [True, False], ids=["embedded", "external"])
def test_a_killed_supervisor_leaves_nothing_after_a_moment(place, redis, embedded):
    server = Broker(place / "broker", None if embedded else redis.url).start()
    session = server.process.pid
    os.kill(session, signal.SIGKILL)
    server.process.wait()
    try:
        eventually(lambda: processes_of_session(session) == [], GONE_SECONDS)
    finally:
        server.kill()
    server.check_log()


def hold(server):
    """A client that doesn't answer the close frame, so that its worker drains for as long as it
    may."""
    client = WsClient(server.ws_url("held"))
    client.send_json({"type": "subscribe", "taskId": "held", "token": server.token("held")})
    client.recv_until("subscribed")
    return client


def is_refused(server):
    with socket.socket() as newcomer:
        newcomer.settimeout(5)
        return newcomer.connect_ex((server.host, server.port)) == errno.ECONNREFUSED


def test_who_comes_while_workers_drain_is_refused_at_once(place, redis):
    server = Broker(place / "broker", redis.url, options=["--shutdown-timeout", "30"]).start()
    with hold(server):
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: is_refused(server))
        assert server.process.poll() is None, "it drained too soon to tell"
    server.expect_exit(0)


def test_a_broker_that_leaves_is_not_ready_and_serves_for_the_drain_delay(place, redis):
    server = Broker(place / "broker", redis.url, options=["--drain-delay", "4"]).start()
    with hold(server) as client:
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: server.admin("/readyz") == (503, "stopping\n"))
        assert not server.logged(msg="stopping", process="worker-0")
        assert server.poll("nobody")[0] == 404
        client.send_json({"type": "ping", "timestamp": 1})
        client.recv_until("pong")
        assert client.expect_close().code == 1012
    server.expect_exit(0)


def leaving(client):
    """When the client is told to come back, in milliseconds."""
    message = client.recv_until("reconnect")[-1]
    assert "taskId" not in message
    return message["payload"]["afterMs"]


def test_clients_are_sent_away_one_after_the_other(place, redis):
    server = Broker(place / "broker", redis.url, workers=1, drain_timeout=6).start()
    with contextlib.ExitStack() as stack, Job(redis, "held") as job:
        clients = [stack.enter_context(hold(server)) for _ in range(6)]
        server.process.send_signal(signal.SIGTERM)
        turns = [leaving(client) for client in clients]
        for index, turn in enumerate(turns):
            assert index * 1000 <= turn <= (index + 1) * 1000
        job.update(40)
        clients[-1].recv_until("progress_update")  # served until its turn
        for client in clients:
            assert client.expect_close(30).code == 1012
            client.abort()
    server.expect_exit(0, 30)


def test_sigint_sends_everybody_away_at_once(place, redis):
    server = Broker(place / "broker", redis.url, drain_timeout=600).start()
    with hold(server) as client:
        server.process.send_signal(signal.SIGINT)
        assert client.expect_close().code == 1001
    server.expect_exit(0)


def test_plain_messages_are_recorded_until_the_last_client_has_gone(place, redis):
    server = Broker(place / "broker", redis.url, drain_timeout=600).start()
    with hold(server) as client:
        server.process.send_signal(signal.SIGTERM)
        leaving(client)
        redis.cli("PUBLISH", "progress:held", json.dumps({
            "type": "progress_update", "taskId": "held",
            "payload": {"percentage": 40, "stage": "late"}}))
        client.recv_until("progress_update")
    server.expect_exit(0)


def test_a_connection_that_is_too_old_is_sent_away(place, redis):
    with Broker(place / "broker", redis.url, options=["--max-connection-age", "2"]) as server:
        with hold(server) as client:
            assert leaving(client) <= 5000
            client.send_json({"type": "ping", "timestamp": 1})
            assert client.expect_close(30).code == 1012


def test_a_second_signal_ends_the_drain_delay(place, redis):
    server = Broker(place / "broker", redis.url, options=["--drain-delay", "600"]).start()
    server.process.send_signal(signal.SIGTERM)
    eventually(lambda: server.admin("/readyz")[0] == 503)
    server.process.send_signal(signal.SIGTERM)
    server.expect_exit(1)


def test_the_port_of_a_killed_supervisor_is_free_while_its_workers_drain(place, redis):
    server = Broker(place / "broker", redis.url, options=["--shutdown-timeout", "30"]).start()
    with hold(server):
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
        eventually(lambda: is_refused(server))
        assert processes_of_session(server.process.pid), "they drained too soon to tell"
        with Broker(place / "next", redis.url,
                    options=["--listen", server.address]) as successor:
            assert successor.poll("nobody")[0] == 404
    eventually(lambda: processes_of_session(server.process.pid) == [], 35)
    server.kill()


# ── Reloading ───────────────────────────────────────────────────────────────────────────────────

@pytest.fixture
def reloadable(place, redis):
    """A broker with a configuration file, and what rewrites that and sends SIGHUP."""
    file = place / "progressd.conf"

    def write(text):
        file.write_text(text, encoding="utf-8")
        file.chmod(0o600)

    write("workers = 1\n")
    server = Broker(place / "broker", redis.url, workers=None, options=["--config", file])
    with server:
        def reload(text):
            write(text)
            server.process.send_signal(signal.SIGHUP)
        server.reload = reload
        yield server


def test_a_reload_replaces_the_workers_and_refuses_nobody(reloadable):
    server, before = reloadable, reloadable.worker_pids()
    assert len(before) == 1
    with hold(server) as client:
        server.reload("workers = 2\nping-interval = 20 # shorter\n")
        while not server.logged(msg="reloaded"):
            assert server.poll("nobody")[0] == 404
        assert client.expect_close().code == 1012
    eventually(lambda: server.logged(msg="old workers have ended"))
    server.wait_for_workers(without=before)
    after = server.worker_pids()
    assert len(after) == 2 and not set(after) & set(before)
    assert server.poll("nobody")[0] == 404
    assert server.status()["draining"] == []
    assert server.metrics()["progressd_worker_restarts_total"] == 0
    assert not any(map(is_alive, before))


def test_old_workers_of_a_reload_send_their_clients_away_over_time(reloadable):
    before = reloadable.worker_pids()
    with hold(reloadable) as client:
        reloadable.reload("workers = 1\n")
        assert leaving(client) == 0  # drain-timeout is a flag here, and 0
        assert client.expect_close().code == 1012
    reloadable.wait_for_workers(without=before)


def test_under_load_a_reload_refuses_and_resets_nobody(reloadable):
    """Newcomers all the while: each is answered, on a connection of its own."""
    failures, answered, over = [], [], threading.Event()

    def poll():
        while not over.is_set():
            try:
                answered.append(reloadable.poll("nobody")[0])
            except OSError as error:
                failures.append(error)

    threads = [threading.Thread(target=poll) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for round_ in range(1, 4):
            reloadable.reload("workers = 2\n")
            eventually(lambda: len(reloadable.logged(msg="old workers have ended")) == round_, 60)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert failures == [] and set(answered) == {404}


def test_what_a_reload_cannot_use_changes_nothing_and_is_named(reloadable):
    before = reloadable.worker_pids()
    for text, why in (("linger = soon\n", ":1: linger: must be a number"),
                      ("workers = 200\n", "more workers")):
        reloadable.reload(text)
        eventually(lambda: any(why in line["why"] for line in
                               reloadable.logged(msg="not reloaded, going on as before")))
    assert reloadable.worker_pids() == before and all(map(is_alive, before))
    reloadable.reload("workers = 1\n")
    eventually(lambda: reloadable.logged(msg="reloaded"))


def test_the_embedded_redis_goes_on_over_a_reload(place):
    file = place / "progressd.conf"
    file.write_text("linger = 5\n", encoding="utf-8")
    with Broker(place / "broker", options=["--config", file]) as server:
        before = redis_pid(server)
        assert publish(server.state_dir, "42", 40)[0] == 0
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: server.logged(msg="old workers have ended"))
        assert percentage_of(server, "42") == 40 and redis_pid(server) == before
        file.write_text("redis-url = redis://127.0.0.1:1\n", encoding="utf-8")
        server.process.send_signal(signal.SIGHUP)
        refused = eventually(lambda: server.logged(msg="not reloaded, going on as before"))
        assert refused[0]["option"] == "redis-url"
        assert percentage_of(server, "42") == 40


def test_reloads_may_follow_one_another(reloadable):
    for _ in range(3):
        before = reloadable.worker_pids()
        count = len(reloadable.logged(msg="reloaded"))
        reloadable.process.send_signal(signal.SIGHUP)
        reloadable.process.send_signal(signal.SIGHUP)
        eventually(lambda: len(reloadable.logged(msg="reloaded")) > count)
        reloadable.wait_for_workers(without=before)


def test_told_to_stop_during_a_reload_it_ends_with_0(reloadable):
    reloadable.process.send_signal(signal.SIGHUP)
    eventually(lambda: reloadable.logged(msg="reloading"))
    reloadable.stop()
    reloadable.launch()
    reloadable.wait_until_listening()


# ── What can't be started ───────────────────────────────────────────────────────────────────────

@pytest.mark.parametrize("option", ["--listen", "--admin-listen"])
def test_a_port_in_use_is_an_error(place, redis, option):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        addresses = {"--listen": "127.0.0.1:0", "--admin-listen": "127.0.0.1:0",
                     option: f"127.0.0.1:{port}"}
        status, _, err = run(*(x for pair in addresses.items() for x in pair), "--state-dir", place,
                             "--redis-url", redis.url)
    assert status == 1
    assert f'msg="the port is in use" address=127.0.0.1:{port}' in err


@pytest.mark.parametrize("options, what", [
    (["--no-such-option", "x"], "no-such-option"),
    (["--listen", "127.0.0.1:70000"], "listen"),
    (["--jwt-key", "HS256:/nowhere/key"], "jwt-key"),
    (["--listen", "0.0.0.0:0"], "jwt-key"),
])
def test_a_wrong_option_is_named_and_ends_with_2(place, options, what):
    status, out, err = run("--state-dir", place, *options)
    assert (status, out) == (2, "")
    assert what in err and len(err.splitlines()) <= 2


def test_the_line_of_a_wrong_file_is_named(place):
    (place / "conf").write_text("workers = 2\nlisten = nonsense\n", encoding="ascii")
    status, _, err = run("--config", place / "conf", "--check-config")
    assert status == 2
    assert re.search(r"conf:2\b.*listen", err)


def test_check_config_starts_nothing(place):
    status, out, err = run("--check-config", "--state-dir", place / "state")
    assert (status, out, err) == (0, "", "")
    assert not (place / "state").exists()


def test_no_process_shows_a_secret(place):
    key = base64.b64encode(b"a secret of at least thirty-two bytes").decode()
    server = Broker(place / "broker", key=None, options=[f"--jwt-key=HS256:base64:{key}"],
                    env={"PROGRESSD_REDIS_URL": f"redis://:verysecret@127.0.0.1:{free_port()}"})
    server.launch()
    try:
        server.wait_until_listening()
        eventually(lambda: all(pid > 0 for pid in server.worker_pids()))
        pids = processes_of_session(server.process.pid)
        assert len(pids) == 4
        for pid in pids:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            assert b"verysecret" not in words and key.encode() not in words
            if pid != server.process.pid:
                assert b"PROGRESSD_" not in Path(f"/proc/{pid}/environ").read_bytes()
    finally:
        server.stop()


def test_the_variables_of_kubernetes_services_are_no_options(place):
    names = ["PORT", "PORT_8080_TCP", "SERVICE_PORT", "WORKERS_PORT", "REDIS_PORT", "LISTEN_PORT",
             "REDIS_PORT_6379_TCP", "ADMIN_LISTEN_PORT"]
    variables = {f"PROGRESSD_{name}": "tcp://10.0.0.1:8080" for name in names}
    with Broker(place / "broker", env=variables) as server:
        warnings = [line["why"] for line in server.logged(module="config", msg="warning")]
        assert len(warnings) == 8 and all("names no option" in why for why in warnings)


def test_check_config_names_a_key_that_others_may_read(place):
    key = place / "jwt.key"
    key.write_text("a secret of at least thirty-two bytes", encoding="ascii")
    key.chmod(0o644)
    status, _, err = run("--check-config", "--state-dir", place, "--jwt-key", f"HS256:{key}")
    assert status == 0 and f"{key} can be read by every user; make its mode 0600" in err


def test_help_and_version_are_printed(place):
    status, out, err = run("--help")
    assert (status, err) == (0, "") and "--redis-url" in out
    status, out, err = run("--version")
    assert (status, err) == (0, "") and re.fullmatch(r"progressd \d+\.\d+\.\d+\n", out)


@pytest.mark.parametrize("words", [["worker", "0"], ["recorder", "2"], ["redis"], ["worker"]])
def test_the_roles_of_children_are_not_for_users(words):
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert err == f"progressd: `{words[0]}` is started by progressd itself\n"


# ── The embedded Redis ──────────────────────────────────────────────────────────────────────────

def test_the_embedded_redis_keeps_the_state_over_a_restart(place):
    server = Broker(place / "broker")
    for percentage in (40, 41):
        with server:
            if percentage == 41:
                assert percentage_of(server, "42") == 40
            assert publish(server.state_dir, "42", percentage)[0] == 0
            assert percentage_of(server, "42") == percentage


def test_a_killed_embedded_redis_comes_back_with_its_data(place):
    with Broker(place / "broker") as server:
        assert publish(server.state_dir, "42", 40)[0] == 0
        killed = redis_pid(server)
        os.kill(killed, signal.SIGKILL)
        eventually(lambda: redis_pid(server) != killed)
        eventually(lambda: percentage_of(server, "42") == 40)
        eventually(lambda: publish(server.state_dir, "42", 41)[0] == 0)
        eventually(lambda: percentage_of(server, "42") == 41)
        assert server.logged(module="embedded_redis", msg="Redis exited", signal="Killed")


def test_the_embedded_redis_is_for_its_user_alone(place):
    with Broker(place / "broker") as server:
        assert stat.S_IMODE((server.state_dir / "redis.sock").stat().st_mode) == 0o700
        assert stat.S_IMODE(server.state_dir.stat().st_mode) == 0o700
        done = subprocess.run(["redis-cli", "-s", f"{server.state_dir}/redis.sock", "CONFIG", "GET",
                               "port"], capture_output=True, check=True, text=True)
        assert done.stdout == "port\n0\n"


def test_a_redis_that_still_lives_is_taken_over_and_ended_in_the_end(place):
    server = Broker(place / "broker")
    with RedisServer(server.state_dir) as found:
        server.start()
        assert server.logged(msg="took over a Redis that was running", pid=found.process.pid)
        assert publish(server.state_dir, "42", 40)[0] == 0
        assert percentage_of(server, "42") == 40
        server.stop()
        assert found.process.wait(5) == 0


def test_a_redis_that_was_taken_over_and_dies_is_followed_by_one_of_its_own(place):
    server = Broker(place / "broker")
    with RedisServer(server.state_dir) as found:
        with server:
            found.kill()
            eventually(lambda: server.logged(msg="Redis started"))
            eventually(lambda: publish(server.state_dir, "42", 40)[0] == 0)


def test_started_again_right_after_a_crash_it_goes_on(place):
    server = Broker(place / "broker").start()
    assert publish(server.state_dir, "42", 40)[0] == 0
    session = server.process.pid
    os.kill(session, signal.SIGKILL)
    server.process.wait()
    server.process = None
    with server:
        eventually(lambda: percentage_of(server, "42") == 40)
        assert publish(server.state_dir, "42", 41)[0] == 0
    assert processes_of_session(session) == []


def test_a_process_on_the_socket_that_does_not_answer_is_an_error(place):
    state = place / "state"
    with RedisServer(state) as found:
        found.pause()
        status, _, err = run("--listen", "127.0.0.1:0", "--admin-listen", "off", "--state-dir", state)
        assert status == 1
        assert "redis.sock, but does not answer" in err


def test_two_brokers_do_not_share_a_state_directory(place):
    with Broker(place / "broker") as server:
        status, _, err = run("--listen", "127.0.0.1:0", "--admin-listen", "off",
                             "--state-dir", server.state_dir)
        assert status == 1
        assert "another progressd uses the state directory" in err
        assert publish(server.state_dir, "42", 40)[0] == 0


def test_a_missing_redis_server_is_named(place):
    status, _, err = run("--listen", "127.0.0.1:0", "--admin-listen", "off", "--state-dir", place,
                         env={"PATH": str(place)})
    assert status == 1
    assert "redis-server is not installed" in err


def test_a_redis_server_that_cannot_start_is_told_with_its_log(place):
    (place / "redis-server").write_text("#!/bin/sh\nexit 3\n", encoding="ascii")
    (place / "redis-server").chmod(0o755)
    status, _, err = run("--listen", "127.0.0.1:0", "--admin-listen", "off", "--state-dir",
                         place / "state", env={"PATH": f"{place}:{os.environ['PATH']}"})
    assert status == 1
    assert f"redis-server did not start, see {place}/state/redis.log" in err


def test_a_path_too_long_for_a_socket_is_an_error(place):
    status, _, err = run("--listen", "127.0.0.1:0", "--admin-listen", "off", "--state-dir",
                         place / ("x" * 100))
    assert status == 1
    assert "too long for a socket" in err


def test_it_says_how_to_get_a_token(place):
    with Broker(place / "broker", key=None) as server:
        lines = [line["command"] for line in server.log() if "command" in line]
        assert lines == [f"progressctl token TASK --state-dir {server.state_dir}"]


# ── The admin port ──────────────────────────────────────────────────────────────────────────────

def raw(server, text):
    """All that the admin port answers to these bytes, until it closes."""
    host, _, port = server.admin_address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(text.encode())
        answer = b""
        while chunk := client.recv(65536):
            answer += chunk
    return answer.decode()


CLOSE = "Host: x\r\nConnection: close\r\n\r\n"


def test_the_picture_of_the_node(broker):
    status = broker.status()
    assert status["listen"] == broker.address
    assert status["ready"] is True and status["readiness"] == "ready"
    assert [worker["slot"] for worker in status["workers"]] == [0, 1]
    assert all(worker["linkUp"] and worker["state"] == "ready" for worker in status["workers"])
    assert status["recorder"]["state"] == "ready"
    assert status["redis"]["embedded"] is False


def test_the_picture_shows_no_password(place):
    with RedisServer(place / "redis", tcp=True, settings={"requirepass": "opensesame"}) as server:
        url = server.url.replace("//", "//:opensesame@")
        with Broker(place / "broker", url, workers=1) as broker:
            body = broker.admin("/status")[1]
            assert json.loads(body)["redis"]["server"] == f"127.0.0.1:{server.port}"
            assert "opensesame" not in body + broker.stderr()


def test_metrics_are_of_all_workers(broker):
    metrics = broker.metrics()
    assert metrics["progressd_links_up"] == 3  # two workers and the recorder
    assert {name for name in metrics if name.startswith("progressd_worker_connections")} == {
        'progressd_worker_connections{worker="0"}', 'progressd_worker_connections{worker="1"}'}


def test_head_has_the_length_and_no_body(broker):
    head, body = raw(broker, "HEAD /healthz HTTP/1.1\r\n" + CLOSE).split("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 ") and "Content-Length: 3" in head and body == ""


def test_requests_may_be_pipelined(broker):
    answer = raw(broker, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /readyz HTTP/1.1\r\n" + CLOSE)
    assert re.findall(r"\n(ok|ready)\n", answer) == ["ok", "ready"]


@pytest.mark.parametrize("request_line, status", [
    ("GET /nothing HTTP/1.1", 404), ("GET / HTTP/1.1", 404), ("POST /metrics HTTP/1.1", 405),
    ("nonsense", 400)])
def test_other_requests_are_refused(broker, request_line, status):
    answer = raw(broker, f"{request_line}\r\n{CLOSE}")
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert json.loads(answer.partition("\r\n\r\n")[2])["error"]["code"]


def test_silent_clients_of_the_admin_port_give_way_to_who_asks(broker):
    host, _, port = broker.admin_address.rpartition(":")
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
                for _ in range(70)]
        for _ in range(10):
            assert http_get(f"http://{broker.admin_address}/readyz", seconds=2)[0] == 200
        # 64 at a time: the oldest had to go, the youngest of the silent did not.
        assert held[0].recv(1) == b""
        held[-1].sendall(("GET /healthz HTTP/1.1\r\n" + CLOSE).encode())
        assert held[-1].recv(12) == b"HTTP/1.1 200"


def test_who_never_finishes_a_request_is_closed(broker):
    host, _, port = broker.admin_address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=15) as client:
        client.sendall(b"GET /healthz HTT")
        began = time.monotonic()
        assert client.recv(1) == b""
        assert 9 < time.monotonic() - began < 13


def test_readiness_waits_for_redis_and_stays_in_a_later_outage(place):
    port = free_port()
    server = Broker(place / "broker", f"redis://127.0.0.1:{port}", workers=2).launch()
    try:
        server.wait_until_listening()
        eventually(lambda: server.admin("/readyz") == (503, "no link to Redis yet\n"))
        redis = RedisServer(place / "redis", tcp=True)
        redis.port = port
        with redis:
            eventually(lambda: server.admin("/readyz") == (200, "ready\n"))
        eventually(lambda: server.admin("/readyz") == (200, "degraded\n"))
        with redis:
            eventually(lambda: server.admin("/readyz") == (200, "ready\n"))
    finally:
        server.stop()


def test_ready_needs_redis_if_it_is_told_so(place):
    with RedisServer(place / "redis") as redis:
        with Broker(place / "broker", redis.url, options=["--ready-needs-redis", "on"]) as server:
            redis.kill()
            eventually(lambda: server.admin("/readyz") == (503, "no link to Redis\n"))
            redis.start()
            eventually(lambda: server.admin("/readyz") == (200, "ready\n"))


def test_the_admin_port_can_be_off(place, redis):
    server = Broker(place / "broker", redis.url, workers=1)
    server.options = ["--admin-listen", "off"]
    server.launch()
    eventually(lambda: server.logged(msg="ready"))
    assert server.logged(msg="admin listening") == []
    server.stop()


def test_ipv6_and_every_address(place, redis):
    if not Path("/proc/net/if_inet6").exists():
        pytest.skip("no IPv6 here")
    for listen, host in (("[::1]:0", "::1"), ("*:0", "::1"), ("*:0", "127.0.0.1")):
        server = Broker(place / "broker", redis.url, workers=1, options=["--listen", listen])
        with server:
            with socket.create_connection((host, server.port), timeout=5):
                pass
