"""Deploys infra/template.yaml, unchanged but for where its code is, into the running stack.

`sam package` and `sam deploy` do the same with an account: put each function's archive
and each state machine into a bucket, point the template there, and run a change set.
"""

import hashlib
import io
import json
import shutil
import subprocess
import tempfile
import time
import zipfile
from pathlib import Path

from samtranslator.yaml_helper import yaml_parse

import paths

ARTIFACTS = "holdfast-artifacts"
DEPLOY_SECONDS = 60
FINISHED = ("CREATE_COMPLETE", "UPDATE_COMPLETE")
FAILED = ("FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "UPDATE_ROLLBACK_COMPLETE", "DELETE_COMPLETE")


class DeployError(Exception):
    """The stack could not be created; names the resources and their reasons."""


def deploy(client, template: Path, name: str, parameters: dict[str, str], binaries: Path) -> dict[str, str]:
    """Deploys a SAM template and returns the outputs. `client` makes boto3 clients."""
    s3, cloudformation = client("s3"), client("cloudformation")
    s3.create_bucket(Bucket=ARTIFACTS, CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
    document = yaml_parse(template.read_text())
    for logical_id, resource in document["Resources"].items():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::Serverless::Function":
            properties["CodeUri"] = _upload(s3, archive(binaries / binary_of(logical_id, resource)))
        if resource["Type"] == "AWS::Serverless::StateMachine" and isinstance(properties.get("DefinitionUri"), str):
            properties["DefinitionUri"] = _upload(s3, (template.parent / properties["DefinitionUri"]).resolve())
    s3.put_object(Bucket=ARTIFACTS, Key="template.json", Body=json.dumps(document).encode())
    known = document.get("Parameters", {})
    cloudformation.create_change_set(
        StackName=name,
        ChangeSetName="deploy",
        ChangeSetType="CREATE",
        TemplateURL=f"{s3.meta.endpoint_url}/{ARTIFACTS}/template.json",
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        Parameters=[
            {"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items() if key in known
        ],
    )
    _wait(
        lambda: cloudformation.describe_change_set(StackName=name, ChangeSetName="deploy"),
        lambda answer: (answer["Status"], answer.get("StatusReason", "")),
    )
    cloudformation.execute_change_set(StackName=name, ChangeSetName="deploy")
    stack = _wait(
        lambda: cloudformation.describe_stacks(StackName=name)["Stacks"][0],
        lambda answer: (answer["StackStatus"], _reasons(cloudformation, name)),
    )
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def binary_of(logical_id: str, resource: dict) -> str:
    """The binary a function runs: what its build metadata says, or the end of its name."""
    named = resource.get("Metadata", {}).get("BuildProperties", {}).get("Binary")
    if named:
        return named
    function_name = resource.get("Properties", {}).get("FunctionName", logical_id)
    if isinstance(function_name, dict):
        function_name = function_name.get("Fn::Sub", logical_id)
    return str(function_name).rsplit("-", 1)[-1].lower()


def archive(binary: Path) -> Path:
    """A Lambda archive of one built binary, without debug information, made once per build."""
    if not binary.is_file():
        raise DeployError(f"{binary} is not built: run `cargo build --workspace --bins`")
    state = binary.stat()
    tag = hashlib.sha256(f"{binary}{state.st_mtime_ns}{state.st_size}".encode()).hexdigest()[:16]
    target = paths.LOCAL / "zip" / f"{binary.name}-{tag}.zip"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    for old in target.parent.glob(f"{binary.name}-*.zip"):
        old.unlink()
    entry = zipfile.ZipInfo("bootstrap")
    entry.external_attr = 0o755 << 16
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as made:
        made.writestr(entry, _stripped(binary))
    unfinished = target.with_suffix(".part")
    unfinished.write_bytes(packed.getvalue())
    unfinished.rename(target)
    return target


def _stripped(binary: Path) -> bytes:
    if binary.read_bytes()[:4] != b"\x7fELF" or not shutil.which("strip"):
        return binary.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "bootstrap"
        subprocess.run(["strip", "--strip-debug", "-o", copy, binary], check=True)
        return copy.read_bytes()


def _upload(s3, file: Path) -> dict:
    body = file.read_bytes()
    key = f"{hashlib.sha256(body).hexdigest()[:16]}/{file.name}"
    s3.put_object(Bucket=ARTIFACTS, Key=key, Body=body)
    return {"Bucket": ARTIFACTS, "Key": key}


def _wait(ask, status_of):
    deadline = time.monotonic() + DEPLOY_SECONDS
    while True:
        answer = ask()
        status, reason = status_of(answer)
        if status in FINISHED:
            return answer
        if status in FAILED or "ROLLBACK" in status:
            raise DeployError(f"deployment ended as {status}: {reason or 'no reason given'}")
        if time.monotonic() > deadline:
            raise DeployError(f"deployment still {status} after {DEPLOY_SECONDS} s: {reason}")
        time.sleep(0.1)


def _reasons(cloudformation, name: str) -> str:
    events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    failed = [event for event in reversed(events) if event.get("ResourceStatus", "").endswith("FAILED")]
    return "; ".join(f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}" for event in failed)
