"""What the tests need of PostgreSQL beyond a server: client programs without known holes, and its regression scripts.

Both come from the distribution's archive if the machine does not have them, and stay below target/local.
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import debian
import paths
from paths import holes

REGRESS = "src/test/regress"
PARTS = ("sql", "data", "parallel_schedule")
"""What is kept of the regression scripts; their expected output is about a server with a library that we do not build."""


def ensure_tools() -> None:
    """Fetches the distribution's newest client programs if the installed ones are too old for Holdfast."""
    try:
        paths.postgres_tools()
        return
    except FileNotFoundError:
        pass
    major = paths.postgres_bin().parent.name

    def fill(folder: Path, work: Path) -> None:
        debian.download_binary(f"postgresql-client-{major}", work)
        package = next(work.glob("*.deb"))
        subprocess.run(["dpkg-deb", "-x", package, work / "unpacked"], check=True)
        shutil.copytree(work / "unpacked" / "usr/lib/postgresql" / major / "bin", folder / "bin")
        holes.check(folder / "bin")

    _make(paths.POSTGRES_TOOLS.parent, fill)


def ensure_regress() -> None:
    """Fetches the regression scripts of the installed server's release."""
    if (paths.POSTGRES_REGRESS / "parallel_schedule").exists():
        return
    package = f"postgresql-{paths.postgres_bin().parent.name}"
    name, version = debian.installed(package) or (package, "")

    def fill(folder: Path, work: Path) -> None:
        try:
            debian.download_source(f"{name}={version}", work)
        except debian.NoArchive:
            # The archive keeps the newest releases only. Those of one major version have the same scripts but for additions.
            debian.download_source(name, work)
        with tarfile.open(next(work.glob("*.orig.tar.*"))) as archive:
            for member in archive:
                _, _, inner = member.name.partition("/")
                if member.isfile() and inner.startswith(tuple(f"{REGRESS}/{part}" for part in PARTS)):
                    target = folder / Path(inner).relative_to(REGRESS)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with archive.extractfile(member) as content, open(target, "wb") as file:
                        shutil.copyfileobj(content, file)

    _make(paths.POSTGRES_REGRESS, fill)


def _make(folder: Path, fill: Callable[[Path, Path], None]) -> None:
    """Makes a folder whole or not at all."""
    paths.LOCAL.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=paths.LOCAL) as work, tempfile.TemporaryDirectory(prefix="holdfast-get-") as downloads:
        new = Path(work) / "new"
        new.mkdir()
        fill(new, Path(downloads))
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
