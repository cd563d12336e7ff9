"""Keys: they last, and each function uses the vault's two only for its own purpose."""

import iam
import pytest
import sam
from cloudformation import Stack


def key_problems(stack: Stack) -> list[str]:
    return [
        name
        for name, resource in stack.resources.items()
        if resource["Type"] == "AWS::KMS::Key"
        and not (
            # KMS does not rotate asymmetric keys, and refuses a template that says so.
            resource["Properties"].get("EnableKeyRotation") == (None if "KeySpec" in resource["Properties"] else True)
            and resource["Properties"].get("PendingWindowInDays") == 30
            and resource.get("DeletionPolicy") == resource.get("UpdateReplacePolicy") == "Retain"
        )
    ]


def test_keys_rotate_and_take_a_month_to_delete(stack, template):
    assert key_problems(stack) == []
    template["Resources"]["VaultKey"]["Properties"]["EnableKeyRotation"] = False
    template["Resources"]["SigningKey"].pop("DeletionPolicy")
    template["Resources"]["StorageKey"]["Properties"]["PendingWindowInDays"] = 7
    assert key_problems(Stack(template)) == ["VaultKey", "SigningKey", "StorageKey"]


def key_uses(stack: Stack, function: str, changes: dict | None = None) -> set[str]:
    uses = set()
    for purpose in ("dedup", "content"):
        pairs = {"app": "holdfast", "vault": "main", "tenant": "vt_0192", "purpose": purpose, "run": "run_0192"}
        pairs |= changes or {}
        context = {f"kms:EncryptionContext:{key}": value for key, value in pairs.items() if value is not None}
        for action in ("kms:Decrypt", "kms:GenerateDataKey", "kms:Encrypt", "kms:CreateGrant", "kms:ReEncryptFrom"):
            if iam.allowed(stack, f"{function.capitalize()}Role", action, stack.arn("VaultKey"), context):
                uses.add(f"{action[4:]} {purpose}")
    return uses


KEY_USES = {
    "snapshot": set(),
    "retention": set(),
    "reconcile": set(),
    "operator": set(),
    "shred": set(),
    "export": {"GenerateDataKey dedup", "GenerateDataKey content", "Decrypt dedup"},
    "verify": {"Decrypt dedup", "Decrypt content"},
    "restore": {"GenerateDataKey dedup", "GenerateDataKey content", "Decrypt dedup", "Decrypt content"},
}


@pytest.mark.parametrize("function, expected", KEY_USES.items())
def test_only_verify_and_restore_open_content(stack, function, expected):
    assert key_uses(stack, function) == expected


@pytest.mark.parametrize(
    "changes", [{"app": "other"}, {"vault": "other"}, {"tenant": None}, {"purpose": "other"}, {"purpose": None}]
)
def test_the_vault_key_serves_no_other_context(stack, changes):
    assert {function: uses for function in KEY_USES if (uses := key_uses(stack, function, changes))} == {}


def test_a_content_key_belongs_to_a_run(stack):
    assert key_uses(stack, "restore", {"run": None}) == {"GenerateDataKey dedup", "Decrypt dedup"}


def test_no_role_policy_can_widen_the_vaults_keys(stack, template):
    for role in iam.function_roles(Stack(template)):
        iam.plant(template, role, "kms:*")
    widened = Stack(template)
    assert {function: key_uses(widened, function) for function in KEY_USES} == KEY_USES
    assert {function: signing_uses(widened, function) for function in SIGNING_USES} == SIGNING_USES
    mentions = {(role, str(s["Action"])) for role in iam.roles(stack) for s in iam.role_statements(stack, role) if "kms:" in str(s["Action"])}
    # To see that a key is no more: its own policy went with it.
    assert mentions == {(role, "kms:DescribeKey") for role in ("OperatorRole", "ReconcileRole", "ShredRole")}


def test_an_export_that_opens_content_is_noticed(template):
    policy = template["Resources"]["VaultKey"]["Properties"]["KeyPolicy"]
    (opens,) = [statement for statement in policy["Statement"] if statement["Sid"] == "OpenContentKeys"]
    opens["Principal"]["AWS"].append({"Fn::GetAtt": ["ExportRole", "Arn"]})
    assert "Decrypt content" in key_uses(Stack(template), "export")


def test_the_storage_key_serves_rds_by_grants_and_nobody_directly(stack):
    key, through = stack.arn("StorageKey"), {"kms:ViaService": "rds.eu-central-1.amazonaws.com", "kms:GrantIsForAWSResource": "true"}
    for function in KEY_USES:
        role = f"{function.capitalize()}Role"
        assert iam.allowed(stack, role, "kms:CreateGrant", key, through), function
        assert iam.allowed(stack, role, "kms:DescribeKey", key, through), function
        for lacking in through:
            assert not iam.allowed(stack, role, "kms:CreateGrant", key, {**through, lacking: "false"}), function
        assert not iam.allowed(stack, role, "kms:Decrypt", key, through), function


def statement(template: dict, key: str, sid: str) -> dict:
    (found,) = [one for one in template["Resources"][key]["Properties"]["KeyPolicy"]["Statement"] if one["Sid"] == sid]
    return found


def test_the_signing_key_is_of_the_formats_kind(stack):
    key = stack.properties("SigningKey")
    assert (key["KeySpec"], key["KeyUsage"]) == ("ECC_NIST_P256", "SIGN_VERIFY")


SIGNATURES = {
    "a digest": {"kms:MessageType": "DIGEST", "kms:SigningAlgorithm": "ECDSA_SHA_256"},
    "a message": {"kms:MessageType": "RAW", "kms:SigningAlgorithm": "ECDSA_SHA_256"},
    "another digest": {"kms:MessageType": "DIGEST", "kms:SigningAlgorithm": "ECDSA_SHA_384"},
    "anything": {},
}
OTHER_USES = ("GetPublicKey", "Verify", "DeriveSharedSecret", "CreateGrant", "Decrypt", "ReplicateKey")


def signing_uses(stack: Stack, function: str) -> set[str]:
    role, key = f"{function.capitalize()}Role", stack.arn("SigningKey")
    signs = {f"Sign {what}" for what, context in SIGNATURES.items() if iam.allowed(stack, role, "kms:Sign", key, context)}
    return signs | {action for action in OTHER_USES if iam.allowed(stack, role, f"kms:{action}", key)}


SIGNING_USES = {
    "snapshot": set(),
    "retention": {"GetPublicKey"},
    "reconcile": set(),
    "operator": {"GetPublicKey"},
    "shred": set(),
    "export": {"Sign a digest", "GetPublicKey"},
    "verify": {"GetPublicKey"},
    "restore": {"GetPublicKey"},
}


@pytest.mark.parametrize("function, expected", SIGNING_USES.items())
def test_only_export_signs_and_only_digests(stack, function, expected):
    assert signing_uses(stack, function) == expected


@pytest.mark.parametrize(
    "key, found", [("kms:MessageType", "Sign a message"), ("kms:SigningAlgorithm", "Sign another digest")]
)
def test_each_condition_of_a_signature_is_needed(template, key, found):
    statement(template, "SigningKey", "SignLinks")["Condition"]["StringEquals"].pop(key)
    assert signing_uses(Stack(template), "export") - SIGNING_USES["export"] == {found}


@pytest.mark.parametrize("sid, found", [("SignLinks", {"Sign a digest"}), ("VerifyLinks", {"GetPublicKey"})])
def test_another_user_of_the_signing_key_is_noticed(template, sid, found):
    statement(template, "SigningKey", sid)["Principal"] = {"AWS": {"Fn::GetAtt": ["ReconcileRole", "Arn"]}}
    assert signing_uses(Stack(template), "reconcile") == found


CHANGES = ("PutKeyPolicy", "DisableKey", "EnableKey", "ScheduleKeyDeletion", "CancelKeyDeletion", "RevokeGrant", "TagResource")


def administrators(stack: Stack) -> set[str]:
    return {
        role
        for role in iam.roles(stack)
        for key in ("VaultKey", "SigningKey")
        for action in CHANGES
        if iam.allowed(stack, role, f"kms:{action}", stack.arn(key))
    }


def test_the_vaults_keys_are_changed_by_the_accounts_administrators_and_no_role_of_ours(stack, template):
    assert administrators(stack) == set()
    iam.plant(template, "ReconcileRole", "kms:DisableKey")
    assert administrators(Stack(template)) == {"ReconcileRole"}


@pytest.mark.parametrize("key", ["VaultKey", "SigningKey"])
def test_the_account_administers_the_vaults_keys_without_using_them(stack, key):
    policy = iam.statements(stack.properties(key)["KeyPolicy"])
    (administer,) = [one for one in policy if iam.ROOT in iam.listed(one["Principal"]["AWS"])]
    uses = {*OTHER_USES, "Sign", "Encrypt", "GenerateDataKey", "ReEncryptFrom"}
    assert not {f"kms:{use}" for use in uses} & set(administer["Action"])
    assert not any("*" in action for action in administer["Action"])


TENANT_KEY = sam.INFRA / "tenant-key.yaml"


@pytest.fixture
def tenant_key(stack) -> dict:
    """A key of one tenant's own, as its template makes it, beside the roles of the stack."""
    key = sam.source(TENANT_KEY)
    roles = {f"{name}RoleArn": stack.arn(f"{name}Role") for name in ("Export", "Verify", "Restore", "Shred")}
    made = Stack(key, Tenant="acme", **roles)
    return made.properties("TenantKey")


def with_key(stack: Stack, key: dict) -> Stack:
    """The stack with the tenant's key in it, so that roles can be asked about it."""
    damaged = Stack(stack.template)
    damaged.template = {**stack.template, "Resources": {**stack.template["Resources"], "TenantKey": {"Type": "AWS::KMS::Key"}}}
    damaged.resources = {**stack.resources, "TenantKey": {"Type": "AWS::KMS::Key", "Properties": key}}
    return damaged


def own_key_uses(stack: Stack, function: str) -> set[str]:
    uses, role, key = set(), f"{function.capitalize()}Role", stack.arn("TenantKey")
    for purpose in ("dedup", "content"):
        pairs = {"app": "holdfast", "vault": "main", "tenant": "vt_0192", "purpose": purpose, "run": "run_0192"}
        context = {f"kms:EncryptionContext:{name}": value for name, value in pairs.items()}
        uses |= {f"{use} {purpose}" for use in ("Decrypt", "GenerateDataKey") if iam.allowed(stack, role, f"kms:{use}", key, context)}
    return uses | {change for change in ("ListResourceTags", *CHANGES) if iam.allowed(stack, role, f"kms:{change}", key)}


def test_a_tenants_own_key_serves_as_the_vaults_does_and_only_shred_has_it_deleted(stack, tenant_key):
    both = with_key(stack, tenant_key)
    assert {function: own_key_uses(both, function) for function in KEY_USES} == {
        **KEY_USES, "shred": {"ListResourceTags", "ScheduleKeyDeletion"}
    }


def test_a_tenants_own_key_says_whose_it_is_and_is_administered_without_use_or_deletion(tenant_key):
    assert tenant_key["Tags"] == [{"Key": "holdfast:vault", "Value": "main"}, {"Key": "holdfast:tenant", "Value": "acme"}]
    assert (tenant_key["EnableKeyRotation"], tenant_key["PendingWindowInDays"]) == (True, 30)
    (administer,) = [one for one in iam.statements(tenant_key["KeyPolicy"]) if iam.ROOT in iam.listed(one["Principal"]["AWS"])]
    assert not {"kms:Decrypt", "kms:GenerateDataKey", "kms:CreateGrant", "kms:ScheduleKeyDeletion"} & set(administer["Action"])
    assert not any("*" in action for action in administer["Action"])


def test_an_operator_who_may_delete_a_tenants_key_is_noticed(stack, tenant_key):
    (shred,) = [one for one in tenant_key["KeyPolicy"]["Statement"] if one["Sid"] == "Shred"]
    shred["Principal"] = {"AWS": stack.arn("OperatorRole")}
    assert "ScheduleKeyDeletion" in own_key_uses(with_key(stack, tenant_key), "operator")
