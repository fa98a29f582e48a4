"""The quick start of the README: its commands, carried out, must bring records into a real Kafka."""

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from shipping.program import PROGRAM
from testbed.machine import REPOSITORY, kafka_jars, need_java
from testbed.process import free_port

README = Path("README.md")
HEADING = "## Ten minutes to a first record"
INSTANCE = "quickstart"
# The addresses in the README and in config/quickstart.toml.
SIMULATOR = "127.0.0.1:9443"
KAFKA = "127.0.0.1:9092"
CONSUMER = "kafka-console-consumer.sh"
SECONDS = 120


def check() -> Iterator[str]:
    up = subprocess.run(["scripts/brokers", "up", "kafka", "--instance", INSTANCE], stdout=subprocess.PIPE, text=True)
    try:
        address = re.search(r"(127\.0\.0\.1:\d+), pid", up.stdout)
        if not address:
            return print(f"quick start: skipped, because there is no Kafka: {up.stdout.strip()}")
        with tempfile.TemporaryDirectory() as folder:
            yield from carry_out(Path(folder), address[1])
    finally:
        subprocess.run(["scripts/brokers", "down", "--instance", INSTANCE], stdout=subprocess.DEVNULL)


def carry_out(folder: Path, kafka: str) -> Iterator[str]:
    """Runs the README's commands in a temporary folder; only the ports are others, which are free here."""
    simulator = f"127.0.0.1:{free_port()}"
    lay_out(folder, kafka)
    commands = with_wait(commands_in_readme(), simulator)
    environment = {
        **os.environ,
        "PATH": f"{folder}/bin:{os.environ['PATH']}",
        "CENTRAL_FORWARDER__ACCOUNTS__DEMO__ENDPOINT": f"ws://{simulator}/streaming/api",
        "CENTRAL_FORWARDER__SINKS__KAFKA__BROKERS": kafka,
    }
    started = time.monotonic()
    output = folder / "output"
    with output.open("w") as file:
        shell = subprocess.Popen(
            ["bash", "-ec", commands],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        code = shell.wait(SECONDS)
    except subprocess.TimeoutExpired:
        code = "timeout"
    finally:
        # Ends the programs that it has started in the background, too.
        os.killpg(shell.pid, signal.SIGKILL)
    printed = output.read_text()
    records = [line for line in printed.splitlines() if line.startswith("{") and '"topic":"monitoring"' in line]
    if code != 0 or len(records) != 5:
        return (yield f"README: {len(records)} records, exit {code}: {printed[-3000:]}")
    print(f"quick start: {len(records)} records were read back from Kafka after {time.monotonic() - started:.1f} s")


def lay_out(folder: Path, kafka: str) -> None:
    """Links what the README's commands use: the configs, the release binary, and a Kafka client on the PATH."""
    (folder / "bin").mkdir()
    (folder / "config").symlink_to(REPOSITORY / "config")
    (folder / "target").mkdir()
    (folder / "target/release").mkdir()
    (folder / "target/release" / PROGRAM.name).symlink_to(PROGRAM)
    consumer = folder / "bin" / CONSUMER
    consumer.write_text(
        f'#!/bin/bash\nexec {need_java()} -cp "{kafka_jars()}/*" '
        f'org.apache.kafka.tools.consumer.ConsoleConsumer "${{@/{KAFKA}/{kafka}}}"\n'
    )
    consumer.chmod(0o755)


def with_wait(commands: str, simulator: str) -> str:
    """Adds what a person does: waits until the simulator listens before typing the next command."""
    host, port = simulator.split(":")
    wait = f"until (exec 3<>/dev/tcp/{host}/{port}) 2>/dev/null; do sleep 0.1; done\n"
    lines = commands.replace(SIMULATOR, simulator).splitlines(True)
    return "".join(line + wait if "simulate" in line else line for line in lines)


def commands_in_readme() -> str:
    """The commands under the heading, without the build, which scripts/package has done."""
    text = README.read_text()
    _, _, rest = text.partition(f"\n{HEADING}\n")
    commands = re.search(r"^```sh\n(.*?)^```", rest, re.M | re.S)[1]
    return "".join(line for line in commands.splitlines(True) if not line.startswith("cargo build"))
