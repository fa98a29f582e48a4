"""The documents: their links, the paths that they name, and the commands that they tell people to type."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

from shipping.program import argument_complaints

PAGES = ("*.md", "docs/**/*.md")
# What begins like a path of ours is one.
PATHS = re.compile(r"`((?:src|tests|docs|scripts|config|deploy|proto|benches|fuzz|examples)/[\w./-]+)`")
LINKS = re.compile(r"\]\(([^)\s]+)\)")
BLOCKS = re.compile(r"^```sh\n(.*?)^```", re.M | re.S)
OURS = "central-forwarder"


def check() -> Iterator[str]:
    for page in sorted(path for pattern in PAGES for path in Path().glob(pattern)):
        text = page.read_text()
        for complaint in (*links(page, text), *paths(text), *commands(text)):
            yield f"{page}: {complaint}"


def links(page: Path, text: str) -> Iterator[str]:
    for link in LINKS.findall(text):
        if re.match(r"https?:|mailto:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page.resolve()
        if not target.exists():
            yield f"links to {link}, which is not there"
        elif anchor and anchor not in anchors(target.read_text()):
            yield f"links to {link}: there is no such heading"


def anchors(text: str) -> set[str]:
    """Of a heading and of an explicit `<a id>`, as the usual renderers make them."""
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    made = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return made | set(re.findall(r'<a (?:id|name)="([^"]+)"', text))


def paths(text: str) -> Iterator[str]:
    for path in PATHS.findall(text):
        if not any(Path().glob(path.rstrip("/."))) and not made(path):
            yield f"names {path}, which is not there"


def made(path: str) -> bool:
    """Whether git ignores it: something that is there only once a script has run."""
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
        yield f"tells to run {name}, which is not there"
    elif name == "cargo" and "--bench" in rest:
        bench = rest[rest.index("--bench") + 1]
        if not (Path("benches") / bench).exists() and not Path(f"benches/{bench}.rs").exists():
            yield f"tells to run the bench {bench}, which is not there"
    elif name == "cargo" and "--test" in rest:
        test = rest[rest.index("--test") + 1]
        if not (Path("tests") / test).exists() and not Path(f"tests/{test}.rs").exists():
            yield f"tells to run the test {test}, which is not there"


def ours(arguments: list[str]) -> Iterator[str]:
    until = next((index for index, word in enumerate(arguments) if word in ("|", ">", "<", "2>", "&&")), len(arguments))
    yield from argument_complaints("a command", arguments[:until])
