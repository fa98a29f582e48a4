"""Programs that keep running after the script that started them, and are found again by their pid."""

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

POLL_SECONDS = 0.05
ASK_SECONDS = 2.0


class Process(NamedTuple):
    """A pid with the time at which it started, so that a recycled pid is never taken for ours."""

    pid: int
    started: int

    def is_running(self) -> bool:
        return start_time(self.pid) == self.started

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the process and its children."""
        if self.is_running():
            os.killpg(self.pid, number)

    def end(self, number: signal.Signals, timeout: float) -> None:
        """Sends a signal, and kills the process and its children if it runs after `timeout` seconds."""
        if not self.is_running():
            return
        os.kill(self.pid, number)
        if number == signal.SIGTERM:
            # A process that a test has suspended would not receive it.
            os.kill(self.pid, signal.SIGCONT)
        if not wait_until(lambda: not self.is_running(), timeout):
            os.killpg(self.pid, signal.SIGKILL)
            wait_until(lambda: not self.is_running(), timeout)


def start_time(pid: int) -> int | None:
    """Clock ticks from boot to the start of a process; None once it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, started = fields[0], fields[19]
    return None if state == "Z" else int(started)


def start(command: list[str], environment: dict[str, str], folder: Path, log: Path) -> Process:
    """Starts a program in a session of its own, its output appended to a log."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    started = start_time(child.pid)
    return Process(child.pid, started if started is not None else 0)


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Polls a condition until it is true; False if it is not after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def ask(port: int, request: bytes, size: int) -> bytes:
    """The first `size` bytes of a local server's response; fewer if it does not respond."""
    try:
        with socket.create_connection(("127.0.0.1", port), ASK_SECONDS) as connection:
            connection.settimeout(ASK_SECONDS)
            connection.sendall(request)
            return connection.makefile("rb").read(size)
    except OSError:
        return b""


def free_port() -> int:
    """A free port, below the range that the kernel uses for outgoing connections.

    A broker that is stopped for a while must find its port free again. In the kernel's range, a client that
    keeps trying to connect to the closed port would sooner or later get that port as its own.
    """
    below = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(min(15000, below - 5000), below)
        if is_free(port):
            return port


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
