"""IAM: what a policy may refer to, and who counts as the account root."""

import json
import os
import re
from dataclasses import replace

from ministack.core import iam_actions, iam_evaluator
from ministack.services import s3

from gaps import gap

VARIABLE = re.compile(r"\$\{([^}]+)\}")
LITERALS = ("*", "?", "$")
S3_WRITE_KEYS = {
    "x-amz-server-side-encryption-aws-kms-key-id": "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-customer-algorithm": "x-amz-server-side-encryption-customer-algorithm",
    "object-lock-mode": "x-amz-object-lock-mode",
    "object-lock-retain-until-date": "x-amz-object-lock-retain-until-date",
    "object-lock-legal-hold": "x-amz-object-lock-legal-hold",
    "if-none-match": "if-none-match",
}
"""Condition key (without `s3:`) and the header it is read from."""
ARN_OF_S3 = "arn:aws:s3:::"


@gap("iam-policy-variables", "Policies: ${aws:username}, ${aws:PrincipalTag/…} and the like stand for the request's values")
def policy_variables() -> None:
    first_match = iam_evaluator._first_match

    def match_filled_in(context, statements, effect):
        return first_match(context, [_fill_in(statement, context) for statement in statements], effect)

    iam_evaluator._first_match = match_filled_in


@gap("iam-kms-encryption-context", "Policies: kms:EncryptionContext:<key> and kms:EncryptionContextKeys are condition keys")
def kms_encryption_context() -> None:
    request_keys = iam_actions.request_tag_context

    def with_encryption_context(service, action, body, parameters):
        keys = request_keys(service, action, body, parameters)
        return {**keys, **_encryption_context_keys(body)} if service == "kms" else keys

    iam_actions.request_tag_context = with_encryption_context


@gap("iam-kms-sign-conditions", "Policies: kms:MessageType (RAW if not said) and kms:SigningAlgorithm are condition keys of Sign")
def kms_sign_conditions() -> None:
    request_keys = iam_actions.request_tag_context

    def with_sign_keys(service, action, body, parameters):
        keys = request_keys(service, action, body, parameters)
        return {**keys, **_sign_keys(body)} if action == "kms:Sign" else keys

    iam_actions.request_tag_context = with_sign_keys


@gap("iam-secret-policy-condition", "Policies: secretsmanager:BlockPublicPolicy is a condition key of PutResourcePolicy")
def secret_policy_condition() -> None:
    request_keys = iam_actions.request_tag_context

    def with_block_key(service, action, body, parameters):
        keys = request_keys(service, action, body, parameters)
        if action == "secretsmanager:PutResourcePolicy" and (blocks := _request(body).get("BlockPublicPolicy")) is not None:
            keys = {**keys, "secretsmanager:blockpublicpolicy": str(blocks).lower()}
        return keys

    iam_actions.request_tag_context = with_block_key


@gap("iam-s3-missing-object", "GetObject: a missing key is NoSuchKey only to whoever may list with it as s3:prefix, else AccessDenied")
def s3_missing_object() -> None:
    enforce = iam_evaluator.enforce

    def enforce_listing_of_the_missing(access_key, action, service, region, resource_arn="*", service_context=None):
        denied = enforce(access_key, action, service, region, resource_arn, service_context)
        if denied or action != "s3:GetObject":
            return denied
        bucket, _, key = resource_arn.removeprefix(ARN_OF_S3).partition("/")
        if bucket not in s3._buckets or key in s3._buckets[bucket]["objects"]:
            return None
        return enforce(access_key, "s3:ListBucket", service, region, ARN_OF_S3 + bucket, {"s3:prefix": key})

    iam_evaluator.enforce = enforce_listing_of_the_missing


@gap("iam-s3-write-conditions", "Policies: a PutObject carries its KMS key, customer key and object lock as condition keys")
def s3_write_conditions() -> None:
    object_keys = iam_actions._s3_object_context

    def with_write_keys(action, query, path, headers):
        keys = object_keys(action, query, path, headers)
        if action == "s3:PutObject":
            keys.update({f"s3:{name}": headers[header] for name, header in S3_WRITE_KEYS.items() if headers.get(header)})
        return keys

    iam_actions._s3_object_context = with_write_keys


@gap("iam-only-the-stack-root", "Credentials: a key nobody issued is refused (the emulator takes `test` and account ids for root)")
def only_the_stack_root() -> None:
    root = os.environ["AWS_ACCESS_KEY_ID"]
    iam_evaluator.is_root_access_key = lambda key: not key or key == root


@gap("iam-rds-point-in-time", "RestoreDBInstanceToPointInTime: the caller needs the right to the source and to the instance to be made")
def rds_point_in_time() -> None:
    resource_of, enforce = iam_actions.extract_resource_arn, iam_evaluator.enforce

    def both(service, method, path, headers, body, query_params, region, account_id, *rest):
        found = resource_of(service, method, path, headers, body, query_params, region, account_id, *rest)
        if service != "rds" or found != "*":
            return found
        names = [iam_actions._query_param(query_params, f"{which}DBInstanceIdentifier") for which in ("Source", "Target")]
        arns = [f"arn:aws:rds:{region}:{account_id}:db:{name}" for name in names if name]
        return " ".join(arns) or found

    def enforce_each(access_key, action, service, region, resource_arn="*", service_context=None, **more):
        for arn in resource_arn.split(" ") if action == "rds:RestoreDBInstanceToPointInTime" else [resource_arn]:
            if denied := enforce(access_key, action, service, region, arn, service_context, **more):
                return denied
        return None

    iam_actions.extract_resource_arn, iam_evaluator.enforce = both, enforce_each


SNAPSHOT_CALLS = {
    "CreateDBSnapshot": (("DBInstanceIdentifier", "db"), ("DBSnapshotIdentifier", "snapshot")),
    "CopyDBSnapshot": (("SourceDBSnapshotIdentifier", "snapshot"), ("TargetDBSnapshotIdentifier", "snapshot")),
    "DeleteDBSnapshot": (("DBSnapshotIdentifier", "snapshot"),),
    "CreateDBClusterSnapshot": (("DBClusterIdentifier", "cluster"), ("DBClusterSnapshotIdentifier", "cluster-snapshot")),
    "CopyDBClusterSnapshot": (
        ("SourceDBClusterSnapshotIdentifier", "cluster-snapshot"), ("TargetDBClusterSnapshotIdentifier", "cluster-snapshot")
    ),
    "DeleteDBClusterSnapshot": (("DBClusterSnapshotIdentifier", "cluster-snapshot"),),
}
"""Call and what it needs the right to: parameter and kind of each resource."""


@gap("iam-rds-snapshots", "CreateDBSnapshot, CopyDBSnapshot, DeleteDBSnapshot, and those of clusters: the caller needs the right to each snapshot named; its tags are condition keys")
def rds_snapshots() -> None:
    resource_of, enforce = iam_actions.extract_resource_arn, iam_evaluator.enforce

    def each_named(service, method, path, headers, body, query_params, region, account_id, *rest):
        call = iam_actions._query_param(query_params, "Action") if service == "rds" else None
        if call not in SNAPSHOT_CALLS:
            return resource_of(service, method, path, headers, body, query_params, region, account_id, *rest)
        named = [(iam_actions._query_param(query_params, name), kind) for name, kind in SNAPSHOT_CALLS[call]]
        return " ".join(f"arn:aws:rds:{region}:{account_id}:{kind}:{name}" for name, kind in named if name)

    def enforce_each(access_key, action, service, region, resource_arn="*", service_context=None, **more):
        if action.removeprefix("rds:") not in SNAPSHOT_CALLS:
            return enforce(access_key, action, service, region, resource_arn, service_context, **more)
        for arn in resource_arn.split(" "):
            keys = {**(service_context or {}), **_snapshot_tag_keys(arn)}
            if denied := enforce(access_key, action, service, region, arn, keys, **more):
                return denied
        return None

    iam_actions.extract_resource_arn, iam_evaluator.enforce = each_named, enforce_each


def _snapshot_tag_keys(arn: str) -> dict:
    from moto.rds.models import rds_backends

    _, _, _, region, account, kind, name = arn.split(":", 6)
    backend = rds_backends[account][region]
    found = {"snapshot": backend.database_snapshots, "cluster-snapshot": backend.cluster_snapshots}.get(kind, {}).get(name)
    return {f"aws:resourcetag/{tag['Key']}".lower(): tag["Value"] for tag in (found.tags if found else [])}


def _fill_in(statement, context):
    if "${" not in f"{statement.resources}{statement.not_resources}{statement.conditions}":
        return statement
    values = {key.lower(): value for key, value in {**context.service_context, **context.principal_keys}.items()}

    def value_of(match):
        name, _, default = match[1].partition(",")
        name = name.strip()
        if name in LITERALS:
            return name
        value = values.get(name.lower())
        if value is None:
            value = iam_evaluator._resolve_condition_key(name, context)
        if isinstance(value, list):
            value = value[0] if len(value) == 1 else None
        if value is None and default:
            value = default.strip().strip("'")
        # A variable without a value makes the statement match nothing.
        return "\0no value\0" if value is None else str(value)

    def fill(part):
        match part:
            case str():
                return VARIABLE.sub(value_of, part)
            case list():
                return [fill(item) for item in part]
            case dict():
                return {key: fill(item) for key, item in part.items()}
        return part

    return replace(
        statement, resources=fill(statement.resources), not_resources=fill(statement.not_resources),
        conditions=fill(statement.conditions),
    )


def _sign_keys(body: bytes) -> dict:
    request = _request(body)
    keys = {"kms:messagetype": request.get("MessageType", "RAW"), "kms:signingalgorithm": request.get("SigningAlgorithm")}
    return {name: value for name, value in keys.items() if value is not None}


def _encryption_context_keys(body: bytes) -> dict:
    request = _request(body)
    pairs = request.get("EncryptionContext") or request.get("SourceEncryptionContext") or {}
    if not pairs:
        return {}
    keys = {f"kms:encryptioncontext:{key}".lower(): value for key, value in pairs.items()}
    return {**keys, "kms:encryptioncontextkeys": list(pairs)}


def _request(body: bytes) -> dict:
    try:
        return json.loads(body or b"{}")
    except ValueError:
        return {}
