"""Files come back by versions: previewed, approved by a second person, carried out, judged by plain S3 calls."""

import pytest
import saas
from console import BEFORE_RESTORE, Refused
from stack import FunctionError


def test_lost_changed_and_added_files_are_put_right_and_no_version_is_removed(stack, backed_up, console):
    tenant, files = backed_up.tenant("grovebank"), Files(stack, "grovebank")
    recorded, versions, others = files.live(), files.versions(), files.versions_of_others()
    names = sorted(recorded)
    changed, deleted = names[0], names[1:]
    for name in deleted:  # awkward names among them
        files.delete(name)
    files.put(changed, b"overwritten by mistake")
    files.put("added.txt", b"nobody had this")
    damaged = files.versions()

    request = console.request(tenant.id, "a script emptied the folder", point=newest_of_files(console, tenant))
    preview = console.preview(request)
    (effect,) = preview["tables"]
    assert effect["table"] == f"{saas.MEDIA_BUCKET}/{files.prefix}"
    assert (effect["returned"], effect["overwritten"], effect["destroyed"], effect["unchanged"]) == (len(deleted), 1, 1, 0)
    assert files.versions() == damaged, "a preview writes nothing"

    console.approve(request)
    outcome = console.watch(request)["outcome"]
    assert outcome["rows"] == len(recorded) and "older versions" in outcome["undo_copy"]
    assert files.live() == recorded, "bytes, tags and headers"
    assert versions | damaged <= files.versions(), "a version was removed"
    assert files.versions_of_others() == others

    restored = files.versions()
    _allowing_refusals(stack.invoke, "restore", {"item": {"request": request, "step": "execute"}})
    assert files.versions() == restored, "a redelivered step writes nothing"
    again = console.restore(tenant.id, "once more", point=newest_of_files(console, tenant))["outcome"]
    assert (again["rows"], again["undo_copy"]) == (len(recorded), None)
    assert files.versions() == restored, "where nothing is to be done nothing is"


def test_files_that_changed_after_the_preview_are_not_restored_over(stack, backed_up, console):
    tenant, files = backed_up.tenant("harborside"), Files(stack, "harborside")
    recorded = files.live()
    lost, other = sorted(recorded)[:2]
    files.delete(lost)
    request = console.request(tenant.id, "one file is gone", point=newest_of_files(console, tenant))
    console.preview(request)
    files.put(other, b"written after the preview")
    written = files.versions()
    console.approve(request)
    with pytest.raises(Refused, match="TargetDrifted"):
        console.watch(request)
    assert files.versions() == written, "a refused restore changed something"

    console.restore(tenant.id, "both files, this time as shown", point=newest_of_files(console, tenant))
    assert files.live() == recorded


def test_a_version_that_the_bucket_lost_is_named_and_the_rest_comes_back(stack, backed_up, console):
    tenant, files = backed_up.tenant("irisclinic"), Files(stack, "irisclinic")
    recorded = files.live()
    gone, lost = sorted(recorded)[:2]
    s3, (version,) = files.s3, [version for key, version, is_latest in files.history() if key == gone and is_latest]
    files.delete(lost)
    files.delete(gone)
    s3.delete_object(Bucket=saas.MEDIA_BUCKET, Key=files.prefix + gone, VersionId=version)

    request = console.request(tenant.id, "a lifecycle rule went too far", point=newest_of_files(console, tenant))
    (note,) = console.preview(request)["notes"]
    assert gone in note and version in note
    console.approve(request)
    assert console.watch(request)["outcome"]["notes"] == [note]
    assert files.live() == {name: file for name, file in recorded.items() if name != gone}


class Files:
    """A tenant's files in the bucket, seen and changed without Holdfast."""

    def __init__(self, stack, tenant_id: str):
        self.s3, self.prefix = stack.client("s3"), f"tenants/{tenant_id}/"

    def put(self, name: str, body: bytes) -> None:
        self.s3.put_object(Bucket=saas.MEDIA_BUCKET, Key=self.prefix + name, Body=body)

    def delete(self, name: str) -> None:
        self.s3.delete_object(Bucket=saas.MEDIA_BUCKET, Key=self.prefix + name)

    def live(self) -> dict[str, tuple]:
        """By name: bytes, content type, cache control, metadata and tags."""
        found = {}
        for key, version, is_latest in self.history(markers=False):
            if is_latest:
                which = {"Bucket": saas.MEDIA_BUCKET, "Key": self.prefix + key, "VersionId": version}
                read, tags = self.s3.get_object(**which), self.s3.get_object_tagging(**which)["TagSet"]
                headers = read.get("ContentType"), read.get("CacheControl"), read["Metadata"]
                found[key] = read["Body"].read(), *headers, {tag["Key"]: tag["Value"] for tag in tags}
        return found

    def versions(self) -> set[tuple[str, str]]:
        """Every version and delete marker."""
        return {(key, version) for key, version, _ in self.history()}

    def versions_of_others(self) -> set[tuple[str, str]]:
        """Every version and delete marker that is not this tenant's."""
        return {(key, version) for key, version, _ in self._list("") if not key.startswith(self.prefix)}

    def history(self, markers: bool = True) -> list[tuple[str, str, bool]]:
        """Names below the prefix with their version ids, and whether each is the newest."""
        return [(key.removeprefix(self.prefix), *rest) for key, *rest in self._list(self.prefix, markers)]

    def _list(self, prefix: str, markers: bool = True) -> list[tuple[str, str, bool]]:
        pages = self.s3.get_paginator("list_object_versions").paginate(Bucket=saas.MEDIA_BUCKET, Prefix=prefix)
        kinds = ["Versions", "DeleteMarkers"] if markers else ["Versions"]
        return [(f["Key"], f["VersionId"], f["IsLatest"]) for page in pages for kind in kinds for f in page.get(kind, [])]


def newest_of_files(console, tenant) -> str:
    """The tenant's newest recovery point of files."""
    points = [point for point in console.points(tenant.id) if point["kind"] == "media" and point["state"] == "available"]
    points = [point for point in points if point["rule"] != BEFORE_RESTORE]
    return max(points, key=lambda point: point["scheduled_time"])["id"]


def _allowing_refusals(call, *arguments):
    try:
        call(*arguments)
    except FunctionError:
        pass
