"""Policies: they speak of the plan's roles, and no build that is deployed can be without them."""

import json
import re
import tomllib

import sam

UNGUARDED = "unguarded"
DEPLOYING = ("infra", "samconfig.toml", "task", ".ci", ".cargo")


def roles(text: str) -> list[str]:
    return re.findall(r'"([a-z_]+)"', text)


def test_the_policies_the_schema_and_the_plan_know_the_same_roles(root):
    cedar = (root / "infra" / "policy" / "holdfast.cedarschema").read_text(encoding="utf-8")
    (named,) = re.findall(r"entity Role enum \[(.*?)\];", cedar)
    plan = json.loads((root / "infra" / "plan.schema.json").read_text(encoding="utf-8"))
    assert roles(named) == plan["properties"]["access"]["items"]["properties"]["roles"]["items"]["enum"]
    used = set(re.findall(r'Role::"([a-z_]+)"', (root / "infra" / "policy" / "holdfast.cedar").read_text(encoding="utf-8")))
    assert used == set(roles(named)), "a role that no policy mentions permits nothing"


def test_the_example_plan_lets_somebody_ask_and_somebody_else_approve(plan):
    holders = {role: {grant["who"] for grant in plan["access"] if role in grant["roles"]} for role in ("operator", "approver")}
    assert len(holders["operator"] | holders["approver"]) >= 2 and all(holders.values())


def test_what_is_deployed_is_built_with_the_check(root):
    for name, resource in sam.source()["Resources"].items():
        if resource["Type"] == "AWS::Serverless::Function":
            assert resource["Metadata"]["BuildProperties"] == {"Binary": resource["Metadata"]["BuildProperties"]["Binary"]}, name
    for place in DEPLOYING:
        files = [root / place] if (root / place).is_file() else [file for file in (root / place).rglob("*") if file.is_file()]
        for file in (file for file in files if file.suffix != ".md"):
            assert UNGUARDED not in file.read_text(encoding="utf-8", errors="replace"), f"{file} names the feature"


def test_no_crate_leaves_the_check_out_by_itself(root):
    with_feature = []
    for manifest in [root / "Cargo.toml", *root.glob("*/Cargo.toml"), *root.glob("*/*/Cargo.toml")]:
        read = tomllib.loads(manifest.read_text(encoding="utf-8"))
        features = read.get("features", {})
        with_feature += [read["package"]["name"]] if UNGUARDED in features else []
        enabled = [features.get("default", []), *(name for key, name in features.items() if key != UNGUARDED)]
        tables = [read.get(kind, {}) for kind in ("dependencies", "dev-dependencies", "build-dependencies")]
        tables.append(read.get("workspace", {}).get("dependencies", {}))
        enabled += [table["features"] for some in tables for table in some.values() if isinstance(table, dict) and "features" in table]
        assert not any(UNGUARDED in name for names in enabled for name in names), f"{manifest} enables it"
    assert sorted(with_feature) == ["authorisation", "operator", "restore", "runtime"]


def test_a_release_build_without_the_check_does_not_compile(root):
    source = (root / "shared" / "authorisation" / "src" / "lib.rs").read_text(encoding="utf-8")
    assert f'#[cfg(all(feature = "{UNGUARDED}", not(debug_assertions)))]\ncompile_error!(' in source
    manifest = tomllib.loads((root / "Cargo.toml").read_text(encoding="utf-8"))
    assert "debug-assertions" not in manifest["profile"]["release"], "the guard goes by it"
