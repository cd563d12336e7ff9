"""`holdfast vault` looks into the vault without opening it, and says by name what is missing, replaced or changed; `run --full`
stores everything anew, and a plain run next to nothing."""

import json

import pytest
from console import Refused
from deliver import tick
from tampered import deleted, read, replaced
from wait import wait_until

TENANT = "mosaicpay"
"""Nobody else's in these tests: the vault of a tenant that was tampered with would disturb theirs."""
DAMAGED = 6
"""The exit status that says so."""


@pytest.fixture(scope="module")
def full(backed_up, console) -> dict:
    """A recovery point that shares nothing with those before it."""
    return made(console, "--full")


@pytest.fixture(scope="module")
def plain(full, console) -> dict:
    """The next one, of the same rows."""
    return made(console)


def test_a_full_run_stores_everything_anew_and_a_plain_one_next_to_nothing(full, plain, console):
    assert full["full"] and full["parent"] is None
    assert not plain["full"] and plain["parent"] == full["id"]
    assert plain["rows"] == full["rows"] and plain["plaintext_bytes"] == full["plaintext_bytes"]
    assert plain["stored_bytes"] < full["stored_bytes"] / 5, (plain["stored_bytes"], full["stored_bytes"])
    lines = console.table("points", "--tenant", TENANT).splitlines()
    told = {line.split()[0]: {"full", "incremental"} & set(line.split()) for line in lines}
    assert (told[full["id"]], told[plain["id"]]) == ({"full"}, {"incremental"})


def test_the_chain_is_listed_shown_and_found_whole(full, plain, console):
    listed = console.run("vault", "ls", "--tenant", TENANT)["links"]
    sequences = [link["sequence"] for link in listed]
    assert sequences == list(range(len(listed), 0, -1)), "every kind has its place in one chain"
    assert {link["kind"] for link in listed} == {"database", "media", "configuration"}
    by_point = {link["point"]: link for link in listed}
    assert by_point[plain["id"]]["packs"] >= 1 and by_point[full["id"]]["packs"] >= 1
    some = console.run("vault", "ls", "--tenant", TENANT, "--kind", "media")["links"]
    assert [link["point"] for link in some] == [link["point"] for link in listed if link["kind"] == "media"]
    everybody = console.run("vault", "ls")["links"]
    assert {link["tenant"] for link in everybody} > {TENANT, "acme", "@central"}

    shown = show(console, plain)
    assert shown["authentic"] and shown["sequence"] == by_point[plain["id"]]["sequence"]
    before = next(link for link in listed if link["sequence"] == shown["sequence"] - 1)
    assert shown["link"]["previous"] == show(console, {"id": before["point"]})["link_sha256"]
    assert largest_pack(console, full) in {f"v1/t/{shown['vault_tenant']}/packs/{pack['pack']}" for pack in shown["link"]["packs"]}
    assert False in {run["own"] for run in shown["link"]["runs"]}, "a plain run needs packs of the full one"
    assert len(shown["link"]["manifest"]["sha256"]) == 64 and shown["link"]["lists"]

    checked = check(console)
    assert checked["chain"] == {"after": 0, "links": len(listed), "published": len(listed)}
    assert [point["point"] for point in checked["points"]] == [link["point"] for link in listed if link["state"] == "available"]
    assert checked["findings"] == []
    assert [point["point"] for point in check(console, "--point", full["id"])["points"]] == [full["id"]]
    assert "shared" in console.table("vault", "show", "--tenant", TENANT, "--point", plain["id"])
    assert "nothing is missing" in console.table("vault", "check", "--tenant", TENANT)


def test_a_pack_that_is_gone_is_named_with_what_needs_it(stack, full, plain, console):
    pack = largest_pack(console, full)
    with deleted(stack, pack):
        found = findings(console, "vault", "check", "--tenant", TENANT)
        assert [(one["object"], one["problem"]) for one in found] == [(pack, "it is missing")]
        assert {full["id"], plain["id"]} <= set(found[0]["needed_by"])
        assert "needed by" in refused(console.table, "vault", "check", "--tenant", TENANT).said
    assert check(console)["findings"] == []


def test_a_link_that_was_replaced_is_not_authentic_and_nothing_in_it_is_repeated(stack, full, plain, console):
    shown = show(console, full)
    link = link_key(shown)
    line, signature = read(stack, link).rstrip(b"\n").split(b"\n")
    forged = json.dumps({**json.loads(line), "packs": []}, separators=(",", ":")).encode()
    with replaced(stack, link, forged + b"\n" + signature + b"\n"):
        answer = json.loads(refused(console.run, "vault", "show", "--tenant", TENANT, "--point", full["id"]).answer)
        assert answer["authentic"] is False and "signature" in answer["problem"] and "link" not in answer
        found = findings(console, "vault", "check", "--tenant", TENANT)
        assert link in {one["object"] for one in found}
        listed = {one["point"]: one for one in console.run("vault", "ls", "--tenant", TENANT)["links"]}
        assert "signature" in listed[full["id"]]["problem"]
    assert show(console, full) == shown and check(console)["findings"] == []


def test_a_link_that_was_taken_out_is_a_gap_in_the_chain(stack, full, plain, console):
    link = link_key(show(console, full))
    with deleted(stack, link):
        assert link in {one["object"] for one in findings(console, "vault", "check", "--tenant", TENANT)}
    assert check(console)["findings"] == []


def test_only_reading_the_data_finds_a_byte_that_was_flipped_in_a_pack(stack, full, console):
    # Of its own: what is once found damaged stays refuted until a restore test says otherwise.
    victim = made(console, "--full")
    whole = check(console, "--point", victim["id"], "--read-data", "1/1")["checks"]
    assert [one["state"] for one in whole] == ["sound"]
    assert whole[0]["read"]["chunks_read"] == whole[0]["read"]["chunks"] > 1 and whole[0]["read"]["rows"] == victim["rows"]
    shares = [check(console, "--point", victim["id"], "--read-data", f"{n}/2")["checks"][0]["read"]["chunks_read"] for n in (1, 2)]
    assert sum(shares) == whole[0]["read"]["chunks"], "every chunk is in one share"

    pack = largest_pack(console, victim)
    content = bytearray(read(stack, pack))
    content[len(content) // 2] ^= 1
    with replaced(stack, pack, bytes(content)):
        assert check(console)["findings"] == [], "name and size are as ever"
        asked = ("vault", "check", "--tenant", TENANT, "--point", victim["id"], "--read-data", "1/1")
        (one,) = json.loads(refused(console.run, *asked).answer)["checks"]
        assert one["state"] == "damaged" and any(pack in finding for finding in one["findings"])
        assert console.open_alerts(victim["id"])
    try:
        assert check(console, "--point", victim["id"], "--read-data", "1/1")["checks"][0]["state"] == "sound"
        (judged,) = [point for point in console.points(TENANT) if point["id"] == victim["id"]]
        assert judged["proof"] == "refuted", "only a restore test takes that back"
    finally:
        healed = made(console)
    assert healed["full"], "nothing is built on what was found damaged"


def test_the_days_round_tells_of_a_broken_chain_once_and_takes_it_back_when_it_is_whole(stack, with_snapshots, full, console, inbox):
    link = link_key(show(console, full))
    about = f"chain of tenant {TENANT}"
    # One tick, however often delivered, begins one restore test.
    round_ = tick("verify-daily", "2026-11-23T03:30:00Z")
    inbox.new()
    with deleted(stack, link):
        for _ in range(2):
            answer = stack.invoke("verify", round_)
            assert answer["chains_broken"] == 1 and answer["chains"] > 10, answer
        told = inbox.wait_for(about)
        assert "chain_broken" in told["subject"] and f"holdfast vault check --tenant {TENANT}" in str(told["message"])
        assert not [alert for alert in inbox.new() if about in str(alert)], "it was told before"
    answer = stack.invoke("verify", round_)
    assert answer["chains_broken"] == 0
    assert not console.open_alerts(about)
    (promised,) = [one for one in console.run("status")["objectives"] if one["tenant"] == TENANT]
    assert promised["reading"]["met"] is True, promised

    def torn_down():
        stack.invoke("verify", tick("verify-follow", "2026-11-23T03:35:00Z"))
        instances = stack.client("rds").describe_db_instances()["DBInstances"]
        return not any(found["DBInstanceIdentifier"].startswith("holdfast-drill-") for found in instances)

    wait_until("the round's restore test is over", torn_down, 240)


def test_wrong_questions_are_refused_by_what_is_wrong_with_them(full, console):
    unknown = "rp_00000000-0000-7000-8000-000000000000"
    for arguments, status, said in [
        (("check", "--tenant", TENANT, "--read-data", "8/7"), 1, "`8/7` is not a share"),
        (("check", "--tenant", "nobody-here"), 4, "nobody-here"),
        (("show", "--tenant", TENANT, "--point", unknown), 4, unknown),
        (("show", "--tenant", "acme", "--point", full["id"]), 4, full["id"]),
        (("ls", "--kind", "snapshot"), 1, "holdfast points"),
    ]:
        with pytest.raises(Refused) as wrong:
            console.run("vault", *arguments)
        assert (wrong.value.status, said in wrong.value.said) == (status, True), wrong.value


def made(console, *arguments: str) -> dict:
    """The database's recovery point of a manual run, once all its recovery points are available."""
    before = {point["id"] for point in console.points(TENANT)}
    console.run("run", "--tenant", TENANT, *arguments)

    def new():
        points = [point for point in console.points(TENANT) if point["id"] not in before]
        return points if len(points) == 3 and all(point["state"] == "available" for point in points) else None

    return next(point for point in wait_until("the run is done", new, 120) if point["kind"] == "database")


def check(console, *arguments: str) -> dict:
    """The answer of a check that finds nothing."""
    return console.run("vault", "check", "--tenant", TENANT, *arguments)


def show(console, point: dict) -> dict:
    """What the vault says of a recovery point."""
    return console.run("vault", "show", "--tenant", TENANT, "--point", point["id"])


def link_key(shown: dict) -> str:
    """Where the link lies that was shown."""
    return f"v1/t/{shown['vault_tenant']}/chain/{shown['sequence']:012}"


def largest_pack(console, point: dict) -> str:
    """Where the largest pack lies that a recovery point's own run wrote."""
    shown = show(console, point)
    own = [pack for pack in shown["link"]["packs"] if pack["run"] == shown["link"]["run"]]
    return f"v1/t/{shown['vault_tenant']}/packs/{max(own, key=lambda pack: pack['stored_bytes'])['pack']}"


def refused(command, *arguments: str) -> Refused:
    """The refusal of a command that finds damage; what it printed before is its `answer`."""
    with pytest.raises(Refused) as found:
        command(*arguments)
    assert found.value.status == DAMAGED, found.value
    return found.value


def findings(console, *arguments: str) -> list[dict]:
    """What a check found."""
    return json.loads(refused(console.run, *arguments).answer)["findings"]
