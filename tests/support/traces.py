"""How jobs progress, recorded and made, for judging estimates.

A trace is a list of (seconds, stage or None, percentage or None): a stage entered, or an update.
Its last entry is the end.
"""
import math
import random
from pathlib import Path

RECORDED = Path(__file__).resolve().parents[1] / "traces"


def recorded():
    """{name: trace} of what tests/bench/record_trace wrote, the shortest first."""
    traces = {path.name: read(path) for path in RECORDED.iterdir()}
    return dict(sorted(traces.items(), key=lambda named: named[1][-1][0]))


def read(path):
    trace = []
    for line in path.read_text(encoding="utf-8").splitlines():
        at, *what = line.split()
        if what[0] == ">":
            trace.append((float(at), what[1], None))
        else:
            trace.append((float(at), None, None if what[0] == "." else float(what[0])))
    return trace


def make(speed, stages=((0, "working"),), every=0.25, seed=0, noise=0.3, step=0.01):
    """A job that gains `speed(seconds, percentage)` points a second, give or take `noise`, and says
    so `every` so many seconds in multiples of `step`. `stages`: where each begins."""
    chance = random.Random(seed)
    seconds = percentage = 0.0
    trace, entered = [], 0
    while True:
        while entered < len(stages) and percentage >= stages[entered][0]:
            trace.append((seconds, stages[entered][1], None))
            entered += 1
        told = round(math.floor(percentage / step + 1e-9) * step, 2)
        trace.append((seconds, None, told))
        if percentage >= 100:
            return trace
        passed = every * chance.uniform(0.8, 1.2)
        seconds += passed
        gain = speed(seconds, percentage) * max(0.0, chance.gauss(1, noise))
        percentage = min(100.0, percentage + gain * passed)


def stalling(speed, at, seconds):
    """The speed of a job that stands still for so long when it has come so far."""
    until = None

    def now(passed, percentage):
        nonlocal until
        if until is None and percentage >= at:
            until = passed + seconds
        return 0 if until is not None and passed < until else speed
    return now


def made(length, seed=0):
    """{name: trace} of jobs that take about `length` seconds."""
    usual = 100 / length
    every = 0.25 if length < 300 else 0.5
    slow_middle = ((0, "download"), (10, "transcribe"), (90, "format"))
    thirds = ((0, "first"), (30, "second"), (60, "third"))
    kinds = {
        "constant rate": {"speed": lambda t, p: usual},
        "constant, noisy": {"speed": lambda t, p: usual, "noise": 1},
        "constant, told in steps of 5 %": {"speed": lambda t, p: usual, "step": 5},
        "stages: fast, slow, fast": {
            "speed": lambda t, p: usual * (4 if p < 10 else 0.8 if p < 90 else 3),
            "stages": slow_middle},
        "stages: slow, fast, usual": {
            "speed": lambda t, p: usual * (0.5 if p < 30 else 2 if p < 60 else 1),
            "stages": thirds},
        "long stall": {"speed": stalling(usual, 40, length * 0.3)},
        "short stall": {"speed": stalling(usual, 60, length * 0.1)},
        "slow start": {"speed": lambda t, p: usual * (0.15 if t < length * 0.15 else 1)},
        "no progress at first": {"speed": lambda t, p: 0 if t < length * 0.1 else usual},
        "twice as fast at the end": {"speed": lambda t, p: usual * (2 if p > 70 else 1)},
        "half as fast at the end": {"speed": lambda t, p: usual * (0.5 if p > 60 else 1)},
        "speed that comes and goes": {
            "speed": lambda t, p: usual * (1 + 0.5 * math.sin(9 * t / length))},
    }
    return {f"{kind}, {length} s": make(**settings, every=every, seed=f"{seed} {kind} {length}")
            for kind, settings in kinds.items()}
