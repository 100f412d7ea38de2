"""Tokens that are signed with a private key: the broker has the public one alone."""
import base64
import json
import os
import subprocess
from pathlib import Path

import pytest

from support.broker import Broker, program
from support.deadline import eventually
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
        kinds = []
        while "unsubscribed" not in kinds:
            kinds.append(json.loads(client.recv_message())["type"])
        # `subscribed` is left out if the task's state isn't known yet.
        assert [kind for kind in kinds if kind != "subscribed"] == ["pong", "unsubscribed"]


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


# ── A key set ───────────────────────────────────────────────────────────────────────────────────

def jwk(pairs, kid):
    """The public key of the ES256 pair as a set has it."""
    der = subprocess.run(["openssl", "pkey", "-in", pairs["ES256"], "-pubout", "-outform", "DER"],
                         check=True, capture_output=True).stdout
    x, y = (base64.urlsafe_b64encode(part).rstrip(b"=").decode()
            for part in (der[-64:-32], der[-32:]))
    return {"kty": "EC", "crv": "P-256", "kid": kid, "x": x, "y": y}


def put(path, text):
    path.with_suffix(".new").write_text(text)
    os.replace(path.with_suffix(".new"), path)


def test_a_key_set_is_taken_up_when_it_changes(directory, redis, pairs):
    path = Path(directory) / "jwks.json"
    put(path, json.dumps({"keys": [jwk(pairs, "old")]}))
    old, new = (token(f"{kid}=ES256:{pairs['ES256']}") for kid in ("old", "new"))
    with Broker(f"{directory}/set", redis.url, workers=1, options=["--jwt-jwks", path]) as server:
        assert (ask_http(server, old).status, ask_http(server, new).status) == (404, 401)
        put(path, json.dumps({"keys": [jwk(pairs, "old"), jwk(pairs, "new"),
                                       {**jwk(pairs, "private"), "d": "AAAA"}]}))
        eventually(lambda: ask_http(server, new).status == 404, timeout=30)
        assert ask_http(server, old).status == 404, "side by side"
        put(path, "{broken")
        eventually(lambda: server.logged(
            msg="jwt-jwks can't be used, the keys stay as they were"), timeout=30)
        assert (ask_http(server, old).status, ask_http(server, new).status) == (404, 404)
        put(path, json.dumps({"keys": [jwk(pairs, "new")]}))
        eventually(lambda: ask_http(server, old).status == 401, timeout=30)
        assert ask_http(server, new).status == 404
