"""Single files from the machine's own Debian archive, without touching what is installed.

The archive's host, suites and keys are those of the machine's own configuration. Lists and caches are kept apart, so
that no right to change the system is needed; apt verifies signatures and checksums as ever.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

APT = Path("/etc/apt")


class NoArchive(Exception):
    """The archive cannot be read; says why."""


def download_source(package: str, into: Path) -> None:
    """Puts the files of a source package (`name` or `name=version`) into a folder."""
    _run("deb-src", ["source", "--download-only", package], into)


def download_binary(package: str, into: Path) -> None:
    """Puts the newest release of a binary package into a folder."""
    _run("deb", ["download", package], into)


def installed(package: str) -> tuple[str, str] | None:
    """Name and version of the source that an installed package was built from."""
    done = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status} ${source:Package} ${source:Version}", package],
        capture_output=True, text=True,
    )
    status, _, source = done.stdout.partition(" ")
    name, _, version = source.partition(" ")
    return (name, version) if done.returncode == 0 and status == "installed" else None


def _run(kind: str, command: list[str], into: Path) -> None:
    if not shutil.which("apt-get"):
        raise NoArchive("there is no apt-get on this machine")
    entries = _entries(kind)
    if not entries:
        raise NoArchive(f"{APT} names no archive of this release")
    with tempfile.TemporaryDirectory(prefix="holdfast-apt-") as folder:
        # apt reads the lists as another account.
        Path(folder).chmod(0o755)
        for name in ("lists/partial", "cache/archives/partial"):
            (Path(folder) / name).mkdir(parents=True)
        sources = Path(folder) / "sources.list"
        sources.write_text("".join(f"{entry}\n" for entry in entries))
        options = [
            "-o", f"Dir::Etc::sourcelist={sources}", "-o", "Dir::Etc::sourceparts=/dev/null",
            "-o", f"Dir::State::lists={folder}/lists", "-o", f"Dir::Cache={folder}/cache", "-o", "APT::Sandbox::User=root",
        ]
        for words in (["update"], command):
            done = subprocess.run(["apt-get", "-qq", *options, *words], cwd=into, capture_output=True, text=True)
            if done.returncode:
                raise NoArchive(f"apt-get {' '.join(words)} failed: {done.stderr.strip()[-400:]}")


def _entries(kind: str) -> list[str]:
    """One-line entries of the distribution's own archives; others may have no list of sources."""
    release = codename()
    if not release:
        return []
    found = [_stanza(stanza) for file in sorted(APT.glob("sources.list.d/*.sources")) for stanza in file.read_text().split("\n\n")]
    for file in [APT / "sources.list", *sorted(APT.glob("sources.list.d/*.list"))]:
        found += [_line(line) for line in (file.read_text().splitlines() if file.exists() else [])]
    entries = []
    for options, uris, suites, components in filter(None, found):
        entries += [
            f"{kind} {options}{uri} {suite} {' '.join(components)}"
            for uri in uris for suite in suites if suite.startswith(release) and "main" in components
        ]
    return list(dict.fromkeys(entries))


def codename() -> str | None:
    """The name of the distribution's release, if it has one."""
    release = Path("/etc/os-release")
    found = re.search(r"^VERSION_CODENAME=\"?(\S+?)\"?$", release.read_text() if release.exists() else "", re.MULTILINE)
    return found[1] if found else None


def _stanza(text: str):
    fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", text, re.MULTILINE))
    if "deb" not in fields.get("Types", "").split() or fields.get("Enabled", "yes") == "no":
        return None
    keys = fields.get("Signed-By", "")
    options = f"[signed-by={keys}] " if keys.startswith("/") else ""
    return options, fields.get("URIs", "").split(), fields.get("Suites", "").split(), fields.get("Components", "").split()


def _line(text: str):
    found = re.match(r"deb\s+(\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+(.*)", text.split("#")[0].strip())
    return (found[1] or "", [found[2]], [found[3]], found[4].split()) if found else None
