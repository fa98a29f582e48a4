"""The Dockerfile: its steps, and the root file system that they build."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from shipping.program import PROGRAM, argument_problems

IMAGE = Path("target/image").resolve()
DEMO_SECONDS = 60


def check() -> Iterator[str]:
    shutil.rmtree(IMAGE, ignore_errors=True)
    subprocess.run(["scripts/rootfs", PROGRAM, IMAGE], check=True)
    steps = instructions(Path("Dockerfile").read_text())
    yield from sources(steps)
    yield from runs(steps)
    yield from in_the_image(steps)


def instructions(text: str) -> list[tuple[str, str]]:
    joined = text.replace("\\\n", " ")
    lines = [line.strip() for line in joined.splitlines()]
    return [tuple(line.split(maxsplit=1)) for line in lines if line and not line.startswith("#")]


def argument(steps: list[tuple[str, str]], name: str) -> str:
    return next(rest for word, rest in reversed(steps) if word == name)


def sources(steps: list[tuple[str, str]]) -> Iterator[str]:
    """Every file that is copied must exist, and .dockerignore must not exclude it."""
    rules = [line for line in Path(".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    for word, rest in steps:
        if word != "COPY" or "--from" in rest:
            continue
        for source in rest.split()[:-1]:
            if not Path(source).exists():
                yield f"Dockerfile copies {source}, which does not exist"
            elif source != "." and is_excluded(source, rules):
                yield f"Dockerfile copies {source}, which .dockerignore excludes"
    for rule in rules:
        if rule.startswith("!") and not Path(rule[1:]).exists():
            yield f".dockerignore includes {rule[1:]}, which does not exist"


def is_excluded(path: str, rules: list[str]) -> bool:
    excluded = False
    for rule in rules:
        pattern = rule.lstrip("!")
        if pattern == "*" or path == pattern or path.startswith(f"{pattern}/") or fnmatch(path, pattern):
            excluded = not rule.startswith("!")
    return excluded


def runs(steps: list[tuple[str, str]]) -> Iterator[str]:
    for word, rest in steps:
        if word == "RUN" and rest.startswith("scripts/") and not Path(rest.split()[0]).exists():
            yield f"Dockerfile runs {rest}, which does not exist"
    built = next(rest for word, rest in steps if word == "FROM")
    wanted = re.search(r'^rust-version = "([\d.]+)"', Path("Cargo.toml").read_text(), re.M)[1]
    has = re.search(r"rust:([\d.]+)", built)[1]
    if [*map(int, has.split("."))] < [*map(int, wanted.split("."))]:
        yield f"Dockerfile builds with Rust {has}; Cargo.toml wants {wanted}"


def in_the_image(steps: list[tuple[str, str]]) -> Iterator[str]:
    program, *_ = json.loads(argument(steps, "ENTRYPOINT"))
    if not (IMAGE / program.lstrip("/")).exists():
        return (yield f"Dockerfile starts {program}, which the image does not have")
    health = json.loads(argument(steps, "HEALTHCHECK").partition("CMD")[2])
    if health[0] != program:
        yield f"HEALTHCHECK runs {health[0]}"
    yield from argument_problems("HEALTHCHECK", health[1:])
    yield from argument_problems("CMD", json.loads(argument(steps, "CMD")))
    user = argument(steps, "USER")
    state = (IMAGE / argument(steps, "VOLUME").lstrip("/")).stat()
    if user != f"{state.st_uid}:{state.st_gid}":
        yield f"USER is {user}, the state folder belongs to {state.st_uid}:{state.st_gid}"
    for shell in ("bin/sh", "usr/bin/sh", "bin/bash"):
        if (IMAGE / shell).exists():
            yield "the image has a shell"
    chroot = ["chroot", f"--userspec={user}", IMAGE, program, "demo", "--seconds", "2"]
    done = subprocess.run(chroot, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=DEMO_SECONDS)
    if done.returncode or "lost 0" not in done.stdout + done.stderr:
        yield f"the demo does not run in the image: {done.stderr[-500:]}"
