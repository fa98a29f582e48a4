"""Gets what brokers and checks need on this machine: Debian packages, Java, Kafka's jars."""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
BROKERS = REPOSITORY / "target" / "brokers"

JAVA_AT_LEAST = 17
INSTALL_SECONDS = 900
MAVEN_SECONDS = 600


class Unavailable(Exception):
    """Something that a broker or a check needs is not available on this machine."""


def say(text: str) -> None:
    """Prints progress to standard error: standard output has one line for each broker."""
    print(f"brokers: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock on a file, or on a folder, for as long as the block runs."""
    if not path.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def find_program(name: str) -> str | None:
    """Searches sbin too, where Debian's servers are and which may not be on the PATH."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def need_program(name: str, *packages: str) -> str:
    """The path of a program; installs Debian packages where it is missing and we are root."""
    found = find_program(name)
    if found is None:
        install(*packages)
        found = find_program(name)
    if found is None:
        raise Unavailable(f"{name} is missing, even after installing {' '.join(packages)}")
    return found


def install(*packages: str) -> None:
    """Installs Debian packages without starting any service that they bring."""
    say(f"installing {' '.join(packages)}")
    run_tool([REPOSITORY / "scripts" / "install", *packages], "scripts/install failed", seconds=INSTALL_SECONDS)


def run_tool(command: list, failure: str, *, raises: type[Exception] = Unavailable, seconds: float | None = None) -> str:
    """Runs a program to its end and returns what it printed; an exit code other than 0 raises."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
    )
    if done.returncode != 0:
        raise raises(f"{failure}:\n{last_lines(done.stdout)}")
    return done.stdout


def need_java() -> str:
    """The path of a Java that is new enough for the Kafka of our pom.xml."""
    found = java_version()
    if found is None or found < JAVA_AT_LEAST:
        install("default-jre-headless")
        found = java_version()
    if found is None or found < JAVA_AT_LEAST:
        raise Unavailable(f"Kafka needs Java {JAVA_AT_LEAST} or later, found {found}")
    return need_program("java", "default-jre-headless")


def java_version() -> int | None:
    if shutil.which("java") is None:
        return None
    printed = subprocess.run(["java", "-version"], capture_output=True, text=True).stderr
    version = re.search(r'version "(?:1\.)?(\d+)', printed)
    return int(version[1]) if version else None


def kafka_jars() -> Path:
    """The folder of Kafka's jars; fetched once for each content of pom.xml."""
    pom = REPOSITORY / "scripts" / "kafka" / "pom.xml"
    wanted = hashlib.sha256(pom.read_bytes()).hexdigest()
    jars = BROKERS / "kafka" / "lib"
    stamp = jars / "pom.sha256"
    with locked(BROKERS / "fetch.lock"):
        if not stamp.exists() or stamp.read_text() != wanted:
            fetch_jars(pom, jars)
            stamp.write_text(wanted)
    return jars


def fetch_jars(pom: Path, jars: Path) -> None:
    maven = need_program("mvn", "maven")
    say("fetching Kafka with Maven")
    shutil.rmtree(jars, ignore_errors=True)
    command = [maven, "-B", "-q", "-Dstyle.color=never", "-f", pom]
    copy = ["dependency:copy-dependencies", f"-DoutputDirectory={jars}"]
    run_tool([*command, *copy], "Maven could not fetch Kafka", seconds=MAVEN_SECONDS)


def last_lines(text: str, count: int = 20) -> str:
    return "\n".join(text.splitlines()[-count:])
