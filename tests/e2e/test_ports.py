"""The Rust adapters keep the laws of their ports on the services of the stack, not only in memory."""

import json
import os
import subprocess

import paths


def test_table_bucket_and_key_keep_the_laws_that_the_implementations_in_memory_keep(stack):
    table, bucket = "conformance", "conformance-vault"
    keys = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
    index = [{"AttributeName": "state_key", "KeyType": "HASH"}, {"AttributeName": "state_at", "KeyType": "RANGE"}]
    stack.client("dynamodb").create_table(
        TableName=table,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=keys,
        AttributeDefinitions=[{"AttributeName": each["AttributeName"], "AttributeType": "S"} for each in keys + index],
        GlobalSecondaryIndexes=[{"IndexName": "by_state", "KeySchema": index, "Projection": {"ProjectionType": "ALL"}}],
    )
    stack.client("s3").create_bucket(
        Bucket=bucket, ObjectLockEnabledForBucket=True, CreateBucketConfiguration={"LocationConstraint": stack.env()["AWS_DEFAULT_REGION"]}
    )
    key, own_key = (stack.client("kms").create_key()["KeyMetadata"]["Arn"] for _ in range(2))
    trust = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
    stack.client("iam").create_role(
        RoleName="test", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )
    names = {"HOLDFAST_TEST_TABLE": table, "HOLDFAST_TEST_BUCKET": bucket, "HOLDFAST_TEST_KEY": key, "HOLDFAST_TEST_OWN_KEY": own_key}
    done = subprocess.run(
        ["cargo", "test", "--locked", "--workspace", "--test", "conformance", "--test", "nouns", "--", "--ignored"],
        cwd=paths.ROOT, env={**os.environ, **stack.env(), **names}, capture_output=True, text=True, timeout=540,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    laws = [
        "the_table_keeps_the_laws_of_the_catalog", "the_bucket_keeps_the_laws_of_the_vault", "the_bucket_keeps_versions_and_locks",
        "a_data_key_opens_only_in_its_own_context", "a_tenants_own_key_wraps_its_keys_and_no_others",
    ]
    for law in laws:
        assert f"{law} ... ok" in done.stdout, done.stdout
