"""What all brokers have in common: a folder, ports, a pid, and how they come up and go down."""

import json
import shutil
import signal
from pathlib import Path
from typing import ClassVar

from testbed.machine import BROKERS, last_lines, say
from testbed.process import Process, free_port, start, wait_until

MAIN = "main"
INSTANCES = BROKERS / "instances"

READY_SECONDS = 60.0
STOP_SECONDS = 30.0


class Failed(Exception):
    """A broker that should run does not."""


class Broker:
    """One broker of one instance. What is remembered is in `state.json` in its folder."""

    kind: ClassVar[str]
    port_names: ClassVar[tuple[str, ...]]
    """Each gets a free port; the one called "listen" is the one that clients use."""

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
        """Gets what the broker needs on this machine, and sets `version`."""
        raise NotImplementedError

    def format(self) -> None:
        """Makes what must be there before the first start."""

    def launch(self) -> None:
        """Starts the broker's processes with `self.run`; the broker itself is called `broker`."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether the broker serves clients: asked in its own protocol."""
        raise NotImplementedError

    def block_publishers(self, block: bool) -> None:
        """Raises an alarm that stops publishers, or ends it."""
        raise Failed("cannot block publishers")

    def control(self, arguments: list[str]) -> None:
        """Runs the broker's own tool of administration."""
        raise Failed("has no tool that is called here")

    def environment(self) -> dict[str, str]:
        """What the tests are told about a broker that runs."""
        return {f"CF_TEST_{self.kind.upper()}": self.address}

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.ports['listen']}"

    @property
    def is_running(self) -> bool:
        return "broker" in self.processes and self.processes["broker"].is_running()

    @property
    def exists(self) -> bool:
        return self.state_file.exists()

    def up(self) -> None:
        """Runs with empty data, or goes on running."""
        self.prepare()
        if self.is_running:
            return
        self.down()
        self.data.mkdir(parents=True)
        self.ports = {name: free_port() for name in self.port_names}
        self.format()
        self.start()

    def down(self) -> None:
        """Stops and forgets everything but the log of this run."""
        self.end(signal.SIGTERM)
        shutil.rmtree(self.data, ignore_errors=True)
        self.state_file.unlink(missing_ok=True)
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".before"))

    def start(self) -> None:
        """Starts on the same ports with the same data, and waits until clients are served."""
        if self.is_running:
            return
        self.launch()
        wait_until(lambda: self.answers() or not self.is_running, READY_SECONDS)
        if not self.is_running or not self.answers():
            self.end(signal.SIGKILL)
            raise Failed(f"did not come up; the end of {self.log}:\n{self.end_of_log()}")

    def end(self, number: signal.Signals) -> None:
        """Ends all processes and keeps the data: SIGTERM to stop in good order, SIGKILL not to."""
        for process in self.processes.values():
            process.end(number, STOP_SECONDS)

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to all processes, their helpers included."""
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
    """What a shell or a test reads to find the brokers of an instance."""
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
    aside = path.with_suffix(".new")
    aside.write_text("".join(f"{name}='{value}'\n" for name, value in variables.items()))
    aside.replace(path)
    say(f"addresses are in {path}")
