"""No tenant's data comes to another, and no other tenant's data changes: with the check of permissions, and without it.

Whoever attacks may ask for restores of one tenant and write whatever they like into the catalog. Every attack runs twice: on the stack
as it is deployed, and on one whose operator and restore functions were built without the check, under a plan that grants nobody
anything. There what refuses is the encryption context, the manifest's own word for whose data it holds, and the digest that was approved.
"""

import contextlib
import copy
import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import bootstrap
import compare
import pytest
import saas
import signed
from console import APPROVES, ASKS, Console, Refused
from deliver import export_item, refusal
from planned import replanned
from stack import ACCOUNT, REGION, Stack

ATTACKER = "ops-dan"
OWN, OTHERS = ("irisclinic", "fjordline"), ("juniper-law", "harborside")
"""What the attacker's grant names, in a pool and in schemas, and the neighbours there."""
PAIRS = dict(zip(("pool", "schema"), zip(OWN, OTHERS)))
KINDS = ("database", "media", "configuration")
EXPORTED_AT = "2026-09-09T09:09:00Z"


@dataclass
class World:
    """A platform with backups, and what it held before anybody attacked."""

    stack: Stack
    platform: saas.Platform
    console: Console
    folder: Path
    is_checked: bool

    def __post_init__(self):
        self.before = {tenant: self.live(tenant) for tenant in (*OWN, *OTHERS)}

    def live(self, tenant: str) -> tuple:
        """A digest of a tenant's rows as `psql` reads them, its files' versions, and its settings."""
        folder = self.folder / f"{tenant}-{secrets.token_hex(4)}"
        rows = compare.save(self.platform, self.platform.tenant(tenant), folder)
        return rows, versions(self.stack, tenant), settings(self.stack, tenant)

    def assert_unchanged(self, *tenants: str) -> None:
        """The tenants' live data are what they were."""
        for tenant in tenants:
            assert self.live(tenant) == self.before[tenant], f"{tenant}'s live data changed"

    def newest(self, tenant: str, kind: str) -> str:
        """The tenant's newest recovery point of a kind."""
        listed = self.console.points(tenant)
        points = [point for point in listed if point["kind"] == kind and point["state"] == "available"]
        return max(points, key=lambda point: point["scheduled_time"])["id"]

    def audit_of(self, about: str) -> list[dict]:
        """The entries of the audit trail that mention something."""
        return [entry for entry in self.console.run("audit")["entries"] if about in entry["subject"] + entry["detail"]]


@pytest.fixture(scope="module")
def checked(stack, backed_up, console, tmp_path_factory) -> World:
    """The stack of all tests."""
    return World(stack, backed_up, console, tmp_path_factory.mktemp("checked"), True)


@pytest.fixture(scope="module")
def unchecked(tmp_path_factory) -> Iterator[World]:
    """A stack of its own, with the check compiled out."""
    binaries = bootstrap.build_unguarded()
    with Stack() as stack:
        stack.deploy(binaries=binaries)
        stack.silence_schedules()
        platform = saas.build(stack, say=lambda _: None)
        with replanned(stack, platform.plan, access=[]):
            for tenant in (*OWN, *OTHERS):
                stack.invoke("export", export_item(tenant, EXPORTED_AT))
            yield World(stack, platform, Console(stack), tmp_path_factory.mktemp("unchecked"), False)


@pytest.fixture(params=["checked", "unchecked"])
def world(request) -> World:
    """Each of the two, one after the other."""
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("layout", PAIRS)
def test_a_person_without_a_grant_is_refused_every_verb_and_the_check_is_what_refuses(layout, world):
    own, other = PAIRS[layout]
    point = world.newest(other, "database")
    asked = {
        "points": {"tenant": other}, "sets": {"tenant": other}, "retention-plan": {"tenant": other},
        "vault-show": {"tenant": other, "point": point}, "vault-check": {"tenant": other},
        "vault-list": {}, "restore-list": {}, "tenants": {}, "status": {}, "alerts": {}, "audit": {}, "coverage": {},
    }
    for verb, body in asked.items():
        status, answer = post(world, verb, body)
        assert (status == 403 and "NotPermitted" in answer) if world.is_checked else status == 200, (verb, status, answer)
    acts = {"restore-request": ("request_restore", {"reason": "not mine"}), "run": ("run", {}), "references": ("run", {})}
    for verb, (action, body) in acts.items():
        if world.is_checked:
            status, answer = post(world, verb, {"tenant": other, **body})
            assert status == 403 and other in answer and "operator" in answer, (verb, answer)
            refused = [entry for entry in world.audit_of(other) if entry["act"] == f"authorise.{action}"]
            assert refused[-1]["actor"].endswith(f"/{ATTACKER}") and refused[-1]["detail"].startswith("refused"), refused
    status, answer = post(world, "points", {"tenant": own})
    assert status == 200, answer
    world.assert_unchanged(own, other)


@pytest.mark.parametrize("layout", PAIRS)
def test_a_request_for_ones_own_tenant_takes_no_recovery_point_of_another(layout, world):
    own, other = PAIRS[layout]
    for kind in KINDS:
        point = world.newest(other, kind)
        with pytest.raises(Refused) as refused:
            world.console.request(own, "another's recovery point", point, user=ATTACKER)
        assert refused.value.status == 4 and point in refused.value.said, "UnknownRecoveryPoint"
    world.assert_unchanged(own, other)


@pytest.mark.parametrize("layout", PAIRS)
def test_the_outcome_of_anothers_check_is_as_unknown_as_one_that_never_was(layout, world):
    own, other = PAIRS[layout]
    (check,) = world.console.run("vault", "check", "--tenant", other, "--point", world.newest(other, "database"), "--read-data", "1/1")["checks"]
    assert check["state"] == "sound", check
    started = json.loads(asked(world, "references", {"tenant": other}, user=ASKS))["execution"]
    never = "run_00000000-0000-7000-8000-000000000000"
    for verb, theirs, more in (
        ("vault-check-status", check["execution"], {"point": world.newest(own, "database")}),
        ("vault-check-status", check["execution"], {"point": check["point"]}),
        ("references-status", started, {}),
    ):
        answers = [post(world, verb, {"tenant": own, "execution": execution, **more}) for execution in (theirs, never)]
        assert [status for status, _ in answers] == [404, 404], answers
        assert answers[0][1].replace(theirs, never) == answers[1][1], "in the same words"
    its_own = {"tenant": other, "point": check["point"], "execution": check["execution"]}
    assert json.loads(asked(world, "vault-check-status", its_own, user=ASKS))["state"] == "sound"
    its_own = {"tenant": other, "execution": started}
    assert json.loads(asked(world, "references-status", its_own, user=ASKS))["execution"] == started


def filed_under_the_own_name(world, own, other, kind) -> tuple[list[dict], str]:
    """Another's recovery point, listed as one of the own tenant."""
    row = point_row(world, other, world.newest(other, kind))
    return [of_tenant(row, own)], row["body"]["id"]


def filed_under_the_own_vault_name(world, own, other, kind) -> tuple[list[dict], str]:
    """The same, with the own tenant's opaque name in the vault in the place of the other's."""
    row = of_tenant(point_row(world, other, world.newest(other, kind)), own)
    row["body"]["vault_tenant"] = point_row(world, own, world.newest(own, kind))["body"]["vault_tenant"]
    return [row], row["body"]["id"]


def with_the_others_content(world, own, other, kind) -> tuple[list[dict], str]:
    """A recovery point of the own tenant, said to consist of what the other's does."""
    row = point_row(world, own, world.newest(own, kind))
    theirs = point_row(world, other, world.newest(other, kind))["body"]
    row["body"].update({name: theirs[name] for name in ("vault_tenant", "sequence", "link_sha256")})
    return [row], row["body"]["id"]


FORGERIES = (
    *((filed_under_the_own_name, kind) for kind in KINDS),
    (filed_under_the_own_vault_name, "database"),
    (with_the_others_content, "database"),
)


@pytest.mark.parametrize("layout", PAIRS)
@pytest.mark.parametrize(("forgery", "kind"), FORGERIES, ids=lambda part: getattr(part, "__name__", part))
def test_a_forged_row_of_a_recovery_point_is_refused_before_anything_is_previewed(forgery: Callable, layout, kind, world):
    own, other = PAIRS[layout]
    rows, point = forgery(world, own, other, kind)
    with forged(world.stack, rows):
        request = world.console.request(own, "a forged row", point, user=ATTACKER)
        with pytest.raises(Refused) as refused:
            world.console.preview(request, user=ATTACKER)
    assert "NotAuthentic" in refused.value.said, refused.value.said
    entries = world.audit_of(request)
    assert any(entry["act"] == "restore.request" and entry["actor"].endswith(f"/{ATTACKER}") for entry in entries), entries
    assert any(entry["act"] == "restore.preview" and "NotAuthentic" in entry["detail"] for entry in entries), entries
    world.assert_unchanged(own, other)


def from_the_others_point(world, request, own, other, _) -> list[dict]:
    """The approved request, pointed at the other's recovery point, which is listed under the own tenant as well."""
    row = of_tenant(point_row(world, other, world.newest(other, "database")), own)
    request["body"]["point"] = row["body"]["id"]
    return [row, request]


def of_the_other_tenant(world, request, own, other, _) -> list[dict]:
    """The approved request, turned into one for the other tenant from its own recovery point."""
    request["body"].update(tenant=other, point=world.newest(other, "database"))
    return [request]


def with_another_requests_approval(world, request, own, other, approved_elsewhere) -> list[dict]:
    """The request with the approvals that another one was given."""
    request["body"]["approvals"] = approved_elsewhere
    return [request]


SUBSTITUTIONS = {
    from_the_others_point: "NotAuthentic",
    of_the_other_tenant: "ApprovalInvalid",
    with_another_requests_approval: "ApprovalInvalid",
}


@pytest.mark.parametrize("layout", PAIRS)
@pytest.mark.parametrize("substitution", SUBSTITUTIONS, ids=lambda substitution: substitution.__name__)
def test_an_approved_request_serves_nothing_but_what_was_approved(substitution: Callable, layout, world):
    own, other = PAIRS[layout]
    first, second = (world.console.request(own, reason, world.newest(own, "database"), user=ATTACKER) for reason in ("one", "two"))
    try:
        elsewhere = approved(world, second)["body"]["approvals"]
        rows = substitution(world, approved(world, first), own, other, elsewhere)
        with forged(world.stack, rows):
            error = refusal(world.stack, "restore", {"item": {"request": first, "step": "execute"}})
        # With the check, who asked is refused first if the request is for a tenant that was never theirs.
        is_theirs = substitution is not of_the_other_tenant
        assert error.error_type == ("NotPermitted" if world.is_checked and not is_theirs else SUBSTITUTIONS[substitution]), error
        entries = world.audit_of(first)
        assert any(entry["act"] == "restore.execute" and error.error_type in entry["detail"] for entry in entries), entries
        world.assert_unchanged(own, other)
    finally:
        for request in (first, second):
            abandon(world, request)


def test_a_grant_that_was_taken_away_stops_the_restore_that_it_allowed(checked):
    own, _ = PAIRS["schema"]
    plan = checked.platform.plan
    request = checked.console.request(own, "granted, then not", checked.newest(own, "database"), user=ATTACKER)
    try:
        row = approved(checked, request)
        for gone in (ATTACKER, APPROVES):
            access = [grant for grant in plan["access"] if grant["who"] != gone]
            with forged(checked.stack, [row]), replanned(checked.stack, plan, access=access):
                error = refusal(checked.stack, "restore", {"item": {"request": request, "step": "execute"}})
            assert error.error_type == "NotPermitted" and gone in error.error_message, error
        checked.assert_unchanged(own)
    finally:
        abandon(checked, request)


def test_a_plan_without_access_lets_nobody_do_anything_and_says_what_to_add(checked):
    with replanned(checked.stack, checked.platform.plan, access=[]):
        with pytest.raises(Refused) as refused:
            checked.console.points(OWN[0])
    assert refused.value.status == 3 and "adds `access` to it" in refused.value.said


# The catalog, as somebody who can write to it sees it -------------------------------------------------------------------------------------


def items(stack, **query) -> list[dict]:
    """Items of the catalog, their bodies parsed."""
    pages = stack.client("dynamodb").get_paginator("query").paginate(TableName=stack.outputs["TableName"], **query)
    return [parsed(item) for page in pages for item in page["Items"]]


def parsed(item: dict) -> dict:
    """An item with its body as a document."""
    return {**item, "body": json.loads(item["body"]["S"])}


def point_row(world, tenant: str, point: str) -> dict:
    """The catalog's row of a recovery point."""
    found = items(
        world.stack, KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": {"S": f"POINTS#tenant#{tenant}"}}
    )
    return next(row for row in found if row["body"]["id"] == point)


def of_tenant(row: dict, tenant: str) -> dict:
    """The row, as if it were another tenant's."""
    row = copy.deepcopy(row)
    row["pk"] = {"S": f"POINTS#tenant#{tenant}"}
    assert "tenant" in row["body"]["subject"], row["body"]["subject"]
    row["body"]["subject"] = {"tenant": tenant}
    return row


def approved(world, request: str) -> dict:
    """The row of a request that waits, as if the approver had agreed to its very preview. Nothing wakes its runbook."""
    digest = world.console.preview(request, user=ATTACKER)["digest"]
    (row,) = items(
        world.stack, KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": {"S": f"REQUEST#{request}"}}
    )
    by = {"arn": f"arn:aws:iam::{ACCOUNT}:user/{APPROVES}", "principal": f"AIDA{APPROVES}", "account": ACCOUNT}
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    row["body"].update(state="approved", approvals=[{"by": by, "at": now, "preview_digest": digest}])
    return row


@contextlib.contextmanager
def forged(stack, rows: list[dict]) -> Iterator[None]:
    """The catalog with these rows; afterwards it is what it was."""
    dynamodb, table = stack.client("dynamodb"), stack.outputs["TableName"]
    keys = [{"pk": row["pk"], "sk": row["sk"]} for row in rows]
    originals = [dynamodb.get_item(TableName=table, Key=key).get("Item") for key in keys]
    try:
        for row in rows:
            dynamodb.put_item(TableName=table, Item={**row, "body": {"S": json.dumps(row["body"], ensure_ascii=False)}})
        yield
    finally:
        for key, original in zip(keys, originals):
            if original:
                dynamodb.put_item(TableName=table, Item=original)
            else:
                dynamodb.delete_item(TableName=table, Key=key)


def abandon(world, request: str) -> None:
    """Ends a request that waits."""
    error = {"Error": "ApprovalInvalid", "Cause": "the test is over"}
    world.stack.invoke("restore", {"item": {"request": request, "step": "abandon", "error": error}})


def post(world, verb: str, body: dict, user: str = ATTACKER) -> tuple[int, str]:
    """Calls the operator, as the attacker unless as somebody else."""
    return signed.post(world.stack.outputs["OperatorUrl"] + f"v1/{verb}", body, world.stack.credentials(user), REGION)


def asked(world, verb: str, body: dict, user: str) -> str:
    """The answer to a call that is served."""
    status, answer = post(world, verb, body, user)
    assert status == 200, (verb, status, answer)
    return answer


def versions(stack, tenant: str) -> list[tuple]:
    """Every version and delete marker of a tenant's files."""
    pages = stack.client("s3").get_paginator("list_object_versions").paginate(
        Bucket=saas.MEDIA_BUCKET, Prefix=f"tenants/{tenant}/"
    )
    found = (one for page in pages for kind in ("Versions", "DeleteMarkers") for one in page.get(kind, ()))
    return sorted((one["Key"], one["VersionId"], one["IsLatest"]) for one in found)


def settings(stack, tenant: str) -> list[tuple]:
    """Every parameter and secret of a tenant, with its value."""
    ssm, manager, below = stack.client("ssm"), stack.client("secretsmanager"), f"platform/tenants/{tenant}/"
    found = []
    for page in ssm.get_paginator("get_parameters_by_path").paginate(Path=f"/{below}", Recursive=True, WithDecryption=True):
        found += [(one["Name"], one["Version"], one["Value"]) for one in page["Parameters"]]
    for page in manager.get_paginator("list_secrets").paginate(IncludePlannedDeletion=True):
        names = [one["Name"] for one in page["SecretList"] if one["Name"].startswith(below)]
        found += [(name, "", manager.get_secret_value(SecretId=name)["SecretString"]) for name in names]
    return sorted(found)
