"""Functions: what they run on, what they are told, and who hears of it when they fail."""

import re

import pytest
import sam
from cloudformation import Stack

COMMON = {
    "HOLDFAST_TABLE",
    "HOLDFAST_VAULT_BUCKET",
    "HOLDFAST_VAULT_ID",
    "HOLDFAST_VAULT_LOCK_DAYS",
    "HOLDFAST_VAULT_KEY",
    "HOLDFAST_SIGNING_KEY",
    "HOLDFAST_ALERT_TOPIC",
    "HOLDFAST_PLAN_PARAMETER",
    "HOLDFAST_PG_BIN",
    "HOLDFAST_DB_CA",
    "RUST_LOG",
}
OF_ONE = {
    "operator": {"HOLDFAST_RECOVERY_MACHINE", "HOLDFAST_RESTORE_MACHINE", "HOLDFAST_RUN_MACHINE"},
    "snapshot": {"HOLDFAST_ARCHIVE_ROLE", "HOLDFAST_STORAGE_KEY"},
    "verify": {"HOLDFAST_STORAGE_KEY"},
}
OUTPUTS = {
    "TableName",
    "ExportRoleArn",
    "VerifyRoleArn",
    "RestoreRoleArn",
    "ShredRoleArn",
    "VaultBucketName",
    "VaultKeyArn",
    "SigningKeyArn",
    "AlertTopicArn",
    "OperatorUrl",
    "RestoreMachineArn",
    "RecoveryMachineArn",
    "RunMachineArn",
    "OperatorAccessPolicyArn",
}


def functions(stack: Stack) -> dict[str, dict]:
    return {f["FunctionName"].removeprefix("holdfast-"): f for f in stack.of_type("AWS::Lambda::Function").values()}


def test_each_is_told_what_the_code_reads_and_nothing_else(stack):
    for name, function in functions(stack).items():
        expected = COMMON | OF_ONE.get(name, set())
        assert set(function["Environment"]["Variables"]) == expected, name


def test_the_code_reads_what_they_are_told(root):
    config = (root / "shared" / "runtime" / "src" / "config.rs").read_text(encoding="utf-8")
    assert set(re.findall(r'"(HOLDFAST_[A-Z_]+)"', config)) == COMMON.union(*OF_ONE.values()) - {"RUST_LOG"}


def test_each_is_a_binary_of_the_workspace(root):
    for resource in sam.source()["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            binary = resource["Metadata"]["BuildProperties"]["Binary"]
            assert resource["Metadata"]["BuildMethod"] == "rust-cargolambda"
            assert resource["Properties"]["FunctionName"] == {"Fn::Sub": f"${{Name}}-{binary}"}
            assert f'name = "{binary}"' in (root / "functions" / binary / "Cargo.toml").read_text(encoding="utf-8")


def problems(stack: Stack) -> list[str]:
    found = []
    groups = stack.of_type("AWS::Logs::LogGroup")
    alarms = stack.of_type("AWS::CloudWatch::Alarm")
    asynchronous = stack.of_type("AWS::Lambda::EventInvokeConfig").values()
    for name, function in functions(stack).items():
        logical = f"{name.capitalize()}Function"
        expected = {
            "runs on arm64": function["Architectures"] == ["arm64"] and function["Runtime"] == "provided.al2023",
            "runs the bootstrap": function["Handler"] == "bootstrap",
            "is traced": function["TracingConfig"] == {"Mode": "Active"},
            "logs to its own group": groups.get(function["LoggingConfig"].get("LogGroup"), {}).get("LogGroupName")
            == f"/aws/lambda/holdfast-{name}",
            "has an alarm": any(
                alarm["MetricName"] == "Errors"
                and alarm["Dimensions"] == [{"Name": "FunctionName", "Value": logical}]
                and alarm["AlarmActions"] == [stack.arn("AlertTopic")]
                for alarm in alarms.values()
            ),
            "keeps what failed": any(
                config["FunctionName"] == logical
                and config["MaximumRetryAttempts"] == 2
                and config["DestinationConfig"]["OnFailure"]["Destination"] == stack.arn("FailedInvocations")
                for config in asynchronous
            ),
        }
        found += [f"{name}: {what}" for what, holds in expected.items() if not holds]
    found += [f"{name}: keeps logs for ever" for name, group in groups.items() if not group.get("RetentionInDays")]
    return found


def test_each_is_traced_logged_watched_and_loses_no_event(stack):
    assert problems(stack) == []


@pytest.mark.parametrize(
    "damage, found",
    [
        (lambda r: r["ExportFunction"]["Properties"].update(Architectures=["x86_64"]), "export: runs on arm64"),
        (lambda r: r["ExportFunction"]["Properties"].update(TracingConfig={"Mode": "PassThrough"}), "export: is traced"),
        (
            lambda r: r["ExportFunction"]["Properties"]["LoggingConfig"].update(LogGroup={"Ref": "VerifyLog"}),
            "export: logs to its own group",
        ),
        (lambda r: r.pop("ExportErrors"), "export: has an alarm"),
        (lambda r: r.pop("ExportFunctionEventInvokeConfig"), "export: keeps what failed"),
        (lambda r: r["ExportLog"]["Properties"].pop("RetentionInDays"), "ExportLog: keeps logs for ever"),
    ],
)
def test_a_lesser_function_is_noticed(template, damage, found):
    damage(template["Resources"])
    assert problems(Stack(template)) == [found]


def test_only_those_that_read_databases_join_the_vpc(transformed, stack):
    attached = functions(Stack(transformed, SubnetIds="subnet-1,subnet-2", SecurityGroupIds="sg-1"))
    assert {name for name, function in attached.items() if "VpcConfig" in function} == {
        "export",
        "verify",
        "restore",
        "reconcile",
        "shred",
    }
    assert attached["export"]["VpcConfig"] == {"SubnetIds": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]}
    assert not any("VpcConfig" in function for function in functions(stack).values())


def test_the_operator_answers_signed_requests_only(stack):
    (url,) = stack.of_type("AWS::Lambda::Url").values()
    assert url["AuthType"] == "AWS_IAM"
    assert not any(permission["Principal"] == "*" for permission in stack.of_type("AWS::Lambda::Permission").values())


def test_the_outputs_are_those_promised(stack):
    assert set(stack.outputs) == OUTPUTS


def test_every_alarm_is_heard(stack):
    silent = [
        name
        for name, alarm in stack.of_type("AWS::CloudWatch::Alarm").items()
        if alarm.get("AlarmActions") != [stack.arn("AlertTopic")]
    ]
    assert silent == []
