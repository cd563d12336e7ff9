"""One check per rule of AWS that the tests rely on, made as an ordinary client would.

A probe is named after the gap it justifies, or names a rule the emulator keeps by itself.
It passes by returning and fails by raising; it runs on a bare and on a corrected emulator.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from botocore.exceptions import ClientError

MODULES = ("storage", "identity", "functions", "schedules", "templates")


@dataclass(frozen=True)
class Probe:
    """A rule and the check of it. The rule of a gap's probe is the gap's."""

    name: str
    rule: str
    run: Callable


ALL: list[Probe] = []


class Differs(Exception):
    """The emulator does not do what AWS does."""


def probe(name: str, rule: str = ""):
    """Registers the decorated function, which takes the account, as the check of a rule."""

    def register(run):
        ALL.append(Probe(name, rule, run))
        return run

    return register


def load() -> list[Probe]:
    """All probes, in order."""
    for module in MODULES:
        importlib.import_module(f"probes.{module}")
    return ALL


def refused(code: str, call, **parameters) -> None:
    """Checks that a call is refused with this error code (several are separated by |)."""
    try:
        call(**parameters)
    except ClientError as error:
        got = error.response["Error"]["Code"]
        if got not in code.split("|"):
            raise Differs(f"refused with {got}, not {code}") from error
        return
    raise Differs(f"{call.__name__} was allowed, should be {code}")


def expect(found, wanted, what: str) -> None:
    """Checks a value."""
    if found != wanted:
        raise Differs(f"{what} is {found!r}, should be {wanted!r}")
