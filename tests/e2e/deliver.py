"""What starts functions, as schedules, runbooks and operators send it."""

import pytest
from slots import as_text
from stack import FunctionError


def tick(rule: str, slot) -> dict:
    """What a schedule sends: the rule, and the instant it was due."""
    return {"tick": {"rule": rule, "scheduled_time": slot if isinstance(slot, str) else as_text(slot)}}


def export_item(tenant: str, requested_at: str) -> dict:
    """What asks for an export of one tenant by hand."""
    return {"item": {"tenant": tenant, "requested_at": requested_at}}


def refusal(stack, function: str, event) -> FunctionError:
    """The error with which a function refuses an event; fails if it takes the event."""
    with pytest.raises(FunctionError) as refused:
        stack.invoke(function, event)
    return refused.value
