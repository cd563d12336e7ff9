"""The tenants' uploaded files: a versioned bucket with history below each tenant's prefix."""

from .plan import MEDIA_BUCKET
from .roster import Tenant

PLAIN_OBJECTS = 30
AWKWARD_NAMES = (
    "with space.txt", "plus+and%25percent.txt", "Übergröße/日本語.txt", "emoji 🚚.txt", "quote'and\"double.txt",
    "trailing/", "deep/er/and/deeper/still.bin", "semi;colon&amp=1?.txt", "dots/../not-a-path.txt", "empty.bin",
)


def create_bucket(stack) -> None:
    """Creates the media bucket, versioned."""
    s3 = stack.client("s3")
    s3.create_bucket(Bucket=MEDIA_BUCKET, CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
    s3.put_bucket_versioning(Bucket=MEDIA_BUCKET, VersioningConfiguration={"Status": "Enabled"})


def upload(stack, tenant: Tenant) -> int:
    """Puts a tenant's files with their history; returns how many versions and markers there are now."""
    s3, prefix, count = stack.client("s3"), f"tenants/{tenant.id}/", 0

    def put(name: str, text: str, **rest) -> None:
        nonlocal count
        body = b"" if name == "empty.bin" else f"{tenant.display_name}: {text}\n".encode()
        s3.put_object(Bucket=MEDIA_BUCKET, Key=prefix + name, Body=body, **rest)
        count += 1

    for number in range(PLAIN_OBJECTS):
        put(f"uploads/{number:03}.txt", f"upload {number}", ContentType="text/plain; charset=utf-8",
            Metadata={"uploaded-by": f"user-{number % 7}"}, Tagging=f"class={'internal' if number % 2 else 'public'}")
    for name in AWKWARD_NAMES:
        put(name, "an awkward name", CacheControl="no-store")
    for revision in (2, 3):
        for number in range(4):
            put(f"uploads/{number:03}.txt", f"upload {number}, revision {revision}")
    for number in (5, 6):  # deleted; 6 came back afterwards
        s3.delete_object(Bucket=MEDIA_BUCKET, Key=f"{prefix}uploads/{number:03}.txt")
        count += 1
    put("uploads/006.txt", "uploaded again after it was deleted")
    return count
