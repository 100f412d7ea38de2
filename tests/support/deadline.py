"""Waiting for what must happen soon, without guessing how soon."""
import time


def eventually(condition, timeout=10, message="it didn't happen in time", interval=0.02):
    """Calls `condition` until it returns something true, and returns that. AssertionError when it
    doesn't within `timeout` seconds; an AssertionError of `condition`'s own counts as not yet, and
    is told then."""
    deadline = time.monotonic() + timeout
    while True:
        reason = None
        try:
            result = condition()
            if result:
                return result
        except AssertionError as not_yet:
            reason = not_yet
        if time.monotonic() >= deadline:
            raise AssertionError(f"{message} (waited {timeout} s)") from reason
        time.sleep(interval)
