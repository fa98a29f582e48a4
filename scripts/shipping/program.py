"""The program itself: which arguments, configs and HTTP paths it accepts."""

import contextlib
import re
import subprocess
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from testbed.process import free_port

PROGRAM = Path("target/release/central-forwarder").resolve()
START_SECONDS = 30


def argument_problems(where: str, arguments: list[str]) -> Iterator[str]:
    """The subcommands and options of a command line that the program does not have. Does not run the command."""
    names = []
    for word in arguments:
        if not re.fullmatch(r"[a-z][a-z-]*", word) or help_of([*names, word]) is None:
            break
        names.append(word)
    if not names:
        return (yield f"{where}: there is no subcommand {arguments[0]}")
    known = help_of(names)
    for option in arguments[len(names) :]:
        name = option.partition("=")[0]
        if name.startswith("-") and not re.search(rf"(?<!\S){re.escape(name)}\b", known):
            yield f"{where}: {' '.join(names)} has no option {name}"


def help_of(names: list[str]) -> str | None:
    done = subprocess.run([PROGRAM, *names, "--help"], capture_output=True, text=True)
    return None if done.returncode else done.stdout


def config_problems(where: str, config: str, secrets: set[str], secrets_at: str) -> Iterator[str]:
    """The mistakes that `check` finds in a config, which reads the files `secrets` from the folder `secrets_at`."""
    with temporary_config(config, secrets, secrets_at) as path:
        done = subprocess.run([PROGRAM, "check", "-c", path], capture_output=True, text=True)
        if done.returncode:
            yield f"{where}: {done.stderr.strip()}"


@contextlib.contextmanager
def temporary_config(config: str, secrets: set[str], secrets_at: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        for secret in secrets:
            Path(folder, secret).write_text("0123456789abcdef0123456789abcdef\n")
        path = Path(folder, "central-forwarder.toml")
        path.write_text(config.replace(secrets_at, f"{folder}/").replace("/var/lib/", f"{folder}/"))
        yield path


def admin_port(config: str) -> int:
    return int(tomllib.loads(config)["admin"]["listen"].rpartition(":")[2])


def path_problems(where: str, paths: set[str]) -> Iterator[str]:
    """The HTTP paths that the admin endpoint does not serve."""
    port = free_port()
    config = f"""
        [admin]
        listen = "127.0.0.1:{port}"
        [accounts.a]
        generation = "classic"
        endpoint = "ws://127.0.0.1:{free_port()}/streaming/api"
        key = "k"
        topics = ["audit"]
        [sinks.s]
        type = "stdout"
        [[routes]]
        topics = "*"
        sink = "s"
        """
    with temporary_config(config, set(), "/run/secrets/") as path:
        process = subprocess.Popen([PROGRAM, "run", "-c", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for served in sorted(paths):
                if status(f"http://127.0.0.1:{port}{served}") not in (200, 503):
                    yield f"{where}: nothing is served at {served}"
        finally:
            process.terminate()
            process.wait(START_SECONDS)


def status(url: str) -> int | None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            return urllib.request.urlopen(url, timeout=5).status
        except urllib.error.HTTPError as answer:
            return answer.code
        except OSError:
            time.sleep(0.05)
    return None
