"""Load balancers at layer 4, with the configurations that deploy/ ships: their addresses and ports
are replaced, and what only the super-user may do."""
import re
import socket
import subprocess
from pathlib import Path

from support.deadline import eventually
from support.redis_server import free_port

NGINX_MODULES = "/usr/lib/nginx/modules"  # Debian's
DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def is_listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Balancer:
    """One process in the foreground, from start() to stop()."""

    def __init__(self, directory, command, port):
        self.directory, self.command, self.port = directory, command, port
        self.address = f"127.0.0.1:{port}"
        self.process = None

    def __enter__(self):
        self.log = open(self.directory / "balancer.log", "wb")  # pylint: disable=R1732
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log, start_new_session=True)
        eventually(lambda: is_listening(self.port), 20, "the balancer doesn't listen")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)
        self.log.close()


def haproxy(directory, nodes, tls=True):
    """`nodes`: brokers with an admin port."""
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    text = (DEPLOY / "haproxy/haproxy.cfg").read_text()
    text = text.replace("bind :443", f"bind 127.0.0.1:{port}")
    text = text.replace("maxconn 100000", "maxconn 1000")
    text = text.replace("check port 8081", "check")
    text = re.sub(r"^    server .*\n", "", text, flags=re.MULTILINE)
    for index, node in enumerate(nodes):
        address = node.tls_address if tls else node.address
        admin_port = node.admin_address.rpartition(":")[2]
        text += f"    server node-{index} {address} port {admin_port}\n"
    file = directory / "haproxy.cfg"
    file.write_text(text)
    return Balancer(directory, ["haproxy", "-db", "-f", file], port)


def nginx(directory, nodes, tls=True):
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    text = (DEPLOY / "nginx/stream.conf").read_text()
    text = text.replace("listen 443 ", f"listen 127.0.0.1:{port} ")
    servers = "".join(f"        server {node.tls_address if tls else node.address} "
                      "max_fails=1 fail_timeout=2s;\n" for node in nodes)
    text = re.sub(r"^        server \d.*\n", "", text, flags=re.MULTILINE)
    text = text.replace("        least_conn;\n", "        least_conn;\n" + servers)
    file = directory / "nginx.conf"
    file.write_text(f"load_module {NGINX_MODULES}/ngx_stream_module.so;\ndaemon off;\nworker_processes 1;\n"
                    f"pid {directory}/nginx.pid;\nerror_log stderr;\n"
                    f"events {{ worker_connections 1000; }}\n{text}")
    return Balancer(directory, ["nginx", "-p", directory, "-c", file, "-e", "stderr"], port)
