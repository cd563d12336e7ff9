"""Makes a fresh machine ready: Python environment, PostgreSQL server, built binaries.

Uses the standard library only. Whatever is there already is left alone, so that a second
start costs nothing; what is fetched is pinned in `requirements.txt`.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import paths

REQUIREMENTS = paths.HERE / "requirements.txt"
OLDEST_PYTHON = (3, 11)
CREATE_CLUSTER = Path("/etc/postgresql-common/createcluster.conf")


class NotReady(Exception):
    """Something is missing that this program may not or cannot install; says what to do."""


def enter_environment() -> None:
    """Continues this program inside the pinned environment; returns once it runs there."""
    if sys.version_info < OLDEST_PYTHON:
        raise NotReady(f"Python {sys.version.split()[0]} is too old: start this with Python 3.11 or newer")
    folder = _environment()
    python = folder / "bin" / "python"
    if Path(sys.prefix).resolve() == folder.resolve():
        return
    os.execv(python, [str(python), "-B", str(paths.HERE), *sys.argv[1:]])


def _environment() -> Path:
    """The virtual environment of exactly these requirements and this Python, made if missing."""
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = paths.LOCAL / f"venv-{wanted}"
    if (folder / "complete").exists():
        return folder
    say("installing the pinned Python packages (once)")
    for old in paths.LOCAL.glob("venv-*"):
        shutil.rmtree(old)
    _run([sys.executable, "-m", "venv", folder], "make a Python environment: install the package python3-venv")
    _run(
        [folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r", REQUIREMENTS],
        "install the Python packages: is a package index reachable?",
    )
    (folder / "complete").touch()
    return folder


def ensure_postgres() -> None:
    """Installs the distribution's PostgreSQL server if there is none."""
    try:
        paths.postgres_bin()
        return
    except FileNotFoundError:
        pass
    how = "install a PostgreSQL server: as root, `apt-get install postgresql`"
    if not shutil.which("apt-get"):
        raise NotReady(f"could not {how} (or what your distribution has, with its programs in /usr/lib/postgresql/*/bin)")
    say("installing the PostgreSQL server (once)")
    _apt(how, "update")
    _apt(how, "install", "postgresql-common")
    # We make our own servers: the package need not make and start one.
    if os.access(CREATE_CLUSTER.parent, os.W_OK):
        CREATE_CLUSTER.write_text("create_main_cluster = false\n")
    _apt(how, "install", "postgresql")
    paths.postgres_bin()


def _apt(how: str, verb: str, *packages: str) -> None:
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    options = ["-y", "--no-install-recommends"] if packages else []
    _run([*prefix, "apt-get", "-qq", verb, *options, *packages], how, DEBIAN_FRONTEND="noninteractive")


def build_binaries() -> None:
    """Builds every binary of the workspace with the quick profile."""
    if not shutil.which("cargo"):
        raise NotReady("cargo is missing: install Rust (the version is in rust-toolchain.toml)")
    say("building the binaries")
    _run(["cargo", "build", "--workspace", "--bins", "--locked"], "build the workspace: see the compiler's errors above",
         cwd=paths.ROOT)


def say(text: str) -> None:
    """Tells the person who waits what is being done."""
    print(f"· {text}", file=sys.stderr, flush=True)


def _run(command: list, what: str, cwd: Path | None = None, **environment: str) -> None:
    # Output belongs to the person waiting, not to what the verb prints.
    done = subprocess.run([str(part) for part in command], cwd=cwd, env={**os.environ, **environment}, stdout=sys.stderr)
    if done.returncode:
        raise NotReady(f"could not {what}")
