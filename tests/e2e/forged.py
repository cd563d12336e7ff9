"""What an attacker, or a fault, would do: write the catalog's rows by hand, and call the operator function as anybody.

Function URLs hand the caller's identity to the function, so an event made here is what a call by that person would be.
"""

import contextlib
import json
from collections.abc import Iterator

from paths import ROOT
from stack import ACCOUNT

ROLE = "AWSReservedSSO_Operators_0123456789abcdef"


def alert_row(stack, name: str, subject: str) -> "Row":
    """The row of the alert of a class about a subject."""
    return Row(stack, subject, "ALERTS", f"{name}#{subject}")


def user(name: str) -> str:
    """The ARN of an IAM user."""
    return f"arn:aws:iam::{ACCOUNT}:user/{name}"


def session(name: str, role: str = ROLE) -> str:
    """The ARN of a session of a role, by default of IAM Identity Center's."""
    return f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{name}"


def identity(arn: str) -> dict:
    """An identity as the catalog records it."""
    return {"arn": arn, "principal": f"AIDA{abs(hash(arn)):016d}", "account": ACCOUNT}


def call(stack, verb: str, body: dict, arn: str) -> tuple[int, dict]:
    """Calls a verb of the operator function as if this person had signed the call; the status and what was answered."""
    event = json.loads((ROOT / "events" / "operator-restore-status.json").read_text())
    event["rawPath"] = event["requestContext"]["http"]["path"] = f"/v1/{verb}"
    who = identity(arn)
    event["requestContext"]["authorizer"]["iam"] |= {
        "userArn": arn, "userId": who["principal"], "callerId": who["principal"], "accountId": ACCOUNT,
    }
    event["body"] = json.dumps(body)
    answer = stack.invoke("operator", event)
    return answer["statusCode"], json.loads(answer["body"])


class Row:
    """A row of the catalog: a restore request's, or any other."""

    def __init__(self, stack, request: str, pk: str | None = None, sk: str = "REQUEST"):
        self._table, self._client = stack.outputs["TableName"], stack.client("dynamodb")
        self._key = {"pk": {"S": pk or f"REQUEST#{request}"}, "sk": {"S": sk}}

    def read(self) -> dict:
        """What it says."""
        return json.loads(self._item()["body"]["S"])

    def write(self, body: dict) -> None:
        """Replaces what it says, in passing over every condition."""
        self._client.put_item(TableName=self._table, Item={**self._item(), "body": {"S": json.dumps(body)}})

    def change(self, **fields) -> None:
        """Replaces some of its fields."""
        self.write({**self.read(), **fields})

    @contextlib.contextmanager
    def forged(self, body: dict) -> Iterator[None]:
        """The row with this content, also where there was none; afterwards it is what it was."""
        before = self._client.get_item(TableName=self._table, Key=self._key, ConsistentRead=True).get("Item")
        there = before or {**self._key, "generation": {"N": "1"}}
        self._client.put_item(TableName=self._table, Item={**there, "body": {"S": json.dumps(body)}})
        try:
            yield
        finally:
            if before:
                self._client.put_item(TableName=self._table, Item=before)
            else:
                self._client.delete_item(TableName=self._table, Key=self._key)

    def _item(self) -> dict:
        return self._client.get_item(TableName=self._table, Key=self._key, ConsistentRead=True)["Item"]


def trail(console, request: str, act: str) -> list[dict]:
    """Today's entries of the audit trail about an act on a request, in order."""
    entries = console.run("audit")["entries"]
    return [one for one in entries if one["act"] == act and (request == one["subject"] or request in one["detail"])]


def assert_audited(console, request: str, act: str, outcome: str) -> None:
    """The last such act stands in the audit trail with this outcome, and with its intent unless it was refused at the door."""
    entries = trail(console, request, act)
    assert entries, f"{act} on {request} is not in the audit trail"
    last = [entry for entry in entries if entry["phase"] == "outcome"][-1]
    assert outcome in last["detail"], f"{outcome!r} is not the outcome of {act}: {last}"
    before = entries[entries.index(last) - 1] if entries.index(last) else None
    assert "NotPermitted" in last["detail"] or (before and before["phase"] == "intent"), entries
