"""The jobs in client/publisher/examples, each against a real Redis and a real broker."""
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.broker import build_directory, environment
from support.deadline import eventually
from support.redis_server import RedisServer

EXAMPLES = Path(__file__).resolve().parents[2] / "client" / "publisher" / "examples"
TRANSCRIBE = build_directory() / "client" / "publisher" / "examples" / "transcribe"
SPEECH = """<speak>The old man went to the market to buy some bread. <break time="700ms"/>
It will take a few more minutes to finish.</speak>"""

needs_pocketsphinx = pytest.mark.skipif(
    not TRANSCRIBE.exists(), reason="built without libpocketsphinx-dev and libsphinxbase-dev")


@pytest.fixture(scope="module")
def redis(directory):
    """On TCP, too: not every client speaks to Unix sockets by the same address."""
    with RedisServer(f"{directory}/redis", tcp=True) as server:
        yield server


@pytest.fixture(scope="module")
def speech(directory):
    path = Path(directory) / "speech.mp3"
    wave = path.with_suffix(".wav")
    subprocess.run(["espeak-ng", "-m", "-v", "en-us+f5", "-s", "130", "-w", wave, SPEECH],
                   check=True)
    subprocess.run(["ffmpeg", "-v", "error", "-i", wave, path], check=True)
    return path


def watched(broker, job, task):
    """The payloads that a poller sees of a running job, by type; the end included."""
    token = broker.token(task)
    seen = {}

    def ended():
        status, body = broker.poll(task, token)
        if status != 200:
            return False
        state = json.loads(body)
        for message in state["messages"]:
            payloads = seen.setdefault(message["type"], [])
            if message["payload"] not in payloads:
                payloads.append(message["payload"])
        seen["stages"] = [entry["stage"] for entry in state["stages"]]
        return state["done"] and job.poll() is not None

    eventually(ended, 50, f"{task} didn't end", interval=0.1)
    return seen


def check_the_usual_end(seen, task):
    percentages = [update["percentage"] for update in seen["progress_update"]]
    assert percentages == sorted(percentages) and len(percentages) > 2
    assert seen["complete"][0]["resultUrl"] == f"/results/{task}"
    assert seen["stages"] == ["working"]
    assert "error" not in seen


def test_python(broker, redis):
    job = subprocess.Popen([sys.executable, EXAMPLES / "publish.py", redis.url, "python"])
    seen = watched(broker, job, "python")
    assert job.returncode == 0
    check_the_usual_end(seen, "python")


def test_shell(broker, redis):
    job = subprocess.Popen([EXAMPLES / "publish.sh", redis.socket_path, "shell"])
    seen = watched(broker, job, "shell")
    assert job.returncode == 0
    check_the_usual_end(seen, "shell")


@pytest.mark.skipif(not shutil.which("npm"), reason="npm isn't installed")
def test_node(broker, redis, tmp_path):
    script = shutil.copy(EXAMPLES / "publish.mjs", tmp_path)
    subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "ioredis@5"],
                   cwd=tmp_path, check=True, timeout=50)
    job = subprocess.Popen(["node", script, redis.url, "node"], cwd=tmp_path)
    seen = watched(broker, job, "node")
    assert job.returncode == 0
    check_the_usual_end(seen, "node")


# ── The transcriber ──────────────────────────────────────────────────────────────────────────────

@pytest.fixture
def transcribe(redis, tmp_path):
    """transcribe(audio, task): starts the job."""
    jobs = []
    # What libpocketsphinx leaks isn't ours to judge.
    options = {**environment(), "ASAN_OPTIONS": "abort_on_error=1:detect_leaks=0"}

    def start(audio, task):
        jobs.append(subprocess.Popen(
            [TRANSCRIBE, f"unix://{redis.socket_path}", task, audio, tmp_path / "tr an.txt"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=options))
        return jobs[-1]

    yield start
    for job in jobs:
        job.kill()
        job.communicate()


@needs_pocketsphinx
def test_speech_becomes_text(broker, transcribe, speech, tmp_path):
    job = transcribe(speech, "speech")
    seen = watched(broker, job, "speech")
    output, errors = job.communicate()
    assert (job.returncode, errors) == (0, "")
    assert output.strip() == str(tmp_path / "tr an.txt")
    words = (tmp_path / "tr an.txt").read_text(encoding="utf-8").split()
    assert {"old", "man", "bread", "minutes", "finish"} & set(words), words
    assert seen["complete"][0]["resultUrl"] == f"file://{tmp_path}/tr%20an.txt"
    assert seen["stages"] == ["loading", "transcribing", "finishing"]
    last = seen["progress_update"][-1]
    # The last update may be left out when the end comes within 200 ms of it.
    assert last["bytesProcessed"] == pytest.approx(last["bytesTotal"], rel=0.25)


@needs_pocketsphinx
def test_what_is_no_audio_ends_the_task_with_an_error(broker, transcribe, tmp_path):
    audio = tmp_path / "words.wav"
    audio.write_text("words")
    job = transcribe(audio, "words")
    seen = watched(broker, job, "words")
    assert job.returncode == 1
    assert seen["error"][0]["code"] == "UNREADABLE_AUDIO"


@needs_pocketsphinx
def test_an_interrupted_transcription_says_so(broker, transcribe, speech, redis):
    job = transcribe(speech, "cut")
    eventually(lambda: redis.cli("HEXISTS", "progress:cut", "progress_update") == "1", 20)
    job.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert job.wait(20) == 143 and time.monotonic() - began < 10
    assert json.loads(redis.cli("HGET", "progress:cut", "error"))["payload"] == {
        "code": "CANCELLED", "message": "the transcription was interrupted", "retryable": True}
