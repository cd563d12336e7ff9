"""Corrections of the emulator, one per named gap.

The emulator is laxer than AWS in places where that would let a test pass that must fail.
Each gap names the AWS rule it restores and is installed by one function; `conformance.py`
has a probe of the same name, which shows that the gap is still needed and that it works.
Only a gap that changes nothing but how long a call takes has none: a clock is no judge.
Delete a gap when the emulator catches up. Nothing here adds behaviour AWS does not have.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass

MODULES = ("kms", "iam", "functions", "schedules", "machines", "cloudformation")


@dataclass(frozen=True)
class Gap:
    """One correction: its name, the rule of AWS it restores, and what installs it."""

    name: str
    rule: str
    install: Callable[[], None]
    is_pace: bool = False


ALL: dict[str, Gap] = {}


def gap(name: str, rule: str, is_pace: bool = False):
    """Registers the decorated function as the correction of a named gap; `is_pace` if only a clock could show it."""

    def register(install):
        if name in ALL:
            raise ValueError(f"gap {name} is declared twice")
        ALL[name] = Gap(name, rule, install, is_pace)
        return install

    return register


def load() -> dict[str, Gap]:
    """All gaps by name. Imports the emulator, so only its own process calls this."""
    for module in MODULES:
        importlib.import_module(f"gaps.{module}")
    return ALL


def install(except_for: frozenset[str] = frozenset()) -> None:
    """Installs every gap but the given ones ("all" leaves the emulator as it comes)."""
    for one in load().values():
        if "all" not in except_for and one.name not in except_for:
            one.install()
