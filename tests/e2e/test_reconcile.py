"""Reconcile notices what nobody would report: a tenant that is gone, a run that never ended."""

import datetime

import psql
import saas
from deliver import tick

NOW = datetime.datetime.now(datetime.timezone.utc)


def test_a_tenant_that_vanishes_from_the_register_is_told_of_until_it_is_back(stack, backed_up, console, inbox):
    tenant = saas.pooled("quartzrail", "Quartz Rail", percent=5, created_at=NOW.isoformat(timespec="seconds"))
    backed_up.add_tenant(tenant)
    stack.invoke("reconcile", tick("reconcile", NOW))
    backed_up.remove_tenant(tenant)
    inbox.new()
    stack.invoke("reconcile", tick("reconcile", NOW))
    message = inbox.wait_for(tenant.id)["message"]
    assert "not in the tenant register" in str(message) and "no longer backed up" in str(message)
    assert [alert["class"] for alert in console.open_alerts(tenant.id)] == ["register_bad"]

    backed_up.add_tenant(tenant)
    try:
        stack.invoke("reconcile", tick("reconcile", NOW))
        assert not console.open_alerts(tenant.id), "it is listed again"
    finally:
        backed_up.remove_tenant(tenant)


def test_what_a_dead_restore_left_is_told_by_name_until_it_is_gone(stack, backed_up, console, inbox):
    tenant = backed_up.in_layout("pool")[0]
    stage, kept, role = "hf_stage_00000000deadbeef", "hf_undo_00000000deadbeef", "hf_restore_00000000deadbeef"
    dsn, scan_now = backed_up.dsn(tenant), {"item": {"coverage": True}}
    psql.execute(dsn, f"CREATE SCHEMA {stage}", f"CREATE SCHEMA {kept}", f"CREATE ROLE {role} LOGIN")
    try:
        inbox.new()
        for _ in range(2):
            stack.invoke("reconcile", scan_now)
        told = [alert for alert in inbox.new() if alert["message"].get("class") == "leftover"]
        assert len(told) == 1 and tenant.instance in told[0]["message"]["subject"], told
        summary = told[0]["message"]["summary"]
        assert stage in summary and role in summary and kept not in summary, summary
        assert [alert["class"] for alert in console.open_alerts(f"instance {tenant.instance}")] == ["leftover"]
    finally:
        psql.execute(dsn, f"DROP SCHEMA {stage}", f"DROP SCHEMA {kept}", f"DROP ROLE {role}")
    stack.invoke("reconcile", scan_now)
    assert not console.open_alerts(f"instance {tenant.instance}")
