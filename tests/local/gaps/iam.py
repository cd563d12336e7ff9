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
