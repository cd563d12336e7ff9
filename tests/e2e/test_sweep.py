"""The sweep deletes what no recovery point needs, and neither a lock nor a delete marker nor an export at the same moment makes it err."""

import datetime
import json
from concurrent.futures import ThreadPoolExecutor

import compare
import psql
import pytest
from deliver import export_item, tick
from planned import retained
from slots import unused_second

TENANT = "fjordline"
KEEP_THE_NEWEST = {
    "keep_all_days": 0, "daily": 0, "weekly": 0, "monthly": 0, "yearly": 0, "min_proven": 1, "max_expire_per_run": 1000, "apply": True
}
# The sweep asks for no lock that the tick's time says must stand: years later none does, and only the vault itself keeps what is locked.
TICKS = [f"203{year}-03-01T07:00:00Z" for year in range(1, 10)]


@pytest.fixture(scope="module")
def vault(stack, backed_up):
    return Vault(stack)


@pytest.fixture(scope="module")
def tenant(platform):
    return platform.tenant(TENANT)


@pytest.fixture(scope="module")
def three(stack, backed_up, platform, tenant, console, vault):
    """Three exports, of which the second finds the locks of what it shares at their end."""
    made = []
    for day in (1, 2, 3):
        asked_at = unused_second()
        if day == 2:
            vault.end_locks()
        change(platform, tenant, day)
        stack.invoke("export", export_item(TENANT, asked_at))
        made.append({point["kind"]: point for point in console.available(TENANT) if point["scheduled_time"] == asked_at})
    yield made
    # The tenant is what it was, and so is what its newest recovery point holds.
    platform.rebuild(tenant)
    stack.invoke("export", export_item(TENANT, unused_second()))


def change(platform, tenant, day):
    psql.run_script(platform.dsn(tenant), f"SET search_path = {psql.identifier(tenant.table_schema)}; UPDATE notes SET label = label || '{day}';")


def sweep(stack, plan, console, at: str, apply: bool = True) -> dict:
    with retained(stack, plan, console, **{**KEEP_THE_NEWEST, "apply": apply}):
        return stack.invoke("retention", tick("sweep-daily", at))["swept"]


def test_what_an_export_shares_is_locked_again_before_it_is_published(three, vault, console):
    first, second = (console.run("vault", "show", "--tenant", TENANT, "--point", point["database"]["id"]) for point in three[:2])
    runs = {pack["run"] for pack in second["link"]["packs"]}
    shared = [pack["pack"] for pack in second["link"]["packs"] if pack["run"] != second["link"]["run"]]
    assert shared and len(runs) > 1 and first, "nothing was shared, so this proves nothing"
    month = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=30)
    locks = {key: until for key, until in vault.locks(second["vault_tenant"]).items() if any(part in key for part in [*shared, *runs])}
    needed = {key: until for key, until in locks.items() if "/packs/" in key or "/keys/" in key}
    assert len(needed) >= len(shared) + len(runs) - 1 and all(until > month for until in needed.values()), needed


def test_garbage_goes_once_its_lock_has_ended_and_the_rest_restores(three, stack, backed_up, platform, tenant, console, saved, vault, may_lose):
    with retained(stack, backed_up.plan, console, **KEEP_THE_NEWEST):
        assert stack.invoke("retention", tick("retention-daily", TICKS[0]))["expired"] > 0
    everything, held = vault.versions(), vault.locked()

    told = sweep(stack, backed_up.plan, console, TICKS[0], apply=False)
    assert told["garbage"] > 0 and told["garbage_bytes"] > 0 and told["condemned"] == 0, told
    assert vault.versions() == everything
    first = sweep(stack, backed_up.plan, console, TICKS[1])
    assert first["deleted"] > 0 < first["locked"], f"of the first export the locks are over, but not of the second: {first}"
    kept = vault.versions()
    assert held <= kept < everything and len(everything - kept) == first["deleted"]
    assert states(console, three[1]) == {"expired"}

    vault.end_locks()
    newest = three[2]["database"]
    shown = console.run("vault", "show", "--tenant", TENANT, "--point", newest["id"])
    # A marker hides the link that says what is needed, and a pack. Neither makes them garbage.
    hidden = [f"v1/t/{shown['vault_tenant']}/chain/{shown['sequence']:012}", f"v1/t/{shown['vault_tenant']}/packs/{shown['link']['packs'][0]['pack']}"]
    with vault.hidden(*hidden):
        swept = sweep(stack, backed_up.plan, console, TICKS[2])
    assert swept["deleted"] == swept["condemned"] > 0 and swept["points"] > 0 and swept["waiting"] == swept["more"] == 0, swept
    left = vault.versions()
    assert left < kept and len(kept - left) == swept["deleted"]
    assert sweep(stack, backed_up.plan, console, TICKS[3])["garbage"] == 0, "nothing is left for a second sweep"
    assert states(console, three[0]) == states(console, three[1]) == {"swept"}
    acts = [entry["phase"] for entry in console.run("audit")["entries"] if entry["act"] == "vault.sweep"]
    assert acts.count("intent") == acts.count("outcome") > 0

    for tenant_of in backed_up.tenants:
        for point in console.available(tenant_of.id):
            stack.invoke("verify", {"item": {"tenant": tenant_of.id, "recovery_point": point["id"], "read_data": "1/1", "restore_test": False}})
    with may_lose(tenant):
        before = saved.now(tenant)
        psql.run_script(platform.dsn(tenant), f"SET search_path = {psql.identifier(tenant.table_schema)}; UPDATE notes SET label = 'lost';")
        console.restore(TENANT, point=newest["id"])
        assert not compare.differences(before, saved.now(tenant))


def test_exports_beside_sweeps_lose_nothing(three, stack, backed_up, platform, tenant, console, vault):
    for round in range(2):
        asked_at = unused_second()
        change(platform, tenant, round)
        with retained(stack, backed_up.plan, console, **KEEP_THE_NEWEST):
            stack.invoke("retention", tick("retention-daily", TICKS[4 + round]))
            vault.end_locks()
            with ThreadPoolExecutor(2) as both:
                export = both.submit(stack.invoke, "export", export_item(TENANT, asked_at))
                swept = both.submit(stack.invoke, "retention", tick("sweep-daily", TICKS[4 + round]))
                export.result(), swept.result()
        for point in (point for point in console.available(TENANT) if point["scheduled_time"] == asked_at):
            stack.invoke("verify", {"item": {"tenant": TENANT, "recovery_point": point["id"], "read_data": "1/1", "restore_test": False}})
        assert console.available(TENANT)


def states(console, points: dict) -> set[str]:
    found = {point["id"]: point["state"] for point in console.points(TENANT)}
    return {found[point["id"]] for point in points.values()}


class Vault:
    """The vault's bucket as its administrator sees it."""

    def __init__(self, stack):
        self.s3, self.bucket = stack.client("s3"), stack.outputs["VaultBucketName"]

    def _listed(self, prefix: str = "v1/t/"):
        pages = self.s3.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=prefix)
        return [version for page in pages for version in page.get("Versions", [])]

    def versions(self) -> set[tuple[str, str]]:
        return {(version["Key"], version["VersionId"]) for version in self._listed()}

    def locks(self, vault_tenant: str) -> dict[str, datetime.datetime]:
        return {version["Key"]: self._until(version) for version in self._listed(f"v1/t/{vault_tenant}/")}

    def locked(self) -> set[tuple[str, str]]:
        now = datetime.datetime.now(datetime.UTC)
        return {(version["Key"], version["VersionId"]) for version in self._listed() if self._until(version) > now}

    def _until(self, version: dict) -> datetime.datetime:
        found = self.s3.get_object_retention(Bucket=self.bucket, Key=version["Key"], VersionId=version["VersionId"])
        return found["Retention"]["RetainUntilDate"]

    def end_locks(self, prefix: str = "v1/t/"):
        """Lets the time pass after which nothing is locked any more, which only the emulator can: it takes an instant that is past."""
        policy = self.s3.get_bucket_policy(Bucket=self.bucket)["Policy"]
        statements = json.loads(policy)
        statements["Statement"] = [s for s in statements["Statement"] if s["Sid"] != "NobodyLiftsALock"]
        self.s3.put_bucket_policy(Bucket=self.bucket, Policy=json.dumps(statements))
        past = {"Mode": "GOVERNANCE", "RetainUntilDate": datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=1)}
        for version in self._listed(prefix):
            self.s3.put_object_retention(
                Bucket=self.bucket, Key=version["Key"], VersionId=version["VersionId"], Retention=past, BypassGovernanceRetention=True
            )
        self.s3.put_bucket_policy(Bucket=self.bucket, Policy=policy)

    def hidden(self, *keys):
        return Hidden(self, keys)


class Hidden:
    """Objects behind a delete marker, for a while."""

    def __init__(self, vault: Vault, keys):
        self.vault, self.keys = vault, keys

    def __enter__(self):
        self.markers = [(key, self.vault.s3.delete_object(Bucket=self.vault.bucket, Key=key)["VersionId"]) for key in self.keys]

    def __exit__(self, *_):
        for key, marker in self.markers:
            self.vault.s3.delete_object(Bucket=self.vault.bucket, Key=key, VersionId=marker)
