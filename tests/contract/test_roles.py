"""Roles: one per function, written out, no wider than the work."""

import fnmatch

import iam
import pytest
from cloudformation import ACCOUNT, REGION, Stack
from paths import FUNCTIONS

WITHOUT_RESOURCES = {
    "ec2:*NetworkInterface*": "interfaces do not exist before Lambda makes them",
    "ec2:*PrivateIpAddresses": "the same interfaces",
    "ec2:Describe*": "lists have no resource",
    "logs:*LogDelivery": "log delivery has no resource",
    "logs:ListLogDeliveries": "log delivery has no resource",
    "logs:*ResourcePolic*": "log delivery has no resource",
    "logs:DescribeLogGroups": "lists have no resource",
    "rds:DescribeDB*": "a listing covers all there are",
    "rds:DescribeExportTasks": "a listing covers all there are",
    "rds:StartExportTask": "an export has no resource; the role that RDS is given for it has",
    "secretsmanager:ListSecrets": "lists have no resource",
    "ssm:DescribeParameters": "lists have no resource",
    "states:SendTask*": "a task token is the resource and has no ARN",
    "xray:*": "X-Ray has no resource",
}
"""The only actions allowed on `*`, and why each has to be."""


def test_each_function_has_a_role_of_its_own_that_only_lambda_assumes(stack):
    functions = stack.of_type("AWS::Lambda::Function")
    assert {f["FunctionName"]: f["Role"] for f in functions.values()} == {
        f"holdfast-{name}": stack.arn(f"{name.capitalize()}Role") for name in FUNCTIONS
    }
    for role in iam.function_roles(stack):
        (statement,) = iam.statements(stack.properties(role)["AssumeRolePolicyDocument"])
        assert statement == {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}


def wide(stack: Stack) -> list[str]:
    """Every grant of a wildcard action, of everything, or by exclusion."""
    documents = [(role, s) for role in iam.roles(stack) for s in iam.role_statements(stack, role)]
    documents += [
        (name, s)
        for name, policy in stack.of_type("AWS::IAM::ManagedPolicy").items()
        for s in iam.statements(policy["PolicyDocument"])
    ]
    key_policies = {stack.arn(name) for name in stack.of_type("AWS::KMS::Key")}
    documents += [(target, s) for target, document in iam.resource_policies(stack) for s in iam.statements(document)]
    found = []
    for owner, statement in documents:
        if statement["Effect"] != "Allow":
            continue
        if {"NotAction", "NotResource", "NotPrincipal"} & statement.keys():
            found.append(f"{owner} {statement['Sid']}: grants by exclusion")
        for action in iam.listed(statement["Action"]):
            if "*" in action:
                found.append(f"{owner} {statement['Sid']}: {action}")
            # In a key's policy `*` is that key.
            elif (
                "*" in iam.listed(statement["Resource"])
                and owner not in key_policies
                and not any(fnmatch.fnmatchcase(action, pattern) for pattern in WITHOUT_RESOURCES)
            ):
                found.append(f"{owner} {statement['Sid']}: {action} on everything")
    return found


def test_only_with_a_bucket_for_archives_may_snapshots_be_exported_and_only_by_rds_with_its_own_role(transformed, stack):
    with_bucket = Stack(transformed, ArchiveBucketName="archives")
    assert who_may(with_bucket, "rds:StartExportTask", "*") == {"snapshot"}
    assert who_may(stack, "rds:StartExportTask", "*") == set()
    passed = {"iam:PassedToService": "export.rds.amazonaws.com"}
    role = with_bucket.arn("ArchiveRole")
    assert {f for f in FUNCTIONS if iam.allowed(with_bucket, f"{f.capitalize()}Role", "iam:PassRole", role, passed)} == {"snapshot"}
    assert who_may(with_bucket, "iam:PassRole", role) == set()
    assert not iam.allowed(with_bucket, "SnapshotRole", "iam:PassRole", with_bucket.arn("ExportRole"), passed)
    assert iam.allowed(with_bucket, "ArchiveRole", "s3:PutObject", "arn:aws:s3:::archives/x")
    assert not iam.allowed(with_bucket, "ArchiveRole", "s3:PutObject", f"{with_bucket.arn('VaultBucket')}/x")


@pytest.mark.parametrize(
    "parameters", [{}, {"SubnetIds": "subnet-1", "SecurityGroupIds": "sg-1"}, {"ArchiveBucketName": "archives"}]
)
def test_nothing_is_granted_wholesale(transformed, parameters):
    assert wide(Stack(transformed, **parameters)) == []


@pytest.mark.parametrize(
    "grant",
    [
        {"Action": "dynamodb:*", "Resource": "arn:x"},
        {"Action": ["s3:GetObject"], "Resource": "*"},
        {"NotAction": "iam:*", "Action": "s3:GetObject", "Resource": "arn:x"},
    ],
)
def test_a_wholesale_grant_is_noticed(template, grant):
    document = template["Resources"]["RetentionRole"]["Properties"]["Policies"][0]["PolicyDocument"]
    document["Statement"].append({"Sid": "Planted", "Effect": "Allow", **grant})
    assert len(wide(Stack(template))) == 1


def test_whoever_may_use_a_key_by_account_must_come_through_a_service(stack):
    for name in ("StorageKey", "AlertKey"):
        for statement in iam.statements(stack.properties(name)["KeyPolicy"]):
            if statement["Principal"] == {"AWS": "*"}:
                assert statement["Condition"]["StringEquals"].keys() == {"kms:CallerAccount", "kms:ViaService"}


def rds(kind: str, name: str) -> str:
    return f"arn:aws:rds:{REGION}:{ACCOUNT}:{kind}:{name}"


def secret(name: str) -> str:
    return f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{name}-AbCdEf"


def parameter(name: str) -> str:
    return f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/{name}"


def who_may(stack: Stack, action: str, resource: str, vault: str | None = "main") -> set[str]:
    tagged = {"aws:RequestTag/holdfast:vault": vault, "aws:ResourceTag/holdfast:vault": vault} if vault else {}
    return {name for name in FUNCTIONS if iam.allowed(stack, f"{name.capitalize()}Role", action, resource, tagged)}


LOGO = "arn:aws:s3:::platform-media/tenants/acme/logo.png"
READERS_OF_DATABASES = {"export", "verify", "restore", "reconcile", "shred"}


@pytest.mark.parametrize(
    "action, resource, expected",
    [
        ("rds:CreateDBSnapshot", rds("db", "platform-central"), {"snapshot"}),
        ("rds:CreateDBSnapshot", rds("snapshot", "holdfast-0192"), {"snapshot"}),
        ("rds:CreateDBSnapshot", rds("snapshot", "somebody-elses"), set()),
        ("rds:AddTagsToResource", rds("snapshot", "holdfast-0192"), {"snapshot"}),
        ("rds:AddTagsToResource", rds("db", "platform-central"), set()),
        ("rds:DescribeDBInstances", rds("db", "platform-central"), READERS_OF_DATABASES | {"snapshot"}),
        ("rds:CopyDBSnapshot", rds("snapshot", "holdfast-0192"), {"snapshot"}),
        ("rds:CopyDBSnapshot", rds("snapshot", "somebody-elses"), set()),
        ("rds:DeleteDBSnapshot", rds("snapshot", "holdfast-0192"), {"snapshot"}),
        ("rds:DeleteDBSnapshot", rds("snapshot", "somebody-elses"), set()),
        ("rds:CreateDBClusterSnapshot", rds("cluster", "platform-aurora"), {"snapshot"}),
        ("rds:CreateDBClusterSnapshot", rds("cluster-snapshot", "somebody-elses"), set()),
        ("rds:CopyDBClusterSnapshot", rds("cluster-snapshot", "holdfast-0192"), {"snapshot"}),
        ("rds:DeleteDBClusterSnapshot", rds("cluster-snapshot", "holdfast-0192"), {"snapshot"}),
        ("rds:DeleteDBClusterSnapshot", rds("cluster-snapshot", "somebody-elses"), set()),
        # What may not be handed out or changed by any function: who else may restore a snapshot.
        ("rds:ModifyDBSnapshotAttribute", rds("snapshot", "holdfast-0192"), set()),
        ("rds:RestoreDBInstanceFromDBSnapshot", rds("db", "holdfast-drill-1"), {"verify"}),
        ("rds:RestoreDBInstanceFromDBSnapshot", rds("db", "holdfast-export-1"), {"export"}),
        ("rds:RestoreDBInstanceFromDBSnapshot", rds("db", "holdfast-recovery-1"), {"restore"}),
        ("rds:AddTagsToResource", rds("db", "holdfast-recovery-1"), {"restore"}),
        ("rds:ModifyDBInstance", rds("db", "holdfast-recovery-1"), {"restore"}),
        # A recovery takes nothing away, and hands RDS no role.
        ("rds:DeleteDBInstance", rds("db", "holdfast-recovery-1"), set()),
        ("rds:AddRoleToDBInstance", rds("db", "holdfast-recovery-1"), set()),
        ("rds:RestoreDBInstanceFromDBSnapshot", rds("db", "platform-central"), set()),
        ("rds:RestoreDBInstanceFromDBSnapshot", rds("snapshot", "holdfast-0192"), {"verify", "export", "restore"}),
        ("rds:RestoreDBInstanceFromDBSnapshot", rds("snapshot", "somebody-elses"), set()),
        ("rds:RestoreDBInstanceToPointInTime", rds("db", "platform-central"), {"export"}),
        ("rds:DescribeDBInstanceAutomatedBackups", "*", {"export", "operator"}),
        ("rds:DeleteDBInstance", rds("db", "holdfast-drill-1"), {"verify"}),
        ("rds:DeleteDBInstance", rds("db", "holdfast-export-1"), {"export"}),
        ("rds:DeleteDBInstance", rds("db", "platform-central"), set()),
        ("rds:ModifyDBInstance", rds("db", "platform-central"), set()),
        ("secretsmanager:GetSecretValue", secret("platform/db/central"), READERS_OF_DATABASES),
        ("secretsmanager:GetSecretValue", secret("platform/tenants/acme/api"), set()),
        ("secretsmanager:GetSecretValue", secret("somebody/elses"), set()),
        ("secretsmanager:DescribeSecret", secret("platform/tenants/acme/api"), {"export", "restore"}),
        ("secretsmanager:DescribeSecret", secret("somebody/elses"), set()),
        ("secretsmanager:ListSecrets", "*", {"export", "restore"}),
        *((f"secretsmanager:{call}", secret("platform/tenants/acme/api"), {"restore"}) for call in ("CreateSecret", "RestoreSecret", "TagResource")),
        *((f"secretsmanager:{call}", secret("somebody/elses"), set()) for call in ("CreateSecret", "RestoreSecret", "TagResource")),
        # Each of these can replace or remove a value, or what stands.
        *(
            (f"secretsmanager:{call}", secret("platform/tenants/acme/api"), set())
            for call in (
                "UpdateSecret", "PutSecretValue", "UpdateSecretVersionStage", "RotateSecret", "DeleteSecret", "UntagResource",
                "DeleteResourcePolicy", "BatchGetSecretValue",
            )
        ),
        ("ssm:ListTagsForResource", parameter("platform/tenants/acme/theme"), {"export", "restore"}),
        ("ssm:AddTagsToResource", parameter("platform/tenants/acme/theme"), {"restore"}),
        ("ssm:AddTagsToResource", parameter("holdfast/plan"), set()),
        *(
            (f"ssm:{call}", parameter("platform/tenants/acme/theme"), set())
            for call in ("PutParameter", "DeleteParameter", "GetParameters", "GetParametersByPath", "GetParameterHistory", "RemoveTagsFromResource")
        ),
        ("ssm:DescribeParameters", "*", {"export", "restore"}),
        ("rds:DescribeDBParameters", rds("pg", "platform"), {"snapshot"}),
        ("ssm:GetParameter", f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/holdfast/plan", set(FUNCTIONS)),
        ("ssm:GetParameter", f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/platform/tenants/acme/theme", set()),
        ("s3:ListBucketVersions", "arn:aws:s3:::platform-media", {"export", "restore"}),
        ("s3:GetBucketVersioning", "arn:aws:s3:::platform-media", {"restore"}),
        ("s3:PutBucketVersioning", "arn:aws:s3:::platform-media", set()),
        ("s3:GetObject", LOGO, {"restore"}),
        ("s3:GetObjectVersion", LOGO, {"restore"}),
        ("s3:GetObjectVersionTagging", LOGO, {"export", "restore"}),
        ("s3:PutObject", LOGO, {"restore"}),
        ("s3:PutObjectTagging", LOGO, {"restore"}),
        ("s3:DeleteObject", LOGO, {"restore"}),
        # A restore of files never removes a version, so nobody may.
        ("s3:DeleteObjectVersion", LOGO, set()),
        ("s3:PutObjectVersionTagging", LOGO, set()),
        ("lambda:InvokeFunction", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:ExportFunction", set()),
        ("states:SendTaskSuccess", "*", {"operator"}),
        ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/RestoreRole", set()),
    ],
)
def test_functions_may_do_their_work_and_no_other(stack, action, resource, expected):
    assert who_may(stack, action, resource) == expected


@pytest.mark.parametrize("blocks, expected", [("true", {"restore"}), ("false", set()), (None, set())])
def test_a_policy_is_put_on_a_secret_only_if_the_service_keeps_it_from_being_public(stack, blocks, expected):
    request = {"secretsmanager:BlockPublicPolicy": blocks} if blocks else {}
    for name, who in (("platform/tenants/acme/api", expected), ("somebody/elses", set())):
        may = {f for f in FUNCTIONS if iam.allowed(stack, f"{f.capitalize()}Role", "secretsmanager:PutResourcePolicy", secret(name), request)}
        assert may == who, name


@pytest.mark.parametrize(
    "action, resource",
    [
        ("rds:AddTagsToResource", rds("snapshot", "holdfast-0192")),
        ("rds:CreateDBSnapshot", rds("snapshot", "holdfast-0192")),
        ("rds:CopyDBSnapshot", rds("snapshot", "holdfast-0192")),
        ("rds:DeleteDBSnapshot", rds("snapshot", "holdfast-0192")),
        ("rds:CreateDBClusterSnapshot", rds("cluster-snapshot", "holdfast-0192")),
        ("rds:CopyDBClusterSnapshot", rds("cluster-snapshot", "holdfast-0192")),
        ("rds:DeleteDBClusterSnapshot", rds("cluster-snapshot", "holdfast-0192")),
        ("rds:RestoreDBInstanceFromDBSnapshot", rds("db", "holdfast-drill-1")),
        ("rds:DeleteDBInstance", rds("db", "holdfast-drill-1")),
        ("rds:RestoreDBInstanceFromDBSnapshot", rds("db", "holdfast-export-1")),
        ("rds:DeleteDBInstance", rds("db", "holdfast-export-1")),
        ("rds:RestoreDBInstanceFromDBSnapshot", rds("db", "holdfast-recovery-1")),
        ("rds:ModifyDBInstance", rds("db", "holdfast-recovery-1")),
        ("rds:RestoreDBInstanceToPointInTime", rds("db", "holdfast-export-at-1")),
    ],
)
def test_stacks_of_one_account_leave_one_another_alone(stack, action, resource):
    assert len(who_may(stack, action, resource)) == 1
    assert who_may(stack, action, resource, vault="another") == set()


@pytest.mark.parametrize(
    "action, resource, expected",
    [
        ("rds:AddTagsToResource", rds("snapshot", "holdfast-0192"), set()),
        ("rds:CreateDBSnapshot", rds("snapshot", "holdfast-0192"), set()),
        ("rds:CopyDBSnapshot", rds("snapshot", "holdfast-0192"), set()),
        ("rds:DeleteDBSnapshot", rds("snapshot", "holdfast-0192"), set()),
        ("rds:DeleteDBClusterSnapshot", rds("cluster-snapshot", "holdfast-0192"), set()),
        ("rds:AddTagsToResource", rds("db", "holdfast-drill-1"), set()),
        ("rds:RestoreDBInstanceFromDBSnapshot", rds("db", "holdfast-drill-1"), set()),
        ("rds:AddTagsToResource", rds("db", "holdfast-export-1"), set()),
        ("rds:RestoreDBInstanceFromDBSnapshot", rds("db", "holdfast-export-1"), set()),
        ("rds:AddTagsToResource", rds("db", "holdfast-recovery-1"), set()),
        ("rds:RestoreDBInstanceFromDBSnapshot", rds("db", "holdfast-recovery-1"), set()),
        ("rds:RestoreDBInstanceToPointInTime", rds("db", "holdfast-export-at-1"), set()),
        # Wider than it should be, because the emulator knows no tags of instances (docs/unproven.md).
        ("rds:DeleteDBInstance", rds("db", "holdfast-drill-1"), {"verify"}),
        ("rds:DeleteDBInstance", rds("db", "holdfast-export-1"), {"export"}),
        ("rds:ModifyDBInstance", rds("db", "holdfast-recovery-1"), {"restore"}),
    ],
)
def test_without_a_vaults_tag_nothing_is_made(stack, action, resource, expected):
    assert who_may(stack, action, resource, vault=None) == expected


def machine(name: str) -> str:
    return f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{name}"


def test_only_the_operator_starts_machines_and_only_ours(stack):
    ours = [properties["StateMachineName"] for properties in stack.of_type("AWS::StepFunctions::StateMachine").values()]
    assert sorted(ours) == ["holdfast-recover-environment", "holdfast-restore-tenant", "holdfast-run-item"]
    for name in ours:
        assert who_may(stack, "states:StartExecution", machine(name)) == {"operator"}
    assert who_may(stack, "states:StartExecution", machine("somebody-elses")) == set()


@pytest.mark.parametrize(
    "execution, expected",
    [
        ("holdfast-run-item:run_1", {"operator"}),
        ("holdfast-restore-tenant:rq_1", {"operator"}),
        ("holdfast-recover-environment:rc_1", {"operator"}),
        ("somebody-elses:x", set()),
    ],
)
def test_only_the_operator_asks_how_a_run_stands(stack, execution, expected):
    assert who_may(stack, "states:DescribeExecution", f"arn:aws:states:{REGION}:{ACCOUNT}:execution:{execution}") == expected


@pytest.mark.parametrize(
    "action, expected",
    [
        ("dynamodb:GetItem", set(FUNCTIONS)),
        ("dynamodb:PutItem", set(FUNCTIONS)),
        ("dynamodb:Query", set(FUNCTIONS)),
        ("dynamodb:DeleteItem", set()),
        ("dynamodb:DeleteTable", set()),
        ("dynamodb:UpdateTable", set()),
        ("dynamodb:Scan", set()),
        ("dynamodb:UpdateContinuousBackups", set()),
    ],
)
def test_the_catalog_is_written_but_never_shortened(stack, action, expected):
    assert who_may(stack, action, stack.arn("Catalog")) == expected


@pytest.mark.parametrize("role", ["ExportRole", "RestoreRole"])
def test_the_deny_of_tenants_secrets_outlives_a_wider_grant(template, role):
    iam.plant(template, role, "secretsmanager:GetSecretValue")
    assert who_may(Stack(template), "secretsmanager:GetSecretValue", secret("platform/tenants/acme/api")) == set()
    assert who_may(Stack(template), "secretsmanager:GetSecretValue", secret("somebody/elses")) == {role.removesuffix("Role").lower()}


def test_a_boundary_given_is_put_on_every_role(transformed, stack):
    arn = "arn:aws:iam::111122223333:policy/boundary"
    bounded = iam.roles(Stack(transformed, PermissionsBoundaryArn=arn))
    assert {name: role.get("PermissionsBoundary") for name, role in bounded.items()} == dict.fromkeys(bounded, arn)
    assert not any("PermissionsBoundary" in role for role in iam.roles(stack).values())


def test_services_assume_their_roles_for_this_stack_only(stack):
    for name, role in iam.roles(stack).items():
        if name in iam.function_roles(stack):
            continue
        (statement,) = iam.statements(role["AssumeRolePolicyDocument"])
        conditions = {key: value for block in statement["Condition"].values() for key, value in block.items()}
        assert conditions["aws:SourceAccount"] == ACCOUNT, name
        assert "holdfast" in conditions["aws:SourceArn"], name


def test_plain_http_reaches_neither_topic_nor_queue(stack):
    for action, resource in [("sns:Publish", stack.arn("AlertTopic")), ("sqs:SendMessage", stack.arn("FailedInvocations"))]:
        assert iam.allowed(stack, "ExportRole", action, resource)
        assert not iam.allowed(stack, "ExportRole", action, resource, {"aws:SecureTransport": "false"})
