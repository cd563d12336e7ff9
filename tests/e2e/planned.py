"""Another backup plan for a while."""

import contextlib
import json
from collections.abc import Iterator

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
