"""A restore to a time: exactly that instant by the database's own log, or the newest recovery point that holds nothing from after it."""

import datetime

import compare
import psql
import pytest
from console import Refused
from deliver import export_item, tick
from slots import an_instant, as_text
from stack import FunctionError
from wait import wait_until

LOST = {"pool": "mosaicpay", "database": "emberlight", "schema": "grovebank"}
PATIENCE = 120


@pytest.mark.parametrize("layout", LOST)
def test_a_tenant_comes_back_exactly_as_it_was_at_an_instant_and_no_other_is_touched(
    layout, stack, backed_up, console, saved, may_lose
):
    tenant = backed_up.tenant(LOST[layout])
    production = instances(stack)
    with may_lose(tenant):
        # No recovery point has this: only the log does.
        write(backed_up, tenant, "written before")
        then, as_then = an_instant(stack, tenant.instance), saved.now(tenant)
        write(backed_up, tenant, "written after")
        backed_up.destroy(tenant)

        asked = ask(console, tenant, then, "--native")
        assert asked["point_in_time"] == as_text(then) and asked["chosen"]["native"]
        clones: set[str] = set()
        wait_until("a clone is there", lambda: clones.update(instances(stack) - production) or clones, PATIENCE)
        console.approve(asked["request"], console.preview(asked["request"])["digest"])
        console.watch(asked["request"])

        found = compare.differences(as_then, saved.now(tenant))
        assert not found, f"{tenant.id} is not what it was at {then}:\n" + "\n".join(map(str, found))
        saved.assert_others_untouched(tenant)
        assert len(clones) == 1 and all(name.startswith("holdfast-export-at-") for name in clones), clones
        wait_until("the clone is gone", lambda: instances(stack) == production, PATIENCE)

        (point,) = [point for point in console.available(tenant.id) if point["id"] == asked["point"]]
        assert (point["rule"], point["scheduled_time"]) == ("point-in-time", as_text(then))
        assert point["read"] == {"from": as_text(then), "until": as_text(then)}
        acts = [entry["act"] for entry in console.run("audit")["entries"] if entry["subject"] == tenant.id]
        assert acts.count("export.clone") == acts.count("export.clone_delete") == 2, "intent and outcome of each"

        again = stack.invoke("export", item(asked["request"], tenant, then))
        assert again == {"state": "made", "point": asked["point"]}, "a late delivery finds it made"
        assert instances(stack) == production, "and makes no clone"
    # That instant holds what only this test wrote: the newest recovery point is one of the platform again.
    stack.invoke("export", export_item(tenant.id, as_text(an_instant(stack, tenant.instance))))


def test_two_requests_for_one_instant_share_its_recovery_point(stack, backed_up, console):
    tenant = backed_up.tenant("irisclinic")
    production, then = instances(stack), an_instant(stack, tenant.instance)
    first, second = (ask(console, tenant, then, "--native") for _ in range(2))
    assert first["point"] == second["point"] and first["request"] != second["request"]
    for asked in (first, second):
        preview = console.preview(asked["request"])
        assert not any(table[change] for table in preview["tables"] for change in ("returned", "overwritten", "destroyed"))
    wait_until("no clone is left of either", lambda: instances(stack) == production, PATIENCE)
    (point,) = [point for point in console.points(tenant.id) if point["id"] == first["point"]]
    # Two that find it not begun in one moment both begin; the one that was overtaken publishes nothing, and waits.
    assert point["attempts"] <= 2, "nor did they take it from one another by turns"


@pytest.mark.parametrize("given, refused", [
    (("--time", "2031-01-01T00:00:00Z", "--native"), "2031-01-01T00:00:00Z lies in the future"),
    (("--time", "2026-01-01T00:00:00Z", "--native"), "instance platform-pool can be restored to instants from .* is before"),
    (("--time", "2026-01-01T00:00:00.5Z", "--native"), "leave the fraction out"),
    (("--time", "2026-01-01T00:00:00Z", "--native", "--kind", "media"), "files and settings have no log"),
    (("--time", "2026-01-01T00:00:00Z"), "holds nothing from after 2026-01-01T00:00:00Z; the oldest, rp_.*, is of"),
], ids=["to come", "before the window", "half a second", "files", "before every recovery point"])
def test_a_time_that_cannot_be_had_is_refused_by_name_and_nothing_is_made(given, refused, stack, backed_up, console):
    tenant = backed_up.tenant("mosaicpay")
    before = everything(stack, console)
    with pytest.raises(Refused, match=refused):
        console.run("restore", "request", "--tenant", tenant.id, *given, "--reason", "a time that cannot be had")
    assert everything(stack, console) == before


def test_an_instant_before_the_tenants_data_was_there_is_refused_and_its_clone_goes(stack, backed_up, console):
    tenant = backed_up.tenant("grovebank")
    production = instances(stack)
    # The instance is older than what was put into it.
    earliest = stack.client("rds").describe_db_instance_automated_backups(DBInstanceIdentifier=tenant.instance)
    then = earliest["DBInstanceAutomatedBackups"][0]["RestoreWindow"]["EarliestTime"]
    asked = ask(console, tenant, then, "--native")
    with pytest.raises(Refused, match="does not exist|there was nothing of tenant"):
        console.preview(asked["request"])
    wait_until("the clone is gone", lambda: instances(stack) == production, PATIENCE)
    assert not [point for point in console.available(tenant.id) if point["id"] == asked["point"]]


def test_a_clone_whose_request_ended_is_not_left_running(stack, backed_up, console):
    tenant = backed_up.tenant("kestrelair")
    production, then = instances(stack), an_instant(stack, tenant.instance)
    asked = ask(console, tenant, then, "--native")
    wait_until("a clone is there", lambda: instances(stack) - production, PATIENCE)
    ended = {"request": asked["request"], "step": "abandon", "error": {"Error": "States.Timeout", "Cause": ""}}
    stack.invoke("restore", {"item": ended})

    def gone():
        stack.invoke("export", tick("exports-follow", as_text(then)))
        return instances(stack) == production

    wait_until("the clone is gone", gone, PATIENCE)


def test_nobody_has_an_instant_made_that_its_request_does_not_ask_for(stack, backed_up, console):
    tenant, other = backed_up.tenant("irisclinic"), backed_up.tenant("mosaicpay")
    then = an_instant(stack, tenant.instance)
    request = console.request(tenant.id, "from a recovery point that is there")
    before = instances(stack)
    for whose in (tenant, other):
        with pytest.raises(FunctionError, match="does not ask for tenant"):
            stack.invoke("export", item(request, whose, then))
    assert instances(stack) == before


def test_a_time_means_the_newest_recovery_point_that_holds_nothing_from_after_it(stack, backed_up, console):
    tenant = backed_up.tenant("mosaicpay")
    earlier = max((point["read"]["until"], point["id"]) for point in console.available(tenant.id))[1]
    then = an_instant(stack, tenant.instance)
    # Due before that instant, read after it: whatever happened in between is in it.
    due = as_text(then - datetime.timedelta(seconds=5))
    stack.invoke("export", export_item(tenant.id, due))
    (later,) = [point for point in console.available(tenant.id) if point["scheduled_time"] == due]
    assert datetime.datetime.fromisoformat(later["read"]["until"]) > then

    asked = ask(console, tenant, then)
    assert asked["point"] == earlier and asked["chosen"]["native"], "and it is said that the log would give the very instant"
    assert asked["chosen"]["before_s"] >= 0
    after = an_instant(stack, tenant.instance)
    asked = ask(console, tenant, after)
    assert asked["point"] == later["id"] and asked["chosen"]["until"] == later["read"]["until"]


def ask(console, tenant, then, *how: str) -> dict:
    """Asks for a restore of a tenant to an instant."""
    return console.run("restore", "request", "--tenant", tenant.id, "--time", as_text(then), *how, "--reason", "back to then")


def item(request: str, tenant, then) -> dict:
    """What the runbook sends to have an instant's recovery point made."""
    return {"item": {"request": request, "tenant": tenant.id, "point_in_time": as_text(then)}}


def write(platform, tenant, mark: str) -> None:
    """Changes a tenant's rows in a way that can be told."""
    own = f" WHERE tenant_id = {psql.literal(tenant.id)}" if tenant.layout == "pool" else ""
    notes = f"{psql.identifier(tenant.table_schema)}.notes"
    psql.execute(platform.dsn(tenant), f"UPDATE {notes} SET body = {psql.literal(mark)}{own}")


def instances(stack) -> set[str]:
    """The database instances there are."""
    return {found["DBInstanceIdentifier"] for found in stack.client("rds").describe_db_instances()["DBInstances"]}


def everything(stack, console) -> tuple:
    """Instances, recovery points and requests."""
    requests = {request["request"] for request in console.run("restore", "list")["requests"]}
    return instances(stack), {point["id"] for point in console.points()}, requests
