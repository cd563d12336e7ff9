"""Waiting for a truth: the one loop of the stack, its tests and the demo."""

import time
from collections.abc import Callable

STEP_SECONDS = 0.1


def wait_until(what: str, look: Callable, seconds: float, step_seconds: float = STEP_SECONDS):
    """Looks until there is something to see, and returns it; TimeoutError says what never came."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s in vain until {what}")
        time.sleep(step_seconds)
    return found
