"""The erasure of a tenant: only of one that has left, never of what is held, by two people, with evidence that claims no more than is so.

The tenants are new ones, which leave the register again: what is erased does not come back for other tests.
"""

import base64
import itertools
import json
from types import SimpleNamespace

import psql
import pytest
from console import APPROVES, ASKS, Refused
from deliver import export_item, refusal, tick
from forged import Row, identity, user
from paths import ROOT
from planned import replanned, retained
from saas.roster import DATABASES, pooled
from samtranslator.yaml_helper import yaml_parse
from test_rebuild import rebuild
from test_sweep import KEEP_THE_NEWEST, Vault
from wait import wait_until

REASON = "contract ended, ticket 4711"
OTHER = "irisclinic"
DONE_SECONDS = 60
SLOTS = (f"2026-10-{day:02}T04:{minute:02}:00Z" for day in range(1, 29) for minute in range(60))
NAMES = (f"leaver-{n}" for n in itertools.count(1))


@pytest.fixture
def leaver(stack, platform, console):
    """A tenant that signs up for a while, with what it takes to back it up, to have it leave, and to look at it."""
    tenant = platform.add_tenant(pooled(next(NAMES), "Leaver Ltd", percent=20))
    central = stack.dsn(DATABASES["central"].instance, DATABASES["central"].name)

    def read_register():
        stack.invoke("export", export_item(OTHER, next(SLOTS)))

    def back_up():
        slot = next(SLOTS)
        stack.invoke("export", export_item(tenant.id, slot))
        return next(found for found in console.available(tenant.id) if found["scheduled_time"] == slot)

    def listed_as(status):
        psql.execute(central, f"UPDATE register.tenants SET status = '{status}' WHERE tenant_id = '{tenant.id}'")
        read_register()

    yield SimpleNamespace(id=tenant.id, tenant=tenant, back_up=back_up, listed_as=listed_as, read_register=read_register, central=central)
    platform.remove_tenant(tenant)


@pytest.fixture
def own_key(stack):
    """Makes a KMS key by the template for it; it says that it is this tenant's."""
    template = yaml_parse((ROOT / "infra" / "tenant-key.yaml").read_text())

    def make(tenant: str) -> str:
        name = f"holdfast-key-{tenant}"
        roles = {key: stack.outputs[key] for key in ("ExportRoleArn", "VerifyRoleArn", "RestoreRoleArn", "ShredRoleArn")}
        stack.client("cloudformation").create_stack(
            StackName=name, TemplateBody=json.dumps(template),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in {"Tenant": tenant, **roles}.items()],
        )
        outputs = wait_until("the key is made", lambda: deployed(stack, name), DONE_SECONDS)
        return next(output["OutputValue"] for output in outputs if output["OutputKey"] == "KeyArn")

    return make


def deployed(stack, name: str) -> list | None:
    found = stack.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
    return found["Outputs"] if found["StackStatus"] == "CREATE_COMPLETE" else None


def dedicated(tenant: str, key: str) -> dict:
    return {"dedicated_keys": [{"tenant": tenant, "key_arn": key}]}


def request(console, tenant: str) -> dict:
    return console.run("erase", "request", "--tenant", tenant, "--reason", REASON)


def show(console, erasure: str) -> dict:
    return console.run("erase", "show", erasure)


def erased(console, erasure: str) -> dict:
    """The erasure once it is carried out."""

    def look():
        shown = show(console, erasure)
        return shown if "evidence" in shown else None

    return wait_until(f"{erasure} is carried out", look, DONE_SECONDS)


def erase(console, tenant: str) -> dict:
    asked = request(console, tenant)
    console.run("erase", "approve", asked["erasure"], "--digest", asked["going"]["digest"], user=APPROVES)
    return erased(console, asked["erasure"])


def failed(console, erasure: str) -> dict | None:
    return next((alert for alert in console.open_alerts(erasure) if alert["class"] == "erasure_failed"), None)


def refused(console, *command: str, user: str = ASKS) -> str:
    with pytest.raises(Refused) as no:
        console.run(*command, user=user)
    return no.value.said


def states(console, tenant: str) -> set[str]:
    return {point["state"] for point in console.points(tenant)}


def erasure_row(stack, erasure: str) -> Row:
    return Row(stack, erasure, f"ERASURE#{erasure}", "ERASURE")


def vault_objects(stack, vault_tenant: str) -> list[str]:
    pages = stack.client("s3").get_paginator("list_objects_v2").paginate(Bucket=stack.outputs["VaultBucketName"], Prefix=f"v1/t/{vault_tenant}/")
    return [found["Key"] for page in pages for found in page.get("Contents", ())]


def vault_tenant(stack, tenant: str) -> str:
    return Row(stack, tenant, "TENANTS", tenant).read()["vault_tenant"]


def point_row(stack, tenant: str, point: dict) -> Row:
    found = stack.client("dynamodb").query(
        TableName=stack.outputs["TableName"], KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": {"S": f"POINTS#tenant#{tenant}"}},
    )["Items"]
    return Row(stack, point["id"], f"POINTS#tenant#{tenant}", next(item["sk"]["S"] for item in found if point["id"] in item["sk"]["S"]))


def wrapping_keys(stack, tenant: str) -> list[str]:
    """The ids of the KMS keys that wrap a tenant's data keys, its secret's first: the emulator's ciphertexts begin with them."""
    name, bucket, s3 = vault_tenant(stack, tenant), stack.outputs["VaultBucketName"], stack.client("s3")
    records = [key for key in vault_objects(stack, name) if "/keys/" in key]
    read = [json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read()) for key in sorted(records)]
    return [base64.b64decode(record["wrapped_key"])[:36].decode() for record in read]


def check(point: dict, tenant: str) -> dict:
    return {"item": {"tenant": tenant, "recovery_point": point["id"], "restore_test": False}}


def test_a_tenant_in_business_is_not_erased_nor_one_that_is_held(stack, console, leaver):
    leaver.back_up()
    said = refused(console, "erase", "request", "--tenant", leaver.id, "--reason", REASON)
    assert "ErasureRefused" in said and "is in business" in said
    assert "nobody's to erase" in refused(console, "erase", "request", "--tenant", "@central", "--reason", REASON)

    leaver.listed_as("deleted")
    console.run("hold", "place", "--tenant", leaver.id, "--reason", "case 4711")
    said = refused(console, "erase", "request", "--tenant", leaver.id, "--reason", REASON)
    assert "`case 4711` of arn:aws:iam" in said and f"user/{ASKS}" in said and "A hold outweighs an erasure" in said
    console.run("hold", "release", "--tenant", leaver.id, "--hold", "case 4711", "--reason", "closed", user=APPROVES)

    asked = request(console, leaver.id)
    digest = asked["going"]["digest"]
    assert asked["state"] == "requested" and [(one["kind"], one["points"]) for one in asked["going"]["amounts"]] == [
        ("database", 1), ("media", 1), ("configuration", 1)
    ]
    assert "somebody-else-agrees" in refused(console, "erase", "approve", asked["erasure"], "--digest", digest)
    assert "ApprovalInvalid" in refused(console, "erase", "approve", asked["erasure"], "--digest", "0" * 64, user=APPROVES)
    assert "is requested already" in refused(console, "erase", "request", "--tenant", leaver.id, "--reason", REASON)

    console.run("hold", "place", "--tenant", leaver.id, "--reason", "case 4712")
    assert "`case 4712`" in refused(console, "erase", "approve", asked["erasure"], "--digest", digest, user=APPROVES)
    console.run("hold", "release", "--tenant", leaver.id, "--hold", "case 4712", "--reason", "closed", user=APPROVES)
    leaver.listed_as("active")
    assert "is in business" in refused(console, "erase", "approve", asked["erasure"], "--digest", digest, user=APPROVES)
    assert states(console, leaver.id) == {"available"}

    cancelled = console.run("erase", "cancel", asked["erasure"], "--reason", "the customer stays")
    assert cancelled["state"] == "cancelled"
    assert "is cancelled" in refused(console, "erase", "approve", asked["erasure"], "--digest", digest, user=APPROVES)
    story = console.run("audit", "--request", asked["erasure"])["entries"]
    assert {"erase.request", "erase.approve", "erase.cancel"} <= {entry["act"] for entry in story}


def test_a_tenant_without_a_key_of_its_own_is_erased_logically_and_the_evidence_says_just_that(stack, platform, console, leaver, inbox):
    first = leaver.back_up()
    leaver.back_up()
    leaver.listed_as("deleted")
    name, until = vault_tenant(stack, leaver.id), "2027-01-31T00:00:00Z"
    stack.client("s3").put_object_retention(
        Bucket=stack.outputs["VaultBucketName"], Key=next(key for key in vault_objects(stack, name) if "/packs/" in key),
        Retention={"Mode": "GOVERNANCE", "RetainUntilDate": until},
    )
    shown = erase(console, leaver.id)
    assert shown["state"] == "logically_erased" and len(shown["digest"]) == 64
    evidence = shown["evidence"]
    assert (evidence["points_count"], evidence["points_available"], evidence["keys"]) == (6, 0, [])
    assert {point["state"] for point in evidence["points"]} == {"expired"} == states(console, leaver.id)
    assert first["id"] in {point["point"] for point in evidence["points"]} and all(point["sequence"] for point in evidence["points"])
    assert evidence["requested_by"].endswith(ASKS) and [one["by"].rsplit("/")[-1] for one in evidence["approved_by"]] == [APPROVES]
    objects = vault_objects(stack, name)
    kept = [key for key in objects if "/chain/" in key or key.endswith("/keys/dedup")]
    assert evidence["stored_now"]["objects"] == evidence["stored_then"]["objects"] == evidence["stored_then"]["asked"] == len(objects) - len(kept)
    assert evidence["stored_now"]["kept"] == len(kept) == 7 and "7 stored versions remain for good" in " ".join(evidence["means"])
    assert evidence["stored_then"]["locked_until"] == until
    assert "That is no cryptographic erasure." in " ".join(evidence["means"]) and until in " ".join(evidence["means"])
    assert any("automated backups of instance" in line for line in evidence["not_reached"])
    assert any(line["class"] == "erasure_done" for line in console.run("alerts")["alerts"] if line["subject"] == shown["erasure"])

    # Nothing is done under the id any more, whoever lists it again.
    for command in (("restore", "request", "--tenant", leaver.id, "--reason", "regret"), ("run", "--tenant", leaver.id)):
        assert "TenantErased" in refused(console, *command)
    leaver.listed_as("active")
    assert any("was erased at" in alert["summary"] for alert in console.open_alerts("register"))
    assert "not in the tenant register" in refusal(stack, "export", export_item(leaver.id, next(SLOTS))).error_message
    assert "TenantErased" in refused(console, "erase", "request", "--tenant", leaver.id, "--reason", REASON)
    kept = Row(stack, leaver.id, "TENANTS", leaver.id).read()
    assert (kept["status"], kept["time_zone"], kept["database"]) == ("deleted", "UTC", "-")
    leaver.listed_as("deleted")
    assert next(one["status"] for one in console.run("tenants")["tenants"] if one["tenant"] == leaver.id) == "erased"

    # A second run changes nothing.
    before = len(console.run("audit", "--act", "point.expire", "--about", leaver.id)["entries"])
    assert before == 12, "an intent and an outcome for each of six"
    assert stack.invoke("shred", {"item": {"erasure": shown["erasure"]}})["state"] == "expired"
    assert len(console.run("audit", "--act", "point.expire", "--about", leaver.id)["entries"]) == before
    assert "nothing to carry out" in refused(console, "erase", "run", shown["erasure"])
    listed = console.run("erase", "list")["erasures"]
    assert [one["state"] for one in listed if one["erasure"] == shown["erasure"]] == ["expired"]
    assert "logically erased" in console.table("erase", "show", shown["erasure"])


def test_a_tenant_with_a_key_of_its_own_can_be_opened_by_nobody_once_it_is_erased(stack, platform, console, leaver, own_key):
    key = own_key(leaver.id)
    with replanned(stack, platform.plan, **dedicated(leaver.id, key)):
        point = leaver.back_up()
        others = leaver_of(stack, console, OTHER)
        assert set(wrapping_keys(stack, leaver.id)) == {key.rsplit("/")[-1]}
        assert set(wrapping_keys(stack, OTHER)) == {stack.outputs["VaultKeyArn"].rsplit("/")[-1]}
        stack.invoke("verify", check(point, leaver.id))
        leaver.listed_as("deleted")
        shown = erase(console, leaver.id)
        assert shown["state"] == "key_pending_deletion"
        (doomed,) = shown["evidence"]["keys"]
        assert (doomed["arn"], doomed["now"]["state"]) == (key, "PendingDeletion") and doomed["deletion_at"]
        assert stack.client("kms").describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "PendingDeletion"
        assert "no cryptographic erasure" not in " ".join(shown["evidence"]["means"]) and shown["evidence"]["under_vault_key"] == 0

        # Even where the catalog is made to say that all is well, KMS is not.
        row = point_row(stack, leaver.id, point)
        row.change(state="available")
        Row(stack, leaver.id, "TENANTS", leaver.id).change(erased=None)
        error = refusal(stack, "verify", check(point, leaver.id))
        assert error.error_type == "KeyUnusable" and "pending deletion" in error.error_message
        row.change(state="expired")
        assert stack.invoke("verify", check(others, OTHER))["bad"] == 0, "other tenants open as before"

    # Whoever takes the deletion back at KMS takes the erasure back, and that is told.
    stack.client("kms").cancel_key_deletion(KeyId=key)
    with pytest.raises(Refused) as taken_back:
        show(console, shown["erasure"])
    assert json.loads(taken_back.value.answer)["state"] == "key_taken_back" and taken_back.value.status == 1
    stack.invoke("reconcile", tick("reconcile", next(SLOTS)))
    alert = failed(console, shown["erasure"])
    assert key in alert["summary"] and "does not stand" in alert["summary"]


def leaver_of(stack, console, tenant: str) -> dict:
    slot = next(SLOTS)
    stack.invoke("export", export_item(tenant, slot))
    return next(found for found in console.available(tenant) if found["scheduled_time"] == slot)


def test_what_was_stored_before_the_key_is_told_apart(stack, platform, console, leaver, own_key):
    leaver.back_up()
    key = own_key(leaver.id)
    with replanned(stack, platform.plan, **dedicated(leaver.id, key)):
        moved, shared = leaver.back_up(), leaver.back_up()
        assert (moved["full"], shared["full"]) == (True, False), "nothing under the vault's key is built on"
        stack.invoke("verify", check(shared, leaver.id))
        leaver.listed_as("deleted")
    # The plan names the key no more: it is known from the recovery points.
    shown = erase(console, leaver.id)
    assert shown["state"] == "logically_erased" and shown["evidence"]["under_vault_key"] == 3
    assert [one["now"]["state"] for one in shown["evidence"]["keys"]] == ["PendingDeletion"]
    by_key = {one["point"]: one["key"] for one in shown["evidence"]["points"]}
    assert by_key[moved["id"]] == by_key[shared["id"]] == key and list(by_key.values()).count(None) == 3
    means = " ".join(shown["evidence"]["means"])
    assert "The content of 3 recovery points is under the vault's key" in means and "test guesses" in means


def test_a_key_that_says_it_is_anothers_is_not_deleted(stack, platform, console, leaver, own_key):
    key = own_key(f"{leaver.id}-not")
    with replanned(stack, platform.plan, **dedicated(leaver.id, key)):
        leaver.back_up()
        leaver.listed_as("deleted")
        asked = request(console, leaver.id)
        erasure = asked["erasure"]
        console.run("erase", "approve", erasure, "--digest", asked["going"]["digest"], user=APPROVES)
        alert = wait_until("the refusal is told", lambda: failed(console, erasure), DONE_SECONDS)
        assert "nothing was erased" in alert["summary"] and f"{leaver.id}-not" in alert["summary"]
        assert states(console, leaver.id) == {"available"}
        assert stack.client("kms").describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Enabled"
        console.run("erase", "cancel", erasure, "--reason", "the plan is wrong")


def test_the_work_checks_everything_again_and_a_hold_wins_over_an_approval(stack, console, leaver):
    leaver.back_up()
    leaver.listed_as("deleted")
    asked = request(console, leaver.id)
    erasure, digest = asked["erasure"], asked["going"]["digest"]
    row, shred = erasure_row(stack, erasure), {"item": {"erasure": erasure}}
    assert "is requested, so it cannot be carried out" in refusal(stack, "shred", shred).error_message

    def approved_by(name):
        row.change(state="approved", approvals=[{"by": identity(user(name)), "at": asked["requested_at"], "preview_digest": digest}])

    # Rows written by hand: who asked agreed, or nobody, or it was of something else.
    approved_by(ASKS)
    assert refusal(stack, "shred", shred).error_type in ("ApprovalInvalid", "NotPermitted")
    row.change(approvals=[])
    assert refusal(stack, "shred", shred).error_type == "ApprovalInvalid"
    approved_by(APPROVES)
    row.change(reason="another")
    assert refusal(stack, "shred", shred).error_type == "ApprovalInvalid"
    row.change(reason=REASON)

    leaver.listed_as("active")
    assert "is in business" in refusal(stack, "shred", shred).error_message
    leaver.listed_as("deleted")
    console.run("hold", "place", "--tenant", leaver.id, "--reason", "case 4711")
    held = refusal(stack, "shred", shred)
    assert held.error_type == "ErasureRefused" and "case 4711" in held.error_message and states(console, leaver.id) == {"available"}
    assert "case 4711" in failed(console, erasure)["summary"], "the conflict is reported"
    leaver.back_up()  # which shows that it is not marked as erased either
    console.run("hold", "release", "--tenant", leaver.id, "--hold", "case 4711", "--reason", "closed", user=APPROVES)
    late = refusal(stack, "shred", shred)
    assert late.error_type == "ApprovalInvalid" and "is not what was agreed to" in late.error_message, "a recovery point was made since"
    console.run("erase", "cancel", erasure, "--reason", "another is asked for")
    assert erase(console, leaver.id)["state"] == "logically_erased"
    assert not console.open_alerts(leaver.id)


def test_an_erasure_that_stopped_for_too_long_is_given_up_and_another_takes_what_is_left(stack, console, leaver):
    point = leaver.back_up()
    leaver.listed_as("deleted")
    asked = request(console, leaver.id)
    first, old = asked["erasure"], "2026-01-01T00:00:00Z"
    # As if it had marked the tenant, and a hold had kept it from going on for months.
    approvals = [{"by": identity(user(APPROVES)), "at": old, "preview_digest": asked["going"]["digest"]}]
    erasure_row(stack, first).change(state="executing", requested_at=old, started_at=old, approvals=approvals)
    Row(stack, leaver.id, "TENANTS", leaver.id).change(erased={"erasure": first, "at": old})
    stack.invoke("reconcile", tick("reconcile", next(SLOTS)))
    assert "holdfast erase cancel" in failed(console, first)["remedy"]
    summary = failed(console, f"tenant {leaver.id}")["summary"]
    assert first in summary and point["id"] in summary
    assert "for too long to go on" in refused(console, "erase", "run", first)

    shown = erase(console, leaver.id)
    assert shown["erasure"] != first and shown["evidence"]["points_available"] == 0 and states(console, leaver.id) == {"expired"}
    assert console.run("erase", "cancel", first, "--reason", "another one took what was left")["state"] == "cancelled"
    stack.invoke("reconcile", tick("reconcile", next(SLOTS)))
    assert not failed(console, first) and not failed(console, f"tenant {leaver.id}")
    assert "TenantErased" in refused(console, "erase", "request", "--tenant", leaver.id, "--reason", REASON)


def test_a_tenant_with_two_names_in_the_vault_is_erased_and_swept_under_both(stack, platform, console, leaver):
    leaver.back_up()
    former = vault_tenant(stack, leaver.id)
    forget(stack, leaver.id)
    leaver.back_up()
    present = vault_tenant(stack, leaver.id)
    assert rebuild(stack)[1]["names_recorded"] == 1 and present != former
    # As a rebuild by a version before former names left it: only the recovery points tell of the other one.
    Row(stack, leaver.id, "TENANTS", leaver.id).change(former=[])
    leaver.listed_as("deleted")
    shown = erase(console, leaver.id)
    assert shown["state"] == "logically_erased"
    evidence, stored = shown["evidence"], {name: vault_objects(stack, name) for name in (present, former)}
    collected = {name: [key for key in keys if not is_kept(key)] for name, keys in stored.items()}
    assert [(one["name"], one["objects"]) for one in evidence["names"]] == [(name, len(keys)) for name, keys in collected.items()]
    assert evidence["stored_now"]["objects"] == evidence["stored_then"]["objects"] == evidence["stored_then"]["asked"] == sum(map(len, collected.values()))
    assert {point["name"] for point in evidence["points"]} == {present, former} and evidence["points_count"] == 6
    assert "has 2 names there" in " ".join(evidence["means"])

    for name in (present, former):
        Vault(stack).end_locks(f"v1/t/{name}/")
    with retained(stack, platform.plan, console, **KEEP_THE_NEWEST):
        stack.invoke("retention", tick("sweep-daily", "2030-03-01T07:00:00Z"))
    assert all(is_kept(key) for name in (present, former) for key in vault_objects(stack, name))
    assert states(console, leaver.id) == {"swept"}
    shown = show(console, shown["erasure"])
    assert shown["state"] == "erased" and [one["objects"] for one in shown["evidence"]["names"]] == [0, 0]


def forget(stack, tenant: str) -> None:
    """The catalog loses a tenant and its recovery points, which stay in the vault."""
    client, table = stack.client("dynamodb"), stack.outputs["TableName"]
    lost = client.query(
        TableName=table, KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": {"S": f"POINTS#tenant#{tenant}"}},
    )["Items"]
    for key in [{"pk": item["pk"], "sk": item["sk"]} for item in lost] + [{"pk": {"S": "TENANTS"}, "sk": {"S": tenant}}]:
        client.delete_item(TableName=table, Key=key)


def is_kept(key: str) -> bool:
    """Whether it is of what stays for good."""
    return "/chain/" in key or key.endswith("/keys/dedup")


def test_a_tenant_that_is_gone_from_the_register_is_erased_once_reconcile_has_missed_it(stack, console, leaver):
    leaver.back_up()
    psql.execute(leaver.central, f"DELETE FROM billing.invoices WHERE tenant_id = '{leaver.id}'", f"DELETE FROM register.tenants WHERE tenant_id = '{leaver.id}'")
    leaver.read_register()
    assert "is in business" in refused(console, "erase", "request", "--tenant", leaver.id, "--reason", REASON)
    stack.invoke("reconcile", tick("reconcile", next(SLOTS)))
    assert erase(console, leaver.id)["state"] == "logically_erased"
