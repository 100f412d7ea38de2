"""What may be wrong with Redis: the broker says what it is, tells clients UNAVAILABLE meanwhile,
and is all right again without help as soon as Redis is."""
import contextlib
import json
import re
import time
from urllib.parse import quote

import pytest

from support.broker import Broker, program
from support.deadline import eventually
from support.fake_redis import FakeRedis, info
from support.job import Job
from support.redis_server import RedisServer, free_port
from support.resp import Resp
from support.tcp_proxy import TcpProxy
from support.ws_client import WsClient

PASSWORD = "p@ss:/?#%word"
COMPLAINT = "no link to Redis, trying again"
RIGHTS = ["+info", "+function|list", "+function|load", "+fcall", "+hgetall", "+hmget",
          "+hset", "+hdel", "+pexpire", "+time", "+get", "+set", "+del", "+spublish", "+ssubscribe",
          "+sunsubscribe", "+psubscribe", "+client|setname"]


@pytest.fixture
def redis(directory, request):
    """A Redis of this test's own that isn't started yet."""
    server = RedisServer(f"{directory}/{abs(hash(request.node.name))}", tcp=True)
    yield server
    server.stop()


@pytest.fixture
def launch(directory, request):
    """launch(url): a broker that listens, ready or not."""
    with contextlib.ExitStack() as stack:
        def start(url, **settings):
            broker = Broker(f"{directory}/broker-{abs(hash(request.node.name))}", url, workers=2,
                            **settings)
            stack.enter_context(ended(broker))
            broker.launch().wait_until_listening()
            return broker
        yield start


@contextlib.contextmanager
def ended(broker):
    yield
    broker.stop()


def is_ready(broker):
    return broker.admin("/readyz")[0] == 200


def complaints(broker):
    return [line["why"] for line in broker.logged(msg=COMPLAINT)]


def expect_complaint(broker, *words):
    """Every worker says what is wrong, once and not at each attempt."""
    def said():
        found = [why for why in complaints(broker) if all(word in why for word in words)]
        assert len(found) >= 2, complaints(broker)
        return True
    eventually(said, 15, "the broker doesn't say what is wrong")
    assert not is_ready(broker)


def expect_unavailable(broker):
    """What clients get meanwhile: a clear answer, soon."""
    def answer():
        status, body = broker.poll("a")
        return status == 503 and json.loads(body)["error"]["code"] == "UNAVAILABLE"
    eventually(answer, 10)
    with WsClient(broker.ws_url("a")) as client:
        client.send_json({"type": "subscribe", "token": broker.token("a")})
        payload = client.recv_json()["payload"]
        assert (payload["code"], payload["scope"]) == ("UNAVAILABLE", "request")
        assert payload["retryable"] is True
        client.send_json({"type": "ping", "timestamp": 1})
        assert client.recv_json()["type"] == "pong", "it should have stayed connected"


def expect_service(broker, redis):
    """All is right, without help."""
    eventually(lambda: is_ready(broker), 15, "the broker doesn't recover")
    eventually(lambda: broker.metrics()["progressd_links_up"] >= broker.workers, 15)
    task = f"service-{time.time_ns()}"  # none that the broker knows
    with Job(redis, task) as job, WsClient(broker.ws_url(task)) as client:
        rev = job.update(1)
        client.send_json({"type": "subscribe", "token": broker.token(task)})
        assert client.recv_until("progress_update")[-1]["rev"] == rev
        rev = job.complete()
        assert client.recv_until("complete")[-1]["rev"] == rev
    assert broker.poll(task)[0] == 200


def with_password(url, password=PASSWORD, user=""):
    return url.replace("://", f"://{user}:{quote(password, safe='')}@")


# ── Not there, or not yet ───────────────────────────────────────────────────────────────────────

def test_a_redis_that_is_missing_at_start_is_waited_for(redis, launch):
    broker = launch(redis.url)
    expect_complaint(broker, "refused")
    expect_unavailable(broker)
    assert broker.admin("/healthz")[0] == 200, "there is nothing that a restart would help"
    redis.start()
    expect_service(broker, redis)


def test_what_a_client_asks_while_redis_is_away_only_for_a_moment_is_answered(redis, launch):
    broker = launch(redis.url)
    eventually(lambda: len(complaints(broker)) >= 2, 15)
    redis.start()
    with Resp(redis.connect()) as connection:
        eventually(lambda: connection.call("FUNCTION", "LIST"), 15)
    expect_service(broker, redis)


def test_a_later_outage_leaves_readiness_true_and_says_degraded(redis, launch):
    redis.start()
    broker = launch(redis.url)
    expect_service(broker, redis)
    redis.stop()
    eventually(lambda: broker.metrics()["progressd_links_up"] == 0, 15)
    status, body = broker.admin("/readyz")
    assert status == 200 and "degraded" in body
    redis.start()
    eventually(lambda: "degraded" not in broker.admin("/readyz")[1], 15)
    expect_service(broker, redis)


def test_ready_needs_redis_makes_readiness_follow_it(redis, launch):
    redis.start()
    broker = launch(redis.url, options=["--ready-needs-redis", "on"])
    expect_service(broker, redis)
    redis.stop()
    eventually(lambda: not is_ready(broker), 15)
    redis.start()
    expect_service(broker, redis)


def test_a_redis_that_is_still_loading_is_waited_for(redis, launch):
    loading = b"-LOADING Redis is loading the dataset in memory\r\n"
    with FakeRedis({"*": loading}, redis.port) as fake:
        broker = launch(fake.url)
        expect_complaint(broker, "LOADING")
        expect_unavailable(broker)
    redis.start()
    expect_service(broker, redis)


def test_a_redis_that_says_in_info_that_it_is_loading_is_waited_for(redis, launch):
    with FakeRedis({"INFO": info(loading=1)}, redis.port) as fake:
        broker = launch(fake.url)
        expect_complaint(broker, "loading")
    redis.start()
    expect_service(broker, redis)


def test_what_is_no_redis_is_named_and_given_up(redis, launch):
    with FakeRedis({"*": b"HTTP/1.1 400 Bad Request\r\n\r\n"}, redis.port) as fake:
        broker = launch(fake.url)
        expect_complaint(broker)
    redis.start()
    expect_service(broker, redis)


# ── Silent instead of gone ──────────────────────────────────────────────────────────────────────

def silence_commands(proxy, redis, pid):
    """Of a process' two connections the one for commands is never answered any more."""
    line, = [line for line in redis.cli("CLIENT", "LIST").splitlines()
             if f"name=progressd:{pid}:commands " in line]
    proxy.silence(int(re.search(r" addr=[\d.]+:(\d+)", line)[1]))


def test_a_command_connection_that_is_silent_while_messages_come_is_given_up(redis, launch):
    redis.start()
    with TcpProxy(redis.port) as proxy:
        broker = launch(proxy.url)
        expect_service(broker, redis)
        overdue = "progressd_link_replies_overdue_total"
        with Job(redis, "busy") as job, WsClient(broker.ws_url("busy")) as client:
            client.send_json({"type": "subscribe", "token": broker.token("busy")})
            client.recv_until("subscribed")
            for worker in broker.status()["workers"]:
                silence_commands(proxy, redis, worker["pid"])
            fresh = iter(range(10000))

            def is_noticed():
                job.update(50)
                broker.poll(f"unknown-{next(fresh)}")
                return broker.metrics()[overdue] >= 2
            eventually(is_noticed, 60)
            expect_service(broker, redis)
        assert broker.poll(f"unknown-{next(fresh)}")[0] == 404


def test_a_recorder_whose_commands_are_not_answered_gets_its_lease_again(redis, launch):
    redis.start()
    with TcpProxy(redis.port) as proxy:
        broker = launch(proxy.url)
        eventually(lambda: broker.status()["recorder"]["active"], 15)
        silence_commands(proxy, redis, broker.status()["recorder"]["pid"])
        message = json.dumps({"type": "complete", "payload": {"resultUrl": "/r", "duration": 1}})
        for i in range(30):
            redis.cli("PUBLISH", f"progress:{i}", message)
        eventually(lambda: all(redis.cli("HEXISTS", f"progress:{i}", "complete") == "1"
                               for i in range(30)), 30)
        dropped = 'progressd_recorder_messages_dropped_total{reason="other"}'
        assert broker.metrics()[dropped] == 0


# ── One that isn't good enough ──────────────────────────────────────────────────────────────────

def test_a_redis_older_than_7_is_refused(redis, launch):
    with FakeRedis({"INFO": info(version="6.2.14")}, redis.port) as fake:
        broker = launch(fake.url)
        expect_complaint(broker, "older than 7.0")
    redis.start()
    expect_service(broker, redis)


def test_a_replica_is_refused_until_it_is_promoted(redis, launch, directory):
    redis.start()
    with RedisServer(f"{directory}/master", tcp=True) as master:
        redis.cli("REPLICAOF", "127.0.0.1", str(master.port))
        broker = launch(redis.url)
        expect_complaint(broker, "replica")
        redis.cli("REPLICAOF", "NO", "ONE")
        expect_service(broker, redis)


def test_a_cluster_node_is_named_and_not_hammered(launch, directory):
    settings = {"cluster-enabled": "yes", "cluster-port": str(free_port())}
    with RedisServer(f"{directory}/node", tcp=True, settings=settings) as node:
        broker = launch(node.url)
        expect_complaint(broker, "Cluster")
        def is_spared():
            before = connections_received(node)
            time.sleep(2)
            # Two workers and a recorder, two connections each, with 1.5 s between attempts.
            return connections_received(node) - before <= 20
        eventually(is_spared, 20)
        assert broker.metrics()["progressd_links_up"] == 0


def test_a_sentinel_is_named(redis, launch):
    with FakeRedis({"INFO": info(mode="sentinel", role="")}, redis.port) as fake:
        broker = launch(fake.url)
        expect_complaint(broker, "Sentinel")
    redis.start()
    expect_service(broker, redis)


def connections_received(server):
    """How many there were so far, without those of this question."""
    text = server.cli("INFO", "stats")
    return int(re.search(r"total_connections_received:(\d+)", text)[1])


@pytest.mark.parametrize("policy, warns", [("noeviction", False), ("allkeys-lru", True)])
def test_a_redis_that_may_remove_states_is_warned_of(redis, launch, policy, warns):
    redis.settings["maxmemory-policy"] = policy
    redis.start()
    broker = launch(redis.url)
    expect_service(broker, redis)
    lines = [line for line in broker.log() if line.get("maxmemory_policy")]
    if not warns:
        assert lines == []
        return
    assert {line["maxmemory_policy"] for line in lines} == {policy}
    assert {line["level"] for line in lines} == {"warn"}
    assert len(lines) <= 3, "each process says it once"


def test_the_connections_of_the_broker_have_names(redis, launch):
    redis.start()
    broker = launch(redis.url)
    expect_service(broker, redis)
    names = re.findall(r" name=(progressd:\S*)", redis.cli("CLIENT", "LIST"))
    pids = {worker["pid"] for worker in broker.status()["workers"]}
    pids.add(broker.status()["recorder"]["pid"])
    assert set(names) == {f"progressd:{pid}:{role}" for pid in pids
                          for role in ("commands", "subscriber")}


def test_a_master_that_is_demoted_is_left(redis, launch, directory):
    redis.start()
    broker = launch(redis.url, options=["--resync-interval", "0.5"])
    expect_service(broker, redis)
    with RedisServer(f"{directory}/new-master", tcp=True) as master:
        redis.cli("REPLICAOF", "127.0.0.1", str(master.port))
        eventually(lambda: broker.metrics()["progressd_links_up"] == 0, 20,
                   "it stays with a demoted master, which delivers what is long over")
        redis.cli("REPLICAOF", "NO", "ONE")
        expect_service(broker, redis)


def test_a_redis_that_answers_readonly_is_complained_of(redis, launch):
    """It says that it is a master, and yet takes no function library."""
    with FakeRedis({"INFO": info(), "FUNCTION":
                    b"-READONLY You can't write against a read only replica.\r\n"},
                   redis.port) as fake:
        broker = launch(fake.url)
        expect_complaint(broker, "READONLY")
    redis.start()
    expect_service(broker, redis)


# ── Passwords and rights ────────────────────────────────────────────────────────────────────────

def test_without_the_password_it_says_so_and_with_it_all_is_well(redis, launch):
    redis.start()
    redis.cli("CONFIG", "SET", "requirepass", PASSWORD)
    broker = launch(redis.url)
    expect_complaint(broker, "NOAUTH")
    expect_unavailable(broker)
    redis.cli("-a", PASSWORD, "CONFIG", "SET", "requirepass", "")
    expect_service(broker, redis)


def test_a_wrong_password_is_complained_of_and_never_shown(redis, launch):
    redis.start()
    redis.cli("CONFIG", "SET", "requirepass", PASSWORD)
    broker = launch(with_password(redis.url, "not the one"))
    expect_complaint(broker, "WRONGPASS")
    redis.cli("-a", PASSWORD, "CONFIG", "SET", "requirepass", "not the one")
    eventually(lambda: is_ready(broker), 15)
    redis.cli("-a", "not the one", "CONFIG", "SET", "requirepass", "")
    expect_service(broker, redis)
    for secret in ("not the one", quote("not the one")):
        assert secret not in broker.stderr() and secret not in broker.admin("/status")[1]


def test_the_right_password_comes_with_the_address(redis, launch):
    redis.start()
    redis.cli("CONFIG", "SET", "requirepass", PASSWORD)
    broker = launch(with_password(redis.url))
    eventually(lambda: is_ready(broker), 15)
    redis.cli("-a", PASSWORD, "CONFIG", "SET", "requirepass", "")
    expect_service(broker, redis)


@pytest.mark.parametrize("right", ["+info", "+function|list", "+function|load", "+hgetall",
                                   "+hmget", "+hset", "+hdel", "+pexpire", "+time", "+fcall",
                                   "+ssubscribe", "+spublish"])
def test_a_right_that_lacks_is_named(redis, launch, right):
    redis.start()
    rights = [name for name in RIGHTS if name != right]
    user = ["ACL", "SETUSER", "progressd", "on", f">{PASSWORD}", "~progress:*", "&progress:*"]
    assert redis.cli(*user, *rights) == "OK"
    broker = launch(with_password(redis.url, user="progressd"))
    command = right[1:].replace("|", " ")
    expect_complaint(broker, "NOPERM")
    assert any(re.search(command, why, re.I) for why in complaints(broker)), complaints(broker)
    assert redis.cli(*user, right) == "OK"
    expect_service(broker, redis)


def test_the_rights_that_the_documentation_names_are_enough(redis, launch):
    redis.start()
    redis.cli("ACL", "SETUSER", "progressd", "on", f">{PASSWORD}", "~progress:*", "&progress:*",
              *RIGHTS)
    broker = launch(with_password(redis.url, user="progressd"))
    expect_service(broker, redis)
    # The recorder's part as well.
    message = {"type": "progress_update", "payload": {"percentage": 3, "stage": "x"}}
    eventually(lambda: redis.cli("PUBLISH", "progress:plain", json.dumps(message)) == "1", 15)
    eventually(lambda: broker.poll("plain")[0] == 200, 10)
    assert "NOPERM" not in broker.stderr()


def test_a_task_that_redis_refuses_takes_nobody_else_along(redis, launch):
    """The user may use some keys and channels only: a mistake, but one of a few tasks."""
    redis.start()
    allowed = ["~progress:ok-*", "~progress:!*", "&progress:ok-*", "&progress:!*"]
    user = ["ACL", "SETUSER", "progressd", "on", f">{PASSWORD}"]
    assert redis.cli(*user, *allowed, *RIGHTS) == "OK"
    broker = launch(with_password(redis.url, user="progressd"), options=["--resync-interval", "1"])
    eventually(lambda: is_ready(broker), 15)
    with Job(redis, "ok-1") as job, Job(redis, "other") as other, \
            WsClient(broker.ws_url("ok-1")) as client:
        client.send_json({"type": "subscribe", "token": broker.token("ok-1")})
        assert client.recv_json()["type"] == "subscribed"
        losses = broker.metrics()["progressd_link_losses_total"]
        rev = other.update(1)
        for _ in range(8):  # both workers get some
            assert broker.poll("other")[0] == 503
        assert client_hears(client, job.update(1))
        lines = broker.logged(msg="Redis refuses a task", task="other")
        assert lines and "NOPERM" in lines[0]["why"]
        assert redis.cli(*user, "~progress:*", "&progress:*") == "OK"
        eventually(lambda: broker.poll("other")[0] == 200, 15)
        assert json.loads(broker.poll("other")[1])["rev"] == rev
        assert client_hears(client, job.complete())
        assert broker.metrics()["progressd_link_losses_total"] == losses


def client_hears(client, rev):
    return client.recv_until(lambda message: message.get("rev") == rev)


# ── The function library ────────────────────────────────────────────────────────────────────────

HEAD = re.compile(r"(progressd library version=)(\d+) (state_ttl=)(\d+)")


def library(newer_by=0, state_ttl=86400):
    """The library, of a newer (or older) version or with another setting; it has a function `mark`."""
    text = program("proto/progress.lua").read_text(encoding="utf-8")
    text = HEAD.sub(lambda head: f"{head[1]}{int(head[2]) + newer_by} {head[3]}{state_ttl}", text)
    return text + "\nredis.register_function('mark', function() return 1 end)\n"


def functions(redis):
    return redis.cli("FUNCTION", "LIST", "LIBRARYNAME", "progress")


def test_an_older_library_is_replaced(redis, launch):
    redis.start()
    redis.cli("-x", "FUNCTION", "LOAD", stdin=library(newer_by=-1))
    broker = launch(redis.url)
    expect_service(broker, redis)
    assert "mark" not in functions(redis)


def test_an_older_library_that_somebody_loads_later_is_replaced_too(redis, launch):
    redis.start()
    broker = launch(redis.url, options=["--resync-interval", "0.2"])
    expect_service(broker, redis)
    redis.cli("-x", "FUNCTION", "LOAD", "REPLACE", stdin=library(newer_by=-1))
    eventually(lambda: "mark" not in functions(redis), 15)


def test_a_library_of_other_settings_is_replaced(redis, launch):
    redis.start()
    redis.cli("-x", "FUNCTION", "LOAD", stdin=library(state_ttl=5))
    broker = launch(redis.url)
    expect_service(broker, redis)
    assert "mark" not in functions(redis)
    assert broker.logged(msg="replacing the function library in Redis", state_ttl="5")


def test_a_newer_library_is_left_alone(redis, launch):
    redis.start()
    redis.cli("-x", "FUNCTION", "LOAD", stdin=library(newer_by=1, state_ttl=5))
    broker = launch(redis.url, options=["--resync-interval", "0.2"])
    expect_service(broker, redis)
    assert "mark" in functions(redis)


def test_a_foreign_library_of_that_name_is_left_alone_and_named(redis, launch):
    redis.start()
    redis.cli("-x", "FUNCTION", "LOAD",
              stdin="#!lua name=progress\nredis.register_function('theirs', function() end)\n")
    broker = launch(redis.url)
    expect_complaint(broker, "progress", "isn't progressd's")
    assert "theirs" in functions(redis)
    redis.cli("FUNCTION", "DELETE", "progress")
    expect_service(broker, redis)


def test_a_library_that_somebody_deleted_comes_back(redis, launch):
    redis.start()
    broker = launch(redis.url, options=["--resync-interval", "0.2"])
    expect_service(broker, redis)
    redis.cli("FUNCTION", "FLUSH")
    eventually(lambda: "progress_publish" in functions(redis), 15)
    with Job(redis, "b") as job:
        job.update(1)


def test_settings_that_another_broker_brought_are_warned_of(redis, launch):
    redis.start()
    broker = launch(redis.url, options=["--resync-interval", "0.2"])
    expect_service(broker, redis)
    assert broker.logged(msg="function library loaded", state_ttl="86400")
    assert broker.metrics()["progressd_library_disagrees"] == 0
    text = redis.cli("--json", "FUNCTION", "LIST", "LIBRARYNAME", "progress", "WITHCODE")
    code = json.loads(text)[0]["library_code"].replace("state_ttl=86400", "state_ttl=60", 1)
    redis.cli("-x", "FUNCTION", "LOAD", "REPLACE", stdin=code)
    eventually(lambda: broker.metrics()["progressd_library_disagrees"] == 3, 15)
    lines = [line for line in broker.log() if "other settings" in line.get("msg", "")]
    assert {line["state_ttl"] for line in lines} == {"60"} and len(lines) == 3
    with_the_right_ones = json.loads(text)[0]["library_code"]
    redis.cli("-x", "FUNCTION", "LOAD", "REPLACE", stdin=with_the_right_ones)
    eventually(lambda: broker.metrics()["progressd_library_disagrees"] == 0, 15)


def test_the_options_reach_the_library(redis, launch):
    redis.start()
    broker = launch(redis.url, options=["--state-ttl", "100", "--max-payload", "300"])
    eventually(lambda: is_ready(broker), 15)
    with Job(redis, "a") as job:
        job.update(1)
        assert 0 < int(redis.cli("TTL", "progress:a")) <= 100
        error = job.connection.call(*job.call("progress_update", {
            "percentage": 1, "stage": "x", "note": "-" * 300}))
        assert error.startswith("PROGRESS_INVALID")
