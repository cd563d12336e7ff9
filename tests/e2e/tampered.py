"""Damage done to the vault for a while, as somebody might who may write to it."""

import contextlib
from datetime import datetime, timedelta, timezone

from wait import wait_until

LOCK_SECONDS = 2


def read(stack, key: str) -> bytes:
    """An object of the vault."""
    return stack.client("s3").get_object(Bucket=stack.outputs["VaultBucketName"], Key=key)["Body"].read()


@contextlib.contextmanager
def deleted(stack, key: str):
    """Hides an object behind a delete marker for a while."""
    s3, bucket = stack.client("s3"), stack.outputs["VaultBucketName"]
    marker = s3.delete_object(Bucket=bucket, Key=key)["VersionId"]
    try:
        yield
    finally:
        s3.delete_object(Bucket=bucket, Key=key, VersionId=marker)


@contextlib.contextmanager
def planted(stack, key: str, content: bytes):
    """Puts an object into the vault for a while, as whoever may write there could."""
    s3, bucket = stack.client("s3"), stack.outputs["VaultBucketName"]
    # With a lock of its own, or it would have the bucket's, and nobody could take it away again.
    until = datetime.now(timezone.utc) + timedelta(seconds=LOCK_SECONDS)
    lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until}
    put = s3.put_object(Bucket=bucket, Key=key, Body=content, IfNoneMatch="*", **lock)
    try:
        yield
    finally:
        # A date in a header has whole seconds.
        over = until + timedelta(seconds=1)
        wait_until("the lock is over", lambda: datetime.now(timezone.utc) > over, 10 * LOCK_SECONDS)
        s3.delete_object(Bucket=bucket, Key=key, VersionId=put["VersionId"])


@contextlib.contextmanager
def replaced(stack, key: str, content: bytes):
    """Puts other bytes in an object's place for a while, as somebody might who may delete and write."""
    with deleted(stack, key), planted(stack, key, content):
        yield
