"""One person may go ahead alone: everybody is told before, and another person must look at it after."""

import contextlib
import datetime

import psql
import psycopg
import pytest
from console import APPROVES, ASKS, Refused
from deliver import tick
from forged import Row, alert_row, assert_audited, call, session
from wait import wait_until

TENANT = "mosaicpay"
NOW = datetime.datetime.now(datetime.timezone.utc)


@pytest.fixture
def lost(backed_up, saved, may_lose):
    """A tenant that has lost rows, and what it has lost."""
    tenant = backed_up.tenant(TENANT)
    with may_lose(tenant):
        psql.execute(backed_up.dsn(tenant), f"DELETE FROM app.notes WHERE tenant_id = '{tenant.id}' AND note_id > 1500")
        yield tenant, saved.differences(tenant)


def test_everybody_is_paged_before_anything_happens_and_another_person_reviews_it(
    stack, backed_up, console, saved, inbox, lost
):
    tenant, missing = lost
    request = console.request(tenant.id, "payments are stuck")
    console.preview(request)
    inbox.new()
    with psycopg.connect(backed_up.dsn(tenant)) as holding:
        # Whatever the runbook does now, no row changes before this ends.
        holding.execute("LOCK TABLE app.notes IN SHARE MODE")
        went = console.break_glass(request, "nobody else answers\nWhat to do:    nothing\x1b[2J")
        assert went["review"]["done"] is None and ASKS in went["review"]["of"]
        page = _of_class(inbox, request, "break_glass")
        assert saved.differences(tenant) == missing, "the page came before the work"
    for said in (ASKS, tenant.id, "payments are stuck", "nobody else answers", f"holdfast restore review {request}"):
        assert said in str(page), f"the page does not say {said!r}: {page}"
    assert page["severity"] == "critical"
    console.watch(request)
    saved.assert_back(tenant)
    saved.assert_others_untouched(tenant)
    assert_audited(console, request, "restore.break_glass", "goes on")

    assert console.run("status")["demanded_reviews"]["open"] >= 1
    for who in (ASKS, ASKS.upper()):
        status, answer = call(stack, "restore-review", {"request": request, "finding": "all is well"}, session(who))
        assert status == 403, f"{who} reviewed what they did themselves: {answer}"
    assert_audited(console, request, "restore.review", "not done")
    assert console.open_alerts(request)
    reviewed = console.review(request, "the right tenant and the right point", APPROVES)
    assert APPROVES in reviewed["review"]["done"]["by"]
    assert_audited(console, request, "restore.review", "reviewed")
    assert not console.open_alerts(request), "the review closes what demanded it"
    console.review(request, "the right tenant and the right point", APPROVES)
    with pytest.raises(Refused, match="demands no review"):
        console.review(request, "another opinion", APPROVES)


def test_where_nobody_can_be_told_nothing_happens(stack, backed_up, console, saved, inbox, lost):
    tenant, missing = lost
    request = console.request(tenant.id, "the topic is gone")
    console.preview(request)
    inbox.new()
    with _unheard(stack):
        with pytest.raises(Refused, match="nobody could be told"):
            console.break_glass(request, "nobody else answers")
    stack.wait_until_idle()
    assert console.run("restore", "preview", request)["state"] == "awaiting_approval"
    assert saved.differences(tenant) == missing
    assert_audited(console, request, "restore.break_glass", "not done")
    stack.invoke("reconcile", tick("reconcile", NOW))
    late = [alert for alert in inbox.new() if alert["attributes"].get("class") == "break_glass"]
    assert not late, "what did not happen is not told later"

    console.break_glass(request, "nobody else answers")
    console.watch(request)
    saved.assert_back(tenant)
    console.review(request, "fine")


def test_a_review_that_nobody_does_is_told_again_every_day(stack, backed_up, console, saved, inbox, lost):
    tenant, _ = lost
    request = console.request(tenant.id, "done alone, then forgotten")
    console.preview(request)
    console.break_glass(request, "nobody else answers")
    console.watch(request)
    saved.assert_back(tenant)
    stack.invoke("reconcile", tick("reconcile", NOW))
    inbox.new()
    assert [alert["class"] for alert in console.open_alerts(request)] == ["break_glass"], "it is not due yet"

    row, told = Row(stack, request), alert_row(stack, "review_overdue", request)
    _set_back(row, "review", "due", hours=25)
    assert "nobody has reviewed" in str(_told_once(stack, inbox, request))
    # Two days later.
    _set_back(row, "review", "due", hours=48)
    _set_back(told, "alert", "opened_at", hours=48)
    assert "overdue for 3 days" in str(_told_once(stack, inbox, request))
    assert console.run("status")["demanded_reviews"]["overdue"] >= 1
    console.review(request, "late, but fine", APPROVES)
    assert not console.open_alerts(request)


def test_who_went_ahead_with_another_persons_request_does_not_review_it(stack, backed_up, console, saved, lost):
    tenant, _ = lost
    request = console.request(tenant.id, "asked by one, carried out by another")
    console.preview(request)
    console.break_glass(request, "the third is on a plane", APPROVES)
    console.watch(request)
    for who in (ASKS, APPROVES):
        with pytest.raises(Refused, match="ApprovalInvalid|NotPermitted"):
            console.review(request, "I did well", who)
    status, answer = call(stack, "restore-review", {"request": request, "finding": "fine"}, session("ops-cem"))
    assert status == 200 or answer["error"]["code"] == "NotPermitted", answer


def _told_once(stack, inbox, request: str) -> dict:
    """What reconcile tells of an overdue review, which it does not tell again at once."""
    stack.invoke("reconcile", tick("reconcile", NOW))
    alert = _of_class(inbox, request, "review_overdue")
    assert alert["severity"] == "critical"
    assert f"holdfast restore review {request}" in str(alert) and ASKS in str(alert)
    stack.invoke("reconcile", tick("reconcile", NOW))
    assert not [again for again in inbox.new() if request in str(again["message"])], "told twice"
    return alert


def _set_back(row: Row, field: str, time: str, hours: int) -> None:
    """Sets an instant in a row back."""
    content = row.read()[field]
    earlier = datetime.datetime.fromisoformat(content[time]) - datetime.timedelta(hours=hours)
    row.change(**{field: {**content, time: earlier.isoformat()}})


def _of_class(inbox, request: str, name: str) -> dict:
    """The next alert of a class about a request, as machines read it."""

    def look():
        return [alert for alert in inbox.new() if request in str(alert["message"]) and alert["message"].get("class") == name]

    return wait_until(f"an alert {name} about {request} is there", look, 60)[0]["message"]


@contextlib.contextmanager
def _unheard(stack):
    """A while in which the operator function's topic takes nothing."""
    client, name = stack.client("lambda"), "holdfast-operator"
    genuine = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    gone = {**genuine, "HOLDFAST_ALERT_TOPIC": genuine["HOLDFAST_ALERT_TOPIC"] + "-gone"}
    client.update_function_configuration(FunctionName=name, Environment={"Variables": gone})
    stack.kill("operator")
    try:
        yield
    finally:
        client.update_function_configuration(FunctionName=name, Environment={"Variables": genuine})
        stack.kill("operator")
