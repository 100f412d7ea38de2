"""What a worker does for a watcher by the clock, and forgets in time."""
import pytest

from support.ws_client import WsClient


def subscribed(broker, client, task, ttl=3600):
    client.send_json({"type": "subscribe", "taskId": task, "token": broker.token(task, ttl=ttl)})
    return client.recv_until("subscribed")


def test_a_subscription_ends_when_its_token_does_whatever_else_is_due_later(brokers):
    broker = brokers(options=["--subscribe-timeout", 60])
    with WsClient(broker.ws_url()) as client:
        subscribed(broker, client, "long")
        subscribed(broker, client, "short", ttl=2)
        ended = client.recv_until("unsubscribed", timeout=5)[-1]
        assert (ended["taskId"], ended["payload"]["reason"]) == ("short", "TOKEN_EXPIRED")


def test_a_token_that_is_renewed_by_a_shorter_one_ends_sooner(brokers):
    broker = brokers(options=["--subscribe-timeout", 60])
    with WsClient(broker.ws_url()) as client:
        subscribed(broker, client, "renewed")
        subscribed(broker, client, "renewed", ttl=2)
        client.recv_until("unsubscribed", timeout=5)


def test_who_has_unsubscribed_is_closed_as_soon_as_who_never_did(brokers):
    broker = brokers(options=["--subscribe-timeout", 1])
    with WsClient(broker.ws_url()) as client:
        subscribed(broker, client, "task")
        with pytest.raises(TimeoutError):
            client.recv_message(timeout=2)  # the time of who never subscribes has passed
        client.send_json({"type": "unsubscribe", "taskId": "task"})
        assert client.expect_close(timeout=4).code == 4401


def test_a_task_is_let_go_of_though_its_watcher_left_before_it_was_read(brokers, redis, eventually):
    broker = brokers(options=["--linger", 1])
    with WsClient(broker.ws_url()) as client:
        redis.pause()
        try:
            client.send_json({"type": "subscribe", "taskId": "left", "token": broker.token("left")})
            eventually(lambda: broker.metrics()["progressd_tasks_watched"] == 1)
            client.abort()
            eventually(lambda: broker.metrics()["progressd_connections"] == 0)
        finally:
            redis.cont()
    eventually(lambda: broker.metrics()["progressd_tasks_watched"] == 0)
