"""Silence is a failure: what did not happen is told, once; and what may be forgotten is decided with reasons."""

import datetime
import json

import saas
from deliver import export_item, tick
from stack import FunctionError


NOW = datetime.datetime.now(datetime.timezone.utc)


def test_a_tenant_without_a_backup_is_alerted_once_and_the_alert_closes_when_it_has_one(stack, backed_up, console, inbox):
    two_days_ago = (NOW - datetime.timedelta(days=2)).isoformat(timespec="seconds")
    newcomer = backed_up.add_tenant(saas.pooled("opalmedia", "Opalmedia Verlag", percent=5, created_at=two_days_ago))
    try:
        inbox.new()
        stack.invoke("reconcile", tick("reconcile", NOW))
        alert = inbox.wait_for(newcomer.id)
        message = str(alert["message"])
        assert newcomer.id in message and ("RPO" in message or "recovery point" in message)
        assert alert["subject"] and "\n" not in alert["subject"]

        stack.invoke("reconcile", tick("reconcile", NOW))
        assert not [again for again in inbox.new() if newcomer.id in str(again["message"])], "told twice"
        assert console.open_alerts(newcomer.id)

        stack.invoke("export", export_item(newcomer.id, NOW.strftime("%Y-%m-%dT%H:%M:%SZ")))
        stack.invoke("reconcile", tick("reconcile", NOW))
        assert not console.open_alerts(newcomer.id), "an alert ends with its cause"
    finally:
        backed_up.remove_tenant(newcomer)


def test_a_tenant_that_signed_up_a_moment_ago_is_nobodys_alarm_yet(stack, backed_up, console, inbox):
    newcomer = backed_up.add_tenant(saas.own_schema("pearlcargo", "Pearlcargo Logistik", "tenant_pearlcargo", percent=5,
                                                    created_at=NOW.isoformat(timespec="seconds")))
    try:
        inbox.new()
        stack.invoke("reconcile", tick("reconcile", NOW))
        assert not [alert for alert in inbox.new() if newcomer.id in str(alert["message"])]
    finally:
        backed_up.remove_tenant(newcomer)


def test_a_failed_export_is_told_with_what_it_means_and_what_to_do(stack, backed_up, console, inbox):
    secrets, name = stack.client("secretsmanager"), saas.DATABASES["silo-b"].secret
    right = secrets.get_secret_value(SecretId=name)["SecretString"]
    stack.invoke("export", export_item("borealis", "2026-11-18T08:00:00Z"))
    assert not console.open_alerts("borealis")
    inbox.new()
    secrets.put_secret_value(SecretId=name, SecretString=json.dumps({**json.loads(right), "password": "wrong-password-canary"}))
    try:
        stack.invoke("export", export_item("borealis", "2026-11-19T08:00:00Z"))
    except FunctionError:
        pass
    finally:
        secrets.put_secret_value(SecretId=name, SecretString=right)
    message = inbox.wait_for("borealis")["message"]
    assert "holdfast run --tenant borealis" in str(message), "the remedy can be typed as it stands"
    stack.invoke("export", export_item("borealis", "2026-11-19T08:00:00Z"))
    assert not console.open_alerts("borealis"), "the next success closes it"


def test_retention_gives_a_reason_for_every_recovery_point_and_removes_none_unless_told(stack, backed_up, console):
    before = {point["id"]: point["state"] for point in console.points()}
    answer = stack.invoke("retention", tick("retention-daily", "2026-11-23T05:00:00Z"))
    assert answer["applied"] is False and answer["expired"] == 0
    decided = console.run("retention", "plan", "--explain")["decided"]
    subjects = {decision["subject"] for decision in decided}
    assert all(any(tenant.id in subject for subject in subjects) for tenant in backed_up.tenants)
    for record in decided:
        assert record["decisions"], record
        assert all(decision["reasons"] for decision in record["decisions"]), record
    assert {point["id"]: point["state"] for point in console.points()} == before


def test_two_years_later_the_newest_recovery_points_would_still_be_kept(stack, backed_up, console):
    stack.invoke("retention", tick("retention-daily", "2028-11-23T05:00:00Z"))
    for tenant in backed_up.tenants:
        decided = console.run("retention", "plan", "--tenant", tenant.id, "--explain")["decided"]
        assert decided and all(record["last_run"]["decided_for"] >= "2028-11-23T05:00:00Z" for record in decided), tenant.id
        assert all(record["last_run"]["kept"] > 0 for record in decided), tenant.id
