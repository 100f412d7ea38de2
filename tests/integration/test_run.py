"""scripts/run, as a newcomer calls it: broker, Redis and a real job, and nothing left afterwards."""
import os
import pty
import re
import subprocess
import time
from pathlib import Path

import pytest

from support.broker import SANITIZER_REPORT, build_directory, environment, http_get
from support.deadline import eventually

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def speech(directory):
    path = f"{directory}/speech.wav"
    subprocess.run(["espeak-ng", "-v", "en-us+f5", "-s", "130", "-w", path,
                    "The old man went to the market to buy some bread."], check=True)
    return path


class Run:
    """scripts/run at a terminal of its own."""

    def __init__(self, state_dir, *args, env=None):
        self.state_dir = Path(state_dir)
        self.output = ""
        env = environment({"PROGRESSD_BUILD": str(build_directory()), **(env or {})})
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            command = [str(ROOT / "scripts/run"), "--state-dir", str(state_dir), *args]
            os.execve(command[0], command, env)

    def read_until(self, text=None):
        """What the terminal shows up to `text`, or to the end."""
        while text is None or text not in self.output:
            try:
                data = os.read(self.terminal, 4096)
            except OSError:
                break
            if not data:
                break
            self.output += data.decode("utf-8", "replace").replace("\r\n", "\n")
        assert text is None or text in self.output, self.output
        return self.output

    def press_ctrl_c(self):
        os.write(self.terminal, b"\x03")

    def wait(self):
        """The exit status. All that was started has ended, and no sanitizer said a word."""
        self.read_until()
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.terminal)
        eventually(lambda: not self.processes(), 5, "processes are left")
        log = (self.state_dir / "progressd.log").read_text(encoding="utf-8")
        assert not SANITIZER_REPORT.search(log), log
        return status

    def processes(self):
        """The pids of processes that were started with the state directory's name."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                command = path.read_bytes()
            except OSError:
                continue
            if str(self.state_dir).encode() in command and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
        return found


def test_it_shows_a_job_from_start_to_end(directory, speech):
    run = Run(f"{directory}/whole", "--once", speech)
    status = run.wait()
    assert status == 0, run.output
    assert "ws://127.0.0.1:" in run.output and "curl -H" in run.output
    assert f"The transcript: {directory}/whole/transcripts/demo.txt" in run.output
    assert Path(f"{directory}/whole/transcripts/demo.txt").read_text(encoding="utf-8").split()


def test_a_job_that_fails_makes_it_fail(directory, tmp_path):
    audio = tmp_path / "words.wav"
    audio.write_text("no sound")
    run = Run(f"{directory}/failing", "--once", str(audio))
    status = run.wait()
    assert status == 1, run.output
    assert "The job failed" in run.output


def test_it_stays_up_until_ctrl_c_and_leaves_nothing_behind(directory, speech):
    run = Run(f"{directory}/staying", speech)
    run.read_until("Ctrl-C ends it.")
    assert run.processes()
    run.press_ctrl_c()
    asked = time.monotonic()
    assert run.wait() == 130, run.output
    assert time.monotonic() - asked < 15


@pytest.mark.skipif(subprocess.run([ROOT / "scripts/has-node"], check=False).returncode != 0,
                    reason="the page takes Node 20 or newer")
def test_it_serves_the_page_with_the_token_where_no_server_sees_it(directory, speech):
    run = Run(f"{directory}/page", speech)
    run.read_until("Ctrl-C ends it.")
    found = re.search(r"Browser +(http://[0-9.:]+/)#token=(\S+)&tasks=demo$", run.output, re.M)
    assert found, run.output
    address, token = found.groups()
    status, page = http_get(address)
    assert status == 200 and '<div id="page">' in page
    assert http_get(f"{address}{re.search('assets/[^ ]+[.]js', page)[0]}")[0] == 200
    bearer = {"Authorization": f"Bearer {token}"}
    assert http_get(f"{address}api/progress/demo", bearer)[0] == 200
    run.press_ctrl_c()
    assert run.wait() == 130


def test_without_node_it_says_so_and_shows_the_terminal_view(directory, speech, tmp_path):
    old = tmp_path / "node"
    old.write_text("#!/bin/sh\necho 18\n")
    old.chmod(0o755)
    run = Run(f"{directory}/no-node", "--once", speech,
              env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert run.wait() == 0, run.output
    assert "without Node 20 or newer there is no page" in run.output
    assert "Browser " not in run.output and "complete" in run.output


def test_ctrl_c_in_the_middle_leaves_nothing_behind(directory):
    run = Run(f"{directory}/interrupted")
    run.read_until("Others may watch")
    run.press_ctrl_c()
    assert run.wait() == 130, run.output


def test_a_second_one_finds_another_port(directory, speech):
    first = Run(f"{directory}/first", speech)
    first.read_until("Ctrl-C ends it.")
    second = Run(f"{directory}/second", "--once", speech)
    assert second.wait() == 0, second.output
    assert "port 8080 is taken" in second.output
    first.press_ctrl_c()
    assert first.wait() == 130
