"""Puts this folder on the import path, so that tests find `support`; lends them a Redis and
brokers; sees to it that no test takes for ever, and shows the brokers' logs when one fails."""
import faulthandler
import signal
import tempfile
from pathlib import Path

import pytest

from support import deadline
from support.broker import Broker
from support.redis_server import RedisServer

TEST_SECONDS = 60
STUCK_SECONDS = 30
LOG_LINES = 60


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


@pytest.fixture(scope="module")
def broker(directory, redis):
    """A broker of this module's tests, with two workers, on the module's Redis."""
    with Broker(f"{directory}/broker", redis.url) as server:
        yield server


@pytest.fixture
def brokers(redis):
    """Starts further brokers for one test: brokers(workers=1, options=["--recorder", "off"]).
    They are on the module's Redis unless `redis_url` says otherwise."""
    with tempfile.TemporaryDirectory(prefix="progressd-") as path:
        started = Brokers(path, redis.url)
        yield started
        started.stop()


class Brokers(list):
    """The brokers that one test has started."""

    def __init__(self, directory, redis_url):
        super().__init__()
        self.directory = Path(directory)
        self.redis_url = redis_url

    def __call__(self, **settings):
        settings = {"redis_url": self.redis_url, **settings}
        self.append(Broker(self.directory / str(len(self)), **settings))
        return self[-1].start()

    def stop(self):
        """Ends those that still run; all of them, even if one doesn't end as it should."""
        failures = []
        for server in self:
            try:
                if server.process is not None:
                    server.stop()
            except AssertionError as failure:
                failures.append(str(failure))
        assert not failures, "\n".join(failures)


@pytest.fixture
def eventually():
    """eventually(condition, timeout): waits until it is true, see support/deadline.py."""
    return deadline.eventually


# ── No test takes for ever ──────────────────────────────────────────────────────────────────────

def pytest_configure(config):
    config.addinivalue_line(
        "markers", f"deadline(seconds): how long the test may take, instead of {TEST_SECONDS} s")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_setup(item):
    yield from _within_deadline(item)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    yield from _within_deadline(item)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_teardown(item):
    yield from _within_deadline(item)


def _within_deadline(item):
    """Interrupts the test at its deadline; ends the whole run if that doesn't help."""
    marker = item.get_closest_marker("deadline")
    seconds = marker.args[0] if marker else TEST_SECONDS

    def on_alarm(*_):
        pytest.fail(f"it takes longer than {seconds} s", pytrace=True)

    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.alarm(seconds)
    faulthandler.dump_traceback_later(seconds + STUCK_SECONDS, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# ── What the brokers said, beside a failure ─────────────────────────────────────────────────────

@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    for name, value in getattr(item, "funcargs", {}).items():
        servers = [value] if isinstance(value, Broker) else value if isinstance(value, Brokers) else []
        for number, server in enumerate(servers):
            lines = server.stderr().splitlines()[-LOG_LINES:]
            report.sections.append((f"log of {name} {number}", "\n".join(lines)))
