"""The Debian package and its unit: installs, checks and removes the package."""

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

NAME = "central-forwarder"
UNIT = Path(f"/lib/systemd/system/{NAME}.service")
# The first version of systemd that knows Type=notify-reload.
NOTIFY_RELOAD = 253
# What `systemd-analyze security` may say, in tenths: 0 is safe, 100 is unsafe.
EXPOSURE_AT_MOST = 20
SECONDS = 30
CONFIG = Path("/etc/central-forwarder/central-forwarder.toml")
VALID_CONFIG = """
state_dir = "{folder}/state"
[accounts.acme]
generation = "classic"
endpoint = "ws://127.0.0.1:1/streaming/api"
key = "k"
topics = ["audit"]
[sinks.out]
type = "file"
path = "{folder}/out"
[[routes]]
topics = "*"
sink = "out"
"""


def check() -> Iterator[str]:
    package = max(Path("target/debian").glob("*.deb"), key=lambda path: path.stat().st_mtime).resolve()
    if os.geteuid() != 0:
        return print("package: not installed, because only root can")
    if shutil.which(NAME, path="/usr/bin"):
        return (yield f"{NAME} is installed on this machine already: not replaced")
    try:
        apt = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", "install", "-y", "--no-install-recommends", package]
        yield from succeeds("apt-get install", apt)
        yield from installed()
        yield from unit()
        yield from reload()
    finally:
        run(["dpkg", "--purge", NAME])
    if UNIT.exists() or shutil.which(NAME, path="/usr/bin") or Path("/etc/central-forwarder").exists():
        yield "the package leaves something behind when it is purged"


def installed() -> Iterator[str]:
    yield from succeeds("check of the packaged config", [f"/usr/bin/{NAME}", "check"])
    yield from succeeds("man page", ["man", "--where", NAME])
    yield from succeeds("man page of a subcommand", ["man", "--where", f"{NAME}-run"])
    for path in (
        f"/usr/share/bash-completion/completions/{NAME}",
        f"/usr/share/zsh/vendor-completions/_{NAME}",
        f"/usr/share/fish/vendor_completions.d/{NAME}.fish",
        f"/usr/share/doc/{NAME}/README.md",
    ):
        if not Path(path).exists():
            yield f"there is no {path}"
    secrets = Path("/etc/central-forwarder/secrets")
    if not secrets.is_dir() or secrets.stat().st_mode & 0o777 != 0o700:
        yield f"{secrets} is not a folder that only root can read"


def unit() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, UNIT.name)
        text = UNIT.read_text()
        if systemd_version() < NOTIFY_RELOAD:
            print(f"package: this systemd is older than {NOTIFY_RELOAD}: the unit is verified with Type=notify")
            text = text.replace("Type=notify-reload", "Type=notify")
        path.write_text(text)
        yield from succeeds("systemd-analyze verify", ["systemd-analyze", "verify", path], silent=True)
        security = ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_AT_MOST}", path]
        yield from succeeds("systemd-analyze security", security)


def reload() -> Iterator[str]:
    """Runs the unit's ExecReload= commands in order, as systemd does, with a valid and with an invalid config."""
    with tempfile.TemporaryDirectory() as folder:
        valid = VALID_CONFIG.format(folder=folder)
        CONFIG.write_text(valid)
        log = Path(folder, "log")
        with log.open("w") as output:
            daemon = subprocess.Popen([f"/usr/bin/{NAME}", "run"], stdout=output, stderr=output)
        try:
            yield from wait_for("ready: ", log)
            if not reloads(daemon.pid):
                yield "ExecReload= fails with a valid config"
            yield from wait_for("reloaded: ", log)
            before = log.read_text()
            CONFIG.write_text(valid.replace("[sinks.out]", "[sinks.out]\ncolour = 1"))
            if reloads(daemon.pid):
                yield "ExecReload= succeeds with an invalid config"
            if log.read_text() != before:
                yield f"the daemon was told to load an invalid config: {log.read_text()[len(before):]}"
        finally:
            daemon.terminate()
            daemon.wait(SECONDS)


def reloads(pid: int) -> bool:
    commands = re.findall(r"^ExecReload=(.+)$", UNIT.read_text(), re.M)
    return bool(commands) and all(
        run(command.replace("$MAINPID", str(pid)).split()).returncode == 0 for command in commands
    )


def wait_for(text: str, log: Path) -> Iterator[str]:
    deadline = time.monotonic() + SECONDS
    while text not in log.read_text():
        if time.monotonic() > deadline:
            return (yield f"the daemon does not print {text!r}: {log.read_text()[-1000:]}")
        time.sleep(0.05)


def systemd_version() -> int:
    return int(re.search(r"\d+", run(["systemd-analyze", "--version"]).stdout)[0])


def succeeds(what: str, command: list, silent: bool = False) -> Iterator[str]:
    done = run(command)
    if done.returncode or (silent and done.stdout):
        yield f"{what}: {done.stdout[-1000:]}"


def run(command: list) -> subprocess.CompletedProcess:
    return subprocess.run(
        command,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "SYSTEMD_COLORS": "0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
