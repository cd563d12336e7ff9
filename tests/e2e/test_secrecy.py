"""What must not be readable is not: no tenant's words in the vault, no secret's value anywhere."""

import base64
import json
import re
import zlib

import pytest
import saas.configuration
from paths import FUNCTIONS

WELL_KNOWN_TEXTS = (
    "holdfast-canary", "Sehr geehrte Damen und Herren", "a long transcript of", "Order Lines", "Größe & Gewicht",
    "customer_turnover", "Product № ", "CREATE TABLE", "DROP TABLE customers", "uploads/000.txt", "payment-provider", "smtp/host", "customers_email_ci",
)
SHORTEST_NAME = 8
"""Shorter words are found in a few megabytes of random bytes too."""

OPAQUE_KEY = re.compile(r"v1/t/vt_[0-9a-f-]{36}/[A-Za-z0-9_./-]+")


@pytest.fixture(scope="module")
def stored(stack, backed_up) -> dict[str, bytes]:
    """Every version of every object in the vault."""
    s3, bucket, found = stack.client("s3"), stack.outputs["VaultBucketName"], {}
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for version in page.get("Versions", ()):
            key, version_id = version["Key"], version["VersionId"]
            answer = s3.get_object(Bucket=bucket, Key=key, VersionId=version_id)
            found[f"{key} ({version_id}) {json.dumps(answer['Metadata'])}"] = answer["Body"].read()
    assert found, "the vault is empty, so this would prove nothing"
    return found


def test_the_vault_holds_no_readable_word_of_a_tenant_names_included(stored, backed_up):
    words = {text.encode() for text in WELL_KNOWN_TEXTS}
    for tenant in backed_up.tenants:
        shown = (tenant.display_name, tenant.display_name.split()[0])
        names = (tenant.id, *shown, tenant.database, tenant.table_schema, f"@{tenant.id}.example")
        words |= {name.encode() for name in names if len(name.encode()) >= SHORTEST_NAME}
        words |= encodings(tenant.row_canary) | encodings(tenant.secret_canary)
    everything = b"\n".join(name.encode() + b"\n" + content for name, content in stored.items()).lower()
    readable = {word for word in words if word.lower() in everything}
    assert not readable, [name for name, content in stored.items() if any(word.lower() in content.lower() for word in readable)]


def test_the_names_of_stored_objects_say_nothing(stored, backed_up):
    for name in stored:
        assert OPAQUE_KEY.match(name), name
        assert not [tenant.id for tenant in backed_up.tenants if tenant.id in name], name


def test_what_is_stored_does_not_compress(stored):
    large = {name: content for name, content in stored.items() if len(content) > 4096}
    loose = {name for name, content in large.items() if len(zlib.compress(content, 1)) < 0.98 * len(content)}
    assert large and not loose, "ciphertext has no patterns"


def test_no_secret_reaches_the_vault_the_catalog_a_log_or_an_alert(stack, stored, backed_up, inbox, console):
    inbox.new()
    passwords = {stack.password(tenant.instance) for tenant in backed_up.tenants} | {stack.password("platform-central")}
    secrets = set().union(*(encodings(tenant.secret_canary) for tenant in backed_up.tenants))
    secrets |= {password.encode() for password in passwords} | {b"wrong-password-canary"}
    rows = set().union(*(encodings(tenant.row_canary) for tenant in backed_up.tenants))
    sinks = {
        "the vault": b"\n".join(stored.values()),
        "the catalog": json.dumps(catalog(stack), default=str).encode(),
        "the alerts": json.dumps(inbox.all).encode(),
        "the operator's answers": json.dumps([console.points(), console.run("tenants"), console.run("alerts")]).encode(),
        **{f"the log of {function}": stack.logs(function).encode() for function in FUNCTIONS},
    }
    assert sinks["the log of export"], "no log was captured, so this would prove nothing"
    found = [(sink, text[:40]) for sink, content in sinks.items() for text in secrets | rows if text in content]
    assert not found


def test_a_restore_of_settings_carries_no_value_anywhere(stack, backed_up, inbox, console):
    tenant = backed_up.tenant("irisclinic")
    secrets, below = stack.client("secretsmanager"), f"platform/tenants/{tenant.id}/"
    try:
        secrets.delete_secret(SecretId=f"{below}webhook", RecoveryWindowInDays=7)
        secrets.delete_secret(SecretId=f"{below}payment-provider", ForceDeleteWithoutRecovery=True)
        stack.client("ssm").delete_parameter(Name=f"/{below}smtp/host")
        restored = console.restore(tenant.id, "settings were lost", kind="configuration")
        taken_back = secrets.get_secret_value(SecretId=f"{below}webhook")["SecretString"]
        assert tenant.secret_canary in taken_back, "nothing was restored, so this would prove nothing"
    finally:
        for name in ("webhook", "payment-provider"):
            secrets.delete_secret(SecretId=below + name, ForceDeleteWithoutRecovery=True)
        saas.configuration.put_tenant(stack, tenant, overwrite=True)
    inbox.new()
    sinks = {
        "the catalog": json.dumps(catalog(stack), default=str).encode(),
        "the alerts": json.dumps(inbox.all).encode(),
        "the operator's answers": json.dumps([restored, console.run("restore", "list"), console.run("audit")]).encode(),
        **{f"the log of {function}": stack.logs(function).encode() for function in FUNCTIONS},
    }
    assert sinks["the log of restore"], "no log was captured, so this would prove nothing"
    values = encodings(tenant.secret_canary) | {f"smtp.{tenant.id}.example".encode()}
    assert not [(sink, text[:40]) for sink, content in sinks.items() for text in values if text in content]


def encodings(text: str) -> set[bytes]:
    """A text as it may hide: as it is, in hex, in base64 at each of the three alignments, in UTF-16."""
    raw = text.encode()
    found = {raw, raw.hex().encode(), text.encode("utf-16-le")}
    for shift in range(3):
        # The characters at both ends depend on the neighbours; those between do not.
        found.add(base64.b64encode(b"\0" * shift + raw)[4 if shift else 0 : -4])
    return found


def catalog(stack) -> list:
    """Every record of the catalog."""
    pages = stack.client("dynamodb").get_paginator("scan").paginate(TableName=stack.outputs["TableName"])
    return [item for page in pages for item in page["Items"]]
