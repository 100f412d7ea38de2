"""Behind a load balancer at layer 4: the PROXY protocol by hand, and real balancers with the
configurations of deploy/."""
import socket
import ssl
import struct
import tempfile
from pathlib import Path

import pytest

from support.balancer import haproxy, nginx
from support.broker import Broker
from support.certificates import make_certificate, trusting
from support.deadline import eventually
from support.http_client import HttpClient
from support.job import Job
from support.ws_client import WsClient

BOTH = "127.0.0.1:0 https://127.0.0.1:0"
REFUSED = 'progressd_connections_refused_total{reason="%s"}'
V2 = b"\r\n\r\n\0\r\nQUIT\n"
REQUEST = b"GET /api/progress/x HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def place():
    """A folder of one test's own, with a short path."""
    with tempfile.TemporaryDirectory(prefix="progressd-") as path:
        yield Path(path)


@pytest.fixture
def certificate(place):
    return make_certificate(place / "tls", "own", "IP:127.0.0.1")


@pytest.fixture
def start(place, redis, certificate):
    """Starts brokers that take the header from loopback, each with further options."""
    servers = []
    def start_one(*options, networks="127.0.0.0/8"):
        server = Broker(place / f"broker-{len(servers)}", redis.url, listen=BOTH, options=[
            "--tls-certificate", certificate, "--proxy-protocol-from", networks, *options])
        servers.append(server)
        return server.start()
    yield start_one
    for server in servers:
        server.stop()


def version_1(address="192.0.2.1"):
    return f"PROXY TCP4 {address} 192.0.2.200 56324 443\r\n".encode()


def version_2(address="192.0.2.1", extra=b""):
    addresses = socket.inet_aton(address) + socket.inet_aton("192.0.2.200")
    body = addresses + struct.pack("!HH", 56324, 443) + extra
    return V2 + b"\x21\x11" + struct.pack("!H", len(body)) + body


LOCAL = V2 + b"\x20\x00\x00\x00"


def connect(address, data):
    host, _, port = address.rpartition(":")
    client = socket.create_connection((host, int(port)), timeout=20)
    client.sendall(data)
    return client


def read_all(client):
    data = b""
    try:
        while piece := client.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    return data


def status_of(client):
    return int(client.recv(65536).split(b" ")[1])


@pytest.mark.parametrize("header", [
    version_1(), version_2(), version_2(extra=b"\xee\x00\x03sea"), LOCAL, b"PROXY UNKNOWN\r\n"],
    ids=["v1", "v2", "tlv", "local", "unknown"])
def test_a_header_comes_before_the_clients_bytes(start, certificate, header):
    broker = start()
    with connect(broker.address, header + REQUEST) as client:
        assert status_of(client) == 401
    for cut in (1, len(header) - 1, len(header)):
        with connect(broker.address, header[:cut]) as client:
            client.sendall(header[cut:] + REQUEST)
            assert status_of(client) == 401
    with connect(broker.tls_address, header) as client:
        with trusting(certificate).wrap_socket(client, server_hostname="127.0.0.1") as secure:
            secure.sendall(REQUEST)
            assert status_of(secure) == 401


@pytest.mark.parametrize("begun", [REQUEST, b"\x16\x03\x01\x02\x00\x01", V2 + b"\x21\x11\xff\xff",
                                   b"PROXY TCP4 192.0.2.1\r\n", b"PROXY " + b"x" * 200])
def test_a_balancer_without_a_header_is_refused(start, begun):
    broker = start()
    with connect(broker.address, begun) as client:
        assert read_all(client) == b""
    eventually(lambda: broker.metrics()[REFUSED % "proxy_header"] == 1, 20, "it isn't counted")
    eventually(lambda: [line for line in broker.logged(level="warn")
                        if "no PROXY header" in line["msg"]], 20, "it isn't logged")
    with connect(broker.address, version_1() + REQUEST) as client:
        assert status_of(client) == 401


def test_a_header_of_anyone_else_is_an_error(start):
    broker = start(networks="192.0.2.0/24")
    with connect(broker.address, version_1() + REQUEST) as client:
        assert status_of(client) == 400
    with connect(broker.address, REQUEST) as client:
        assert status_of(client) == 401


def test_a_balancer_that_says_half_a_header_has_the_time_of_a_handshake(start):
    broker = start("--handshake-timeout", "1")
    for part in (b"", b"PROXY TCP4 192", V2, version_2()[:-1]):
        with connect(broker.address, part) as client:
            assert read_all(client) == b""


def test_limits_are_for_the_address_that_the_header_tells(start):
    broker = start("--workers", "1", "--max-connections-per-address", "2")
    kept = []
    for header, status in ((version_1("192.0.2.1"), 401), (version_2("192.0.2.1"), 401),
                           (version_1("192.0.2.1"), 503), (version_1("192.0.2.2"), 401)):
        client = connect(broker.address, header + REQUEST)
        kept.append(client)
        assert status_of(client) == status
    assert broker.metrics()[REFUSED % "address_limit"] == 1
    kept[0].close()
    def has_room():
        with connect(broker.address, version_1("192.0.2.1") + REQUEST) as client:
            return status_of(client) == 401
    eventually(has_room, 20, "the place isn't free again")
    for client in kept:
        client.close()


@pytest.mark.parametrize("balancer", [haproxy, nginx])
def test_two_nodes_behind_a_real_balancer(start, place, redis, certificate, balancer):
    nodes = [start(), start()]
    tls = trusting(certificate)
    with balancer(place / "balancer", nodes) as front:
        def is_up():
            try:
                with HttpClient(front.address, tls=tls) as client:
                    return client.request("GET", "/api/progress/x").status == 401
            except (ssl.SSLError, ConnectionError):
                return False
        eventually(is_up, 30, "nobody answers through the balancer")
        clients = [WsClient(f"wss://{front.address}/ws/progress/task-{balancer.__name__}", tls=tls)
                   for _ in range(4)]
        for client in clients:
            client.send_json({"type": "subscribe",
                              "token": nodes[0].token(f"task-{balancer.__name__}")})
            assert client.recv_json()["type"] == "subscribed"
        assert all(node.metrics()["progressd_websocket_connections"] == 2 for node in nodes)
        job = Job(redis, f"task-{balancer.__name__}")
        job.publish("progress_update", percentage=50, stage="transcribing")
        job.publish("complete", resultUrl="https://a.example/1", duration=1)
        for client in clients:
            client.recv_until(lambda message: message["type"] == "complete")
            client.abort()
