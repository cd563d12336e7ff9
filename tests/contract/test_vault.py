"""The vault's bucket: what is stored cannot be lost, overwritten, read by the wrong function or left unencrypted."""

import iam
import pytest
from cloudformation import Stack

OBJECT = "v1/t/vt_0192/packs/pk_0192"
DEDUP_SECRET = "v1/t/vt_0192/keys/dedup"
CREATE = {"s3:if-none-match": "*"}


def bucket_problems(stack: Stack) -> list[str]:
    resource = stack.resources["VaultBucket"]
    bucket = resource["Properties"]
    encryption = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"][0]["ServerSideEncryptionByDefault"]
    retention = bucket.get("ObjectLockConfiguration", {}).get("Rule", {}).get("DefaultRetention", {})
    expected = {
        "survives the stack": resource.get("DeletionPolicy") == resource.get("UpdateReplacePolicy") == "Retain",
        "keeps versions": bucket.get("VersioningConfiguration") == {"Status": "Enabled"},
        "locks objects": bucket.get("ObjectLockEnabled") is True,
        "locks them from the start": retention.get("Mode") in ("GOVERNANCE", "COMPLIANCE") and int(retention.get("Days", 0)) >= 1,
        "encrypts under its own key": encryption == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": stack.arn("StorageKey")},
        "is never public": set(bucket.get("PublicAccessBlockConfiguration", {}).values()) == {True}
        and len(bucket["PublicAccessBlockConfiguration"]) == 4,
        "has no ACLs": bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}],
        "expires nothing by age": "LifecycleConfiguration" not in bucket,
    }
    return [what for what, holds in expected.items() if not holds]


def test_the_bucket_keeps_what_it_is_given(stack):
    assert bucket_problems(stack) == []


@pytest.mark.parametrize(
    "damage, found",
    [
        (lambda r: r.pop("DeletionPolicy"), "survives the stack"),
        (lambda r: r["Properties"].pop("VersioningConfiguration"), "keeps versions"),
        (lambda r: r["Properties"].update(ObjectLockEnabled=False), "locks objects"),
        (lambda r: r["Properties"].pop("ObjectLockConfiguration"), "locks them from the start"),
        (
            lambda r: r["Properties"]["BucketEncryption"]["ServerSideEncryptionConfiguration"][0][
                "ServerSideEncryptionByDefault"
            ].update(SSEAlgorithm="AES256"),
            "encrypts under its own key",
        ),
        (lambda r: r["Properties"]["PublicAccessBlockConfiguration"].update(RestrictPublicBuckets=False), "is never public"),
        (lambda r: r["Properties"].update(LifecycleConfiguration={"Rules": []}), "expires nothing by age"),
    ],
)
def test_a_weaker_bucket_is_noticed(template, damage, found):
    damage(template["Resources"]["VaultBucket"])
    assert bucket_problems(Stack(template)) == [found]


def put(stack: Stack, create_only: bool = True, **headers: str) -> bool:
    context = {f"s3:x-amz-server-side-encryption{name.replace('_', '-')}": value for name, value in headers.items()}
    if create_only:
        context |= CREATE
    return iam.allowed(stack, "ExportRole", "s3:PutObject", f"{stack.arn('VaultBucket')}/{OBJECT}", context)


def test_a_write_is_encrypted_under_the_buckets_key_or_refused(stack):
    key = stack.arn("StorageKey")
    assert put(stack), "left to the bucket"
    assert put(stack, **{"": "aws:kms", "_aws_kms_key_id": key}), "spelt out"
    assert not put(stack, **{"": "AES256"}), "S3's own encryption"
    assert not put(stack, **{"": "aws:kms"}), "S3's managed key"
    assert not put(stack, **{"": "aws:kms", "_aws_kms_key_id": stack.arn("AlertKey")}), "another key"
    assert not put(stack, _customer_algorithm="AES256"), "the caller's key"


def test_a_write_that_could_hide_an_object_is_refused(stack, template):
    assert put(stack)
    assert not put(stack, create_only=False)
    policy = template["Resources"]["VaultBucketPolicy"]["Properties"]["PolicyDocument"]
    policy["Statement"] = [statement for statement in policy["Statement"] if statement["Sid"] != "NothingIsOverwritten"]
    assert put(Stack(template), create_only=False)


@pytest.mark.parametrize(
    "sid, headers",
    [
        ("OnlyKmsEncryption", {"": "AES256", "_aws_kms_key_id": "the key"}),
        ("OnlyTheStorageKey", {"": "aws:kms", "_aws_kms_key_id": "arn:aws:kms:eu-central-1:111122223333:key/other"}),
        ("NoManagedKey", {"": "aws:kms"}),
        ("NoCallersKey", {"_customer_algorithm": "AES256"}),
    ],
)
def test_each_refusal_of_the_bucket_policy_is_needed(template, sid, headers):
    policy = template["Resources"]["VaultBucketPolicy"]["Properties"]["PolicyDocument"]
    policy["Statement"] = [statement for statement in policy["Statement"] if statement["Sid"] != sid]
    damaged = Stack(template)
    headers = {name: damaged.arn("StorageKey") if value == "the key" else value for name, value in headers.items()}
    assert put(damaged, **headers)


def test_plain_http_is_refused(stack, template):
    def plain(stack):
        resource = f"{stack.arn('VaultBucket')}/{OBJECT}"
        return iam.allowed(stack, "RestoreRole", "s3:GetObject", resource, {"aws:SecureTransport": "false"})

    assert not plain(stack)
    policy = template["Resources"]["VaultBucketPolicy"]["Properties"]["PolicyDocument"]
    policy["Statement"] = [statement for statement in policy["Statement"] if statement["Sid"] != "OnlyOverTls"]
    assert plain(Stack(template))


OF_OBJECTS = ["s3:DeleteObject", "s3:DeleteObjectVersion", "s3:BypassGovernanceRetention", "s3:PutObjectRetention", "s3:PutObjectLegalHold"]
OF_THE_BUCKET = ["s3:DeleteBucket", "s3:PutBucketPolicy", "s3:PutBucketVersioning", "s3:PutLifecycleConfiguration"]
BY_DESIGN = {("RetentionRole", "s3:DeleteObjectVersion"), ("ExportRole", "s3:PutObjectRetention")}
"""The sweep deletes versions, and an export moves locks further off: without the right to bypass nobody can shorten them."""


def deletions(stack: Stack, key: str = OBJECT) -> set[tuple[str, str]]:
    bucket = stack.arn("VaultBucket")
    ways = [(action, f"{bucket}/{key}") for action in OF_OBJECTS] + [(action, bucket) for action in OF_THE_BUCKET]
    return {
        (role, action) for role in iam.roles(stack) for action, resource in ways if iam.allowed(stack, role, action, resource)
    }


def test_only_the_sweep_deletes_and_nobody_unlocks_anything_in_the_vault(stack):
    assert deletions(stack) == BY_DESIGN


@pytest.mark.parametrize("key", ["v1/t/vt_0192/chain/000000000001", "v1/t/vt_0192/keys/dedup", "elsewhere/x"])
def test_links_and_secrets_are_deleted_by_nobody(stack, key):
    # An export moves the lock of the tenant's secret on: every recovery point needs it.
    locks = {("ExportRole", "s3:PutObjectRetention")} if key.endswith("/dedup") else set()
    assert deletions(stack, key) == locks


@pytest.mark.parametrize("action", ["s3:DeleteObject", "s3:DeleteObjectVersion", "s3:BypassGovernanceRetention", "s3:*"])
def test_the_bucket_policy_holds_against_a_role_that_was_given_too_much(template, action):
    for role in iam.function_roles(Stack(template)):
        iam.plant(template, role, action)
    damaged = Stack(template)
    # Without the right to bypass, locks can only be put further off.
    harmless = {"s3:PutObjectRetention", "s3:PutObjectLegalHold"}
    assert {way for way in deletions(damaged) if way[1] not in harmless} <= BY_DESIGN
    assert {way for way in deletions(damaged, "v1/t/vt_0192/chain/000000000001") if way[1] not in harmless} == set()


@pytest.mark.parametrize(
    "sid, role, action, key",
    [
        ("FunctionsDeleteNothing", "ExportRole", "s3:DeleteObjectVersion", OBJECT),
        ("FunctionsHideAndWeakenNothing", "RetentionRole", "s3:DeleteObject", OBJECT),
        ("LinksAndSecretsStay", "RetentionRole", "s3:DeleteObjectVersion", "v1/t/vt_0192/chain/000000000001"),
    ],
)
def test_a_role_that_may_delete_is_noticed(template, sid, role, action, key):
    policy = template["Resources"]["VaultBucketPolicy"]["Properties"]["PolicyDocument"]
    policy["Statement"] = [statement for statement in policy["Statement"] if statement["Sid"] != sid]
    iam.plant(template, role, action)
    assert (role, action) in deletions(Stack(template), key)


OBJECTS = {
    "dedup secret": DEDUP_SECRET,
    "another key": f"{DEDUP_SECRET}2",
    "run's key": "v1/t/vt_0192/keys/run_0192",
    "pack": OBJECT,
    "list": "v1/t/vt_0192/lists/run_0192/00000000",
    "progress": "v1/t/vt_0192/progress/run_0192",
    "manifest": "v1/t/vt_0192/points/rp_0192/run_0192",
    "link": "v1/t/vt_0192/chain/000000000001",
    "outside": "elsewhere/x",
}
EVERYTHING = set(OBJECTS) - {"outside"}
READS = {
    "snapshot": set(),
    "retention": set(),
    "reconcile": set(),
    "operator": {"link"},
    "shred": set(),
    "export": {"dedup secret", "list", "progress", "link"},
    "verify": EVERYTHING,
    "restore": EVERYTHING,
}
WRITERS = {"export", "restore"}


def access(stack: Stack, function: str, action: str) -> set[str]:
    bucket, role = stack.arn("VaultBucket"), f"{function.capitalize()}Role"
    return {name for name, key in OBJECTS.items() if iam.allowed(stack, role, action, f"{bucket}/{key}", CREATE)}


@pytest.mark.parametrize("function, expected", READS.items())
def test_functions_read_what_they_must_and_export_nothing_with_content(stack, function, expected):
    assert access(stack, function, "s3:GetObject") == expected


def test_the_sweep_reads_links_by_version_and_nothing_else(stack):
    readers = {function: access(stack, function, "s3:GetObjectVersion") for function in READS}
    assert {function: names for function, names in readers.items() if names} == {"retention": {"link"}}


def test_the_sweep_deletes_what_is_of_recovery_points_only(stack):
    assert access(stack, "retention", "s3:DeleteObjectVersion") == {"run's key", "pack", "list", "progress", "manifest"}


def test_an_export_locks_what_it_may_share_and_the_secret_and_nothing_else(stack):
    for action in ("s3:GetObjectRetention", "s3:PutObjectRetention"):
        assert access(stack, "export", action) == {"dedup secret", "run's key", "pack"}, action


@pytest.mark.parametrize("function", READS)
def test_only_writers_write_and_only_into_the_vaults_folder(stack, function):
    assert access(stack, function, "s3:PutObject") == (EVERYTHING if function in WRITERS else set())


@pytest.mark.parametrize("action", ["s3:GetObject", "s3:PutObject"])
def test_an_export_that_may_do_more_is_noticed(stack, template, action):
    before = access(stack, "export", action)
    iam.plant(template, "ExportRole", action)
    assert access(Stack(template), "export", action) == set(OBJECTS) != before


LISTINGS = {
    "the chain": "v1/t/vt_0192/chain/",
    "packs": "v1/t/vt_0192/packs/",
    "points": "v1/t/vt_0192/points/",
    "runs' keys": "v1/t/vt_0192/keys/run_",
    "a tenant": "v1/t/vt_0192/",
    "all tenants": "v1/t/",
    "the bucket": None,
}
LISTS = {
    "snapshot": set(),
    "retention": set(LISTINGS) - {"the bucket"},
    "reconcile": set(),
    "operator": set(LISTINGS) - {"the bucket"},
    "shred": set(LISTINGS) - {"the bucket"},
    "export": {"the chain", "packs", "runs' keys"},
    "verify": set(LISTINGS),
    "restore": set(LISTINGS),
}


def may_list(stack: Stack, function: str, prefix: str | None) -> bool:
    context = {} if prefix is None else {"s3:prefix": prefix}
    return iam.allowed(stack, f"{function.capitalize()}Role", "s3:ListBucket", stack.arn("VaultBucket"), context)


@pytest.mark.parametrize("function, expected", LISTS.items())
def test_functions_list_what_they_must(stack, function, expected):
    assert {name for name, prefix in LISTINGS.items() if may_list(stack, function, prefix)} == expected


def test_only_who_deletes_or_says_what_is_left_lists_versions(stack):
    may = {
        function for function in LISTS
        if iam.allowed(stack, f"{function.capitalize()}Role", "s3:ListBucketVersions", stack.arn("VaultBucket"), {"s3:prefix": LISTINGS["a tenant"]})
    }
    assert may == {"retention", "shred", "operator"}


def test_a_wider_listing_is_noticed(template):
    iam.plant(template, "ExportRole", "s3:ListBucket")
    assert may_list(Stack(template), "export", None)


def untold(stack: Stack) -> list[tuple[str, str]]:
    """What a function may read, but S3 would call forbidden where it is missing."""
    return [
        (function, name)
        for function in READS
        for name in sorted(access(stack, function, "s3:GetObject"))
        if not may_list(stack, function, OBJECTS[name])
    ]


def test_whoever_may_read_an_object_is_told_that_it_is_missing(stack, template):
    assert untold(stack) == []
    statements = template["Resources"]["ExportRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    (lists,) = [statement for statement in statements if statement["Sid"] == "ListWhatTheNextRunBuildsOn"]
    lists["Condition"]["StringLike"]["s3:prefix"] = ["v1/t/*/chain/*", "v1/t/*/packs/*"]
    assert untold(Stack(template)) == [("export", "dedup secret"), ("export", "list"), ("export", "progress")]
