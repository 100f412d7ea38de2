"""Tokens as issuers really make them: times with fractions and clocks apart, claims and headers
that nobody asked about, long ones, and line ends."""
import base64
import hmac
import json
import time
from hashlib import sha256

import pytest

from support.broker import Broker
from support.http_client import http
from support.ws_client import WsClient


@pytest.fixture(scope="module")
def broker(directory, redis):
    with Broker(f"{directory}/broker", redis.url, workers=1, leeway=None) as server:
        yield server


def sign(broker, header, claims):
    """A token of these texts, signed with the broker's key."""
    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
    signed = f"{part(header.encode())}.{part(claims.encode())}"
    return f"{signed}.{part(hmac.new(broker.key, signed.encode(), sha256).digest())}"


HEADER = '{"alg":"HS256","kid":"test","typ":"JWT"}'


def claims_with(members):
    return f'{{"tasks":["t"],"exp":{int(time.time()) + 600},{members}}}'


def ask_http(broker, token):
    """None when the token is taken, else the refusal's words."""
    answer = http(broker.address, "GET", "/api/progress/t", {"Authorization": f"Bearer {token}"})
    if answer.status == 404:  # only to who may watch the task
        return None
    return json.loads(answer.body)["error"]["message"]


def ask_websocket(broker, token):
    with WsClient(broker.ws_url()) as client:
        client.send_json({"type": "subscribe", "taskId": "t", "token": token})
        answer = json.loads(client.recv_message())
        return None if answer["type"] == "subscribed" else answer["payload"]["message"]


def check_taken(broker, token):
    assert ask_http(broker, token) is None
    assert ask_websocket(broker, token) is None


def test_a_token_from_now_on_is_taken_whatever_the_fraction_of_its_second(broker):
    for ahead in [0, 0.3, 0.999, 1, 5]:
        for _ in range(5):
            check_taken(broker, sign(broker, HEADER, claims_with(f'"nbf":{time.time() + ahead}')))
    assert ask_http(broker, sign(broker, HEADER, claims_with(f'"nbf":{time.time() + 60}'))) \
        == "the token is not valid yet"


@pytest.mark.parametrize("members", [
    '"id":18446744073709551615', '"id":123456789012345678901234567890', '"x":1e400', '"x":-1E-999',
    '"name":"a\\u0000b"', '"\\u0000":1', '"name":"\\ud83d"', '"\\udc00":"\\udc00\\ud800"',
    '"x":null', '"x":' + "[" * 200 + "]" * 200, '"a":1,"a":2', '"iat":"yesterday"', '"jti":7',
    '"iss":7', '"aud":{}',
])
def test_a_claim_that_nobody_asked_about_never_fails_a_token(broker, members):
    check_taken(broker, sign(broker, HEADER, claims_with(members)))


@pytest.mark.parametrize("members", [
    '"typ":"JWT","kid":"test"', '"typ":"jwt","kid":"test"', '"typ":"at+jwt","kid":"test"',
    '"typ":"AT+JWT","kid":"test"', '"typ":"application/jwt","kid":"test"',
    '"typ":"Application/at+JWT","kid":"test"', '"kid":null', '"kid":null,"typ":null',
    '"typ":"application\\/jwt","x5t":[1,1e400]',
])
def test_headers_as_issuers_write_them_are_taken(broker, members):
    check_taken(broker, sign(broker, f'{{"alg":"HS256",{members}}}', claims_with('"x":1')))


def test_a_token_of_16_kb_is_taken_and_a_longer_one_told_so(broker):
    def of_length(wanted):
        for filler in range(wanted * 3 // 4 - 300, wanted):
            token = sign(broker, HEADER, claims_with(f'"x":"{"y" * filler}"'))
            if len(token) >= wanted:
                return token
    token = of_length(16380)
    assert 16380 <= len(token) <= 16384
    check_taken(broker, token)
    token = of_length(16385)
    assert ask_http(broker, token) == "the token is longer than 16384 characters"
    assert ask_websocket(broker, token) == "the token is longer than 16384 characters"


@pytest.mark.parametrize("end", ["\n", "\r\n", " ", "\n\n"])
def test_a_line_end_behind_a_token_is_no_part_of_it(broker, end):
    token = broker.token("t")
    assert ask_websocket(broker, token + end) is None
    answer = http(broker.address, "GET", "/api/progress/t", {"Authorization": f"Bearer  {token} "})
    assert answer.status == 404


def test_a_subscription_ends_when_its_token_does_and_not_a_second_later(directory, redis):
    with Broker(f"{directory}/exact", redis.url, workers=1) as server:
        for fraction in [0.05, 0.95]:
            end = int(time.time()) + 2 + fraction
            token = server.token("t", claims={"exp": end})
            with WsClient(server.ws_url()) as client:
                client.send_json({"type": "subscribe", "taskId": "t", "token": token})
                told = json.loads(client.recv_message())["payload"]["expiresAt"]
                assert told.endswith(f".{round(fraction * 100):02}0Z")
                assert json.loads(client.recv_message())["payload"]["reason"] == "TOKEN_EXPIRED"
                assert 0 <= time.time() - end < 0.8


def test_clocks_may_be_apart_by_the_leeway(directory, redis):
    with Broker(f"{directory}/leeway", redis.url, workers=1, leeway=3) as server:
        assert ask_http(server, server.token("t", claims={"exp": time.time() - 6})) \
            == "the token has expired"
        assert ask_http(server, server.token("t", claims={"nbf": time.time() + 8})) \
            == "the token is not valid yet"
        end = time.time() - 1
        with WsClient(server.ws_url()) as client:
            client.send_json({"type": "subscribe", "taskId": "t",
                              "token": server.token("t", claims={"exp": end})})
            assert json.loads(client.recv_message())["type"] == "subscribed"
            assert json.loads(client.recv_message())["payload"]["reason"] == "TOKEN_EXPIRED"
            assert 3 <= time.time() - end < 4


def test_a_client_is_told_a_minute_ahead_and_a_fresh_token_renews_in_place(broker):
    def token(ahead):
        return sign(broker, HEADER, f'{{"tasks":["t"],"exp":{time.time() + ahead}}}')
    with WsClient(broker.ws_url()) as client:
        client.send_json({"type": "subscribe", "taskId": "t", "token": token(61)})
        assert json.loads(client.recv_message())["type"] == "subscribed"
        assert json.loads(client.recv_message()) == \
            {"type": "token_expiring", "taskId": "t", "payload": {}}
        client.send_json({"type": "subscribe", "taskId": "t", "token": token(600)})
        assert json.loads(client.recv_message())["type"] == "subscribed"
