"""A machine that lacks something is made ready, or told in one sentence what to do."""

import os
import subprocess
import sys
import urllib.request

import bootstrap
import paths
import pytest


class Machine:
    """Takes commands instead of the real one: keeps them, and lets those with a given text fail the first time."""

    def __init__(self, *fails_once: str):
        self.ran, self.fails_once = [], list(fails_once)

    def run(self, command, **options):
        line = " ".join(command)
        self.ran.append(line)
        failing = next((text for text in self.fails_once if text in line), None)
        if failing:
            self.fails_once.remove(failing)
        return subprocess.CompletedProcess(command, 1 if failing else 0)

    def position(self, text: str) -> int:
        return next(number for number, line in enumerate(self.ran) if text in line)


@pytest.fixture
def on(monkeypatch, tmp_path):
    """Puts a machine without a PostgreSQL server in place of the real one, seen as a person with or without root."""

    def put(machine: Machine, user: int = 1000) -> Machine:
        def server():
            if not any(line.endswith(" postgresql") for line in machine.ran):
                raise FileNotFoundError

        monkeypatch.setattr(bootstrap.subprocess, "run", machine.run)
        monkeypatch.setattr(os, "geteuid", lambda: user)
        monkeypatch.setattr(bootstrap.shutil, "which", lambda name: f"/usr/bin/{name}")
        monkeypatch.setattr(paths, "postgres_bin", server)
        monkeypatch.setattr(bootstrap, "CREATE_CLUSTER", tmp_path / "createcluster.conf")
        return machine

    return put


def test_without_root_the_server_is_installed_with_sudo_and_makes_no_cluster_of_its_own(on):
    machine = on(Machine())
    bootstrap.ensure_postgres()
    assert all(line.startswith("sudo -n ") for line in machine.ran)
    assert machine.position("postgresql-common") < machine.position("tee ") < len(machine.ran) - 1


def test_what_somebody_has_written_about_clusters_stays(on):
    machine = on(Machine(), user=0)
    bootstrap.CREATE_CLUSTER.write_text("create_main_cluster = true\n")
    bootstrap.ensure_postgres()
    assert not any("tee" in line or "sudo" in line for line in machine.ran)


def test_without_root_and_sudo_the_remedy_is_told(monkeypatch, on):
    real = subprocess.run
    on(Machine())
    monkeypatch.setattr(bootstrap.subprocess, "run", real)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(bootstrap.NotReady, match=r"as root, `apt-get install postgresql` \(sudo is not there\)"):
        bootstrap.ensure_postgres()


def test_a_python_without_venv_gets_it_once(on, tmp_path):
    machine = on(Machine("-m venv", f"python3.{sys.version_info.minor}-venv"))
    bootstrap._make_environment(tmp_path / "environment")
    assert any(line.endswith(" python3-venv") for line in machine.ran)
    assert [line for line in machine.ran if "-m venv" in line] == [machine.ran[0], machine.ran[-1]]


def test_a_python_that_cannot_make_environments_at_all_is_told(on, tmp_path):
    on(Machine("-m venv", "-m venv"))
    with pytest.raises(bootstrap.NotReady, match="install the package python3-venv"):
        bootstrap._make_environment(tmp_path / "environment")


@pytest.mark.parametrize(
    "before, after",
    [
        ({}, "127.0.0.1,localhost"),
        ({"NO_PROXY": "intranet"}, "intranet,127.0.0.1,localhost"),
        ({"no_proxy": "near", "NO_PROXY": "far"}, "near,127.0.0.1,localhost"),
        ({"NO_PROXY": "*"}, "*"),
    ],
)
def test_the_stack_is_reached_without_a_proxy(monkeypatch, before, after):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"http_proxy": "http://proxy.invalid:1", **before}.items():
        monkeypatch.setenv(name, value)
    bootstrap.keep_loopback_from_proxies()
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"] == after
    assert urllib.request.proxy_bypass("127.0.0.1:4566")
