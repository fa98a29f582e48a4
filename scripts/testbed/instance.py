"""What all brokers have in common: a folder, ports, processes, and how they start and stop."""

import json
import shutil
import signal
from pathlib import Path
from typing import ClassVar

from testbed.authority import Authority
from testbed.machine import BROKERS, last_lines, say
from testbed.process import Process, free_port, start, wait_until

MAIN = "main"
INSTANCES = BROKERS / "instances"

READY_SECONDS = 60.0
STOP_SECONDS = 30.0


class Failed(Exception):
    """A broker does not start, or does not do what it should."""


class Broker:
    """One broker of one instance. `state.json` in its folder keeps its version, ports and processes."""

    kind: ClassVar[str]
    port_names: ClassVar[tuple[str, ...]]
    """Each gets a free port; clients use the one called "listen"."""

    def __init__(self, instance: str) -> None:
        self.instance = instance
        self.folder = INSTANCES / instance / self.kind
        self.data = self.folder / "data"
        self.log = self.folder / "log"
        self.state_file = self.folder / "state.json"
        self.version = "?"
        self.ports: dict[str, int] = {}
        self.processes: dict[str, Process] = {}
        self.load()

    def prepare(self) -> None:
        """Installs what the broker needs on this machine, and sets `version`."""
        raise NotImplementedError

    def format(self) -> None:
        """Writes the files that the first start needs."""

    def launch(self) -> None:
        """Starts the broker's processes with `self.run`; the name of the broker's own is `broker`."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether the broker answers a client in its own protocol."""
        raise NotImplementedError

    def block_publishers(self, block: bool) -> None:
        """Raises or clears the broker's alarm that blocks publishers."""
        raise Failed("this broker cannot block publishers")

    def control(self, arguments: list[str]) -> None:
        """Runs the broker's administration tool."""
        raise Failed("scripts/brokers has no administration tool for this broker")

    def environment(self) -> dict[str, str]:
        """Environment variables with which the tests find the broker."""
        return {f"CF_TEST_{self.kind.upper()}": self.address}

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.ports['listen']}"

    @property
    def secrets(self) -> Path:
        """The CA certificate for clients, and the certificates that they may present."""
        return self.folder / "secrets"

    def issue_certificates(self, user: str) -> None:
        """Issues `server` for this broker and `client` for a user; `stranger` has an authority that nobody trusts."""
        authority = Authority(self.secrets)
        authority.issue("server", "127.0.0.1")
        authority.issue("client", user)
        Authority(self.secrets / "stranger")

    @property
    def is_running(self) -> bool:
        return "broker" in self.processes and self.processes["broker"].is_running()

    @property
    def exists(self) -> bool:
        return self.state_file.exists()

    def up(self) -> None:
        """Starts with empty data, unless it runs already."""
        self.prepare()
        if self.is_running:
            return
        self.down()
        self.data.mkdir(parents=True)
        self.ports = {name: free_port() for name in self.port_names}
        self.format()
        self.start()

    def down(self) -> None:
        """Stops and deletes everything but the log."""
        self.end(signal.SIGTERM)
        shutil.rmtree(self.data, ignore_errors=True)
        self.state_file.unlink(missing_ok=True)
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".before"))

    def start(self) -> None:
        """Starts on the same ports with the same data, and waits until it serves clients."""
        if self.is_running:
            return
        self.launch()
        wait_until(lambda: self.answers() or not self.is_running, READY_SECONDS)
        if not self.is_running or not self.answers():
            self.end(signal.SIGKILL)
            raise Failed(f"did not start; the end of {self.log}:\n{self.end_of_log()}")

    def end(self, number: signal.Signals) -> None:
        """Ends all processes and keeps the data: gracefully with SIGTERM, at once with SIGKILL."""
        for process in self.processes.values():
            process.end(number, STOP_SECONDS)

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to all processes and their children."""
        for process in self.processes.values():
            process.send(number)

    def run(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        self.processes[name] = start(command, environment, self.folder, self.log)
        self.save()

    def end_of_log(self) -> str:
        return last_lines(self.log.read_text(errors="replace")) if self.log.exists() else "(none)"

    def load(self) -> None:
        if self.exists:
            state = json.loads(self.state_file.read_text())
            self.version = state["version"]
            self.ports = state["ports"]
            self.processes = {name: Process(*parts) for name, parts in state["processes"].items()}

    def save(self) -> None:
        state = {"version": self.version, "ports": self.ports, "processes": self.processes}
        self.state_file.write_text(json.dumps(state, indent=1) + "\n")

    def line(self) -> str:
        """One line about this broker."""
        name = self.kind if self.instance == MAIN else f"{self.instance}/{self.kind}"
        if not self.exists:
            return f"{name}: down"
        state = f"pid {self.processes['broker'].pid}" if self.is_running else "stopped"
        return f"{name}: {self.version}, {self.address}, {state}"


def environment_file(instance: str) -> Path:
    """The file in which a shell or a test finds the addresses of an instance."""
    return (BROKERS if instance == MAIN else INSTANCES / instance) / "env"


def write_environment(instance: str, brokers: list[Broker]) -> None:
    path = environment_file(instance)
    variables: dict[str, str] = {}
    for broker in brokers:
        if broker.exists:
            variables |= broker.environment()
    if not variables:
        path.unlink(missing_ok=True)
        return
    new = path.with_suffix(".new")
    new.write_text("".join(f"{name}='{value}'\n" for name, value in variables.items()))
    new.replace(path)
    say(f"addresses are in {path}")
