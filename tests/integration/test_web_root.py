"""--web-root: files of a page, served beside the protocol, and nothing else of the machine."""
import contextlib
import os
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from support.broker import Broker, environment, program
from support.deadline import eventually
from support.http_client import HttpClient, http
from support.job import Job
from support.ws_client import WsClient

FILE_MAX = 4 << 20
IMMUTABLE = "public, max-age=31536000, immutable"
SECRET = b"what must never be served"
PAGE = b"<!doctype html><title>jobs</title>"
SCRIPT = b"export const answer = 42;\n"


@pytest.fixture(scope="module")
def outside(directory):
    """The folder above the web root, with a secret in it."""
    path = Path(directory) / "site"
    (path / "web/assets").mkdir(parents=True)
    (path / "secret").write_bytes(SECRET)
    return path


@pytest.fixture(scope="module")
def web(outside):
    path = outside / "web"
    (path / "index.html").write_bytes(PAGE)
    (path / "assets/index-4f3a2b1c.js").write_bytes(SCRIPT)
    (path / "assets/index.html").write_bytes(b"assets")
    (path / ".env").write_bytes(SECRET)
    (path / ".git").mkdir()
    (path / ".git/config").write_bytes(SECRET)
    return path


@pytest.fixture(scope="module")
def broker(directory, redis, web):
    with Broker(f"{directory}/broker", redis.url, workers=2,
                options=["--web-root", web]) as server:
        yield server


@pytest.fixture
def ask(broker):
    """ask(target, method, **headers)"""
    def request(target="/", method="GET", **headers):
        return http(broker.address, method, target,
                    {name.replace("_", "-"): value for name, value in headers.items()})
    return request


# ── Files ───────────────────────────────────────────────────────────────────────────────────────

def test_the_page_is_served_with_what_a_browser_needs_to_know(ask):
    answer = ask("/")
    assert (answer.status, answer.body) == (200, PAGE)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-length"] == str(len(PAGE))
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "connect-src 'self' ws: wss: http: https:" in policy
    assert "style-src 'self' 'unsafe-inline'" in policy
    assert ask("/index.html?x=1").body == PAGE


@pytest.mark.parametrize("name, content_type", [
    ("a.html", "text/html; charset=utf-8"), ("a.js", "text/javascript; charset=utf-8"),
    ("a.mjs", "text/javascript; charset=utf-8"), ("a.css", "text/css; charset=utf-8"),
    ("a.svg", "image/svg+xml"), ("a.png", "image/png"), ("a.ico", "image/vnd.microsoft.icon"),
    ("a.json", "application/json"), ("a.js.map", "application/json"), ("a.woff2", "font/woff2"),
    ("a.txt", "text/plain; charset=utf-8"), ("a.webmanifest", "application/manifest+json"),
    ("A.HTML", "text/html; charset=utf-8"), ("a.exe", "application/octet-stream"),
    ("html", "application/octet-stream"), ("a.html.", "application/octet-stream"),
    ("x.html/a", "application/octet-stream"),
])
def test_the_type_follows_from_the_names_ending(ask, web, name, content_type):
    path = web / "types" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    answer = ask(f"/types/{name}")
    assert (answer.status, answer.headers["content-type"]) == (200, content_type)
    path.unlink()
    if path.parent.name != "types":
        path.parent.rmdir()


@pytest.mark.parametrize("name, is_immutable", [
    ("assets/index-4f3a2b1c.js", True),       # hexadecimal
    ("assets/index-Bv-3_4fQ.css", True),      # as Vite names them
    ("deep/assets/a-B1234567.woff2", True),
    ("assets/index-4f3a2b1c.js.map", False),  # the last ending is what counts
    ("assets/user-settings.js", False),       # a word of eight letters
    ("assets/my-dashboard.js", False),
    ("assets/index-4f3a2b1.js", False),       # seven
    ("assets/index-4f3a2b1c5.js", False),     # nine
    ("assets/-4f3a2b1c.js", False),
    ("assets/index4f3a2b1c.js", False),
    ("assets/index-4f3a2b1c", False),
    ("index-4f3a2b1c.js", False),             # not a build's folder
    ("myassets/index-4f3a2b1c.js", False),
    ("assets/sub/index-4f3a2b1c.js", False),
])
def test_only_files_named_by_their_content_are_kept_unasked(ask, web, name, is_immutable):
    path = web / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(SCRIPT)
    answer = ask(f"/{name}")
    assert answer.status == 200
    assert answer.headers["cache-control"] == (IMMUTABLE if is_immutable else "no-cache")


def test_an_etag_is_answered_with_304(ask):
    first = ask("/assets/index-4f3a2b1c.js")
    etag = first.headers["etag"]
    assert etag[0] == etag[-1] == '"', "a strong one"
    for header in (etag, f'"x", {etag}', f"W/{etag}", "*"):
        answer = ask("/assets/index-4f3a2b1c.js", If_None_Match=header)
        assert (answer.status, answer.body) == (304, b""), header
        assert answer.headers["etag"] == etag
        assert answer.headers["cache-control"] == IMMUTABLE
        assert "content-length" not in answer.headers and "content-type" not in answer.headers
    for header in ('"x"', etag.strip('"'), etag[:-2] + '"'):
        assert ask("/assets/index-4f3a2b1c.js", If_None_Match=header).status == 200, header


def test_the_etag_is_the_contents_on_every_worker_and_node(ask, web):
    (web / "one.txt").write_bytes(b"same")
    (web / "two.txt").write_bytes(b"same")
    os.utime(web / "two.txt", (1, 1))
    etags = {ask(f"/{name}.txt").headers["etag"] for name in ("one", "two") for _ in range(10)}
    assert len(etags) == 1


def test_head_says_the_same_without_the_body(ask):
    got, head = ask("/"), ask("/", "HEAD")
    assert (head.status, head.body) == (200, b"")
    got.headers.pop("date"), head.headers.pop("date")
    assert head.headers == got.headers
    assert ask("/", "HEAD", If_None_Match=got.headers["etag"]).status == 304
    assert ask("/nothing", "HEAD").status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_refused(ask, method):
    for target in ("/", "/nothing"):
        answer = ask(target, method)
        assert (answer.status, answer.error()) == (405, "METHOD_NOT_ALLOWED")
        assert answer.headers["allow"] == "GET, HEAD"


def test_a_folder_is_its_index_behind_a_slash(ask):
    answer = ask("/assets?x=1")
    assert (answer.status, answer.headers["location"], answer.body) == (301, "/assets/?x=1", b"")
    assert ask("/assets/").body == b"assets"
    assert ask("/types/").status == 404, "a folder is never listed"


def test_an_empty_file_is_a_whole_answer(broker, web):
    (web / "empty.txt").write_bytes(b"")
    with HttpClient(broker.address) as client:
        for _ in range(3):
            answer = client.request("GET", "/empty.txt")
            assert (answer.status, answer.body) == (200, b"")
            assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_a_connection_is_kept_and_requests_may_be_pipelined(broker):
    with HttpClient(broker.address) as client:
        targets = ["/", "/assets/index-4f3a2b1c.js", "/nothing", "/"] * 20
        client.send(b"".join(client.encode("GET", target) for target in targets))
        assert [client.answer().status for _ in targets] == [200, 200, 404, 200] * 20


def test_the_same_connection_may_become_a_websocket(broker):
    with HttpClient(broker.address) as client:
        upgrade = client.encode("GET", "/ws/progress", {
            "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="})
        client.send(client.encode("GET", "/") + upgrade)
        assert client.answer().body == PAGE
        assert client.answer("HEAD").status == 101


# ── Nothing else ────────────────────────────────────────────────────────────────────────────────

ESCAPES = """
    /../secret /..%2fsecret /%2e%2e/secret /%2E%2E%2Fsecret /.%2e/secret /%2e%2e%2fsecret
    /assets/../../secret /assets/%2e%2e/%2e%2e/secret /assets/..%2f..%2fsecret
    /%252e%252e/secret /%252e%252e%252fsecret /%c0%ae%c0%ae/secret /%uff0e%uff0e/secret
    /..\\secret /..%5csecret /....//secret /..;/secret /.../secret
    //etc/passwd /%2fetc/passwd /%2f%2fetc/passwd ///etc/passwd
    /index.html%00 /%00 /index.html%00.png /../web/index.html /./index.html /assets/../index.html
    /.env /%2eenv /.git/config /.git/ /.git /%2egit/config
    /% /%2 /%zz /index.html/ /index.html/x
""".split()


@pytest.mark.parametrize("target", ESCAPES)
def test_no_path_leads_out(ask, target):
    answer = ask(target)
    assert (answer.status, answer.error()) == (404, "NOT_FOUND")
    assert SECRET not in answer.body


@pytest.mark.parametrize("target", ["http://h/../secret", "http://h/..%2fsecret",
                                    "http://h//etc/passwd", "http://h/.env"])
def test_nor_in_absolute_form(ask, target):
    assert ask(target).status == 404


def test_a_path_that_is_too_long_is_missing(ask):
    assert ask("/" + "a" * 5000).status == 404
    assert ask("/" + "a/" * 2000).status == 404


@pytest.fixture
def made(web):
    """Undoes what a test puts into the web root, by its paths."""
    paths = []
    yield paths.append
    for path in paths:
        path.unlink(missing_ok=True)


@pytest.mark.parametrize("target", ["../secret", "/etc/passwd", "/proc/self/environ", "..", "self",
                                    "assets/../../secret"])
def test_no_symlink_leads_out(ask, web, made, target):
    link = web / "self"
    made(link)
    link.symlink_to(target)
    for path in ("/self", "/self/secret", "/self/web/index.html"):
        assert ask(path).status == 404


def test_a_symlink_within_works(ask, web, made):
    made(web / "latest.js")
    (web / "latest.js").symlink_to("assets/index-4f3a2b1c.js")
    assert ask("/latest.js").body == SCRIPT


def test_a_component_that_becomes_a_symlink_leads_nowhere(ask, broker, web, outside):
    """Swaps a folder and a symlink to the outside for each other while it is asked for."""
    over = threading.Event()
    folder, link = web / "swap", web / "swap.link"
    folder.mkdir()
    (folder / "secret").write_bytes(b"harmless")
    link.symlink_to("..")

    def swap():
        while not over.is_set():
            folder.rename(web / "swap.folder")
            link.rename(folder)
            folder.rename(link)
            (web / "swap.folder").rename(folder)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        with HttpClient(broker.address) as client:
            answers = [client.request("GET", "/swap/secret") for _ in range(2000)]
    finally:
        over.set()
        thread.join()
    assert {answer.status for answer in answers} <= {200, 404, 503}
    assert {answer.body for answer in answers if answer.status == 200} == {b"harmless"}


def test_only_regular_files_are_served_and_none_keeps_the_broker_waiting(ask, web, made):
    os.mkfifo(web / "pipe.html")
    made(web / "pipe.html")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(web / "socket.html"))
        made(web / "socket.html")
        assert ask("/pipe.html").status == 404
        assert ask("/socket.html").status == 404
    with contextlib.suppress(PermissionError):  # root's alone
        os.mknod(web / "device.html", 0o600 | 0o020000, os.makedev(1, 5))
        made(web / "device.html")
        assert ask("/device.html").status == 404


def test_a_file_that_is_too_large_is_not_served(ask, web, made):
    made(web / "big.bin")
    (web / "big.bin").write_bytes(bytes(FILE_MAX))
    assert len(ask("/big.bin").body) == FILE_MAX
    os.truncate(web / "big.bin", FILE_MAX + 1)
    answer = ask("/big.bin")
    assert answer.status == 404
    assert "too large" in answer.json()["error"]["message"]


# ── Files that change ───────────────────────────────────────────────────────────────────────────

def test_a_file_that_is_replaced_while_it_is_served_is_never_mixed(ask, broker, web, made):
    """Written beside and renamed, as a deployment does: whole, and with the ETag that is its own."""
    versions = [bytes([letter]) * (1 << 18) for letter in b"abc"]
    made(web / "v.bin")
    (web / "v.bin").write_bytes(versions[0])
    over = threading.Event()

    def replace():
        while not over.is_set():
            for version in versions:
                (web / "v.new").write_bytes(version)
                (web / "v.new").rename(web / "v.bin")
                time.sleep(0.001)

    thread = threading.Thread(target=replace)
    thread.start()
    seen = {}
    try:
        with HttpClient(broker.address) as client:
            for _ in range(100):
                answer = client.request("GET", "/v.bin")
                assert answer.status == 200
                assert answer.body in versions
                assert seen.setdefault(answer.headers["etag"], answer.body) == answer.body
    finally:
        over.set()
        thread.join()
    (web / "v.bin").write_bytes(b"last")
    assert ask("/v.bin").body == b"last"


def test_a_file_rewritten_in_place_is_seen_at_once(ask, web, made):
    made(web / "now.txt")
    for number in range(50):
        (web / "now.txt").write_text(f"{number:03}")
        assert ask("/now.txt").body == f"{number:03}".encode()


def test_a_folder_that_is_replaced_is_the_one_that_is_served(brokers, outside):
    site = outside / "current"
    for name in ("v1", "v2"):
        (outside / name).mkdir()
        (outside / name / "index.html").write_text(name)
    site.symlink_to("v1")
    server = brokers(workers=1, options=["--web-root", site])
    assert http(server.address, "GET", "/").body == b"v1"
    site.unlink()
    assert http(server.address, "GET", "/").status == 404
    site.symlink_to("v2")
    assert http(server.address, "GET", "/").body == b"v2"


# ── Slow clients ────────────────────────────────────────────────────────────────────────────────

def test_many_who_do_not_read_hold_a_file_once(brokers, outside):
    web = outside / "large"
    web.mkdir()
    (web / "large.bin").write_bytes(os.urandom(FILE_MAX))
    time.sleep(2.1)  # the file is at rest, and read once: freed memory counts under a sanitizer
    server = brokers(workers=1, options=["--web-root", web])
    http(server.address, "GET", "/large.bin")
    pid, = server.worker_pids()
    before = server.memory(pid)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(HttpClient(server.address)) for _ in range(50)]
        for client in clients:
            client.send(client.encode("GET", "/large.bin") * 20)
        # One file fills a queue: each client gets one, and the next when that is taken.
        eventually(lambda: server.metrics()['progressd_http_requests_total{code="200"}'] >= 50,
                   message="requests are answered")
        assert server.memory(pid) - before < 3 * FILE_MAX, "50 clients are sent 3.2 GB"
        assert http(server.address, "GET", "/large.bin").status == 200, "others are served"


# ── Beside the protocol ─────────────────────────────────────────────────────────────────────────

def test_nothing_in_the_folder_hides_the_protocol(ask, redis, broker, web):
    for path in ("api/progress", "ws"):
        (web / path).mkdir(parents=True, exist_ok=True)
    (web / "api/progress/task").write_bytes(b"a file")
    (web / "ws/progress").write_bytes(b"a file")
    assert ask("/api/progress/task").status == 401
    assert ask("/api/progress/task", "POST").headers["allow"] == "GET, HEAD, OPTIONS"
    assert ask("/ws/progress").status == 426
    with Job(redis, "task") as job:
        job.update(40)
        with WsClient(broker.ws_url("task")) as client:
            client.send_json({"type": "subscribe", "token": broker.token("task")})
            assert client.recv_until("progress_update")[-1]["payload"]["percentage"] == 40
        status, _ = broker.poll("task")
        assert status == 200


def test_without_the_option_there_are_no_files(brokers):
    server = brokers(workers=1)
    answer = http(server.address, "GET", "/")
    assert (answer.status, answer.error()) == (404, "NOT_FOUND")
    assert http(server.address, "POST", "/").status == 404


def check_config(web_root):
    return subprocess.run(
        [program("broker/progressd"), "--check-config", "--web-root", web_root,
         "--state-dir", "/nonexistent"], env=environment(), capture_output=True, text=True,
        timeout=20, check=False)


def test_the_folder_is_checked_with_the_configuration(web):
    assert check_config(web).returncode == 0
    for path, why in ((web / "nothing", "No such file or directory"),
                      (web / "index.html", "Not a directory")):
        checked = check_config(path)
        assert checked.returncode == 2
        assert checked.stderr == f"web-root: {path}: {why}\n"
