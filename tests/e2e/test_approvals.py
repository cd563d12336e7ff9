"""No restore without another person's approval of exactly what was previewed."""

import psql
import pytest
import signed
from console import APPROVES, ASKS, Refused
from deliver import refusal
from stack import REGION


TENANT = "lumenlabs"


def test_nobody_approves_their_own_request(backed_up, console, saved, may_lose):
    tenant = backed_up.tenant(TENANT)
    with may_lose(tenant):
        lose_notes(backed_up, tenant)
        lost = saved.differences(tenant)
        request = console.request(tenant.id, "approve it myself")
        console.preview(request)
        with pytest.raises(Refused, match="ApprovalInvalid|NotPermitted") as refused:
            console.approve(request, user=ASKS)
        assert ASKS in refused.value.said, "the message names who may not"
        assert saved.differences(tenant) == lost, "nothing was restored"

        console.approve(request)
        console.watch(request)
        saved.assert_back(tenant)


def test_a_name_in_the_body_of_a_request_counts_for_nothing(stack, backed_up, console):
    request = console.request(TENANT, "pretend to be somebody else")
    digest = console.preview(request)["digest"]
    body = {"request": request, "preview_digest": digest, "operator": APPROVES, "user": APPROVES, "approved_by": APPROVES}
    status, answer = post(stack, "restore-approve", body, ASKS)
    assert status >= 400, f"{ASKS} approved their own request by calling themselves {APPROVES}: {answer}"


def test_an_approval_serves_only_the_request_it_was_given_for(stack, backed_up, console, saved, may_lose):
    approved, other = backed_up.tenant("irisclinic"), backed_up.tenant("juniper-law")
    with may_lose(approved, other):
        for tenant in (approved, other):
            lose_notes(backed_up, tenant)
        lost = saved.differences(other)
        first, second = console.request(approved.id, "approved"), console.request(other.id, "never approved")
        first_digest = console.preview(first)["digest"]
        console.preview(second)

        status, _ = post(stack, "restore-approve", {"request": second, "preview_digest": first_digest}, APPROVES)
        assert status >= 400, "an approval of another preview was taken"
        console.approve(first)
        console.watch(first)
        saved.assert_back(approved)

        error = refusal(stack, "restore", {"item": {"request": second, "step": "execute"}})
        assert error.error_type in ("ApprovalInvalid", "Fenced"), error
        assert second in error.error_message
        assert saved.differences(other) == lost, "a request without approval changed the tenant's rows"


def test_an_approval_does_not_outlive_a_change_of_the_data(backed_up, console, saved, may_lose):
    tenant = backed_up.tenant(TENANT)
    with may_lose(tenant):
        lose_notes(backed_up, tenant)
        request = console.request(tenant.id, "the data moves on")
        console.preview(request)
        psql.execute(backed_up.dsn(tenant), f"DELETE FROM app.settings WHERE tenant_id = {psql.literal(tenant.id)}")
        moved_on = saved.differences(tenant)
        with pytest.raises(Refused, match="TargetDrifted|changed|drift"):
            console.approve(request)
            console.watch(request)
        assert saved.differences(tenant) == moved_on, "a restore other than the previewed one was carried out"


def test_an_approval_is_used_up_by_the_restore_it_allowed(backed_up, console, saved, may_lose):
    tenant = backed_up.tenant(TENANT)
    with may_lose(tenant):
        lose_notes(backed_up, tenant)
        request = console.request(tenant.id, "once")
        console.preview(request)
        console.approve(request)
        console.watch(request)
        with pytest.raises(Refused):
            console.approve(request)


def test_a_request_for_nobody_or_for_no_point_is_refused_by_name(backed_up, console):
    with pytest.raises(Refused, match="nobody-here"):
        console.request("nobody-here", "a slip of the pen")
    unknown = "rp_00000000-0000-7000-8000-000000000000"
    with pytest.raises(Refused, match=unknown):
        console.request(TENANT, "a slip of the pen", unknown)
    of_another = console.newest("acme")["id"]
    with pytest.raises(Refused, match=of_another):
        console.request(TENANT, "another tenant's recovery point", of_another)


def lose_notes(platform, tenant) -> None:
    """Loses a few of a pool tenant's rows."""
    psql.execute(platform.dsn(tenant), f"DELETE FROM app.notes WHERE tenant_id = {psql.literal(tenant.id)} AND note_id > 1500")


def post(stack, verb: str, body: dict, user: str) -> tuple[int, str]:
    """Calls the operator function's URL as the `holdfast` command does, but with any body."""
    return signed.post(stack.outputs["OperatorUrl"] + f"v1/{verb}", body, stack.credentials(user), REGION)
