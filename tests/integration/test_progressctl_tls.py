"""progressctl and a broker behind TLS, and behind a path: what stands in front is a small proxy."""
import socket
import ssl
import subprocess
import threading

import pytest

from support.broker import environment, program
from support.job import Job


@pytest.fixture(scope="module")
def certificate(directory):
    """(certificate, key) of localhost, signed by itself."""
    paths = f"{directory}/tls.crt", f"{directory}/tls.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=DNS:localhost", "-days", "2", "-out", paths[0], "-keyout",
                    paths[1]], check=True, stderr=subprocess.DEVNULL)
    return paths


class Front:
    """Ends TLS, takes /live off the first line of each connection, and passes the rest on."""

    def __init__(self, certificate, host, port):
        self.target = host, port
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.context = context
        self.url = f"https://localhost:{self.listener.getsockname()[1]}/live"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain):
        try:
            with self.context.wrap_socket(plain, server_side=True) as client, \
                    socket.create_connection(self.target) as server:
                server.sendall(client.recv(65536).replace(b" /live/", b" /", 1))
                client.settimeout(0.05)
                server.settimeout(0.05)
                while self._pass(client, server) and self._pass(server, client):
                    pass
        except OSError:
            pass  # a client that doesn't trust the certificate, among others

    @staticmethod
    def _pass(source, target):
        try:
            data = source.recv(65536)
        except TimeoutError:
            return True
        target.sendall(data)
        return data


@pytest.fixture(scope="module")
def front(broker, certificate):
    server = Front(certificate, broker.host, broker.port)
    yield server
    server.close()


def run(*arguments, trusted=None):
    extra = {"SSL_CERT_FILE": trusted} if trusted else {}
    done = subprocess.run([program("client/cli/progressctl"), *arguments], check=False, timeout=60,
                          capture_output=True, env=environment(extra), text=True)
    return done.returncode, done.stdout, done.stderr


def test_a_task_is_got_and_watched_over_tls(redis, broker, front, certificate):
    with Job(redis, "secure") as job:
        job.update(40)
        at = ("--url", front.url, "--token", broker.token("secure"))
        status, out, err = run("get", "secure", *at, trusted=certificate[0])
        assert status == 0 and '"percentage": 40' in out, err
        job.complete()
        status, out, err = run("watch", "secure", *at, trusted=certificate[0])
        assert status == 0 and "over WebSocket" in out + err, err
    status, out, err = run("ping", "--url", front.url, "-c", "1", trusted=certificate[0])
    assert status == 0 and "1 of 1 answered" in out, err


def test_a_certificate_that_nobody_trusts_is_told(broker, front):
    for command in (("get", "secure", "--token", broker.token("secure")), ("ping",)):
        status, _, err = run(*command, "--url", front.url)
        assert status == 3 and "TLS failed" in err, err
