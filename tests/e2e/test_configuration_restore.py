"""A tenant's settings come back as far as they can without a value, and a person is told the rest. Judged by boto3."""

import json

import pytest
from console import Refused
from deliver import export_item
from slots import unused_second
from stack import FunctionError
from wait import wait_until

TENANT, NEIGHBOUR = "juniper-law", "kestrelair"
POLICY = json.dumps({"Version": "2012-10-17", "Statement": []})
BELOW = "platform/tenants/{}/"


class Settings:
    """One tenant's settings, as the services themselves show them."""

    def __init__(self, stack, tenant: str):
        self.ssm, self.secrets, self.below = stack.client("ssm"), stack.client("secretsmanager"), BELOW.format(tenant)

    def now(self) -> dict:
        """Everything about every setting, values included, less what changes by looking."""
        found = {}
        for page in self.ssm.get_paginator("describe_parameters").paginate():
            for one in page["Parameters"]:
                if one["Name"].startswith(f"/{self.below}"):
                    tags = self.ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=one["Name"])["TagList"]
                    value = self.ssm.get_parameter(Name=one["Name"], WithDecryption=True)["Parameter"]["Value"]
                    kept = {key: one[key] for key in ("Type", "Version", "Description", "Tier")}
                    found[one["Name"]] = {**kept, "tags": _tags(tags), "value": value}
        for page in self.secrets.get_paginator("list_secrets").paginate(IncludePlannedDeletion=True):
            for one in page["SecretList"]:
                if one["Name"].startswith(self.below):
                    found[one["Name"]] = self._secret(one["Name"])
        return found

    def _secret(self, name: str) -> dict:
        about = self.secrets.describe_secret(SecretId=name)
        going = "DeletedDate" in about
        return {
            "Description": about.get("Description"), "tags": _tags(about.get("Tags", [])), "going": going,
            "policy": None if going else self.secrets.get_resource_policy(SecretId=name).get("ResourcePolicy"),
            "value": None if going else self.value(name),
        }

    def value(self, name: str) -> str | None:
        """A secret's value, None if it has none."""
        try:
            return self.secrets.get_secret_value(SecretId=name).get("SecretString")
        except self.secrets.exceptions.ResourceNotFoundException:
            return None


def _tags(listed: list) -> dict:
    return {tag["Key"]: tag["Value"] for tag in listed}


@pytest.fixture
def settings(stack, backed_up):
    """A tenant's settings with a recovery point of their own, put back afterwards."""
    tenant, found = backed_up.tenant(TENANT), Settings(stack, TENANT)
    ssm, secrets, below = found.ssm, found.secrets, found.below
    ssm.add_tags_to_resource(ResourceType="Parameter", ResourceId=f"/{below}features", Tags=[{"Key": "owner", "Value": "sales"}])
    secrets.put_resource_policy(SecretId=f"{below}webhook", ResourcePolicy=POLICY)
    secrets.create_secret(Name=f"{below}signing", SecretString=tenant.secret_canary, Tags=[{"Key": "tenant", "Value": TENANT}])
    stack.invoke("export", export_item(TENANT, unused_second()))
    yield found
    for name in found.now():
        if name.startswith("/"):
            ssm.delete_parameter(Name=name)
        else:
            secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    from saas import configuration

    configuration.put_tenant(stack, tenant)


def break_them(settings) -> None:
    """Something of everything that can become of a setting."""
    ssm, secrets, below = settings.ssm, settings.secrets, settings.below
    ssm.delete_parameter(Name=f"/{below}smtp/host")
    ssm.remove_tags_from_resource(ResourceType="Parameter", ResourceId=f"/{below}features", TagKeys=["owner"])
    ssm.put_parameter(Name=f"/{below}display-name", Value="renamed", Description="renamed", Overwrite=True)
    ssm.put_parameter(Name=f"/{below}surplus", Type="String", Value="newer than the recovery point")
    secrets.delete_secret(SecretId=f"{below}signing", RecoveryWindowInDays=7)
    secrets.delete_secret(SecretId=f"{below}payment-provider", ForceDeleteWithoutRecovery=True)
    secrets.tag_resource(SecretId=f"{below}webhook", Tags=[{"Key": "tenant", "Value": "nobody"}, {"Key": "new", "Value": "x"}])
    secrets.put_resource_policy(SecretId=f"{below}webhook", ResourcePolicy=POLICY.replace("2012-10-17", "2008-10-17"))


def test_what_is_missing_or_differs_comes_back_and_a_person_is_told_the_rest(stack, backed_up, console, settings, inbox):
    neighbour, before = Settings(stack, NEIGHBOUR), settings.now()
    theirs, below = neighbour.now(), settings.below
    break_them(settings)
    broken = settings.now()

    request = console.request(TENANT, "settings were lost", kind="configuration")
    preview = console.preview(request)
    counts = {row["table"]: (row["returned"], row["overwritten"], row["destroyed"], row["unchanged"]) for row in preview["tables"]}
    assert counts == {"parameters": (0, 1, 0, 3), "secrets": (2, 1, 0, 0)}
    by_hand = "\n".join(note for note in preview["notes"] if note.startswith("by hand: "))
    for name in (f"/{below}smtp/host is missing", f"/{below}display-name differs", f"{below}payment-provider is made again without a value"):
        assert name in by_hand, by_hand
    assert f"stays: parameter /{below}surplus" in "\n".join(preview["notes"])
    assert settings.now() == broken, "a preview writes nothing"
    assert "configuration" in console.table("restore", "preview", request), "whoever approves sees what kind it is"

    console.approve(request, preview["digest"])
    outcome = console.watch(request)["outcome"]
    after = settings.now()
    as_before = (f"{below}signing", f"/{below}features", f"/{below}api-key")
    assert {name: after[name] for name in as_before} == {name: before[name] for name in as_before}, "the value of a secret taken back, too"
    webhook = f"{below}webhook"
    assert after[webhook] == {**before[webhook], "tags": {"tenant": TENANT, "new": "x"}}, "nothing is taken away"
    remade = f"{below}payment-provider"
    assert after[remade] == {**before[remade], "value": None}, "all but its value"
    untouched = (f"/{below}display-name", f"/{below}surplus")
    assert {name: after[name] for name in untouched} == {name: broken[name] for name in untouched}, "no parameter's value is written"
    assert f"/{below}smtp/host" not in after, "none is made with an invented value"
    assert neighbour.now() == theirs

    told = "\n".join(outcome["notes"])
    assert f"{remade} is made again without a value" in told, "still told when it is over"
    assert 'gets its tag "tenant" back' in told and 'now it is "nobody"' in told, "what was replaced is not lost"
    told = lambda: inbox.new() is not None and [one for one in inbox.all if request in str(one) and "settings match" in str(one)]
    assert wait_until("the subscriber is told how it ended", told, 60)

    # Once more: nothing is left to be done, and nothing is done.
    again = console.request(TENANT, "once more", kind="configuration")
    assert not any(row["returned"] + row["overwritten"] for row in console.preview(again)["tables"])
    console.approve(again)
    console.watch(again)
    assert settings.now() == after


def test_settings_that_change_after_the_preview_void_the_approval(console, settings):
    settings.secrets.delete_secret(SecretId=f"{settings.below}signing", RecoveryWindowInDays=7)
    request = console.request(TENANT, "a secret is going", kind="configuration")
    console.preview(request)
    settings.secrets.tag_resource(SecretId=f"{settings.below}webhook", Tags=[{"Key": "since", "Value": "then"}])
    changed = settings.now()
    console.approve(request)
    with pytest.raises(Refused, match="TargetDrifted"):
        console.watch(request)
    assert settings.now() == changed


def test_a_finished_restore_of_settings_that_is_delivered_again_changes_nothing(stack, console, settings):
    settings.secrets.delete_secret(SecretId=f"{settings.below}payment-provider", ForceDeleteWithoutRecovery=True)
    request = console.request(TENANT, "to be carried out twice", kind="configuration")
    console.preview(request)
    console.approve(request)
    console.watch(request)
    settings.secrets.delete_secret(SecretId=f"{settings.below}webhook", RecoveryWindowInDays=7)
    newer = settings.now()
    try:
        stack.invoke("restore", {"item": {"request": request, "step": "execute"}})
    except FunctionError:
        pass  # a refusal is as good
    assert settings.now() == newer


def test_names_that_are_not_the_tenants_by_the_present_plan_are_refused(stack, backed_up, console, settings):
    from saas.plan import PLAN_PARAMETER, plan

    moved = plan()
    moved["configuration"]["secrets"] = "platform/tenants/moved-{tenant}/"
    put = lambda document: stack.client("ssm").put_parameter(Name=PLAN_PARAMETER, Type="String", Value=json.dumps(document), Overwrite=True)
    before = settings.now()
    put(moved)
    try:
        with pytest.raises(Refused, match="RestoreRefused"):
            console.preview(console.request(TENANT, "the plan names others now", kind="configuration"))
    finally:
        put(plan())
    assert settings.now() == before


def test_a_kind_that_does_not_fit_the_point_is_refused(console, with_snapshots, backed_up):
    configuration = next(p for p in console.points(TENANT) if p["kind"] == "configuration" and p["state"] == "available")
    with pytest.raises(Refused, match="available database one"):
        console.request(TENANT, "x", point=configuration["id"], kind="database")
    with pytest.raises(Refused, match="snapshots are of instances"):
        console.request(TENANT, "x", kind="snapshot")
    request = console.request(TENANT, "its kind goes without saying", point=configuration["id"])
    assert console.run("restore", "preview", request)["kind"] == "configuration"


def test_a_snapshot_shows_the_settings_that_a_restore_would_lose(with_snapshots):
    settings = with_snapshots[0]["settings"]
    assert settings["class"] == "db.t4g.micro" and settings["storage_gib"] == 20
    assert {"backup_retention_days", "maintenance_window", "parameter_groups", "security_groups", "tags", "roles"} <= settings.keys()
    assert "parameters" in settings, "what its own parameter groups set"
