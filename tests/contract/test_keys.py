"""Keys: they last, and each function uses the vault's only for its own purpose."""

import iam
import pytest
from cloudformation import Stack


def key_problems(stack: Stack) -> list[str]:
    return [
        name
        for name, resource in stack.resources.items()
        if resource["Type"] == "AWS::KMS::Key"
        and not (
            resource["Properties"].get("EnableKeyRotation") is True
            and resource["Properties"].get("PendingWindowInDays") == 30
            and resource.get("DeletionPolicy") == resource.get("UpdateReplacePolicy") == "Retain"
        )
    ]


def test_keys_rotate_and_take_a_month_to_delete(stack, template):
    assert key_problems(stack) == []
    template["Resources"]["VaultKey"]["Properties"]["EnableKeyRotation"] = False
    template["Resources"]["StorageKey"]["Properties"]["PendingWindowInDays"] = 7
    assert key_problems(Stack(template)) == ["VaultKey", "StorageKey"]


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


def test_no_role_policy_can_widen_the_vault_key(stack, template):
    for role in iam.function_roles(Stack(template)):
        iam.plant(template, role, "kms:*")
    widened = Stack(template)
    assert {function: key_uses(widened, function) for function in KEY_USES} == KEY_USES
    mentions = [role for role in iam.roles(stack) for s in iam.role_statements(stack, role) if "kms:" in str(s["Action"])]
    assert mentions == []


def test_an_export_that_opens_content_is_noticed(template):
    policy = template["Resources"]["VaultKey"]["Properties"]["KeyPolicy"]
    (opens,) = [statement for statement in policy["Statement"] if statement["Sid"] == "OpenContentKeys"]
    opens["Principal"]["AWS"].append({"Fn::GetAtt": ["ExportRole", "Arn"]})
    assert "Decrypt content" in key_uses(Stack(template), "export")
