"""Policies: who may do what, decided as IAM decides it, for one account and the operators our template uses."""

import re
from collections.abc import Iterator

from cloudformation import ACCOUNT, Stack

ROOT = f"arn:aws:iam::{ACCOUNT}:root"


def statements(document: dict) -> list[dict]:
    """A policy document's statements."""
    found = document["Statement"]
    return found if isinstance(found, list) else [found]


def listed(value) -> list:
    """A value that policies may write with or without brackets."""
    return value if isinstance(value, list) else [value]


def roles(stack: Stack) -> dict[str, dict]:
    """Every role of the stack."""
    return stack.of_type("AWS::IAM::Role")


def function_roles(stack: Stack) -> list[str]:
    """The roles that functions run under."""
    arns = {function["Role"] for function in stack.of_type("AWS::Lambda::Function").values()}
    return [name for name in roles(stack) if stack.arn(name) in arns]


def role_statements(stack: Stack, role: str) -> list[dict]:
    """What a role's own policies say, inline and attached."""
    properties = stack.properties(role)
    documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
    for name, policy in stack.of_type("AWS::IAM::ManagedPolicy").items():
        if stack.arn(name) in properties.get("ManagedPolicyArns", []):
            documents.append(policy["PolicyDocument"])
    return [statement for document in documents for statement in statements(document)]


def resource_policies(stack: Stack) -> Iterator[tuple[str, dict]]:
    """Every policy that is attached to a resource, with the resource it is about."""
    for name, key in stack.of_type("AWS::KMS::Key").items():
        yield stack.arn(name), key["KeyPolicy"]
    for policy in stack.of_type("AWS::S3::BucketPolicy").values():
        yield f"arn:aws:s3:::{policy['Bucket']}", policy["PolicyDocument"]
    for policy in stack.of_type("AWS::SNS::TopicPolicy").values():
        yield from ((topic, policy["PolicyDocument"]) for topic in policy["Topics"])
    for policy in stack.of_type("AWS::SQS::QueuePolicy").values():
        yield from ((stack.arn(queue), policy["PolicyDocument"]) for queue in policy["Queues"])


def allowed(stack: Stack, role: str, action: str, resource: str, context: dict[str, str] | None = None) -> bool:
    """Whether a role may do something over TLS, given the request's condition keys."""
    request = {"aws:securetransport": "true", "aws:principalarn": stack.arn(role), "kms:calleraccount": ACCOUNT}
    request |= {key.lower(): value for key, value in (context or {}).items()}
    own = [s for s in role_statements(stack, role) if _matches(s, action, resource, request)]
    about = [
        statement
        for target, document in resource_policies(stack)
        if resource == target or resource.startswith(target + "/")
        for statement in statements(document)
        if _names(statement, stack.arn(role)) and _matches(statement, action, resource, request)
    ]
    if any(statement["Effect"] == "Deny" for statement in own + about):
        return False
    named = any(ROOT not in listed(statement["Principal"].get("AWS", [])) for statement in about)
    if action.startswith("kms:"):
        # A key's policy must allow every use, if only by leaving it to the account, that is to the role's own policies.
        return named or bool(own and about)
    return named or bool(own)


def _names(statement: dict, arn: str) -> bool:
    principal = statement["Principal"]
    named = ["*"] if principal == "*" else listed(principal.get("AWS", []))
    return arn in named or "*" in named or ROOT in named


def _matches(statement: dict, action: str, resource: str, request: dict) -> bool:
    return (
        any(like(action.lower(), pattern.lower()) for pattern in listed(statement["Action"]))
        and any(like(resource, pattern) for pattern in listed(statement["Resource"]))
        and all(
            _holds(
                operator,
                request.get(key.lower()),
                [str(value).lower() if operator in ("Bool", "Null") else value for value in listed(expected)],
            )
            for operator, keys in statement.get("Condition", {}).items()
            for key, expected in keys.items()
        )
    )


def _holds(operator: str, actual: str | None, expected: list[str]) -> bool:
    match operator:
        case "Null":
            return (actual is None) == (expected == ["true"])
        case "StringNotEquals":
            return actual is None or actual not in expected
        case "StringEqualsIfExists":
            return actual is None or actual in expected
        case "Bool" | "StringEquals" | "ArnEquals":
            return actual is not None and actual in expected
        case "StringLike" | "ArnLike":
            return actual is not None and any(like(actual, pattern) for pattern in expected)
    raise AssertionError(f"teach tests/contract about the condition operator {operator}")


def like(text: str, pattern: str) -> bool:
    """IAM's wildcards: `*` for any text and `?` for one character."""
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), text, re.DOTALL) is not None


def plant(template: dict, role: str, action: str) -> None:
    """Gives a role of a template a right that it should not have."""
    statement = {"Sid": "Planted", "Effect": "Allow", "Action": action, "Resource": "*"}
    template["Resources"][role]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"].append(statement)
