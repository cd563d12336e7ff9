"""Another backup plan for a while."""

import contextlib
import json
from collections.abc import Iterator

from console import APPROVES, ASKS
from saas.configuration import PLAN_PARAMETER


@contextlib.contextmanager
def replanned(stack, plan: dict, **changes) -> Iterator[dict]:
    """The platform's plan with these parts changed; afterwards it is what it was."""
    ssm = stack.client("ssm")

    def write(document):
        ssm.put_parameter(Name=PLAN_PARAMETER, Type="String", Value=json.dumps(document), Overwrite=True)

    changed = {**plan, **changes}
    write(changed)
    try:
        yield changed
    finally:
        write(plan)


@contextlib.contextmanager
def retained(stack, plan: dict, console, **policy) -> Iterator[dict]:
    """The platform's plan with this retention policy, in force; afterwards the one it was is."""
    try:
        with replanned(stack, plan, retention=policy) as changed:
            _agree(console)
            yield changed
    finally:
        _agree(console)


def _agree(console) -> None:
    """Two people agree to a retention policy that waits, if one does."""
    if waiting := console.run("retention", "plan")["in_force"]["waiting"]:
        for person in (ASKS, APPROVES):
            console.run("retention", "approve", waiting["version"], user=person)
