"""Lambda: how a function lives, and how it dies."""

import re
from pathlib import Path

from probes import Differs, expect, probe
from stack import FunctionError


@probe("lambda-timeout", "A function over its Timeout ends with Sandbox.Timedout")
def timeout(account):
    expect(_error_of(account, {"do": "sleep", "seconds": 20}).error_type, "Sandbox.Timedout", "the error type")


@probe("lambda-ends-the-sandbox")
def ends_the_sandbox(account):
    _error_of(account, {"do": "sleep", "seconds": 20, "name": "parent"})
    children = re.findall(r"child (\d+) of parent", account.stack.logs("operator"))
    if not children:
        raise Differs("the function did not log the process it started")
    if any(_is_alive(int(child)) for child in children):
        raise Differs("a process the function started outlived it")


@probe("lambda-memory")
def memory(account):
    expect(_error_of(account, {"do": "eat", "mebibytes": 400}).error_type, "Runtime.ExitError", "the error type")


@probe("lambda-environment")
def environment(account):
    variables = account.stack.invoke("operator", {"do": "environment"})
    if leaked := {"GATEWAY_PORT", "AUTH", "STATE_DIR", "HOME"} & set(variables):
        raise Differs(f"the function sees {sorted(leaked)} of the host")
    for name in ("AWS_REGION", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN", "TRIAL_BUCKET"):
        if name not in variables:
            raise Differs(f"the function does not see {name}")


@probe("lambda-role", "A function has the rights of its role and no others")
def role(account):
    def call(**event):
        return account.stack.invoke("operator", {"do": "call", **event})

    bucket = account.outputs["BucketName"]
    call(service="s3", operation="put_object", parameters={"Bucket": bucket, "Key": "v1/by-role", "Body": "x"})
    for operation in ("get_object", "delete_object"):
        event = {"do": "call", "service": "s3", "operation": operation, "parameters": {"Bucket": bucket, "Key": "v1/by-role"}}
        if "AccessDenied" not in _error_of(account, event).error_message:
            raise Differs(f"{operation} was not refused as AccessDenied")


@probe("lambda-errors", "A failed function tells its error type and message")
def errors(account):
    error = _error_of(account, {"do": "fail", "message": "what happened"})
    expect((error.error_type, error.error_message), ("ValueError", "what happened"), "the error")


def _error_of(account, event: dict) -> FunctionError:
    try:
        account.stack.invoke("operator", event)
    except FunctionError as error:
        return error
    raise Differs(f"the function did not fail on {event}")


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except OSError:
        return False
