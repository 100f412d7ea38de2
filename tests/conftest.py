"""Puts this folder on the import path, so that tests find `support`, and lends them a Redis."""
import tempfile

import pytest

from support.redis_server import RedisServer


@pytest.fixture(scope="module")
def directory():
    """A folder for sockets and files. Its path is short: a Unix socket's may be 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="progressd-") as path:
        yield path


@pytest.fixture(scope="module")
def redis(directory):
    """A redis-server of this module's tests."""
    with RedisServer(f"{directory}/redis") as server:
        yield server
