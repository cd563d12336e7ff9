"""The break-glass script opens every golden vector, and none that was touched: two implementations agree on the format."""

import base64
import hashlib
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs" / "break-glass"))

import holdfast_break_glass as break_glass

WHOLE = json.loads((ROOT / "tests" / "golden" / "v1" / "recovery-points.json").read_text(encoding="utf-8"))
OBJECTS = {key: base64.b64decode(content) for key, content in WHOLE["objects"].items()}
FULL, INCREMENTAL = WHOLE["points"]
GOLDEN = json.loads((ROOT / "tests" / "golden" / "v1" / "envelope.json").read_text(encoding="utf-8"))
VECTORS = {vector["name"]: vector for vector in GOLDEN["vectors"]}
LIMIT = 4 << 20


def opened(vector: dict, sealed: bytes | None = None, **otherwise) -> bytes:
    """The plaintext of a vector, with what is expected of it changed as told."""
    expected = {
        "key": bytes.fromhex(GOLDEN["data_key"]),
        "kind": vector["type"],
        "run": break_glass.uuid_of("run", GOLDEN["run"]),
        "place": (GOLDEN["vault"], GOLDEN["tenant"]),
        "object_id": bytes.fromhex(vector["object_id"]),
        "limit": LIMIT,
    }
    return break_glass.open_sealed("the vector", sealed or bytes.fromhex(vector["sealed"]), **{**expected, **otherwise})


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
def test_every_golden_vector_opens(vector):
    assert opened(vector) == bytes.fromhex(vector["plaintext"])


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
def test_no_byte_of_a_vector_may_differ(vector):
    sealed = bytes.fromhex(vector["sealed"])
    for position in [*range(break_glass.HEADER_BYTES), *range(break_glass.HEADER_BYTES, len(sealed), 7), len(sealed) - 1]:
        flipped = sealed[:position] + bytes([sealed[position] ^ 1]) + sealed[position + 1:]
        with pytest.raises(break_glass.Defect, match="the vector: "):
            opened(vector, flipped)
    for damaged in (sealed[:-1], sealed + b"\0", sealed[:100], b"HF1\0"):
        with pytest.raises(break_glass.Defect):
            opened(vector, damaged)


ELSEWHERE = {
    "another key": ({"key": bytes(32)}, "commitment"),
    "another type": ({"kind": 3}, "type"),
    "another run's key": ({"run": bytes(16)}, "another run's key"),
    "another vault": ({"place": ("spare", GOLDEN["tenant"])}, "at this place"),
    "another tenant": ({"place": (GOLDEN["vault"], GOLDEN["tenant"][:-1] + "c")}, "at this place"),
    "another object": ({"object_id": bytes(31) + b"\1"}, "at this place"),
    "less plaintext": ({"limit": 0}, "limit"),
}


@pytest.mark.parametrize(("expected", "refusal"), ELSEWHERE.values(), ids=ELSEWHERE)
def test_a_vector_opens_only_where_it_is_expected(expected, refusal):
    with pytest.raises(break_glass.Defect, match=refusal):
        opened(VECTORS["a chunk padded to 1,024 bytes"], **expected)


def padding(length: int) -> int:
    return break_glass.padded(length) - length


def test_padding_costs_at_most_what_the_format_says():
    assert [break_glass.padded(length) for length in (5, 256, 257, 272, 273, 65537)] == [256, 256, 272, 272, 288, 67584]
    assert max(padding(length) / length for length in range(65536, 1 << 22, 997)) <= 1 / 32


NAMES = ["../../etc/passwd", "/etc/passwd", "..", "", "a\0b", "app.\"odd name\"", "Möbel/港", "a\nb", "-rf", "x" * 1000]


@pytest.mark.parametrize("name", NAMES, ids=map(repr, NAMES))
def test_no_name_of_a_stream_leaves_the_folder(name, tmp_path):
    file = tmp_path / (break_glass.file_name(1, name) + ".copy")
    assert file.resolve().parent == tmp_path
    file.touch()


LINES = {
    rb"1" b"\t" rb"\N" b"\t": b'"1",,""\n',
    rb"a\tb\\c" b"\t" rb"\\N" b"\t" b'say "x"': b'"a\tb\\c","\\N","say ""x"""\n',
    rb"two\nlines\r" b"\t," b"\t" rb"\\.": b'"two\nlines\r",",","\\."\n',
}


@pytest.mark.parametrize(("line", "csv"), LINES.items(), ids=map(repr, LINES))
def test_a_copy_line_becomes_csv(line, csv):
    assert break_glass.as_csv(line, 3, "a stream") == csv


def test_a_line_of_other_columns_is_refused():
    with pytest.raises(break_glass.Defect, match="2 fields"):
        break_glass.as_csv(b"1\t2", 3, "a stream")


class Stored:
    """The golden tenant's objects, some of them replaced; None stands for one that is gone."""

    def __init__(self, **replaced: bytes | None):
        self.objects, self.read_to = {**OBJECTS, **replaced}, {}

    def get(self, key: str, limit: int) -> bytes:
        content = self.objects.get(key)
        break_glass.require(content is not None and len(content) <= limit, key, "missing or too large")
        self.read_to[key] = len(content)
        return content

    def get_range(self, key: str, start: int, size: int, total: int) -> bytes:
        content = self.get(key, total)
        break_glass.require(len(content) == total, key, "of another size")
        self.read_to[key] = start + size
        return content[start:start + size]

    def names(self, prefix: str) -> list[str]:
        return [key for key in self.objects if key.startswith(prefix)]


def tenant(objects: Stored, unwrapped: list | None = None, vault: str = WHOLE["vault"]) -> break_glass.Tenant:
    """The golden tenant, its data keys in clear."""

    def unwrap(wrapped: bytes, context: dict) -> bytes:
        name = context.get("run", "dedup")
        bound = {"app": "holdfast", "vault": WHOLE["vault"], "tenant": WHOLE["tenant"]}
        bound |= {"purpose": "dedup"} if name == "dedup" else {"purpose": "content", "run": name}
        record = json.loads(OBJECTS[f"v1/t/{WHOLE['tenant']}/keys/{name}"])
        if context != bound or wrapped != base64.b64decode(record["wrapped_key"]):
            raise ValueError("InvalidCiphertextException")
        (unwrapped if unwrapped is not None else []).append(name)
        return bytes.fromhex(WHOLE["keys"][name])

    key = break_glass.verifying_key(base64.b64decode(WHOLE["signing_public_key"]))
    return break_glass.Tenant(objects, unwrap, key, vault, WHOLE["tenant"])


def extracted(point: dict, out: Path, objects: Stored, unwrapped: list | None = None) -> Path:
    """A golden recovery point, written into a folder."""
    of = tenant(objects, unwrapped)
    break_glass.extract(break_glass.Point(of, of.link(point["sequence"], point["link_sha256"])), out, csv=False)
    return out


@pytest.mark.parametrize("point", WHOLE["points"], ids=["full", "incremental"])
def test_a_golden_recovery_point_has_the_rows_that_psql_saw(point, tmp_path):
    out = extracted(point, tmp_path / "out", Stored())
    streams = json.loads((out / "names.json").read_text())["streams"]
    found = {
        stream["name"]: {"rows": stream["rows"], "sha256": hashlib.sha256((out / file).read_bytes()).hexdigest()}
        for file, stream in streams.items()
    }
    assert found == point["streams"]
    assert [file.read_bytes()[:5] for file in (out / "documents").iterdir()] == [b"PGDMP"] * 2


def test_each_key_record_is_opened_once(tmp_path):
    unwrapped: list = []
    extracted(INCREMENTAL, tmp_path / "out", Stored(), unwrapped)
    assert len(unwrapped) == len(set(unwrapped)) == 3, "the dedup secret, and the content keys of two runs"


def needed() -> dict[str, int]:
    """The objects that the incremental recovery point is read from, and where a part that it needs ends."""
    objects = Stored()
    of = tenant(objects)
    point = break_glass.Point(of, of.link(INCREMENTAL["sequence"]))
    for stream in point.manifest["streams"]:
        list(point.rows(stream))
    for blob in point.manifest["blobs"]:
        list(point.document(blob))
    return objects.read_to


NEEDED = needed()
DAMAGE = {
    "flipped": lambda content, end: content[:end - 9] + bytes([content[end - 9] ^ 1]) + content[end - 8:],
    "shorter": lambda content, _: content[:-1],
    "longer": lambda content, _: content + b"\0",
    "gone": lambda *_: None,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("key", NEEDED, ids=lambda key: key.split("/", 3)[3])
def test_a_damaged_object_of_a_recovery_point_is_named(key, damage, tmp_path):
    with pytest.raises(break_glass.Defect) as refused:
        extracted({**INCREMENTAL, "link_sha256": None}, tmp_path / "out", Stored(**{key: damage(OBJECTS[key], NEEDED[key])}))
    assert str(refused.value).startswith(key)
    assert not (tmp_path / "out" / "names.json").exists()


@pytest.mark.parametrize("key", NEEDED, ids=lambda key: key.split("/", 3)[3])
def test_an_object_in_anothers_place_is_refused(key, tmp_path):
    kind = key.split("/")[3]
    others = [other for other in OBJECTS if other.split("/")[3] == kind and other != key]
    assert others, "nothing to confuse it with, so this would prove nothing"
    for number, other in enumerate(others):
        with pytest.raises(break_glass.Defect, match=key):
            extracted({**INCREMENTAL, "link_sha256": None}, tmp_path / f"out-{number}", Stored(**{key: OBJECTS[other]}))


def test_a_recovery_point_is_refused_in_another_vault_and_under_another_hash():
    with pytest.raises(break_glass.Defect, match="another vault"):
        tenant(Stored(), vault="spare").link(FULL["sequence"])
    with pytest.raises(break_glass.Defect, match="SHA-256"):
        tenant(Stored()).link(FULL["sequence"], INCREMENTAL["link_sha256"])


def test_the_chain_is_shown_with_its_defects(capsys):
    assert break_glass.show(tenant(Stored())) == 0
    assert capsys.readouterr().out.count("\n") == len(tenant(Stored()).sequences())
    first = f"v1/t/{WHOLE['tenant']}/chain/000000000001"
    intruder = f"v1/t/{WHOLE['tenant']}/chain/000000000009"
    objects = Stored(**{intruder: b"anything"})
    del objects.objects[first]
    assert break_glass.show(tenant(objects)) == 1
    told = capsys.readouterr().out
    assert "2 DEFECT: nothing from 1 to 1" in told and "2 DEFECT: does not name its predecessor" in told
    assert "9 DEFECT: nothing from 7 to 8" in told and f"9 DEFECT: {intruder}: not a link" in told


def test_the_script_is_tested_with_the_packages_it_asks_for():
    wanted, tested = (
        {line for line in file.read_text().splitlines() if "==" in line and not line.startswith("#")}
        for file in (ROOT / "docs" / "break-glass" / "requirements.txt", ROOT / "tests" / "local" / "requirements.txt")
    )
    assert wanted and wanted <= tested
