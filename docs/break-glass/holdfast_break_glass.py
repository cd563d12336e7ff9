#!/usr/bin/env python3
"""Opens a recovery point of a Holdfast vault without Holdfast: objects and keys in, rows and documents out.

Written from docs/format.md alone and sharing no code with Holdfast, so that a backup outlives the program that made it.
See README.md beside it. Whatever is not exactly as the format says ends it with the object's name, and nothing of an
object is released before all of it has been authenticated.
"""

import argparse
import base64
import collections
import functools
import hashlib
import hmac
import itertools
import json
import os
import re
import struct
import sys
import uuid
from pathlib import Path

import boto3
import zstandard
from blake3 import blake3
from botocore.exceptions import BotoCoreError, ClientError
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

RECORD_BYTES_MAX, LINK_BYTES_MAX, PIECE_BYTES_MAX, DOCUMENT_BYTES_MAX = 16 << 10, 16 << 20, 4 << 20, 64 << 20
CHUNKS_MAX, STREAMS_MAX, SLICES_MAX, NAME_BYTES_MAX, COLUMNS_MAX = 4_000_000, 50_000, 10_000, 1024, 2000
CHUNK, MANIFEST, LIST = 1, 2, 3
HEADER_BYTES, TAG_BYTES = 86, 16
ENTRY = struct.Struct(">32s64s5IB")
Entry = collections.namedtuple("Entry", "id sum pack offset stored_bytes plaintext_bytes rows continues")
ESCAPES = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


class Defect(Exception):
    """Something is not as the format says; the text begins with the object's key."""


def require(holds, name: str, what: str) -> None:
    if not holds:
        raise Defect(f"{name}: {what}")


# Primitives ----------------------------------------------------------------------------------------------------------


def part(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def derive(key: bytes, *parts: bytes, length: int = 32, salt: bytes = b"") -> bytes:
    return HKDF(hashes.SHA512(), length, salt, b"".join(map(part, (b"holdfast HF1", *parts)))).derive(key)


def uuid_of(prefix: str, text) -> bytes:
    """The UUID of an id. Every other spelling is refused, so that an id is safe in a key or a path."""
    spelt = isinstance(text, str) and re.fullmatch(prefix + r"_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text)
    require(spelt, repr(text), f"not an id of the kind {prefix}_…")
    return uuid.UUID(text[len(prefix) + 1:]).bytes


def padded(length: int) -> int:
    exponent = length.bit_length() - 1
    step = 1 << (exponent - exponent.bit_length())
    return max(256, -(-length // step) * step)


def sealed_bytes_max(limit: int) -> int:
    return HEADER_BYTES + padded(5 + limit) + TAG_BYTES


def open_sealed(name: str, data: bytes, key: bytes, kind: int, run: bytes, place: tuple, object_id: bytes, limit: int) -> bytes:
    """The plaintext of a sealed object, checked in the format's order. `place` is vault and tenant."""
    require(HEADER_BYTES + TAG_BYTES < len(data) <= sealed_bytes_max(limit), name, "its size is outside the limits")
    require(data[:4] == b"HF1\0", name, "not a sealed object of format HF1")
    require(data[4] == 1, name, f"suite {data[4]} is not known")
    require(data[5] == kind, name, f"type {data[5]}, expected {kind}")
    require(data[6:22] == run, name, "sealed under another run's key")
    keys = derive(key, b"\1", b"object", bytes([kind]), length=64, salt=data[22:54])
    require(hmac.compare_digest(keys[32:], data[54:86]), name, "the commitment is not that of the key")
    bound = [place[0].encode("ascii"), uuid_of("vt", place[1]), bytes([kind]), object_id]
    try:
        frame = AESGCM(keys[:32]).decrypt(bytes(12), data[86:], data[:86] + b"".join(map(part, bound)))
    except InvalidTag:
        raise Defect(f"{name}: the tag does not authenticate it at this place") from None
    length, codec = struct.unpack_from(">IB", frame)
    require(length <= len(frame) - 5 and len(frame) == padded(5 + length), name, "the frame is not of its padded size")
    require(not any(frame[5 + length:]), name, "the padding is not zero")
    require(codec in (0, 1), name, f"codec {codec} is not known")
    plaintext = inflated(name, frame[5:5 + length], limit) if codec else frame[5:5 + length]
    require(len(plaintext) <= limit, name, "the plaintext is beyond its limit")
    return plaintext


def inflated(name: str, payload: bytes, limit: int) -> bytes:
    try:
        declared = zstandard.get_frame_parameters(payload).content_size
        require(0 <= declared <= limit, name, "declares no plaintext size, or one beyond the limit")
        plaintext = zstandard.ZstdDecompressor().decompress(payload, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Defect(f"{name}: {error}") from None
    require(len(plaintext) == declared, name, "decompresses into another size than declared")
    return plaintext


# Where objects are ---------------------------------------------------------------------------------------------------


class Bucket:
    """The objects in S3."""

    def __init__(self, bucket: str):
        self.bucket, self.s3 = bucket, boto3.client("s3")

    def get(self, key: str, limit: int) -> bytes:
        """A whole object of at most `limit` bytes."""
        return self._read(key, lambda found: found["ContentLength"] <= limit)

    def get_range(self, key: str, start: int, size: int, total: int) -> bytes:
        """A part of an object that must measure `total` bytes."""
        whole = f"/{total}"
        return self._read(key, lambda found: found["ContentRange"].endswith(whole), Range=f"bytes={start}-{start + size - 1}")

    def _read(self, key: str, as_large, **which) -> bytes:
        try:
            found = self.s3.get_object(Bucket=self.bucket, Key=key, **which)
            require(as_large(found), key, "not as large as it must be")
            return found["Body"].read()
        except (BotoCoreError, ClientError) as error:
            raise Defect(f"{key}: {error}") from None

    def names(self, prefix: str) -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [found["Key"] for page in pages for found in page.get("Contents", ())]


class Directory:
    """The objects in a plain copy of the bucket, as `aws s3 sync` makes it."""

    def __init__(self, folder: str):
        self.folder = Path(folder)

    def get(self, key: str, limit: int) -> bytes:
        return self._read(key, 0, None, lambda size: size <= limit)

    def get_range(self, key: str, start: int, size: int, total: int) -> bytes:
        return self._read(key, start, size, lambda size: size == total)

    def _read(self, key: str, start: int, size: int | None, as_large) -> bytes:
        try:
            with open(self.folder / key, "rb") as file:
                require(as_large(os.fstat(file.fileno()).st_size), key, "not as large as it must be")
                file.seek(start)
                return file.read(size)
        except OSError as error:
            raise Defect(f"{key}: {error.strerror}") from None

    def names(self, prefix: str) -> list[str]:
        return [prefix + file.name for file in (self.folder / prefix).glob("*")]


# What is in them -----------------------------------------------------------------------------------------------------


class Tenant:
    """One tenant of a vault: its objects, its chain, and its keys as far as they were asked for.

    `unwrap(wrapped key, context)` asks the key service for a data key.
    """

    def __init__(self, objects, unwrap, public_key, vault: str, tenant: str):
        uuid_of("vt", tenant)
        self.objects, self.unwrap, self.public_key = objects, unwrap, public_key
        self.place, self.prefix = (vault, tenant), f"v1/t/{tenant}/"

    @functools.cache
    def key(self, run: str | None = None) -> bytes:
        """The content key of a run, or the tenant's dedup secret: one key record, one call to the key service."""
        name = f"{self.prefix}keys/{run or 'dedup'}"
        vault, tenant = self.place
        purpose = {"purpose": "content", "run": run} if run else {"purpose": "dedup"}
        context = {"app": "holdfast", **purpose, "tenant": tenant, "vault": vault}
        stored = self.objects.get(name, RECORD_BYTES_MAX)
        try:
            wrapped = json.loads(stored)["wrapped_key"]
            spelt = json.dumps({"format": "HF1", "context": context, "wrapped_key": wrapped}, separators=(",", ":"))
            require(stored == spelt.encode(), name, "not the key record of this vault, tenant and purpose")
            key = self.unwrap(base64.b64decode(wrapped, validate=True), context)
        except (ValueError, TypeError, KeyError, BotoCoreError, ClientError) as error:
            raise Defect(f"{name}: {error}") from None
        require(len(key) == 32, name, "wraps no key of 32 bytes")
        return key

    def sequences(self) -> list[int]:
        """The numbers of the objects in the chain, the newest first."""
        names = [name.rpartition("/")[2] for name in self.objects.names(f"{self.prefix}chain/")]
        return sorted((int(name) for name in names if re.fullmatch("[0-9]{12}", name)), reverse=True)

    def link(self, sequence: int, sha256: str | None = None) -> dict:
        """An authentic link, with the SHA-256 of its stored bytes added to it as `sha256`."""
        name = f"{self.prefix}chain/{sequence:012}"
        stored = self.objects.get(name, LINK_BYTES_MAX)
        found = hashlib.sha256(stored).hexdigest()
        require(sha256 in (None, found), name, f"has the SHA-256 {found}, not {sha256}")
        try:
            line, signature, rest = stored.split(b"\n")
            self.public_key.verify(base64.b64decode(signature, validate=True), line, ec.ECDSA(hashes.SHA256()))
            link = json.loads(line)
            require(not rest and link["format"] == "HF1 link", name, "not a link of format HF1")
            agrees = (link["vault"], link["tenant"], link["sequence"]) == (*self.place, sequence)
            require(agrees, name, "the link of another vault, tenant or place")
            uuid_of("rp", link["point"]), uuid_of("run", link["run"])
            for pack in link["packs"]:
                uuid_of("pk", pack["id"]), uuid_of("run", pack["run"])
        except InvalidSignature:
            raise Defect(f"{name}: the signature does not verify") from None
        except (ValueError, TypeError, KeyError) as error:
            raise Defect(f"{name}: not a link ({error!r})") from None
        return link | {"sha256": found}


class Point:
    """A recovery point. Manifest and lists are opened, and checked against each other, before any chunk is."""

    def __init__(self, tenant: Tenant, link: dict):
        self.tenant, self.link, self.packs = tenant, link, link["packs"]
        secret, point, self.run = tenant.key(), uuid_of("rp", link["point"]), uuid_of("run", link["run"])
        self.id_key, self.rows_key, self.list_key = (derive(secret, label) for label in (b"chunk id", b"rows", b"lists"))
        self.name = f"{tenant.prefix}points/{link['point']}/{link['run']}"
        content_key, object_id = tenant.key(link["run"]), point + self.run
        try:
            self.bytes = self.opened(self.name, link["manifest"], content_key, MANIFEST, self.run, object_id, DOCUMENT_BYTES_MAX)
            for number in range(len(link["lists"])):
                self.entries_of(number)
            self.manifest = json.loads(self.bytes)
            self.check()
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Defect(f"{self.name}: not a manifest ({error!r})") from None

    def opened(self, name: str, said: dict, key: bytes, kind: int, run: bytes, object_id: bytes, limit: int) -> bytes:
        """The plaintext of a stored object that has exactly the size and the SHA-256 that the link says."""
        stored = self.tenant.objects.get(name, min(said["stored_bytes"], sealed_bytes_max(limit)))
        named = len(stored) == said["stored_bytes"] and hashlib.sha256(stored).hexdigest() == said["sha256"]
        require(named, name, "not the object that its link names")
        return open_sealed(name, stored, key, kind, run, self.tenant.place, object_id, limit)

    @functools.lru_cache(maxsize=8)
    def entries_of(self, number: int) -> bytes:
        """The plaintext of a chunk list. Only a few are held; a list that is needed again is read again."""
        name, object_id = f"{self.tenant.prefix}lists/{self.link['run']}/{number:08}", self.run + struct.pack(">I", number)
        return self.opened(name, self.link["lists"][number], self.list_key, LIST, bytes(16), object_id, PIECE_BYTES_MAX)

    def entries(self, segments: list[dict], stream_id: bytes):
        """The entries that segments hold, in order."""
        for segment in segments:
            number, start, count = (segment[field] for field in ("list", "offset", "chunks"))
            sane = all(type(value) is int and value >= 0 for value in (number, start, count))
            self.refuse_unless(sane and number < len(self.link["lists"]), f"the segment {segment} is in no list")
            held, end = self.entries_of(number), start + 36 + count * ENTRY.size
            self.refuse_unless(end <= len(held), f"the segment {segment} lies outside its list")
            header = stream_id + struct.pack(">I", count)
            self.refuse_unless(held[start:start + 36] == header, f"the segment {segment} is of another stream or count")
            for entry in map(Entry._make, ENTRY.iter_unpack(held[start + 36:end])):
                pack_bytes = self.packs[entry.pack]["stored_bytes"] if entry.pack < len(self.packs) else 0
                sane = 1 <= entry.plaintext_bytes <= PIECE_BYTES_MAX and entry.continues <= 1
                inside = entry.offset + entry.stored_bytes <= pack_bytes
                sane &= entry.stored_bytes <= sealed_bytes_max(entry.plaintext_bytes)
                self.refuse_unless(inside and sane, f"the segment {segment} has an entry that cannot be: {entry}")
                yield entry

    def refuse_unless(self, holds, what: str) -> None:
        require(holds, self.name, what)

    def row_key(self, header: dict) -> bytes:
        return derive(self.rows_key, b"rows of", *(text.encode() for text in (header["digest_name"], *header["columns"])))

    def check(self) -> None:
        """Refuses a manifest that is not its place's, is beyond the limits, or does not add up."""
        streams, blobs, refuse_unless = self.manifest["streams"], self.manifest["blobs"], self.refuse_unless
        refuse_unless(self.manifest["format"] == "HF1", "of another format")
        agrees = all(self.manifest[field] == self.link[field] for field in ("vault", "tenant", "point", "run"))
        refuse_unless(agrees, "of another place than its link")
        refuse_unless(len(streams) + len(blobs) <= STREAMS_MAX, "too many streams and documents")
        for names in ([stream["header"]["name"] for stream in streams], [blob["name"] for blob in blobs]):
            refuse_unless(len(set(names)) == len(names), "a name occurs twice")
            refuse_unless(all(len(name.encode()) <= NAME_BYTES_MAX for name in names), "a name is too long")
        chunks = sum(map(self.check_stream, streams)) + sum(map(self.check_blob, blobs))
        refuse_unless(chunks <= CHUNKS_MAX, "too many chunks")

    def check_stream(self, stream: dict) -> int:
        """Adds up what the entries of a stream say, and returns how many there are."""
        header, slices = stream["header"], stream["slices"]
        sane = len(slices) <= SLICES_MAX and len(header["columns"]) <= COLUMNS_MAX
        self.refuse_unless(sane, f"stream {header['name']!r} is beyond the limits")
        stream_id, total, chunks = blake3(b"", key=self.row_key(header)).digest(), 0, 0
        for piece in slices:
            rows = continues = 0
            for entry in self.entries(piece["segments"], stream_id):
                rows, total, continues = rows + entry.rows, total + int.from_bytes(entry.sum, "little"), entry.continues
                chunks += 1
            self.refuse_unless(rows == piece["rows"] and not continues, f"a slice of {header['name']!r} has other rows")
        adds_up = sum(piece["rows"] for piece in slices) == stream["rows"]
        self.refuse_unless(adds_up, f"the slices of {header['name']!r} do not add up to its rows")
        digest = (total % (1 << 512)).to_bytes(64, "little").hex()
        self.refuse_unless(digest == stream["digest"], f"the digest of {header['name']!r} is not the sum of its chunks'")
        return chunks

    def check_blob(self, blob: dict) -> int:
        held = list(self.entries(blob["segments"], bytes(32)))
        no_rows = not any(entry.rows or any(entry.sum) or entry.continues for entry in held)
        size = sum(entry.plaintext_bytes for entry in held)
        adds_up = no_rows and size == blob["plaintext_bytes"] <= DOCUMENT_BYTES_MAX
        self.refuse_unless(adds_up, f"document {blob['name']!r} has {size} bytes, is too large, or has rows")
        return len(held)

    def chunks(self, entries):
        """Entries with where they are and their plaintext. Neighbours in a pack are fetched together, up to 4 MiB."""
        window: list[Entry] = []
        for entry in itertools.chain(entries, [None]):
            if window:
                first, last = window[0], window[-1]
                follows = entry and (entry.pack, entry.offset) == (last.pack, last.offset + last.stored_bytes)
                if not follows or entry.offset + entry.stored_bytes - first.offset > PIECE_BYTES_MAX:
                    yield from self.fetch(window)
                    window = []
            window.append(entry)

    def fetch(self, window: list[Entry]):
        pack, start, size = self.packs[window[0].pack], window[0].offset, sum(entry.stored_bytes for entry in window)
        name, key, run = f"{self.tenant.prefix}packs/{pack['id']}", self.tenant.key(pack["run"]), uuid_of("run", pack["run"])
        fetched = self.tenant.objects.get_range(name, start, size, pack["stored_bytes"])
        require(len(fetched) == size, name, f"gives fewer than {size} bytes from {start}")
        for entry in window:
            where, sealed = f"{name}: chunk at {entry.offset}", fetched[entry.offset - start:][:entry.stored_bytes]
            plaintext = open_sealed(where, sealed, key, CHUNK, run, self.tenant.place, entry.id, entry.plaintext_bytes)
            require(len(plaintext) == entry.plaintext_bytes, where, "has another size than its entry says")
            found = blake3(plaintext, key=self.id_key).digest()
            require(hmac.compare_digest(found, entry.id), where, "its keyed hash is not its id")
            yield entry, where, plaintext

    def document(self, blob: dict):
        return (plaintext for _, _, plaintext in self.chunks(self.entries(blob["segments"], bytes(32))))

    def rows(self, stream: dict):
        """The rows of a stream, chunk by chunk: counted and hashed again, and what their entries say."""
        key = self.row_key(stream["header"])
        for piece in stream["slices"]:
            begun = blake3(key=key)
            for entry, where, plaintext in self.chunks(self.entries(piece["segments"], blake3(b"", key=key).digest())):
                first, *lines = plaintext.split(b"\n")
                begun.update(first)
                hashed = []
                if not entry.continues:
                    require(lines and not lines.pop(), where, "does not end with a row")
                    hashed, begun = [begun, *(blake3(line, key=key) for line in lines)], blake3(key=key)
                require(len(hashed) == entry.rows and (hashed or not lines), where, "has other rows than its entry says")
                total = sum(int.from_bytes(row.digest(length=64), "little") for row in hashed) % (1 << 512)
                require(total == int.from_bytes(entry.sum, "little"), where, "its rows have another digest than its entry")
                yield plaintext


# What becomes of it --------------------------------------------------------------------------------------------------


def as_csv(line: bytes, columns: int, name: str) -> bytes:
    """A line of COPY text as PostgreSQL's CSV: quoted, but for NULL, which is nothing at all."""
    fields = line.split(b"\t") if columns else []
    require(len(fields) == columns, name, f"a row has {len(fields)} fields, not {columns}")
    return quoted(None if field == rb"\N" else re.sub(rb"\\(.)", lambda e: ESCAPES.get(e[1], e[1]), field) for field in fields)


def quoted(texts) -> bytes:
    return b",".join(b"" if text is None else b'"' + text.replace(b'"', b'""') + b'"' for text in texts) + b"\n"


def write(file: Path, pieces) -> None:
    """Writes a file, under another name until it is whole."""
    with open(f"{file}.partial", "xb") as out:
        for piece in pieces:
            out.write(piece)
    os.rename(f"{file}.partial", file)


def file_name(number: int, name: str) -> str:
    """A harmless file name, whatever the name; `names.json` tells which is whose."""
    return f"{number:05}-{re.sub('[^A-Za-z0-9_.-]+', '_', name)[:100]}"


def extract(point: Point, out: Path, csv: bool) -> None:
    """Writes a recovery point into a folder that does not exist yet; `names.json` comes last."""
    out.mkdir(parents=True)
    (out / "documents").mkdir()
    (out / "streams").mkdir()
    names: dict = {"sequence": point.link["sequence"], "point": point.link["point"], "documents": {}, "streams": {}}
    write(out / "manifest.json", [point.bytes])
    write(out / "facts.json", [json.dumps(point.manifest["facts"], indent=1, ensure_ascii=False).encode()])
    for number, blob in enumerate(point.manifest["blobs"], 1):
        file = f"documents/{file_name(number, blob['name'])}"
        write(out / file, point.document(blob))
        names["documents"][file] = blob["name"]
    for number, stream in enumerate(point.manifest["streams"], 1):
        header, columns = stream["header"], stream["header"]["columns"]
        file = copied = f"streams/{file_name(number, header['name'])}.copy"
        write(out / copied, point.rows(stream))
        if csv:
            file = f"{copied.removesuffix('.copy')}.csv"
            with open(out / copied, "rb") as lines:
                rows = (as_csv(line[:-1], len(columns), file) for line in lines)
                write(out / file, itertools.chain([quoted(column.encode() for column in columns)], rows))
            (out / copied).unlink()
        names["streams"][file] = {**header, "rows": stream["rows"], "digest": stream["digest"]}
    write(out / "names.json", [json.dumps(names, indent=1, ensure_ascii=False).encode()])


def show(tenant: Tenant) -> int:
    """Lists the tenant's chain, the oldest first, with every gap, intruder and recovery point that does not open."""
    defects, previous, expected = 0, None, 1
    for sequence in reversed(tenant.sequences()):
        said = [f"nothing from {expected} to {sequence - 1}"] if sequence > expected else []
        expected = sequence + 1
        try:
            link = tenant.link(sequence)
            said += [] if link["previous"] == previous else ["does not name its predecessor"]
            previous, found = link["sha256"], Point(tenant, link).manifest
            rows = sum(stream["rows"] for stream in found["streams"])
            counts = f"{rows} rows in {len(found['streams'])} streams, {len(found['blobs'])} documents"
            whose = found["facts"].get("register") if isinstance(found["facts"], dict) else None
            print(sequence, link["point"], link["run"], found["written_at"], counts, previous, json.dumps(whose))
        except Defect as defect:
            said.append(str(defect))
        defects += len(said)
        for what in said:
            print(f"{sequence} DEFECT: {what}")
    return 1 if defects else 0


def chosen(tenant: Tenant, options) -> dict:
    """The link asked for. What is defective on the way to it is not passed over in silence."""
    if options.sequence is not None:
        return tenant.link(options.sequence, options.link_sha256)
    for sequence in tenant.sequences():
        link = tenant.link(sequence)
        if options.latest or link["point"] == options.point:
            return tenant.link(sequence, options.link_sha256)
    raise Defect(f"{tenant.prefix}chain/: no link of {options.point or 'any recovery point'}")


def verifying_key(told: bytes):
    """The public key that verifies links, from PEM or DER."""
    load = serialization.load_pem_public_key if told.startswith(b"-----") else serialization.load_der_public_key
    key = load(told)
    known = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
    require(known, "signing key", "not a public key of ECDSA P-256")
    return key


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    where, which, signer = (parser.add_mutually_exclusive_group(required=True) for _ in range(3))
    where.add_argument("--bucket", help="the vault's bucket")
    where.add_argument("--directory", help="a plain copy of the bucket, keys as paths")
    which.add_argument("--sequence", type=int, help="the recovery point of this place in the tenant's chain")
    which.add_argument("--point", help="the recovery point of this id (rp_…), the newest if there are several runs of it")
    which.add_argument("--latest", action="store_true", help="the newest of the tenant, of whatever kind")
    which.add_argument("--list", action="store_true", help="only list and check the tenant's chain")
    signer.add_argument("--signing-public-key", help="a file with the key that verifies links, PEM or DER")
    signer.add_argument("--signing-key-arn", help="the key in the key service, if it still gives its public half")
    parser.add_argument("--prefix-tenant", required=True, metavar="vt_…", help="the tenant's id in the vault")
    parser.add_argument("--vault", default="main", help="the vault's name (VaultId; default: main)")
    parser.add_argument("--key-arn", required=True, action="append", help="the key that wraps the data keys; again for a tenant's own")
    parser.add_argument("--link-sha256", help="what the catalog recorded of the link, if there still is a catalog")
    parser.add_argument("--out", type=Path, help="a folder that does not exist yet")
    parser.add_argument("--csv", action="store_true", help="CSV instead of COPY text; NULL is empty without quotes")
    options = parser.parse_args()
    if not (options.list or options.out):
        parser.error("--out is needed")
    os.umask(0o077)
    kms = boto3.client("kms", region_name=options.key_arn[0].split(":")[3])

    def unwrap(wrapped: bytes, context: dict) -> bytes:
        for last, key in ((key is options.key_arn[-1], key) for key in options.key_arn):
            try:
                return kms.decrypt(CiphertextBlob=wrapped, KeyId=key, EncryptionContext=context)["Plaintext"]
            except kms.exceptions.IncorrectKeyException:
                if last:
                    raise
        raise AssertionError("there is a last key")

    try:
        told = Path(options.signing_public_key).read_bytes() if options.signing_public_key else (
            kms.get_public_key(KeyId=options.signing_key_arn)["PublicKey"])
        objects = Bucket(options.bucket) if options.bucket else Directory(options.directory)
        tenant = Tenant(objects, unwrap, verifying_key(told), options.vault, options.prefix_tenant)
        if options.list:
            return show(tenant)
        link = chosen(tenant, options)
        print(f"sequence {link['sequence']}, {link['point']}, {link['run']}, link {link['sha256']}", file=sys.stderr)
        extract(Point(tenant, link), options.out, options.csv)
    except (Defect, OSError, ClientError, BotoCoreError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    print(f"whole: {options.out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
