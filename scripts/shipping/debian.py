"""The Debian package: installed, looked at, and removed again; and the unit that it brings."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

NAME = "central-forwarder"
UNIT = Path(f"/lib/systemd/system/{NAME}.service")
# The unit's Type is known from here on.
NOTIFY_RELOAD = 253
# Of ten; in tenths.
EXPOSURE_AT_MOST = 20


def check() -> Iterator[str]:
    package = max(Path("target/debian").glob("*.deb"), key=lambda path: path.stat().st_mtime).resolve()
    if os.geteuid() != 0:
        return print("package: not installed, for we are not root")
    if shutil.which(NAME, path="/usr/bin"):
        return (yield f"{NAME} is installed here already: not touched")
    try:
        apt = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", "install", "-y", "--no-install-recommends", package]
        yield from said("apt-get install", apt)
        yield from installed()
        yield from unit()
    finally:
        run(["dpkg", "--purge", NAME])
    if UNIT.exists() or shutil.which(NAME, path="/usr/bin") or Path("/etc/central-forwarder").exists():
        yield "the package leaves something behind when it is purged"


def installed() -> Iterator[str]:
    yield from said("check of the config it brings", [f"/usr/bin/{NAME}", "check"])
    yield from said("man page", ["man", "--where", NAME])
    yield from said("man page of a subcommand", ["man", "--where", f"{NAME}-run"])
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
        yield f"{secrets} is not a folder for root alone"


def unit() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, UNIT.name)
        text = UNIT.read_text()
        if systemd_version() < NOTIFY_RELOAD:
            print(f"package: this systemd is older than {NOTIFY_RELOAD}: the unit is verified with Type=notify")
            text = text.replace("Type=notify-reload", "Type=notify")
        path.write_text(text)
        yield from said("systemd-analyze verify", ["systemd-analyze", "verify", path], silent=True)
        security = ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_AT_MOST}", path]
        yield from said("systemd-analyze security", security)


def systemd_version() -> int:
    return int(re.search(r"\d+", run(["systemd-analyze", "--version"]).stdout)[0])


def said(what: str, command: list, silent: bool = False) -> Iterator[str]:
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
