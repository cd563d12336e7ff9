"""What the tests need of PostgreSQL comes from the machine's own archive, whole or not at all."""

import debian
import paths
import pgparts
import pytest
from paths import holes

DEB822 = """\
Types: deb
URIs: http://archive.example/debian
Suites: {0} {0}-updates
Components: main
Signed-By: /usr/share/keyrings/archive.gpg

Types: deb
URIs: http://archive.example/off
Suites: {0}
Components: main
Enabled: no
"""
LINES = """\
# deb http://commented.example {0} main
deb [arch=amd64 signed-by=/k.gpg] http://old.example/debian {0}-security main contrib
deb-src http://sources.example {0} main
deb https://stranger.example stable main
"""


@pytest.fixture
def apt(monkeypatch, tmp_path):
    """An apt configuration in both of its forms."""
    codename = debian.codename()
    if not codename:
        pytest.skip("this is no Debian")
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "debian.sources").write_text(DEB822.format(codename))
    (tmp_path / "sources.list").write_text(LINES.format(codename))
    monkeypatch.setattr(debian, "APT", tmp_path)
    return codename


def test_the_archive_is_the_one_that_the_machine_is_configured_for(apt):
    assert debian._entries("deb-src") == [
        f"deb-src [signed-by=/usr/share/keyrings/archive.gpg] http://archive.example/debian {apt} main",
        f"deb-src [signed-by=/usr/share/keyrings/archive.gpg] http://archive.example/debian {apt}-updates main",
        f"deb-src [arch=amd64 signed-by=/k.gpg] http://old.example/debian {apt}-security main contrib",
    ]


def test_a_machine_without_an_archive_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(debian, "APT", tmp_path)
    with pytest.raises(debian.NoArchive):
        debian.download_source("postgresql-15", tmp_path)


def test_tools_with_known_holes_on_both_sides_are_refused_with_the_remedy(monkeypatch, tmp_path):
    for folder, version in (("installed", "15.18"), ("fetched", "15.17")):
        (tmp_path / folder).mkdir()
        for name in holes.PROGRAMS:
            (tmp_path / folder / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
            (tmp_path / folder / name).chmod(0o755)
    monkeypatch.setattr(paths, "postgres_bin", lambda: tmp_path / "installed")
    monkeypatch.setattr(paths, "POSTGRES_TOOLS", tmp_path / "fetched")
    with pytest.raises(FileNotFoundError, match=r"15\.18, which has known security holes.*`python3 tests/local prepare`"):
        paths.postgres_tools()
    for name in holes.PROGRAMS:
        (tmp_path / "fetched" / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) 15.20'\n")
    assert paths.postgres_tools() == tmp_path / "fetched"


def test_what_could_not_be_fetched_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "LOCAL", tmp_path)

    def fill(folder, work):
        (folder / "half").write_text("")
        raise debian.NoArchive("it went away")

    with pytest.raises(debian.NoArchive):
        pgparts._make(tmp_path / "part", fill)
    assert list(tmp_path.iterdir()) == []
