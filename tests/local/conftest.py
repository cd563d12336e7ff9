"""The stack's own tests, and the conformance table at the end of every report that ran them."""

import pytest

import conformance
from probes.account import deploy_trial
from stack import Stack

_rows = pytest.StashKey()


@pytest.fixture(scope="session")
def rows(request) -> dict[str, conformance.Row]:
    """Every rule, compared on a bare and on a corrected emulator."""
    found = conformance.compare()
    request.config.stash[_rows] = found
    return {row.name: row for row in found}


def pytest_terminal_summary(terminalreporter, config):
    if found := config.stash.get(_rows, None):
        terminalreporter.section("the emulator against AWS")
        terminalreporter.write_line(conformance.table(found))


@pytest.fixture(scope="module")
def databases():
    """A stack of its own, with nothing deployed but the trial template."""
    with Stack() as stack:
        deploy_trial(stack)
        yield stack
