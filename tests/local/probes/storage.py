"""KMS, S3 and DynamoDB: what a vault must be able to rely on."""

import base64
import datetime
import hashlib
from concurrent.futures import ThreadPoolExecutor

from botocore.exceptions import ClientError
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from probes import Differs, expect, probe, refused

CONTEXT = {"app": "holdfast", "purpose": "content"}
RACERS = 16
BY_DIGEST = {"MessageType": "DIGEST", "SigningAlgorithm": "ECDSA_SHA_256"}
DIGEST = hashlib.sha256(b"a link").digest()


@probe("kms-authenticated-ciphertexts")
def flipped_ciphertext(account):
    kms = account.client("kms")
    sealed = kms.generate_data_key(KeyId=account.key, KeySpec="AES_256", EncryptionContext=CONTEXT)
    blob = sealed["CiphertextBlob"]
    expect(kms.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT)["Plaintext"], sealed["Plaintext"], "the key")
    for position in range(36, len(blob)):
        flipped = blob[:position] + bytes([blob[position] ^ 1]) + blob[position + 1:]
        refused("InvalidCiphertextException", kms.decrypt, CiphertextBlob=flipped, EncryptionContext=CONTEXT)
    refused("InvalidCiphertextException", kms.decrypt, CiphertextBlob=blob[:-1], EncryptionContext=CONTEXT)


@probe("kms-incorrect-key")
def other_key_named(account):
    kms = account.client("kms")
    blob = kms.encrypt(KeyId=account.key, Plaintext=b"some plaintext of a key")["CiphertextBlob"]
    other = kms.create_key()["KeyMetadata"]["KeyId"]
    refused("IncorrectKeyException", kms.decrypt, CiphertextBlob=blob, KeyId=other)
    kms.decrypt(CiphertextBlob=blob, KeyId=account.key)


@probe("kms-context-mismatch", "Decrypt: another encryption context is InvalidCiphertextException")
def other_context(account):
    kms = account.client("kms")
    blob = kms.encrypt(KeyId=account.key, Plaintext=b"x" * 32, EncryptionContext=CONTEXT)["CiphertextBlob"]
    other = {**CONTEXT, "purpose": "dedup"}
    refused("InvalidCiphertextException", kms.decrypt, CiphertextBlob=blob, EncryptionContext=other)
    refused("InvalidCiphertextException", kms.decrypt, CiphertextBlob=blob)


@probe("kms-disabled-key", "Every operation: a disabled key is DisabledException, until it is enabled again")
def disabled_key(account):
    kms = account.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    blob = kms.encrypt(KeyId=key, Plaintext=b"x" * 32)["CiphertextBlob"]
    kms.disable_key(KeyId=key)
    refused("DisabledException", kms.decrypt, CiphertextBlob=blob)
    refused("DisabledException", kms.generate_data_key, KeyId=key, KeySpec="AES_256")
    kms.enable_key(KeyId=key)
    kms.decrypt(CiphertextBlob=blob)


@probe("kms-signature", "Sign: a digest's signature verifies with the public key alone, and for no other digest or key")
def signature(account):
    kms = account.client("kms")
    key, other = (signing_key(kms) for _ in range(2))
    signed = kms.sign(KeyId=key, Message=DIGEST, **BY_DIGEST)["Signature"]
    expect(verifies(kms, key, DIGEST, signed), True, "the digest's own signature")
    expect(verifies(kms, key, hashlib.sha256(b"another").digest(), signed), False, "the signature of another digest")
    expect(verifies(kms, other, DIGEST, signed), False, "the signature by another key")
    refused("ValidationException", kms.sign, KeyId=key, Message=DIGEST[:31], **BY_DIGEST)


@probe("kms-signing-key-kind", "Sign, GetPublicKey: a symmetric key does neither, and P-256 signs by ECDSA_SHA_256 only")
def signing_key_kind(account):
    kms = account.client("kms")
    # The emulator has a name of its own for the first refusal.
    symmetric = "InvalidKeyUsageException|UnsupportedOperationException"
    refused(symmetric, kms.sign, KeyId=account.key, Message=DIGEST, **BY_DIGEST)
    refused("UnsupportedOperationException", kms.get_public_key, KeyId=account.key)
    longer = {"MessageType": "RAW", "SigningAlgorithm": "ECDSA_SHA_384"}
    refused("InvalidKeyUsageException", kms.sign, KeyId=signing_key(kms), Message=DIGEST, **longer)
    told = kms.get_public_key(KeyId=signing_key(kms))
    expect((told["KeySpec"], told["KeyUsage"]), ("ECC_NIST_P256", "SIGN_VERIFY"), "the kind of key")


@probe("kms-disabled-signing-key", "Sign: a disabled key is DisabledException, until it is enabled again")
def disabled_signing_key(account):
    kms = account.client("kms")
    key = signing_key(kms)
    kms.disable_key(KeyId=key)
    refused("DisabledException", kms.sign, KeyId=key, Message=DIGEST, **BY_DIGEST)
    kms.enable_key(KeyId=key)
    kms.sign(KeyId=key, Message=DIGEST, **BY_DIGEST)


@probe("kms-disabled-public-key")
def disabled_public_key(account):
    kms = account.client("kms")
    key = signing_key(kms)
    kms.disable_key(KeyId=key)
    refused("DisabledException", kms.get_public_key, KeyId=key)
    kms.enable_key(KeyId=key)
    kms.get_public_key(KeyId=key)
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    refused("KMSInvalidStateException|DisabledException", kms.get_public_key, KeyId=key)  # AWS documents both


@probe("s3-checksum-mismatch", "PutObject: a body that is not what its SHA-256 says is BadDigest and not stored")
def wrong_checksum(account):
    s3 = account.client("s3")
    wrong = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    refused("BadDigest", s3.put_object, Bucket=account.bucket, Key="sum", Body=b"body", ChecksumSHA256=wrong)
    refused("404|NoSuchKey", s3.head_object, Bucket=account.bucket, Key="sum")


@probe("s3-create-only", "PutObject If-None-Match: * — of many writers exactly one wins, the others get 412")
def create_only(account):
    s3 = account.client("s3")

    def write(number):
        return s3.put_object(Bucket=account.bucket, Key="race", Body=b"%d" % number, IfNoneMatch="*")

    expect(_winners(write, "PreconditionFailed|ConditionalRequestConflict"), 1, "the number of winners")


@probe("s3-lock-shortening", "Object Lock: a retention cannot be shortened, nor a locked version deleted, without bypass")
def lock_shortening(account):
    s3, bucket = account.client("s3"), "probe-locked"
    s3.create_bucket(
        Bucket=bucket, ObjectLockEnabledForBucket=True, CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name}
    )
    now = datetime.datetime.now(datetime.timezone.utc)
    version = s3.put_object(
        Bucket=bucket, Key="locked", Body=b"x", ObjectLockMode="GOVERNANCE",
        ObjectLockRetainUntilDate=now + datetime.timedelta(days=5),
    )["VersionId"]

    def retain(days):
        until = {"Mode": "GOVERNANCE", "RetainUntilDate": now + datetime.timedelta(days=days)}
        return s3.put_object_retention(Bucket=bucket, Key="locked", VersionId=version, Retention=until)

    refused("AccessDenied", lambda: retain(4))
    retain(9)
    refused("AccessDenied", s3.delete_object, Bucket=bucket, Key="locked", VersionId=version)
    s3.delete_object(Bucket=bucket, Key="locked")  # only a marker
    expect(s3.get_object(Bucket=bucket, Key="locked", VersionId=version)["Body"].read(), b"x", "the locked version")


@probe("dynamodb-conditional-put", "PutItem attribute_not_exists: of many writers exactly one wins")
def conditional_put(account):
    table = account.client("dynamodb")

    def write(number):
        item = {"pk": {"S": "race"}, "writer": {"N": str(number)}}
        return table.put_item(
            TableName=account.outputs["TableName"], Item=item, ConditionExpression="attribute_not_exists(pk)"
        )

    expect(_winners(write, "ConditionalCheckFailedException"), 1, "the number of winners")


@probe("dynamodb-transaction", "TransactWriteItems: all or nothing, and the reason of each item is told")
def transaction(account):
    table, name = account.client("dynamodb"), account.outputs["TableName"]
    table.put_item(TableName=name, Item={"pk": {"S": "taken"}})
    condition = {"ConditionExpression": "attribute_not_exists(pk)"}
    items = [
        {"Put": {"TableName": name, "Item": {"pk": {"S": key}}, **condition}} for key in ("transaction-free", "taken")
    ]
    try:
        table.transact_write_items(TransactItems=items)
    except table.exceptions.TransactionCanceledException as error:
        reasons = [reason["Code"] for reason in error.response["CancellationReasons"]]
        expect(reasons, ["None", "ConditionalCheckFailed"], "the reasons")
    else:
        raise Differs("the transaction was carried out")
    if "Item" in table.get_item(TableName=name, Key={"pk": {"S": "transaction-free"}}, ConsistentRead=True):
        raise Differs("half of the transaction was carried out")


def signing_key(kms) -> str:
    """The ARN of a new key like the vault's signing key."""
    return kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]


def verifies(kms, key: str, digest: bytes, signature: bytes) -> bool:
    """Whether a signature is a key's over a digest, by its public half and without KMS."""
    public = serialization.load_der_public_key(kms.get_public_key(KeyId=key)["PublicKey"])
    try:
        public.verify(signature, digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    except InvalidSignature:
        return False
    return True


def _winners(write, losing_codes: str) -> int:
    def attempt(number):
        try:
            write(number)
            return 1
        except ClientError as error:
            if error.response["Error"]["Code"] not in losing_codes.split("|"):
                raise
            return 0

    with ThreadPoolExecutor(RACERS) as workers:
        return sum(workers.map(attempt, range(RACERS)))
