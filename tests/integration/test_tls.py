"""TLS for clients: what works as it does without, certificates, tickets, and what goes wrong."""
import json
import signal
import socket
import ssl
import tempfile
import warnings
from pathlib import Path

import pytest

from support.broker import Broker
from support.certificates import make_certificate, trusting, trusting_all
from support.deadline import eventually
from support.http_client import HttpClient
from support.job import Job
from support.ws_client import WsClient

BOTH = "127.0.0.1:0 https://127.0.0.1:0"
HANDSHAKES = 'progressd_tls_handshakes_total{result="%s"}'
EXPIRY = "progressd_tls_certificate_expiry_timestamp_seconds"


@pytest.fixture
def place():
    """A folder of one test's own, with a short path."""
    with tempfile.TemporaryDirectory(prefix="progressd-") as path:
        yield Path(path)


@pytest.fixture
def certificate(place):
    return make_certificate(place / "tls", "own", "IP:127.0.0.1", "DNS:own.example")


@pytest.fixture
def broker(place, redis, certificate):
    with Broker(place / "broker", redis.url, listen=BOTH,
                options=["--tls-certificate", certificate]) as server:
        yield server


def raw(address, timeout=20):
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=timeout)


def read_all(client):
    data = b""
    while piece := client.recv(65536):
        data += piece
    return data


# ── As without TLS ────────────────────────────────────────────────────────────────────────────────


def test_a_watcher_by_wss_sees_what_one_by_ws_sees(broker, redis, certificate):
    tls = trusting(certificate)
    url = f"wss://{broker.tls_address}/ws/progress/task-1"
    with WsClient(url, tls=tls) as secure, WsClient(broker.ws_url("task-1")) as plain:
        assert secure.socket.version() == "TLSv1.3"
        for client in (secure, plain):
            client.send_json({"type": "subscribe", "token": broker.token("task-1")})
            assert client.recv_json()["type"] == "subscribed"
        job = Job(redis, "task-1")
        for percentage in range(0, 100, 10):
            job.publish("progress_update", percentage=percentage, stage="transcribing")
        job.publish("complete", resultUrl="https://a.example/1", duration=1)
        ends = [client.recv_until(lambda message: message["type"] == "complete")
                for client in (secure, plain)]
        # Updates that a newer one overtook are left out, as either client reads.
        assert ends[0][-1] == ends[1][-1]


def test_a_poll_by_https_and_an_idle_connection_that_asks_again(broker, redis, certificate):
    Job(redis, "task-2").publish("progress_update", percentage=5, stage="decoding")
    headers = {"Authorization": f"Bearer {broker.token('task-2')}"}
    with HttpClient(broker.tls_address, tls=trusting(certificate)) as client:
        for _ in range(3):
            answer = client.request("GET", "/api/progress/task-2", headers)
            assert answer.status == 200 and answer.json()["messages"]


def test_large_answers_arrive_whole(broker, redis, certificate):
    """More than a record, and more than the socket takes at once."""
    job = Job(redis, "task-3")
    job.publish("complete", resultUrl="https://a.example/" + "x" * 3900, duration=1)
    headers = {"Authorization": f"Bearer {broker.token('task-3')}"}
    with HttpClient(broker.tls_address, tls=trusting(certificate)) as client:
        request = client.encode("GET", "/api/progress/task-3", headers)
        client.send(request * 200)
        for _ in range(200):
            answer = client.answer()
            assert answer.status == 200
            assert len(json.loads(answer.body)["messages"][0]["payload"]["resultUrl"]) > 3900


# ── Certificates and tickets ──────────────────────────────────────────────────────────────────────


def test_a_client_gets_the_certificate_of_the_name_it_asks_for(place, redis):
    folder = place / "tls"
    first = make_certificate(folder, "first", "DNS:first.example")
    second = make_certificate(folder, "second", "DNS:second.example", "DNS:*.second.example")
    with Broker(place / "broker", redis.url, listen=BOTH,
                options=["--tls-certificate", first, "--tls-certificate", second]) as server:
        def presented(name):
            with raw(server.tls_address) as client:
                with trusting_all().wrap_socket(client, server_hostname=name) as secure:
                    return ssl.DER_cert_to_PEM_cert(secure.getpeercert(binary_form=True))
        def text_of(file):
            return file.with_suffix(".crt").read_text()
        assert presented("first.example") == text_of(first)
        assert presented("second.example") == text_of(second)
        assert presented("www.second.example") == text_of(second)
        assert presented("nobody.example") == text_of(first)
        assert presented(None) == text_of(first)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_goes_on_at_any_worker(broker, certificate, version):
    tls = trusting(certificate)
    tls.minimum_version = tls.maximum_version = version
    session = None
    for _ in range(12):
        with HttpClient(broker.tls_address, tls=tls, session=session) as client:
            assert client.request("GET", "/api/progress/x").status == 401
            assert client.socket.session_reused == (session is not None)
            session = client.socket.session
    full, resumed = (broker.metrics()[HANDSHAKES % how] for how in ("full", "resumed"))
    assert (full, resumed) == (1, 11)


def test_nothing_older_than_tls_1_2(broker):
    tls = trusting_all()
    tls.set_ciphers("DEFAULT@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        tls.minimum_version = ssl.TLSVersion.TLSv1
        tls.maximum_version = ssl.TLSVersion.TLSv1_1
    with raw(broker.tls_address) as client, pytest.raises(ssl.SSLError):
        tls.wrap_socket(client)
    eventually(lambda: broker.metrics()[HANDSHAKES % "failed"] == 1, 20, "it isn't counted")


def test_a_renewed_certificate_is_taken_up_by_a_reload(broker, place, certificate):
    old = certificate.read_bytes()
    folder = place / "renewed"
    renewed = make_certificate(folder, "own", "IP:127.0.0.1")
    def presented():
        with raw(broker.tls_address) as client:
            with trusting_all().wrap_socket(client) as secure:
                return secure.getpeercert(binary_form=True)
    before = presented()
    expiry = broker.metrics()[EXPIRY]
    assert expiry > 0

    certificate.write_bytes(b"no certificate")
    broker.process.send_signal(signal.SIGHUP)
    refused = lambda: [line for line in broker.logged(level="error") if "tls-certificate" in str(line)]
    eventually(refused, 20, "nothing was said of the bad file")
    certificate.write_bytes(old)
    assert presented() == before

    certificate.write_bytes(renewed.read_bytes())
    broker.process.send_signal(signal.SIGHUP)
    eventually(lambda: presented() != before, 30, "the old certificate is still presented")


def start_refused(place, *options):
    """What a broker says that doesn't start."""
    server = Broker(place / "refused", listen=BOTH, options=options)
    server.launch()
    server.process.wait(20)
    eventually(server.stderr, 20, "nothing was said")
    said = server.process.returncode, server.stderr()
    server.kill()
    return said


@pytest.mark.parametrize("check", [[], ["--check-config"]])
def test_files_that_do_not_fit_are_named(place, check):
    folder = place / "tls"
    make_certificate(folder, "one", "DNS:one.example")
    make_certificate(folder, "other", "DNS:other.example")
    status, said = start_refused(place, "--tls-certificate",
                                 f"{folder}/one.crt,{folder}/other.key", *check)
    assert status != 0 and f"{folder}/other.key: the key isn't that of the certificate" in said
    status, said = start_refused(place, "--tls-certificate", f"{folder}/none.crt", *check)
    assert status != 0 and f"{folder}/none.crt: no certificate" in said
    status, said = start_refused(place, *check)
    assert status != 0 and "tls-certificate: must be given" in said


def test_a_certificate_about_to_expire_is_warned_of(place, redis):
    soon = make_certificate(place / "tls", "soon", "IP:127.0.0.1", days=3)
    with Broker(place / "broker", redis.url, listen=BOTH,
                options=["--tls-certificate", soon]) as server:
        assert [line for line in server.logged(level="warn")
                if f"{soon} expires at" in str(line)]


# ── What goes wrong ───────────────────────────────────────────────────────────────────────────────


def test_plain_http_on_the_port_for_tls_is_answered(broker):
    with raw(broker.tls_address) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = read_all(client)
    assert answer.startswith(b"HTTP/1.1 400 ") and b"https:" in answer


def test_tls_on_the_port_for_plain_http_is_refused(broker):
    tls = trusting_all()
    with raw(broker.address) as client, pytest.raises((ssl.SSLError, ConnectionError)):
        tls.wrap_socket(client)


@pytest.mark.parametrize("begun", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])
def test_a_client_that_stalls_in_the_handshake_is_closed(place, redis, certificate, begun):
    with Broker(place / "broker", redis.url, listen=BOTH,
                options=["--tls-certificate", certificate, "--handshake-timeout", "1"]) as server:
        with raw(server.tls_address) as client:
            client.sendall(begun)
            try:
                assert read_all(client) == b""
            except ConnectionResetError:
                pass


def test_those_who_stall_do_not_keep_others_out(broker, certificate):
    stalled = [raw(broker.tls_address) for _ in range(200)]
    for client in stalled:
        client.sendall(b"\x16\x03\x01\x02\x00\x01")
    with HttpClient(broker.tls_address, tls=trusting(certificate)) as client:
        assert client.request("GET", "/api/progress/x").status == 401
    for client in stalled:
        client.close()
