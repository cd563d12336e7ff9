"""No restore without another person's approval of exactly what was previewed."""

import datetime
from concurrent.futures import ThreadPoolExecutor

import psql
import pytest
import signed
from console import APPROVES, ASKS, BEFORE_RESTORE, Refused
from deliver import refusal
from forged import Row, assert_audited, call, identity, session, trail, user
from stack import REGION, FunctionError
from wait import wait_until

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
        assert_audited(console, request, "restore.approve", "not done")
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
        assert_audited(console, second, "restore.approve", "not done")
        assert_audited(console, second, "restore.execute", "not done")


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
        assert_audited(console, request, "restore.execute", "not done: TargetDrifted")
        assert_audited(console, request, "restore.abandon", "TargetDrifted")
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
        assert_audited(console, request, "restore.approve", "not done")


def test_whoever_types_run_right_after_an_approval_hears_that_the_work_is_under_way(stack, backed_up, console, saved, may_lose):
    tenant = backed_up.tenant(TENANT)
    with may_lose(tenant):
        lose_notes(backed_up, tenant)
        request = console.request(tenant.id, "and at once again")
        digest = console.preview(request)["digest"]
        with ThreadPoolExecutor(6) as crowd:
            # Some come before the approval is there, and some when nothing of the work is to be seen yet but that its runbook goes on.
            running = [crowd.submit(_runs, stack, request) for _ in range(5)]
            status, answer = call(stack, "restore-approve", {"request": request, "preview_digest": digest}, user(APPROVES))
            assert status == 200, answer
            answers = [answer for one in running for answer in one.result()]
        codes = {answer["error"]["code"] if "error" in answer else answer["under_way"] for answer in answers}
        assert True in codes and codes <= {"Fenced", True, False}, codes
        console.watch(request)
        assert any("goes on: approved" in entry["detail"] for entry in trail(console, request, "restore.run"))
        saved.assert_back(tenant)


@pytest.mark.parametrize("alias", [
    session(ASKS), session(ASKS.upper()), session("anybody", "backup-operator"), user(f"operators/{ASKS}"), user(ASKS),
], ids=["their session", "their session in capitals", "a role that names nobody", "their name on another path", "themselves"])
def test_nobody_approves_their_own_request_under_another_name(alias, stack, backed_up, console, saved, may_lose):
    tenant = backed_up.tenant(TENANT)
    with may_lose(tenant):
        lose_notes(backed_up, tenant)
        lost = saved.differences(tenant)
        request = console.request(tenant.id, "approve it under another name")
        digest = console.preview(request)["digest"]
        status, answer = call(stack, "restore-approve", {"request": request, "preview_digest": digest}, alias)
        assert (status, answer["error"]["code"]) in ((403, "ApprovalInvalid"), (403, "NotPermitted")), answer
        assert console.run("restore", "preview", request)["state"] == "awaiting_approval"
        assert saved.differences(tenant) == lost
        assert_audited(console, request, "restore.approve", "not done")


@pytest.mark.parametrize(("field", "value"), [
    ("reason", "quite another reason"),
    ("selection", {"tables": ["app.settings"]}),
    ("mode", "side_by_side"),
], ids=["reason", "selection", "mode"])
def test_a_request_that_was_changed_after_its_preview_is_not_carried_out(
    field, value, stack, backed_up, console, saved, may_lose
):
    tenant = backed_up.tenant(TENANT)
    with may_lose(tenant):
        lose_notes(backed_up, tenant)
        lost = saved.differences(tenant)
        request = console.request(tenant.id, "shown as one thing, done as another")
        console.preview(request)
        Row(stack, request).change(**{field: value})
        console.approve(request)
        with pytest.raises(Refused, match="ApprovalInvalid"):
            console.watch(request)
        assert saved.differences(tenant) == lost
        assert_audited(console, request, "restore.execute", "not done: ApprovalInvalid")


def test_an_old_preview_is_not_approved_and_a_younger_date_on_it_does_not_help(stack, backed_up, console, saved, may_lose):
    tenant = backed_up.tenant(TENANT)
    with may_lose(tenant):
        lose_notes(backed_up, tenant)
        lost = saved.differences(tenant)
        request = console.request(tenant.id, "looked at yesterday")
        console.preview(request)
        row, genuine = Row(stack, request), Row(stack, request).read()
        yesterday = (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=25)).isoformat()
        row.change(preview={**genuine["preview"], "at": yesterday})
        with pytest.raises(Refused, match="has expired"):
            console.approve(request)
        assert_audited(console, request, "restore.approve", "not done")

        tomorrow = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=25)).isoformat()
        row.change(preview={**genuine["preview"], "at": tomorrow})
        console.approve(request)
        with pytest.raises(Refused, match="another preview"):
            console.watch(request)
        assert saved.differences(tenant) == lost
        assert_audited(console, request, "restore.execute", "not done: ApprovalInvalid")


@pytest.mark.parametrize("alone", [False, True], ids=["own approval", "broken glass that nobody was told of"])
def test_an_approval_that_was_written_into_the_catalog_is_not_carried_out(alone, stack, backed_up, console, saved, may_lose):
    tenant = backed_up.tenant(TENANT)
    with may_lose(tenant):
        lose_notes(backed_up, tenant)
        lost = saved.differences(tenant)
        request = console.request(tenant.id, "approved by hand")
        console.preview(request)
        row = Row(stack, request)
        genuine = row.read()
        who, now = identity(user(ASKS)), datetime.datetime.now(datetime.timezone.utc).isoformat()
        approval = {"by": who, "at": now, "preview_digest": genuine["preview"]["digest"]}
        forged = {**genuine, "state": "approved", "approvals": [approval]}
        if alone:
            approval["break_glass"] = "nobody looks"
            forged["review"] = {"of": who, "demanded_at": now, "due": now}
        row.write(forged)
        error = refusal(stack, "restore", {"item": {"request": request, "step": "execute"}})
        assert error.error_type in ("ApprovalInvalid", "NotPermitted") and request in error.error_message, error
        assert saved.differences(tenant) == lost
        assert_audited(console, request, "restore.execute", "not done")
        row.write(genuine)


def test_deliveries_and_approvals_that_race_make_one_restore(stack, backed_up, console, saved, may_lose):
    tenant = backed_up.tenant(TENANT)
    with may_lose(tenant):
        lose_notes(backed_up, tenant)
        request = console.request(tenant.id, "everybody at once")
        digest = console.preview(request)["digest"]
        body = {"request": request, "preview_digest": digest}
        with ThreadPoolExecutor(4) as crowd:
            approving = [
                crowd.submit(call, stack, "restore-approve", body, who)
                for who in (user(APPROVES), session("ops-cem"), user(APPROVES), session("ops-dee"))
            ]
            codes = [answer.get("error", {}).get("code") for _, answer in (one.result() for one in approving)]
        assert None in codes and set(codes) <= {None, "Fenced", "ApprovalInvalid", "NotPermitted"}, codes
        with ThreadPoolExecutor(3) as crowd:
            event = {"item": {"request": request, "step": "execute"}}
            refused = [one for one in crowd.map(lambda _: _invoked(stack, event), range(3)) if one]
        assert {error.error_type for error in refused} <= {"Fenced", "Throttled", "SourceUnreachable"}, refused
        assert len(console.watch(request)["approvals"]) == 1
        stack.wait_until_idle()
        saved.assert_back(tenant)
        outcomes = [entry["detail"] for entry in trail(console, request, "restore.execute") if entry["phase"] == "outcome"]
        assert len([outcome for outcome in outcomes if "changed true" in outcome]) == 1, outcomes


def test_a_start_that_was_lost_is_made_up_for_and_one_that_is_not_approved_is_not_run(console, backed_up, saved, may_lose):
    tenant = backed_up.tenant(TENANT)
    with may_lose(tenant):
        lose_notes(backed_up, tenant)
        request = console.request(tenant.id, "run it")
        console.preview(request)
        with pytest.raises(Refused, match="awaiting_approval") as refused:
            console.run("restore", "run", request)
        assert refused.value.status == 3
        assert_audited(console, request, "restore.run", "not done: Fenced")
        kept = len(states_before(console))
        console.approve(request)
        wait_until("the runbook has gone on", lambda: len(states_before(console)) > kept, 60)
        for _ in range(2):
            assert console.run("restore", "run", request)["state"] in ("approved", "executing", "proven")
        console.watch(request)
        saved.assert_back(tenant)
        assert console.run("restore", "run", request)["state"] == "proven"


def states_before(console) -> list[dict]:
    """What restores of the tenant have had kept, or are having kept."""
    return [point for point in console.points(TENANT) if point["rule"] == BEFORE_RESTORE]


def test_wishes_that_make_no_sense_are_refused_in_words(console, backed_up):
    for more, about in [
        (("--mode", "new-environment"), "needs the recovery"),
        (("--kind", "media", "--mode", "side-by-side"), "files are not restored side by side"),
        (("--kind", "media", "--tables", "app.notes"), "tables and columns are of databases"),
        (("--tables", "app.notes,app.notes"), "named twice"),
    ]:
        with pytest.raises(Refused, match=about) as refused:
            console.request(TENANT, "a slip of the pen", more=more)
        assert refused.value.status == 1
    with pytest.raises(Refused) as refused:
        console.request(TENANT, "a slip of the pen", more=("--native",))
    assert refused.value.status == 2, "half a command is wrong usage"


def _runs(stack, request: str) -> list[dict]:
    """The answers to whoever types `run` again and again until it was served a few times."""
    answers = []
    while sum("error" not in answer for answer in answers) < 3 and len(answers) < 100:
        answers.append(call(stack, "restore-run", {"request": request}, user(ASKS))[1])
        if answers[-1].get("error", {}).get("code") not in (None, "Fenced"):
            break
    return answers


def _invoked(stack, event) -> FunctionError | None:
    try:
        stack.invoke("restore", event)
    except FunctionError as refused:
        return refused
    return None


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
