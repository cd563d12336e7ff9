"""The catalog is a cache: when every item of it is gone, it is made again from the vault, and a tenant comes back from what was recorded
again. What somebody planted in the vault is named and believed nowhere."""

import json
from datetime import datetime, timezone

import pytest
from deliver import export_item, tick
from slots import as_text
from tampered import planted

DONE, DAMAGED = 0, 6
LOST_WITH_THE_TABLE = {"proof", "proven_at", "rto_ms", "refuted_at", "findings", "held"}
"""What the vault does not know."""
VICTIM = "grovebank"
AUDIT = "AUDIT"


class Table:
    """The catalog's table, item by item."""

    def __init__(self, stack):
        self._client, self._name = stack.client("dynamodb"), stack.outputs["TableName"]

    def items(self) -> list[dict]:
        """All of it."""
        return [item for page in self._client.get_paginator("scan").paginate(TableName=self._name) for item in page["Items"]]

    def known(self) -> dict:
        """What it says of tenants and recovery points, by key."""
        kept = ("TENANTS", "POINTS#")
        return {(item["pk"]["S"], item["sk"]["S"]): item["body"]["S"] for item in self.items() if item["pk"]["S"].startswith(kept)}

    def lose(self) -> None:
        """Deletes all of it."""
        for item in self.items():
            self._client.delete_item(TableName=self._name, Key={"pk": item["pk"], "sk": item["sk"]})

    def put_back(self, items: list[dict]) -> None:
        """Writes items as they were."""
        for item in items:
            self._client.put_item(TableName=self._name, Item=item)


@pytest.fixture
def table(stack, with_snapshots, console):
    """The catalog, which is afterwards what it was, and knows of what was stored meanwhile."""
    table = Table(stack)
    items = table.items()
    yield table
    table.lose()
    table.put_back(items)
    rebuild(stack)


def rebuild(stack, *arguments: str) -> tuple[int, dict]:
    """Has the catalog made again; the exit status and the answer."""
    done = stack.cli("--output", "json", "catalog", "rebuild", *arguments, timeout=600)
    assert done.returncode in (DONE, DAMAGED), done.stderr
    return done.returncode, json.loads(done.stdout)


def points(console) -> dict[str, dict]:
    """Every recovery point that is available, as the command lists it, without what only the catalog knows."""
    listed = [point for tenant in console.run("tenants")["tenants"] for point in console.points(tenant["tenant"])]
    listed += [point for point in console.points() if "instance" in point]
    available = [point for point in listed if point["state"] == "available"]
    return {point["id"]: {key: value for key, value in point.items() if key not in LOST_WITH_THE_TABLE} for point in available}


def of_the_platform(found: dict[str, dict], platform) -> dict[str, dict]:
    """Without those of tenants that other tests let come and go; the keys of some are gone."""
    listed = {tenant.id for tenant in platform.tenants}
    return {name: point for name, point in found.items() if "tenant" not in point or point["tenant"] in {*listed, "@central"}}


def without_settings(found: dict[str, dict]) -> dict[str, dict]:
    """Settings of an instance are those of today after a rebuild, and a snapshot's slot has been tried once."""
    return {name: {key: value for key, value in point.items() if key not in ("settings", "attempts")} for name, point in found.items()}


def certain(found: dict[str, dict], before: dict[str, dict]) -> dict:
    """All of a recovery point that one run made. Of one that two made, that it is there: a link says that its run had stored everything,
    not that it was published, and either serves."""
    known = {name: point for name, point in without_settings(found).items() if name in before}
    return {name: point if before[name]["attempts"] == 1 else point["scheduled_time"] for name, point in known.items()}


def chain(stack, console, tenant: str) -> tuple[str, int]:
    """Where a tenant's chain lies, and its last place."""
    links = console.run("vault", "ls", "--tenant", tenant)["links"]
    shown = console.run("vault", "show", "--tenant", tenant, "--point", links[0]["point"])
    return f"v1/t/{shown['vault_tenant']}/chain/", max(link["sequence"] for link in links)


def test_an_intact_catalog_is_left_as_it_is(stack, table, console):
    before = table.known()
    _, answer = rebuild(stack)
    recorded = [answer[name] for name in ("tenants_recorded", "tenants_renamed", "points_recorded", "snapshots_recorded")]
    assert recorded == [0, 0, 0, 0] and answer["points_known"] > 30 and answer["snapshots_known"] > 1, answer
    assert table.known() == before


def test_a_lost_catalog_is_made_again_and_a_tenant_comes_back_from_it(stack, table, backed_up, console, saved, may_lose):
    before, known = of_the_platform(points(console), backed_up), table.known()
    elsewhere, last = chain(stack, console, VICTIM)
    foreign, _ = chain(stack, console, "borealis")
    s3, bucket = stack.client("s3"), stack.outputs["VaultBucketName"]
    of_another = s3.get_object(Bucket=bucket, Key=f"{foreign}{1:012}")["Body"].read()
    line, signature = s3.get_object(Bucket=bucket, Key=f"{elsewhere}{1:012}")["Body"].read().rstrip(b"\n").split(b"\n")
    forged = json.dumps({**json.loads(line), "sequence": last + 1}, separators=(",", ":")).encode() + b"\n" + signature + b"\n"

    table.lose()
    status, told = rebuild(stack, "--dry-run")
    # What other tests left: erased tenants whose keys are going are no longer known as such, and cannot be read.
    tolerated = set(told["problems"])
    assert told["dry_run"] and told["points_recorded"] >= len([one for one in before.values() if "tenant" in one]), told
    assert not table.known(), "a dry run records nothing"
    assert "holds" in told["not_in_the_vault"] and "proofs" in told["not_in_the_vault"]

    with planted(stack, f"{elsewhere}{last + 1:012}", forged), planted(stack, f"{elsewhere}{last + 2:012}", of_another):
        status, answer = rebuild(stack)
    assert status == DAMAGED
    named = set(answer["problems"]) - tolerated
    assert len(named) == 2 and all("signature" in one or "belongs" in one for one in named), named
    assert {place for place in (last + 1, last + 2) for one in named if f"{place:012}" in one} == {last + 1, last + 2}
    again = table.known()
    tenants = {key[1] for key in again if key[0] == "TENANTS"}
    assert answer["tenants_recorded"] == len(tenants) and {tenant.id for tenant in backed_up.tenants} <= tenants, answer
    after = points(console)
    assert certain(after, before) == certain(before, before)
    assert all(json.loads(again[key])["vault_tenant"] == json.loads(known[key])["vault_tenant"] for key in again if key[0] == "TENANTS")

    status, second = rebuild(stack)
    assert (second["tenants_recorded"], second["points_recorded"], second["snapshots_recorded"]) == (0, 0, 0), second
    assert set(second["problems"]) <= tolerated and table.known() == again

    tenant = backed_up.tenant(VICTIM)
    newest = console.newest(VICTIM)
    assert newest["id"] in before and newest["proof"] == "unproven"
    with may_lose(tenant):
        backed_up.destroy(tenant)
        assert console.restore(VICTIM, "the catalog was lost, and then the tenant", point=newest["id"])["state"] == "proven"
        saved.assert_back(tenant)


def test_tenants_that_were_met_anew_before_the_rebuild_get_their_old_names_back(stack, table, backed_up, console):
    known = {key: json.loads(body) for key, body in table.known().items() if key[0] == "TENANTS"}
    have_backups = {("TENANTS", point["tenant"]) for point in points(console).values() if "tenant" in point}
    table.lose()
    # It reads the register, and meets everybody for the first time.
    stack.invoke("reconcile", tick("reconcile", datetime.now(timezone.utc)))
    drawn = {key: json.loads(body)["vault_tenant"] for key, body in table.known().items() if key[0] == "TENANTS"}
    assert drawn and all(known[key]["vault_tenant"] != name for key, name in drawn.items())
    _, answer = rebuild(stack)
    # Who was never backed up has nothing to go back to.
    assert answer["tenants_renamed"] == len(have_backups & drawn.keys()) > 12, answer
    now = {key: json.loads(body)["vault_tenant"] for key, body in table.known().items() if key[0] == "TENANTS"}
    backed_up_tenants = {("TENANTS", point["tenant"]) for point in points(console).values() if "tenant" in point}
    assert len(backed_up_tenants) > 12 and all(known[key]["vault_tenant"] == now[key] for key in backed_up_tenants)
    # The next backup goes on in the old chain, and shares what is stored.
    slot = datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    stack.invoke("export", {"item": {"tenant": "borealis", "requested_at": slot}})
    assert not console.newest("borealis")["full"]
    assert console.run("vault", "check", "--tenant", "borealis")["findings"] == []


def test_a_tenant_that_was_backed_up_under_a_new_name_before_the_rebuild_goes_by_both(stack, table, backed_up, console):
    row, before = ("TENANTS", VICTIM), points(console)
    old = json.loads(table.known()[row])["vault_tenant"]
    table.lose()
    stack.invoke("export", export_item(VICTIM, as_text(datetime.now(timezone.utc).replace(microsecond=0))))
    new = json.loads(table.known()[row])
    assert new["vault_tenant"] != old and "former" not in new
    told = rebuild(stack, "--dry-run")[1]
    assert told["names_recorded"] == 1 and json.loads(table.known()[row]) == new
    status, answer = rebuild(stack)
    assert answer["names_recorded"] == 1, answer
    made_again = json.loads(table.known()[row])
    assert (made_again["vault_tenant"], made_again["former"]) == (new["vault_tenant"], [old])
    of_the_tenant = {name for name, point in before.items() if point.get("tenant") == VICTIM}
    listed = {point["id"] for point in console.points(VICTIM) if point["state"] == "available"}
    assert of_the_tenant < listed, "what lies under either name is there to restore from"
    for point in listed:
        assert stack.invoke("verify", {"item": {"tenant": VICTIM, "recovery_point": point, "restore_test": False}})["bad"] == 0
    checked = console.run("vault", "check", "--tenant", VICTIM)
    assert [former["vault_tenant"] for former in checked["former"]] == [old] and checked["findings"] == []
    assert {point["vault_tenant"] for point in checked["points"]} == {old, new["vault_tenant"]}
    left = table.known()
    assert rebuild(stack)[1]["names_recorded"] == 0 and table.known() == left


def test_only_those_who_recover_environments_have_the_catalog_made_again(stack, backed_up):
    refused = stack.cli("catalog", "rebuild", "--dry-run", user="ops-cleo")
    assert refused.returncode == 3 and "recovery" in refused.stderr, refused.stderr
