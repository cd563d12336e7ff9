"""The break-glass script gets tenants back from the bucket and two keys, by its README, and takes nothing that was touched.

No code of Holdfast takes part after the export: rights, script, psql and pg_restore are as the README has them, and
psql and pg_dump judge.
"""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import compare
import psql
import psycopg
import pytest
from deliver import export_item
from paths import ROOT, postgres_bin
from saas import load

GLASS = ROOT / "docs" / "break-glass"
README = (GLASS / "README.md").read_text(encoding="utf-8")
SCRIPT_SECONDS = 300
USER = "break-glass"

# The last makes a row of 9 MB, which no chunk holds whole.
CHANGES = (
    "DELETE FROM app.notes WHERE label < 'm'",
    "UPDATE app.tickets SET body = NULL WHERE ticket_id % 97 = 0",
    "UPDATE app.tickets SET body = repeat('long row, ', 900000) WHERE ticket_id = 8",
)
OWN_DATABASE, POOLED, INCREMENTAL, UNTOLD = "delta-foods", "juniper-law", "emberlight", "irisclinic"


def read_me(language: str) -> list:
    """The code blocks of one language in the README."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@dataclass
class Glass:
    """The script, run as whoever the README's policies were given to."""

    stack: object
    console: object
    environment: dict
    public_key: Path
    folder: Path

    def where(self, point: str) -> str:
        """The vault's id of the tenant that a recovery point is of, found by the point's key alone."""
        return re.match(r"v1/t/(vt_[^/]+)/", next(key for key in self.keys("v1/t/") if f"/points/{point}/" in key))[1]

    @property
    def bucket(self) -> str:
        """The vault's bucket."""
        return self.stack.outputs["VaultBucketName"]

    def read(self, key: str) -> bytes:
        """An object, read by the account's root."""
        return self.stack.client("s3").get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def keys(self, prefix: str) -> list[str]:
        """The keys of the objects under a prefix."""
        pages = self.stack.client("s3").get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [found["Key"] for page in pages for found in page.get("Contents", ())]

    def run(self, vault_tenant: str, *arguments: object, place: Path | None = None) -> subprocess.CompletedProcess:
        """Runs the script on the bucket, or on a copy of it."""
        source = ("--directory", place) if place else ("--bucket", self.bucket)
        command = [
            sys.executable, "-B", GLASS / "holdfast_break_glass.py", *source, "--prefix-tenant", vault_tenant,
            "--key-arn", self.stack.outputs["VaultKeyArn"], "--signing-public-key", self.public_key, *arguments,
        ]
        return subprocess.run(
            list(map(str, command)), env=self.environment, capture_output=True, text=True, timeout=SCRIPT_SECONDS
        )

    def opened(self, point: str, *arguments: str) -> Path:
        """A recovery point's content, opened from the bucket."""
        out = self.folder / "".join([point, *arguments])
        if not out.exists():
            done = self.run(self.where(point), "--point", point, "--out", out, *arguments)
            assert done.returncode == 0, done.stderr
        return out

    def copied(self, vault_tenant: str, folder: Path) -> Path:
        """A plain copy of a tenant's objects."""
        for key in self.keys(f"v1/t/{vault_tenant}/"):
            file = folder / key
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(self.read(key))
        return folder


@pytest.fixture(scope="module")
def glass(stack, backed_up, console, tmp_path_factory):
    """Somebody with the rights of the README, for three tenants; the key's policy is put back afterwards."""
    folder = tmp_path_factory.mktemp("glass")
    iam, kms = stack.client("iam"), stack.client("kms")
    vault_key = stack.outputs["VaultKeyArn"]
    principal = iam.create_user(UserName=USER)["User"]["Arn"]
    key = iam.create_access_key(UserName=USER)["AccessKey"]
    statement, policy = read_me("json")
    policy = policy.replace("BUCKET", stack.outputs["VaultBucketName"])
    iam.put_user_policy(UserName=USER, PolicyName="read", PolicyDocument=policy)
    environment = {**stack.env(), "AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    public_key = folder / "signing-key.der"
    public_key.write_bytes(kms.get_public_key(KeyId=stack.outputs["SigningKeyArn"])["PublicKey"])
    made = Glass(stack, console, environment, public_key, folder)

    told = [made.where(console.newest(tenant)["id"]) for tenant in (OWN_DATABASE, POOLED, INCREMENTAL)]
    granted = json.loads(statement.replace("PRINCIPAL_ARN", principal))
    granted["Condition"]["StringEquals"]["kms:EncryptionContext:tenant"] = told
    before = kms.get_key_policy(KeyId=vault_key, PolicyName="default")["Policy"]
    during = json.loads(before)
    during["Statement"].append(granted)
    kms.put_key_policy(KeyId=vault_key, PolicyName="default", Policy=json.dumps(during))
    yield made
    kms.put_key_policy(KeyId=vault_key, PolicyName="default", Policy=before)


@pytest.fixture
def scratch(stack):
    """Makes an empty database beside a tenant's own: `scratch(tenant)` is the tenant as if it lived there."""
    made = []

    def make(tenant):
        elsewhere = replace(tenant, database="break glass")
        load.create_database(stack, elsewhere.instance, elsewhere.database)
        made.append(elsewhere)
        return elsewhere

    yield make
    for elsewhere in made:
        load.drop_database(stack, elsewhere.instance, elsewhere.database)


def test_a_tenant_with_a_database_comes_back_into_an_empty_one(glass, platform, console, saved, scratch, tmp_path):
    tenant = platform.tenant(OWN_DATABASE)
    out = glass.opened(console.newest(tenant.id)["id"])
    back = put_back(platform, scratch(tenant), out, tmp_path / "back")
    assert not compare.differences(saved.folder / "before" / tenant.id, back)
    assert json.loads((out / "facts.json").read_text())["database"] == tenant.database
    assert not list(out.rglob("*.partial"))


@pytest.mark.parametrize("way", ["as COPY text", "as CSV"])
def test_a_pools_rows_come_back_in_a_database_of_their_own(way, glass, platform, console, saved, scratch, tmp_path):
    tenant = platform.tenant(POOLED)
    out = glass.opened(console.newest(tenant.id)["id"], *(["--csv"] if way == "as CSV" else []))
    elsewhere = scratch(tenant)
    psql.run_script(platform.dsn(elsewhere), program("pg_dump", "--section=pre-data", "--dbname", platform.dsn(tenant)))
    (load_csv if way == "as CSV" else load_rows)(platform.dsn(elsewhere), out)
    compare.save(platform, elsewhere, tmp_path / "back")
    assert not compare.differences(saved.folder / "before" / tenant.id, tmp_path / "back")


def test_an_incremental_recovery_point_gives_what_holdfasts_own_restore_gives(
    stack, glass, platform, console, may_lose, scratch, tmp_path
):
    tenant, asked_at = platform.tenant(INCREMENTAL), "2026-10-05T08:00:00Z"
    with may_lose(tenant):
        psql.execute(platform.dsn(tenant), *CHANGES)
        compare.save(platform, tenant, tmp_path / "live")
        stack.invoke("export", export_item(tenant.id, asked_at))
        point = next(found["id"] for found in console.available(tenant.id) if found["scheduled_time"] == asked_at)
        out = glass.opened(point)
        back = put_back(platform, scratch(tenant), out, tmp_path / "back")
        assert not compare.differences(tmp_path / "live", back)

        platform.destroy(tenant)
        console.restore(tenant.id, "to compare the two", point)
        compare.save(platform, tenant, tmp_path / "own")
        assert compare.fingerprint(tmp_path / "own") == compare.fingerprint(back)
    assert any(len(line) > 4 << 20 for file in (out / "streams").iterdir() for line in file.open("rb"))
    runs = {pack["run"] for pack in link_of(glass, point)["packs"]}
    assert len(runs) > 1, "nothing of an earlier run was used again, so this would prove nothing of incremental ones"


def test_the_chain_is_listed_with_whose_it_is(glass, platform, console):
    for tenant_id in (OWN_DATABASE, POOLED):
        point = console.newest(tenant_id)["id"]
        done = glass.run(glass.where(point), "--list")
        assert done.returncode == 0, done.stdout + done.stderr
        assert point in done.stdout and tenant_id in done.stdout


def test_the_rights_are_one_tenants_and_the_key_record_is_named(glass, console, tmp_path):
    vault_tenant = glass.where(console.newest(UNTOLD)["id"])
    done = glass.run(vault_tenant, "--latest", "--out", tmp_path / "out")
    assert done.returncode == 1 and f"v1/t/{vault_tenant}/keys/" in done.stderr
    assert not (tmp_path / "out").exists(), "what cannot be opened leaves nothing"


@pytest.fixture(scope="module")
def copy(glass, console) -> tuple[str, int, Path]:
    """A tenant's objects on disk, its vault id, and where its newest recovery point of the database stands in the chain."""
    point = console.newest(OWN_DATABASE)["id"]
    vault_tenant = glass.where(point)
    return vault_tenant, link_of(glass, point)["sequence"], glass.copied(vault_tenant, glass.folder / "copy")


def test_a_plain_copy_of_the_bucket_does_as_well(glass, console, copy, tmp_path):
    vault_tenant, sequence, place = copy
    done = glass.run(vault_tenant, "--sequence", sequence, "--out", tmp_path / "out", place=place)
    assert done.returncode == 0, done.stderr
    assert files(tmp_path / "out") == files(glass.opened(console.newest(OWN_DATABASE)["id"]))


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1:]


DAMAGE = {
    "flipped byte": flipped,
    "cut short": lambda content: content[:-1],
    "a byte more": lambda content: content + b"\0",
    "gone": None,
}
PARTS = ("chain", "points", "lists", "packs", "keys/run", "keys/dedup")


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("part", PARTS)
def test_a_damaged_object_is_named_and_nothing_is_called_whole(part, damage, glass, copy, tmp_path):
    vault_tenant, sequence, place = copy
    link = json.loads((place / f"v1/t/{vault_tenant}/chain/{sequence:012}").read_bytes().splitlines()[0])
    key = f"v1/t/{vault_tenant}/" + {
        "chain": f"chain/{sequence:012}",
        "points": f"points/{link['point']}/{link['run']}",
        "lists": f"lists/{link['run']}/00000000",
        "packs": f"packs/{link['packs'][-1]['id']}",
        "keys/run": f"keys/{link['run']}",
        "keys/dedup": "keys/dedup",
    }[part]
    shutil.copytree(place, tmp_path / "copy")
    file = tmp_path / "copy" / key
    if damage:
        file.write_bytes(damage(file.read_bytes()))
    else:
        file.unlink()
    done = glass.run(vault_tenant, "--sequence", sequence, "--out", tmp_path / "out", place=tmp_path / "copy")
    assert done.returncode == 1
    assert key in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out" / "names.json").exists()


def test_a_link_somebody_else_signed_is_refused(glass, copy, tmp_path):
    vault_tenant, sequence, place = copy
    other = glass.stack.client("kms").create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    stranger = tmp_path / "stranger.der"
    stranger.write_bytes(glass.stack.client("kms").get_public_key(KeyId=other)["PublicKey"])
    done = replace(glass, public_key=stranger).run(vault_tenant, "--sequence", sequence, "--out", tmp_path / "out", place=place)
    assert done.returncode == 1 and "signature" in done.stderr and f"chain/{sequence:012}" in done.stderr


def put_back(platform, elsewhere, out: Path, folder: Path) -> Path:
    """Restores what was opened into an empty database as the README has it, and saves what is then there."""
    dsn = platform.dsn(elsewhere)
    psql.run_script(dsn, program("pg_restore", "-f", "-", *(out / "documents").glob("*_pre-data")))
    load_rows(dsn, out)
    psql.run_script(dsn, program("pg_restore", "-f", "-", *(out / "documents").glob("*_post-data")))
    compare.save(platform, elsewhere, folder)
    return folder


def load_rows(dsn: str, out: Path) -> None:
    """Loads the rows with the script that the README's own lines write."""
    lines = re.search(r"<< 'END'\n(.*?)^END$", README, re.MULTILINE | re.DOTALL)[1]
    script = subprocess.run([sys.executable, "-", out], input=lines, capture_output=True, text=True, check=True).stdout
    psql.run_script(dsn, script)


def load_csv(dsn: str, out: Path) -> None:
    """Loads rows that were opened as CSV. Not by `psql`, which ends a CSV file at a line that only looks like its end."""
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        for file, stream in json.loads((out / "names.json").read_text())["streams"].items():
            columns = ", ".join(map(psql.identifier, stream["columns"]))
            with cursor.copy(f"COPY {stream['name']} ({columns}) FROM STDIN WITH (FORMAT csv, HEADER)") as copying:
                copying.write((out / file).read_bytes())


def program(name: str, *arguments: object) -> str:
    """What one of PostgreSQL's programs writes."""
    return subprocess.run([postgres_bin() / name, *map(str, arguments)], capture_output=True, text=True, check=True).stdout


def files(out: Path) -> dict[str, bytes]:
    """Everything that was written, by name."""
    return {str(file.relative_to(out)): file.read_bytes() for file in out.rglob("*") if file.is_file()}


def link_of(glass: Glass, point: str) -> dict:
    """The link of a recovery point, as anybody may read it."""
    links = (json.loads(glass.read(key).splitlines()[0]) for key in glass.keys(f"v1/t/{glass.where(point)}/chain/"))
    return next(link for link in links if link["point"] == point)
