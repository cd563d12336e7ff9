"""IAM: who may do what, and who is believed to be whom."""

import json

from probes import expect, probe, refused
from probes.storage import BY_DIGEST, DIGEST, signing_key
from signed import post
from stack import REGION

WRONG_SECRET = "not-the-secret-of-this-key"


@probe("iam-default-deny", "A user may do nothing that no policy allows")
def default_deny(account):
    s3, _ = account.user_with("s3", {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"})
    refused("AccessDenied", s3.put_object, Bucket=account.bucket, Key="denied", Body=b"")


@probe("iam-policy-variables")
def policy_variables(account):
    mine = f"arn:aws:s3:::{account.bucket}/${{aws:username}}/*"
    s3, name = account.user_with("s3", {"Effect": "Allow", "Action": "s3:PutObject", "Resource": mine})
    s3.put_object(Bucket=account.bucket, Key=f"{name}/mine", Body=b"")
    refused("AccessDenied", s3.put_object, Bucket=account.bucket, Key="another/theirs", Body=b"")


@probe("iam-kms-encryption-context")
def encryption_context(account):
    kms, _ = account.user_with("kms", {
        "Effect": "Allow", "Action": ["kms:Encrypt", "kms:Decrypt"], "Resource": account.key,
        "Condition": {
            "StringEquals": {"kms:EncryptionContext:purpose": "dedup"},
            "ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["purpose", "tenant"]},
        },
    })
    allowed = {"purpose": "dedup", "tenant": "t"}
    blob = kms.encrypt(KeyId=account.key, Plaintext=b"x" * 32, EncryptionContext=allowed)["CiphertextBlob"]
    kms.decrypt(CiphertextBlob=blob, EncryptionContext=allowed)
    for context in ({"purpose": "content"}, {"purpose": "dedup", "extra": "x"}, {}):
        refused("AccessDeniedException", kms.encrypt, KeyId=account.key, Plaintext=b"x", EncryptionContext=context)


@probe("iam-kms-sign-conditions")
def sign_conditions(account):
    key = signing_key(account.client("kms"))
    kms, _ = account.user_with("kms", {
        "Effect": "Allow", "Action": "kms:Sign", "Resource": key,
        "Condition": {"StringEquals": {"kms:MessageType": "DIGEST", "kms:SigningAlgorithm": "ECDSA_SHA_256"}},
    })
    kms.sign(KeyId=key, Message=DIGEST, **BY_DIGEST)
    for other in ({"MessageType": "RAW"}, {"SigningAlgorithm": "ECDSA_SHA_384"}):
        refused("AccessDeniedException", kms.sign, KeyId=key, Message=DIGEST, **{**BY_DIGEST, **other})
    refused("AccessDeniedException", kms.sign, KeyId=key, Message=DIGEST, SigningAlgorithm="ECDSA_SHA_256")
    refused("AccessDeniedException", kms.get_public_key, KeyId=key)
    raw, _ = account.user_with("kms", {
        "Effect": "Allow", "Action": "kms:Sign", "Resource": key, "Condition": {"StringEquals": {"kms:MessageType": "RAW"}},
    })
    raw.sign(KeyId=key, Message=DIGEST, SigningAlgorithm="ECDSA_SHA_256")


@probe("iam-rds-point-in-time")
def rds_point_in_time(account):
    allowed = [f"arn:aws:rds:{REGION}:*:db:{name}" for name in ("source", "made")]
    rds, _ = account.user_with("rds", {"Effect": "Allow", "Action": "rds:RestoreDBInstanceToPointInTime", "Resource": allowed})
    restore = rds.restore_db_instance_to_point_in_time
    for source, made in (("another", "made"), ("source", "another")):
        refused(
            "AccessDenied", restore, SourceDBInstanceIdentifier=source, TargetDBInstanceIdentifier=made, UseLatestRestorableTime=True
        )
    # Allowed, and no such instance; an emulator without databases does not know the call.
    refused(
        "DBInstanceNotFound|InvalidAction", restore, SourceDBInstanceIdentifier="source", TargetDBInstanceIdentifier="made",
        UseLatestRestorableTime=True,
    )


@probe("iam-rds-snapshots")
def rds_snapshots(account):
    allowed = [f"arn:aws:rds:{REGION}:*:snapshot:{name}" for name in ("source", "made")]
    rds, _ = account.user_with("rds", {"Effect": "Allow", "Action": ["rds:CopyDBSnapshot", "rds:DeleteDBSnapshot"], "Resource": allowed})
    for source, made in (("another", "made"), ("source", "another")):
        refused("AccessDenied", rds.copy_db_snapshot, SourceDBSnapshotIdentifier=source, TargetDBSnapshotIdentifier=made)
    refused("AccessDenied", rds.delete_db_snapshot, DBSnapshotIdentifier="another")
    # Allowed, and no such snapshot; an emulator without databases need not know the call.
    missing = "DBSnapshotNotFound|InvalidAction"
    refused(missing, rds.copy_db_snapshot, SourceDBSnapshotIdentifier="source", TargetDBSnapshotIdentifier="made")
    refused(missing, rds.delete_db_snapshot, DBSnapshotIdentifier="made")


@probe("iam-secret-policy-condition")
def secret_policy_condition(account):
    secrets, name = account.user_with("secretsmanager", {
        "Effect": "Allow", "Action": "secretsmanager:CreateSecret", "Resource": "*",
    }, {
        "Effect": "Allow", "Action": "secretsmanager:PutResourcePolicy", "Resource": "*",
        "Condition": {"Bool": {"secretsmanager:BlockPublicPolicy": "true"}},
    })
    secrets.create_secret(Name=f"probe/{name}", SecretString="x")
    policy = {"SecretId": f"probe/{name}", "ResourcePolicy": '{"Version":"2012-10-17","Statement":[]}'}
    secrets.put_resource_policy(**policy, BlockPublicPolicy=True)
    refused("AccessDeniedException", secrets.put_resource_policy, **policy, BlockPublicPolicy=False)
    refused("AccessDeniedException", secrets.put_resource_policy, **policy)


@probe("iam-s3-list-prefix", "Policies: s3:prefix of a listing is a condition key, and absent where none is given")
def list_prefix(account):
    s3, _ = account.user_with("s3", {
        "Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*",
        "Condition": {"StringLike": {"s3:prefix": "v1/t/*/chain/*"}},
    })
    s3.list_objects_v2(Bucket=account.bucket, Prefix="v1/t/one/chain/")
    for prefix in ("v1/t/one/points/", "v1/t/one/chain", ""):
        refused("AccessDenied", s3.list_objects_v2, Bucket=account.bucket, Prefix=prefix)
    refused("AccessDenied", s3.list_objects_v2, Bucket=account.bucket)


@probe("iam-s3-missing-object")
def missing_object(account):
    account.client("s3").put_object(Bucket=account.bucket, Key="told/there", Body=b"x")
    s3, _ = account.user_with("s3", {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}, {
        "Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*", "Condition": {"StringLike": {"s3:prefix": "told/*"}},
    })
    s3.get_object(Bucket=account.bucket, Key="told/there")
    refused("NoSuchKey", s3.get_object, Bucket=account.bucket, Key="told/missing")
    refused("AccessDenied", s3.get_object, Bucket=account.bucket, Key="untold/missing")


@probe("iam-s3-write-conditions")
def write_conditions(account):
    s3, _ = account.user_with("s3", {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "*"}, {
        "Effect": "Deny", "Action": "s3:PutObject", "Resource": "*", "Condition": {
            "StringNotEqualsIfExists": {"s3:x-amz-server-side-encryption-aws-kms-key-id": account.key},
        },
    })
    encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": account.key}
    s3.put_object(Bucket=account.bucket, Key="ours", Body=b"", **encryption)
    other = account.client("kms").create_key()["KeyMetadata"]["Arn"]
    encryption["SSEKMSKeyId"] = other
    refused("AccessDenied", s3.put_object, Bucket=account.bucket, Key="theirs", Body=b"", **encryption)


@probe("iam-only-the-stack-root")
def only_the_stack_root(account):
    for key in ("test", "123456789012"):
        refused("InvalidAccessKeyId", account.client_with("s3", key, "test").list_buckets)


@probe("iam-signatures", "A request signed with another secret, or by an unknown key, is refused")
def signatures(account):
    key, _ = account.stack.credentials("ops-ana")
    refused("SignatureDoesNotMatch", account.client_with("s3", key, WRONG_SECRET).list_buckets)
    refused("InvalidAccessKeyId", account.client_with("s3", "AKIA0000000000000000", WRONG_SECRET).list_buckets)


@probe("lambda-url-signatures", "Function URLs with AWS_IAM refuse the unsigned, the wrongly signed and the not permitted")
def url_signatures(account):
    key, secret = account.stack.credentials("ops-ana")
    stranger, _ = account.user_with("iam", {"Effect": "Allow", "Action": "s3:*", "Resource": "*"})
    own = stranger._request_signer._credentials
    for credentials in (None, (key, WRONG_SECRET), ("AKIA0000000000000000", secret), (own.access_key, own.secret_key)):
        expect(call_url(account, {}, credentials)[0], 403, f"the status for {credentials and credentials[0]}")


@probe("lambda-url-identity")
def url_identity(account):
    status, event = call_url(account, {"hello": "ä"}, account.stack.credentials("ops-ben"))
    expect(status, 200, "the status")
    caller = event["requestContext"]["authorizer"]["iam"]
    user = account.client("iam").get_user(UserName="ops-ben")["User"]
    expect(caller["userArn"], user["Arn"], "userArn")
    expect((caller["userId"], caller["callerId"]), (user["UserId"], user["UserId"]), "userId and callerId")
    expect(json.loads(event["body"]), {"hello": "ä"}, "the body")
    expect(event["rawPath"], "/v1/probe", "the path")


def call_url(account, body: dict, credentials: tuple[str, str] | None) -> tuple[int, dict | None]:
    """Posts to the function URL, signed or not; returns status and answer."""
    status, answer = post(account.outputs["OperatorUrl"] + "v1/probe", body, credentials, REGION)
    return status, json.loads(answer) if status == 200 else None
