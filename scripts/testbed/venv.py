"""Python packages for a script, in a virtual environment of its own under target/."""

import os
import subprocess
import sys

from testbed.machine import REPOSITORY, Unavailable


def run_in(name: str, module: str, *packages: str) -> None:
    """Installs the packages if necessary, and runs this script again where `module` can be imported."""
    folder = REPOSITORY / "target" / name
    if sys.prefix == str(folder):
        return
    python = folder / "bin" / "python"
    try:
        if not python.exists() or quiet([python, "-c", f"import {module}"]).returncode:
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
            pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, *packages], check=True)
    except (subprocess.CalledProcessError, OSError) as error:
        raise Unavailable(f"pip could not install {' '.join(packages)}: {error}") from error
    os.execv(python, [python, *sys.argv])


def quiet(command: list) -> subprocess.CompletedProcess:
    return subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
