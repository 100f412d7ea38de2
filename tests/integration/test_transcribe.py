"""The real job: scripts/transcribe turns speech into text, and tells Redis how far it is."""
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from support.broker import program
from support.deadline import eventually

ROOT = Path(__file__).resolve().parents[2]
SPEECH = """<speak>The old man went to the market to buy some bread. <break time="700ms"/>
It will take a few more minutes to finish.</speak>"""


@pytest.fixture(scope="module")
def library(redis):
    """The function library, loaded by hand, for a Redis without a broker."""
    redis.cli("-x", "FUNCTION", "LOAD", "REPLACE",
              stdin=program("proto/progress.lua").read_bytes())


@pytest.fixture(scope="module")
def speech(directory):
    path = Path(directory) / "speech.wav"
    speak(SPEECH, path)
    return path


@pytest.fixture
def transcribe(redis, library, tmp_path):
    """transcribe(audio, task): starts the job."""
    started = []

    def start(audio, task):
        job = subprocess.Popen(
            [ROOT / "scripts/transcribe", audio, task], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, cwd=tmp_path,
            env={**os.environ, "REDIS_CLI": f"redis-cli -s {redis.socket_path}",
                 "RESULT_DIR": str(tmp_path / "of the job")})
        started.append(job)
        return job

    yield start
    for job in started:
        if job.poll() is None:
            job.terminate()
        job.communicate()


class Channel:
    """What is published for a task, read by hand from a connection of its own."""

    def __init__(self, redis, task):
        self.socket = redis.connect()
        self.file = self.socket.makefile("rb")
        self.socket.sendall(f"SSUBSCRIBE progress:{task}\r\n".encode())
        for _ in range(6):
            self.file.readline()

    def messages_until(self, *types):
        """All messages up to the first of one of these types."""
        messages = []
        while not messages or messages[-1]["type"] not in types:
            for _ in range(6):
                self.file.readline()
            messages.append(json.loads(self.file.readline()))
        return messages

    def close(self):
        self.file.close()
        self.socket.close()


@pytest.fixture
def watch(redis):
    """watch(task): a channel that is closed with the test."""
    channels = []

    def open_channel(task):
        channels.append(Channel(redis, task))
        return channels[-1]

    yield open_channel
    for channel in channels:
        channel.close()


def speak(text, path):
    subprocess.run(["espeak-ng", "-m", "-v", "en-us+f5", "-s", "130", "-w", path, text], check=True)


def payloads(messages, kind):
    return [message["payload"] for message in messages if message["type"] == kind]


def state(redis, task, kind):
    """The payload of the latest message of a type in the task's hash; None without one."""
    text = redis.cli("HGET", f"progress:{task}", kind)
    return json.loads(text)["payload"] if text else None


def test_speech_becomes_text_and_its_progress_is_told(transcribe, watch, speech):
    channel = watch("job")
    job = transcribe(speech, "job")
    messages = channel.messages_until("complete", "error")
    output, errors = job.communicate()
    assert (job.returncode, errors) == (0, "")

    stages = [payload["toStage"] for payload in payloads(messages, "stage_change")]
    assert stages == ["queued", "converting", "transcribing", "finishing"]
    transcript = Path(unquote(urlparse(messages[-1]["payload"]["resultUrl"]).path))
    assert str(transcript) == output.strip()
    words = transcript.read_text(encoding="utf-8").split()
    assert {"old", "man", "bread", "minutes", "finish"} & set(words), words


def test_progress_never_goes_back_and_ends_with_all_bytes(transcribe, watch, speech):
    channel = watch("bytes")
    transcribe(speech, "bytes")
    messages = channel.messages_until("complete", "error")

    updates = payloads(messages, "progress_update")
    percentages = [update["percentage"] for update in updates]
    assert percentages == sorted(percentages)
    assert any(0 < percentage < 100 for percentage in percentages), percentages
    assert updates[-1]["bytesProcessed"] == updates[-1]["bytesTotal"] > 0
    for update in updates:
        if "bytesTotal" in update:
            share = 100 * update["bytesProcessed"] / update["bytesTotal"]
            assert update["percentage"] == pytest.approx(share, abs=0.01)
    estimates = payloads(messages, "time_estimate")
    assert estimates
    confidences = [estimate["confidence"] for estimate in estimates]
    assert confidences == sorted(confidences)


def test_the_speed_is_bytes_a_second(transcribe, watch, speech):
    channel = watch("speed")
    transcribe(speech, "speed")
    messages = channel.messages_until("complete", "error")

    checked = 0
    for update, estimate in zip(messages, messages[1:]):
        payload = update["payload"]
        if "processingSpeed" in payload and estimate["type"] == "time_estimate":
            left = payload["bytesTotal"] - payload["bytesProcessed"]
            assert estimate["payload"]["estimatedTimeRemaining"] == pytest.approx(
                left / payload["processingSpeed"], rel=0.01, abs=0.02)
            checked += left > 0
    assert checked > 0


def test_a_file_that_is_no_audio_ends_the_task_with_an_error(transcribe, redis, tmp_path):
    audio = tmp_path / 'no "audio" \\ here.wav'
    audio.write_text("words")
    job = transcribe(audio, "unreadable")
    job.communicate()
    assert job.returncode == 1
    error = state(redis, "unreadable", "error")
    assert error["code"] == "UNREADABLE_AUDIO" and error["retryable"] is False


def test_a_missing_file_ends_the_task_with_an_error(transcribe, redis, tmp_path):
    job = transcribe(tmp_path / "missing \"ü\"\n.wav", "missing")
    job.communicate()
    assert job.returncode == 1
    error = state(redis, "missing", "error")
    assert error["code"] == "UNREADABLE_AUDIO" and 'missing "ü" .wav' in error["message"]


def test_a_task_id_can_be_used_again(transcribe, redis, speech, tmp_path):
    transcribe(tmp_path / "missing.wav", "again").communicate()
    first_run = redis.cli("HGET", "progress:again", "run")
    job = transcribe(speech, "again")
    job.communicate()
    assert job.returncode == 0
    assert redis.cli("HGET", "progress:again", "run") != first_run
    assert state(redis, "again", "error") is None


def test_an_interrupted_job_says_so_and_may_be_tried_again(transcribe, redis, tmp_path):
    audio = tmp_path / "long.wav"
    speak("This is a very long story. " * 40, audio)
    job = transcribe(audio, "cancelled")
    eventually(lambda: (state(redis, "cancelled", "progress_update") or {}).get("percentage"), 20,
               "no progress")
    asked = time.monotonic()
    job.send_signal(signal.SIGTERM)
    job.communicate(timeout=20)
    assert job.returncode == 143 and time.monotonic() - asked < 5
    error = state(redis, "cancelled", "error")
    assert error["code"] == "CANCELLED" and error["retryable"] is True


def test_a_job_without_redis_fails_before_it_works(tmp_path, speech):
    job = subprocess.run([ROOT / "scripts/transcribe", speech, "alone"], capture_output=True,
                         text=True, cwd=tmp_path, check=False,
                         env={**os.environ, "REDIS_CLI": f"redis-cli -s {tmp_path}/none.sock"})
    assert job.returncode == 1 and "progress_reset" in job.stderr
    assert not list(tmp_path.glob("state/**/*.txt"))
