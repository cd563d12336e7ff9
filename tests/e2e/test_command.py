"""What a person sees who types the command: progress on a terminal, and the whole story of a restore in the audit trail."""

import os
import pty
import select
import subprocess

import paths
from console import APPROVES, ASKS

TENANT = "acme"


def on_a_terminal(stack, *arguments: str) -> tuple[int, str, str]:
    """Runs the command with its standard error on a terminal; its exit status, what it printed and what the terminal got."""
    ours, theirs = pty.openpty()
    own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment = {**own, **stack.env(ASKS), "HOLDFAST_OPERATOR_URL": stack.outputs["OperatorUrl"], "TERM": "xterm", "NO_COLOR": "1"}
    command = subprocess.Popen(
        [paths.BINARIES / "holdfast", *arguments], env=environment, stdout=subprocess.PIPE, stderr=theirs, stdin=subprocess.DEVNULL
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            ready, _, _ = select.select([ours], [], [], 120)
            read = os.read(ours, 4096) if ready else b""
        except OSError:  # The other end is closed.
            read = b""
        if not read:
            break
        shown += read
    printed = command.stdout.read()
    os.close(ours)
    return command.wait(60), printed.decode(), shown.decode()


def test_a_person_at_a_terminal_sees_how_far_it_is_and_a_script_sees_nothing_but_the_answer(stack, backed_up, console):
    status, printed, shown = on_a_terminal(stack, "vault", "check", "--tenant", TENANT, "--read-data", "1/1")
    assert status == 0, shown
    assert "check of rp_" in shown and "running" in shown and "sound" in shown, shown
    assert "check of rp_" not in printed and "sound" in printed
    assert "\x1b[3" not in shown, "NO_COLOR is set"

    quiet = stack.cli("vault", "check", "--tenant", TENANT, "--read-data", "1/1")
    assert quiet.returncode == 0 and quiet.stderr == ""


def test_the_whole_story_of_a_restore_can_be_read_by_its_request(stack, backed_up, console):
    request = console.request(TENANT, "to read its story")
    console.approve(request, console.preview(request)["digest"])
    console.watch(request)
    story = console.run("audit", "--request", request)["entries"]
    told = [(entry["act"], entry["phase"]) for entry in story]
    for act in ("restore.request", "restore.approve", "restore.execute"):
        assert told.index((act, "intent")) < told.index((act, "outcome")), told
    who = {entry["act"]: entry["actor"].rsplit("/", 1)[-1] for entry in story}
    assert (who["restore.request"], who["restore.approve"]) == (ASKS, APPROVES)
    assert "to read its story" in story[0]["detail"]
    assert [entry["at"] for entry in story] == sorted(entry["at"] for entry in story)

    span = console.run("audit", "--since", story[0]["at"], "--until", story[-1]["at"], "--act", "restore", "--actor", APPROVES)
    assert {entry["act"] for entry in span["entries"]} == {"restore.approve"}
