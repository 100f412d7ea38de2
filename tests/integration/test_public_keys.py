"""Tokens that are signed with a private key: the broker has the public one alone."""
import json
import subprocess

import pytest

from support.broker import Broker, program
from support.http_client import http
from support.ws_client import WsClient

KEYS = {
    "RS256": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    "RS512": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    "ES256": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "ES384": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
    "ES512": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"],
}


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def pairs(directory):
    """For each algorithm the path of a private key; its public key has .pub behind it."""
    paths = {}
    for algorithm, how in KEYS.items():
        paths[algorithm] = f"{directory}/{algorithm}.pem"
        openssl("genpkey", *how, "-out", paths[algorithm])
        openssl("pkey", "-in", paths[algorithm], "-pubout", "-out", f"{paths[algorithm]}.pub")
    return paths


@pytest.fixture(scope="module")
def broker(directory, redis, pairs):
    keys = [word for algorithm, path in pairs.items()
            for word in ("--jwt-key", f"{algorithm}={algorithm}:{path}.pub")]
    with Broker(f"{directory}/broker", redis.url, workers=1, options=keys) as server:
        yield server


def token(key, task="t"):
    """Of progressctl."""
    return subprocess.run([program("client/cli/progressctl"), "token", "--key", key, task],
                          check=True, capture_output=True, text=True).stdout.strip()


def ask_http(broker, text):
    return http(broker.address, "GET", "/api/progress/t", {"Authorization": f"Bearer {text}"})


def subscribe(client, text):
    client.send_json({"type": "subscribe", "taskId": "t", "token": text})
    return json.loads(client.recv_message())


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_token_signed_with_the_private_key_is_taken(broker, pairs, algorithm):
    text = token(f"{algorithm}={algorithm}:{pairs[algorithm]}")
    assert ask_http(broker, text).status == 404  # only to who may watch the task
    with WsClient(broker.ws_url()) as client:
        assert subscribe(client, text)["type"] == "subscribed"
    fresh = token(f"{algorithm}={algorithm}:{pairs[algorithm]}", "t*")  # not seen before
    with WsClient(broker.ws_url()) as client:
        assert subscribe(client, fresh)["type"] == "subscribed"


def test_another_keys_token_is_refused_and_the_connection_goes_on(broker, pairs):
    wrong = token(f"RS256=RS512:{pairs['RS512']}")
    forged = token(f"ES256=ES256:{pairs['ES256']}")
    forged = forged[:-8] + ("AAAAAAAA" if forged[-8:] != "AAAAAAAA" else "BBBBBBBB")
    assert ask_http(broker, wrong).status == 401
    assert ask_http(broker, forged).status == 401
    with WsClient(broker.ws_url()) as client:
        assert "algorithm" in subscribe(client, wrong)["payload"]["message"]
        assert "signature" in subscribe(client, forged)["payload"]["message"]
        client.send_json({"type": "ping", "timestamp": 7})
        assert json.loads(client.recv_message())["type"] == "pong"


def test_what_is_said_behind_a_token_that_is_checked_is_answered_behind_it(broker, pairs):
    text = token(f"RS256=RS256:{pairs['RS256']}", "order*")
    with WsClient(broker.ws_url()) as client:
        client.send_json({"type": "subscribe", "taskId": "order1", "token": text})
        client.send_json({"type": "ping", "timestamp": 7})
        client.send_json({"type": "unsubscribe", "taskId": "order1"})
        kinds = sorted(json.loads(client.recv_message())["type"] for _ in range(3))
        assert kinds == ["pong", "subscribed", "unsubscribed"]


def test_a_key_that_cannot_be_used_is_refused_at_the_start(broker, pairs, directory):
    openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024", "-out",
            f"{directory}/short.pem")
    openssl("pkey", "-in", f"{directory}/short.pem", "-pubout", "-out", f"{directory}/short.pub")
    for key, why in [(f"RS256:{pairs['RS256']}", "it is a private key"),
                     (f"RS256:{pairs['ES256']}.pub", "needs an RSA key"),
                     (f"ES384:{pairs['ES256']}.pub", "P-384"),
                     (f"HS256:{pairs['RS256']}.pub", "a PEM key cannot be used with HS256"),
                     (f"RS256:{directory}/short.pub", "1024 bits")]:
        run = subprocess.run([program("broker/progressd"), "--check-config", "--jwt-key", key],
                             capture_output=True, text=True, check=False)
        assert run.returncode != 0 and why in run.stderr, run.stderr
