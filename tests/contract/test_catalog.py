"""The catalog: it cannot be dropped or lost, and is never in the clear."""

import pytest
from cloudformation import Stack


def catalog_problems(stack: Stack) -> list[str]:
    resource = stack.resources["Catalog"]
    table = resource["Properties"]
    (index,) = table["GlobalSecondaryIndexes"]
    expected = {
        "survives the stack": resource.get("DeletionPolicy") == resource.get("UpdateReplacePolicy") == "Retain",
        "cannot be dropped": table.get("DeletionProtectionEnabled") is True,
        "can be wound back": table.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled") is True,
        "is encrypted": table.get("SSESpecification") == {"SSEEnabled": True, "SSEType": "KMS"},
        "forgets nothing by itself": "TimeToLiveSpecification" not in table,
        "has its keys": [key["AttributeName"] for key in table["KeySchema"]] == ["pk", "sk"],
        "has its index": (index["IndexName"], [key["AttributeName"] for key in index["KeySchema"]], index["Projection"])
        == ("by_state", ["state_key", "state_at"], {"ProjectionType": "ALL"}),
    }
    return [what for what, holds in expected.items() if not holds]


def test_the_catalog_is_kept(stack):
    assert catalog_problems(stack) == []


@pytest.mark.parametrize(
    "damage, found",
    [
        (lambda r: r.update(UpdateReplacePolicy="Delete"), "survives the stack"),
        (lambda r: r["Properties"].update(DeletionProtectionEnabled=False), "cannot be dropped"),
        (lambda r: r["Properties"].pop("PointInTimeRecoverySpecification"), "can be wound back"),
        (lambda r: r["Properties"].pop("SSESpecification"), "is encrypted"),
        (
            lambda r: r["Properties"].update(TimeToLiveSpecification={"AttributeName": "t", "Enabled": True}),
            "forgets nothing by itself",
        ),
    ],
)
def test_a_weaker_catalog_is_noticed(template, damage, found):
    damage(template["Resources"]["Catalog"])
    assert catalog_problems(Stack(template)) == [found]
