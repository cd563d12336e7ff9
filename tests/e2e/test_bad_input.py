"""Bad input gives an error that names the thing and the remedy, and never a half-published recovery point."""

import contextlib
import itertools
import json

import psql
import pytest
from deliver import export_item, refusal, tick
from paths import FUNCTIONS
from saas import DATABASES
from wait import wait_until

MALFORMED = {
    "nothing": {},
    "a list": [],
    "text": "export everything",
    "an empty tick": {"tick": {}},
    "a tick without a time": {"tick": {"rule": "exports-standard"}},
    "a tick at no instant": {"tick": {"rule": "exports-standard", "scheduled_time": "yesterday"}},
    "an item that is no object": {"item": 5},
    "a tick and an item": {"tick": {"rule": "reconcile", "scheduled_time": "2026-11-23T02:15:00Z"}, "item": {"tenant": "acme"}},
    "another service's event": {"source": "aws.ec2", "detail-type": "EC2 Instance State-change Notification", "detail": {}},
}
HOSTILE_TENANTS = ("", "a b", "acme'; DROP TABLE app.customers; --", "../acme", "@@central", "x" * 129, "acme\n", "acme\u202e")

_minutes = itertools.count(1)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("event", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_event_is_refused_as_malformed(function, event, stack, platform):
    error = refusal(stack, function, event)
    assert error.error_type == "MalformedEvent"
    assert len(error.error_message) > 20, "the message says what was expected"


@pytest.mark.parametrize("function", ["snapshot", "export", "retention"])
def test_a_rule_that_the_plan_does_not_have_is_named(function, stack, platform):
    error = refusal(stack, function, tick("exports-nightly", "2026-11-23T02:15:00Z"))
    assert error.error_type == "UnknownRule"
    assert "exports-nightly" in error.error_message


@pytest.mark.parametrize("tenant", HOSTILE_TENANTS, ids=[repr(tenant[:20]) for tenant in HOSTILE_TENANTS])
def test_a_hostile_tenant_id_is_refused_and_harms_nobody(tenant, stack, backed_up, console, saved):
    error = refusal(stack, "export", export_item(tenant, at()))
    assert error.error_type in ("MalformedEvent", "UnknownTenant"), error
    assert "\n" not in error.error_message and "\u202e" not in error.error_message, "nothing in it steers a terminal"
    saved.assert_back(backed_up.tenant("acme"))


def test_an_unknown_tenant_is_named_and_leaves_no_recovery_point(stack, backed_up, console):
    before = {point["id"] for point in console.points()}
    error = refusal(stack, "export", export_item("nobody-here", at()))
    assert error.error_type == "UnknownTenant"
    assert "nobody-here" in error.error_message and "holdfast tenants" in error.error_message
    assert {point["id"] for point in console.points()} == before


def test_a_database_that_does_not_answer_is_named_and_the_slot_can_be_taken_again(stack, backed_up, console):
    tenant = backed_up.tenant("borealis")
    event, before = export_item(tenant.id, at()), available_ids(console, tenant.id)
    with stopped(stack, tenant.instance):
        error = refusal(stack, "export", event)
        assert error.error_type == "SourceUnreachable"
        assert tenant.id in error.error_message or tenant.instance in error.error_message, error
        assert available_ids(console, tenant.id) == before, "a recovery point of an unreachable database"
        assert not stack.invoke("export", export_item("fjordline", at()))["failed"], "the others are backed up as ever"
    stack.invoke("export", event)
    assert len(available_ids(console, tenant.id)) == len(before) + 1, "the same event, delivered again, succeeds"


def test_a_wrong_password_is_told_by_the_name_of_its_secret_and_not_by_its_value(stack, backed_up, console):
    tenant = backed_up.tenant("borealis")
    secrets, name = stack.client("secretsmanager"), DATABASES[tenant.database_id].secret
    right = secrets.get_secret_value(SecretId=name)["SecretString"]
    wrong = {**json.loads(right), "password": "wrong-password-canary-77aa"}
    before = available_ids(console, tenant.id)
    secrets.put_secret_value(SecretId=name, SecretString=json.dumps(wrong))
    try:
        error = refusal(stack, "export", export_item(tenant.id, at()))
    finally:
        secrets.put_secret_value(SecretId=name, SecretString=right)
    assert error.error_type in ("SourceUnreachable", "SourceRefused", "NotPermitted", "NotConfigured"), error
    assert name in error.error_message, "the message names the secret to look at"
    assert "wrong-password-canary" not in error.error_message
    assert available_ids(console, tenant.id) == before
    stack.invoke("export", export_item(tenant.id, at()))


def test_a_key_that_is_disabled_is_named_and_nothing_is_published_without_it(stack, backed_up, console):
    kms, key = stack.client("kms"), stack.outputs["VaultKeyArn"]
    event, before = export_item("harborside", at()), available_ids(console, "harborside")
    kms.disable_key(KeyId=key)
    try:
        error = refusal(stack, "export", event)
    finally:
        kms.enable_key(KeyId=key)
    assert error.error_type == "KeyUnusable"
    assert key.rsplit("/", 1)[-1] in error.error_message, "the message names the key"
    assert available_ids(console, "harborside") == before, "a recovery point that no key protects"
    stack.invoke("export", event)
    assert len(available_ids(console, "harborside")) == len(before) + 1


def test_a_pooled_table_without_a_key_is_refused_by_name_and_not_left_out(stack, backed_up, console):
    tenant = backed_up.tenant("lumenlabs")
    before = available_ids(console, tenant.id)
    create = 'CREATE TABLE app."Keyless Table" (tenant_id text NOT NULL, value text)'
    psql.run_script(backed_up.dsn(tenant), f"SET ROLE app_owner; {create};")
    try:
        error = refusal(stack, "export", export_item(tenant.id, at()))
    finally:
        psql.execute(backed_up.dsn(tenant), 'DROP TABLE app."Keyless Table"')
    assert error.error_type == "SourceRefused"
    assert "Keyless Table" in error.error_message
    assert available_ids(console, tenant.id) == before
    stack.invoke("export", export_item(tenant.id, at()))


def test_a_plan_that_contradicts_itself_is_refused_before_anything_is_done(stack, backed_up, console):
    ssm, name = stack.client("ssm"), "/holdfast/plan"
    right = ssm.get_parameter(Name=name)["Parameter"]["Value"]
    wrong = {**json.loads(right), "time_zone": "Europe/Nowhere"}
    before = console.points()
    ssm.put_parameter(Name=name, Type="String", Value=json.dumps(wrong), Overwrite=True)
    try:
        error = refusal(stack, "export", export_item("acme", at()))
    finally:
        ssm.put_parameter(Name=name, Type="String", Value=right, Overwrite=True)
    assert error.error_type == "PlanInvalid"
    assert "Europe/Nowhere" in error.error_message
    assert console.points() == before


def at() -> str:
    """A further instant for a manual run: each is a slot of its own."""
    return f"2026-11-20T08:{next(_minutes):02}:00Z"


def available_ids(console, tenant: str) -> set[str]:
    """The tenant's restorable recovery points."""
    return {point["id"] for point in console.available(tenant)}


@contextlib.contextmanager
def stopped(stack, instance: str):
    """Stops a database instance for a while."""
    rds = stack.client("rds")

    def status():
        return rds.describe_db_instances(DBInstanceIdentifier=instance)["DBInstances"][0]["DBInstanceStatus"]

    rds.stop_db_instance(DBInstanceIdentifier=instance)
    wait_until(f"{instance} is stopped", lambda: status() == "stopped", 60)
    try:
        yield
    finally:
        rds.start_db_instance(DBInstanceIdentifier=instance)
        wait_until(f"{instance} is available", lambda: status() == "available", 60)
