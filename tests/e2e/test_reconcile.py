"""Reconcile notices what nobody would report: a tenant that is gone, a run that never ended."""

import datetime

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
