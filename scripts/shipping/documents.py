"""The documents: their links, the paths that they name, and the commands that they contain."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

from shipping.program import argument_problems

PAGES = ("*.md", "docs/**/*.md")
# Code that begins with the name of a folder of ours is a path.
PATHS = re.compile(r"`((?:src|tests|docs|scripts|config|deploy|proto|benches|fuzz|examples)/[\w./-]+)`")
LINKS = re.compile(r"\]\(([^)\s]+)\)")
BLOCKS = re.compile(r"^```sh\n(.*?)^```", re.M | re.S)
OURS = "central-forwarder"


def check() -> Iterator[str]:
    for page in sorted(path for pattern in PAGES for path in Path().glob(pattern)):
        text = page.read_text()
        for problem in (*links(page, text), *paths(text), *commands(text)):
            yield f"{page}: {problem}"


def links(page: Path, text: str) -> Iterator[str]:
    for link in LINKS.findall(text):
        if re.match(r"https?:|mailto:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page.resolve()
        if not target.exists():
            yield f"links to {link}, which does not exist"
        elif anchor and anchor not in anchors(target.read_text()):
            yield f"links to {link}: there is no such heading"


def anchors(text: str) -> set[str]:
    """The anchors of headings, as the usual renderers make them, and of explicit `<a id>`s."""
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    made = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return made | set(re.findall(r'<a (?:id|name)="([^"]+)"', text))


def paths(text: str) -> Iterator[str]:
    for path in PATHS.findall(text):
        if not any(Path().glob(path.rstrip("/."))) and not is_generated(path):
            yield f"names {path}, which does not exist"


def is_generated(path: str) -> bool:
    """Whether git ignores it, so that it exists only after a script has made it."""
    return subprocess.run(["git", "check-ignore", "-q", path]).returncode == 0


def commands(text: str) -> Iterator[str]:
    for block in BLOCKS.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.rstrip(" &"), comments=True)
            while words and re.fullmatch(r"\w+=.*|sudo", words[0]):
                words = words[1:]
            yield from command(words)


def command(words: list[str]) -> Iterator[str]:
    if not words:
        return
    name, *rest = words
    if name == OURS:
        yield from ours(rest)
    elif name.startswith("scripts/") and not Path(name).exists():
        yield f"has a command that runs {name}, which does not exist"
    elif name == "cargo" and "--bench" in rest:
        bench = rest[rest.index("--bench") + 1]
        if not (Path("benches") / bench).exists() and not Path(f"benches/{bench}.rs").exists():
            yield f"has a command that runs the bench {bench}, which does not exist"
    elif name == "cargo" and "--test" in rest:
        test = rest[rest.index("--test") + 1]
        if not (Path("tests") / test).exists() and not Path(f"tests/{test}.rs").exists():
            yield f"has a command that runs the test {test}, which does not exist"


def ours(arguments: list[str]) -> Iterator[str]:
    until = next((index for index, word in enumerate(arguments) if word in ("|", ">", "<", "2>", "&&")), len(arguments))
    yield from argument_problems("a command", arguments[:until])
