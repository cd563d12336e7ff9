"""One stack, one platform and one set of backups for all end-to-end tests.

Tests share them, so each puts back what it destroys: `may_lose` rebuilds a tenant from SQL when a test leaves it other
than it was, and one failure stays one failure. `saved` is the platform as `psql` saw it before the first test.
"""

import contextlib
import signal
from collections.abc import Callable, Iterator

import pytest
import saas
from console import Console
from deliver import tick
from evidence import Inbox, Saved
from slots import last_slots
from stack import Stack
from wait import wait_until

TEST_SECONDS = 600
EXPORT_RULES = ("exports-critical", "exports-standard")


@pytest.fixture(autouse=True)
def bounded():
    """No test waits for ever."""

    def too_long(*_):
        raise TimeoutError(f"the test did not end within {TEST_SECONDS} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(TEST_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The local stack with Holdfast deployed."""
    with Stack() as running:
        running.deploy()
        running.silence_schedules()
        yield running


@pytest.fixture(scope="session")
def platform(stack) -> saas.Platform:
    """The product that is protected; nothing in it is backed up yet."""
    return saas.build(stack, say=lambda _: None)


@pytest.fixture(scope="session")
def console(stack) -> Console:
    """The `holdfast` command."""
    return Console(stack)


@pytest.fixture(scope="session")
def saved(platform, tmp_path_factory) -> Saved:
    """The platform as it is before any test."""
    return Saved(platform, tmp_path_factory.mktemp("saved"))


@pytest.fixture(scope="session")
def backed_up(stack, platform, console, saved) -> saas.Platform:
    """The platform after its first slot of every export rule."""
    for rule in EXPORT_RULES:
        stack.invoke("export", tick(rule, last_slots(platform.plan, rule)[0]))
    without = [tenant.id for tenant in platform.tenants if not console.available(tenant.id)]
    assert not without, f"no recovery point for {without}"
    return platform


@pytest.fixture(scope="session")
def with_snapshots(stack, backed_up, console) -> list[dict]:
    """The recovery points of a first snapshot of every instance; a restore test needs one to start from."""
    slot = last_slots(backed_up.plan, "snapshots-daily")[0]
    # Delivered twice, as at-least-once delivery may.
    for _ in range(2):
        stack.invoke("snapshot", tick("snapshots-daily", slot))

    def all_available():
        stack.invoke("snapshot", tick("snapshots-follow", slot))
        points = [point for point in console.points() if point["kind"] == "snapshot"]
        return points if points and all(point["state"] == "available" for point in points) else None

    return wait_until("every snapshot is available", all_available, 120)


@pytest.fixture(scope="session")
def inbox(stack) -> Inbox:
    """Every alert that reached the subscriber."""
    return Inbox(stack)


@pytest.fixture
def may_lose(platform, saved) -> Callable:
    """Lets a test damage tenants: `with may_lose(tenant):`; afterwards they are what they were, one way or another."""

    @contextlib.contextmanager
    def guard(*tenants):
        try:
            yield
        finally:
            for tenant in tenants:
                if not saved.is_back(tenant):
                    platform.rebuild(tenant)

    return guard
