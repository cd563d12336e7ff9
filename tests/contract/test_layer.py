"""The layer's script builds an archive whose programs run with nothing but what is in it."""

import re
import subprocess
import zipfile

import paths
import pytest
from paths import holes

CERTIFICATE = "-----BEGIN CERTIFICATE-----\n"


def build(programs, target, certificates=CERTIFICATE):
    pem = target.parent / "roots.pem"
    pem.write_text(certificates)
    return subprocess.run([paths.ROOT / "infra/layer/build", programs, pem, target], capture_output=True, text=True)


@pytest.fixture(scope="module")
def layer(tmp_path_factory):
    target = tmp_path_factory.mktemp("layer") / "layer.zip"
    done = build(paths.postgres_tools(), target)
    assert done.returncode == 0, done.stderr
    return target


def test_the_programs_run_from_the_layer_with_an_empty_environment(layer, tmp_path):
    # zipfile sets no modes; Lambda does, as they stand in the archive.
    with zipfile.ZipFile(layer) as archive:
        for entry in archive.infolist():
            archive.extract(entry, tmp_path)
            (tmp_path / entry.filename).chmod(entry.external_attr >> 16)
    libraries = {file.name for file in (tmp_path / "lib").iterdir()}
    assert "libpq.so.5" in libraries
    assert not {name for name in libraries if re.match(r"(libc|libm|ld-linux.*)\.so", name)}, "the C library is Lambda's own"
    for program in holes.PROGRAMS:
        traced = {"LD_LIBRARY_PATH": str(tmp_path / "lib"), "LD_TRACE_LOADED_OBJECTS": "1"}
        loaded = subprocess.run([tmp_path / "bin" / program], env=traced, capture_output=True, text=True).stdout
        foreign = [line for line in loaded.splitlines() if str(tmp_path) not in line and line.split()[0] in libraries]
        assert not foreign, f"{program} takes these from elsewhere: {foreign}"
        done = subprocess.run(
            [tmp_path / "bin" / program, "--version"], env={"LD_LIBRARY_PATH": str(tmp_path / "lib")}, capture_output=True, text=True
        )
        assert done.returncode == 0 and done.stdout.startswith(f"{program} (PostgreSQL)"), done.stderr
    assert (tmp_path / "rds-ca.pem").read_text() == CERTIFICATE


def test_the_same_programs_give_the_same_archive(layer, tmp_path):
    assert build(paths.postgres_tools(), tmp_path / "again.zip").returncode == 0
    assert (tmp_path / "again.zip").read_bytes() == layer.read_bytes()


@pytest.mark.parametrize("version, taken", [("15.19", True), ("15.18", False), ("18.5", False), ("13.99", False), ("19.0", True), ("", False)])
def test_programs_with_known_holes_are_refused(tmp_path, version, taken):
    for name in holes.PROGRAMS:
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
        (tmp_path / name).chmod(0o755)
    try:
        holes.check(tmp_path)
        assert taken
    except holes.Unusable as unusable:
        assert not taken and str(tmp_path / "pg_dump") in str(unusable)


def test_an_old_program_and_a_file_without_certificates_leave_no_archive(tmp_path):
    (tmp_path / "bin").mkdir()
    for name in holes.PROGRAMS:
        (tmp_path / "bin" / name).write_text("#!/bin/sh\necho 'x (PostgreSQL) 15.18'\n")
        (tmp_path / "bin" / name).chmod(0o755)
    old = build(tmp_path / "bin", tmp_path / "old.zip")
    assert old.returncode == 1 and "15.19" in old.stderr and not (tmp_path / "old.zip").exists()
    bare = build(paths.postgres_tools(), tmp_path / "bare.zip", "nothing")
    assert bare.returncode == 1 and "roots.pem holds no certificate" in bare.stderr and not (tmp_path / "bare.zip").exists()


def test_the_functions_refuse_what_the_script_refuses():
    source = (paths.ROOT / "shared/sources/src/postgres/tools.rs").read_text()
    constant = re.search(r"const WITHOUT_HOLES: .*? = \[(.*)\];", source)[1]
    assert {int(major): int(minor) for major, minor in re.findall(r"\((\d+), (\d+)\)", constant)} == holes.WITHOUT_HOLES


def test_the_readme_names_the_same_versions():
    readme = (paths.ROOT / "infra/README.md").read_text()
    for major, minor in holes.WITHOUT_HOLES.items():
        assert f"{major}.{minor}" in readme
