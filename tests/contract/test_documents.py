"""Documents that others copy from: the plan's schema and example, and the sample events."""

import copy
import json
import re

import jsonschema
import pytest
import sam


def schema(root) -> dict:
    return json.loads((root / "infra" / "plan.schema.json").read_text(encoding="utf-8"))


def errors(root, plan: dict) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(schema(root)).iter_errors(plan)]


def test_the_example_plan_follows_the_schema(root, plan):
    assert errors(root, plan) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda p: p.update(version=2),
        lambda p: p.update(surprise=1),
        lambda p: p.pop("register"),
        lambda p: p.update(databases=[]),
        lambda p: p["databases"][0].update(password="secret"),
        lambda p: p["databases"][0].update(id="@central"),
        lambda p: p["media"].update(prefix="tenants/{tenant}"),
        lambda p: p["rules"][0].update(schedule={"daily_at": "2:75"}),
        lambda p: p["rules"][0].update(schedule={"hourly_at_minute": 60}),
        lambda p: p["rules"][0].update(schedule={"daily_at": "02:15", "hourly_at_minute": 5}),
        lambda p: p["rules"][1].update(classes=[]),
        lambda p: p["rules"][0].update(kind="drill"),
        lambda p: p["rules"][0].update(full=True),
        lambda p: p["rules"][1].update(full="weekly"),
        lambda p: p["rules"][1].update(read_from="standby"),
        lambda p: p["rules"][0].update(read_from="replica"),
        lambda p: p["retention"].update(min_proven=0),
        lambda p: p["retention"].update(max_expire_per_run=0),
        lambda p: p["retention"].update(daily=-1),
        lambda p: p.update(dedicated_keys=[{"tenant": "acme", "key_arn": "alias/acme"}]),
        lambda p: p.update(dedicated_keys=[{"tenant": "acme"}]),
        lambda p: p["access"][0].update(roles=["boss"]),
        lambda p: p["access"][0].update(roles=[]),
        lambda p: p["access"][0].update(tenants=[]),
        lambda p: p["access"][0].update(who="ana/ben"),
        lambda p: p["access"][0].update(who="role/pipeline", roles=["approver"]),
    ],
)
def test_a_wrong_plan_is_refused(root, plan, damage):
    damaged = copy.deepcopy(plan)
    damage(damaged)
    assert errors(root, damaged)


@pytest.mark.parametrize(
    "name, taken", [("platform/db/central", True), ("rds!db-0f1e2d3c", True), ("two words", False), ("quote'd", False)]
)
def test_a_secret_may_be_one_that_rds_manages(root, plan, name, taken):
    plan = copy.deepcopy(plan)
    plan["databases"][0]["secret"] = name
    assert (errors(root, plan) == []) == taken
    allowed = sam.source()["Parameters"]["DatabaseSecretPrefix"]["AllowedPattern"]
    assert bool(re.fullmatch(allowed, name)) == taken, "the template's DatabaseSecretPrefix and the plan agree"


def undescribed(node, where: str = "#") -> list[str]:
    found = []
    if isinstance(node, dict):
        for name, field in node.get("properties", {}).items():
            # `if` and `then` repeat fields that are described where they are declared.
            if "description" not in field and not re.search(r"/(if|then|else)$", where):
                found.append(f"{where}/{name}")
        if "properties" in node and "type" in node and node.get("additionalProperties") is not False:
            found.append(f"{where} lets unknown fields through")
        for key, value in node.items():
            found += undescribed(value, f"{where}/{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            found += undescribed(value, f"{where}/{index}")
    return found


def test_the_schema_describes_every_field_and_lets_no_other_through(root):
    assert undescribed(schema(root)) == []
    damaged = schema(root)
    del damaged["properties"]["retention"]["properties"]["daily"]["description"]
    del damaged["properties"]["media"]["additionalProperties"]
    assert undescribed(damaged) == ["#/properties/media lets unknown fields through", "#/properties/retention/daily"]


def test_the_schema_has_the_fields_of_the_code(root):
    sources = {
        name: (root / "shared" / "domain" / "src" / f"{name}.rs").read_text(encoding="utf-8") for name in ("plan", "retention")
    }

    def fields(file: str, struct: str) -> set[str]:
        body = re.search(rf"^pub struct {struct} \{{$(.*?)^\}}$", sources[file], re.MULTILINE | re.DOTALL)
        assert body, f"{file}.rs has no struct {struct}"
        return set(re.findall(r"^    pub (\w+):", body[1], re.MULTILINE))

    top = schema(root)
    of = top["properties"]
    database = of["databases"]["items"]
    for struct, described in {
        "Plan": top,
        "Register": of["register"],
        "Database": database,
        "Pool": database["properties"]["pool"],
        "Media": of["media"],
        "Configuration": of["configuration"],
        "Exclusion": of["exclusions"]["items"],
        "Rule": of["rules"]["items"],
        "DedicatedKey": of["dedicated_keys"]["items"],
    }.items():
        assert fields("plan", struct) == set(described["properties"]), struct
    assert fields("retention", "Policy") == set(of["retention"]["properties"])


def test_every_sample_event_is_listed_and_every_listed_one_is_there(root):
    listed = re.findall(r"^\| `([\w-]+\.json)` \|", (root / "events" / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in (root / "events").glob("*.json"))
    for name in listed:
        assert isinstance(json.loads((root / "events" / name).read_text(encoding="utf-8")), dict), name


def test_sample_requests_are_signed_and_carry_json(root):
    for path in (root / "events").glob("operator-*.json"):
        event = json.loads(path.read_text(encoding="utf-8"))
        verb = path.stem.removeprefix("operator-")
        assert event["rawPath"] == event["requestContext"]["http"]["path"] == f"/v1/{verb}", path.name
        assert {"accessKey", "accountId", "callerId", "userArn", "userId"} <= event["requestContext"]["authorizer"]["iam"].keys()
        assert isinstance(json.loads(event["body"]), dict), path.name


def test_every_route_of_the_operator_has_a_sample(root):
    handler = (root / "functions" / "operator" / "src" / "handler.rs").read_text(encoding="utf-8")
    served = set(re.findall(r'"/v1/([a-z-]+)"', handler))
    assert served == {path.stem.removeprefix("operator-") for path in (root / "events").glob("operator-*.json")}
