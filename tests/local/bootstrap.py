"""Makes a fresh machine ready: Python environment, PostgreSQL server, built binaries.

Uses the standard library only. Whatever is there already is left alone, so that a second
start costs nothing; what is fetched is pinned in `requirements.txt`. An older Python than
the stack's must be able to read this file, to look for a newer one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import paths

REQUIREMENTS = paths.HERE / "requirements.txt"
OLDEST_PYTHON = (3, 11)
NEWER_PYTHONS = tuple(f"python3.{minor}" for minor in range(OLDEST_PYTHON[1], 20))
CREATE_CLUSTER = Path("/etc/postgresql-common/createcluster.conf")
UNGUARDED = ("operator", "restore")
LOOPBACK = ("127.0.0.1", "localhost")


class NotReady(Exception):
    """Something is missing that this program may not or cannot install; says what to do."""


def keep_loopback_from_proxies() -> None:
    """Has every client reach the stack directly, also where a proxy is set for the rest of the world."""
    known = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if known != "*":
        known = ",".join(dict.fromkeys(filter(None, [*known.split(","), *LOOPBACK])))
    # Some programs read one of the two, some the other.
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = known


def enter_environment() -> None:
    """Continues this program inside the pinned environment; returns once it runs there."""
    if sys.version_info < OLDEST_PYTHON:
        newer = next(filter(None, map(shutil.which, NEWER_PYTHONS)), None)
        if not newer:
            raise NotReady(f"Python {sys.version.split()[0]} is too old: install Python 3.11 or newer, beside it if need be")
        os.execv(newer, [newer, "-B", str(paths.HERE), *sys.argv[1:]])
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
    _make_environment(folder)
    _run(
        [folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r", REQUIREMENTS],
        "install the Python packages: is a package index reachable?",
    )
    (folder / "complete").touch()
    return folder


def _make_environment(folder: Path) -> None:
    """Makes an empty environment. Debian keeps a part of what that takes in packages of their own."""
    command = [sys.executable, "-m", "venv", folder]
    how = "make a Python environment: install the package python3-venv"
    try:
        _run(command, how)
        return
    except NotReady:
        if not shutil.which("apt-get"):
            raise
    shutil.rmtree(folder, ignore_errors=True)
    say("installing python3-venv (once)")
    _apt(how, "update")
    _apt(how, "install", "python3-venv")
    try:
        _apt(how, "install", f"python3.{sys.version_info.minor}-venv")
    except NotReady:
        pass  # not every Python comes from the distribution, and where it does the first package can be enough
    _run(command, how)


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
    is_somebodys = CREATE_CLUSTER.exists()
    _apt(how, "update")
    _apt(how, "install", "postgresql-common")
    # We make our own servers: the package need not make and start one, unless somebody has said what it shall do.
    if not is_somebodys:
        _run([*_as_root(), "tee", CREATE_CLUSTER], how, text="create_main_cluster = false\n")
    _apt(how, "install", "postgresql")
    paths.postgres_bin()


def ensure_postgres_tools() -> None:
    """Fetches newer client programs than the installed ones, if these have known holes."""
    import pgparts

    _fetch("PostgreSQL's client programs", pgparts.ensure_tools, "install a newer release of the package postgresql-client")


def ensure_postgres_regress() -> None:
    """Fetches PostgreSQL's regression scripts, which only tests need."""
    import pgparts

    remedy = f"put {pgparts.REGRESS} of its source at {paths.POSTGRES_REGRESS}"
    _fetch("PostgreSQL's regression scripts", pgparts.ensure_regress, remedy)


def _fetch(what: str, ensure: Callable[[], object], remedy: str) -> None:
    import debian

    try:
        ensure()
    except (debian.NoArchive, paths.holes.Unusable) as problem:
        raise NotReady(f"could not fetch {what} ({problem}): {remedy}") from problem


def _apt(how: str, verb: str, *packages: str) -> None:
    options = ["-y", "--no-install-recommends"] if packages else []
    # sudo passes no variables on, so `env` sets this one behind it.
    quiet = ["env", "DEBIAN_FRONTEND=noninteractive"]
    _run([*_as_root(), *quiet, "apt-get", "-qq", verb, *options, *packages], how)


def _as_root() -> list[str]:
    return [] if os.geteuid() == 0 else ["sudo", "-n"]


def build_binaries() -> None:
    """Builds every binary of the workspace with the quick profile."""
    if not shutil.which("cargo"):
        raise NotReady("cargo is missing: install Rust (the version is in rust-toolchain.toml)")
    say("building the binaries")
    _run(["cargo", "build", "--workspace", "--bins", "--locked"], "build the workspace: see the compiler's errors above",
         cwd=paths.ROOT)


def build_unguarded() -> Path:
    """Builds the functions that ask for permission without the check; returns a folder with them among all the others.

    What the demo and every other test run is built again right after, which costs a link at most.
    """
    folder = paths.TARGET / "unguarded"
    folder.mkdir(parents=True, exist_ok=True)
    say("building operator and restore without the check of permissions")
    selected = [part for name in UNGUARDED for part in ("--package", name, "--features", f"{name}/unguarded")]
    try:
        _run(["cargo", "build", "--bins", "--locked", *selected], "build without the check: see the compiler's errors above", cwd=paths.ROOT)
        for name in UNGUARDED:
            shutil.copy2(paths.BINARIES / name, folder / name)
    finally:
        build_binaries()
    for name in set(paths.FUNCTIONS) - set(UNGUARDED):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(paths.BINARIES / name)
    return folder


def say(text: str) -> None:
    """Tells the person who waits what is being done."""
    print(f"· {text}", file=sys.stderr, flush=True)


def _run(command: list, what: str, cwd: Path | None = None, text: str = "") -> None:
    # Output belongs to the person waiting, not to what the verb prints.
    try:
        done = subprocess.run([str(part) for part in command], cwd=cwd, input=text.encode(), stdout=sys.stderr)
    except FileNotFoundError as missing:
        raise NotReady(f"could not {what} ({missing.filename} is not there)") from missing
    if done.returncode:
        raise NotReady(f"could not {what}")
