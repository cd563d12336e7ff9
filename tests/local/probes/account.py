"""What the probes work in: a stack with the trial template deployed and its one function."""

import json
import secrets
import sys

import boto3
from botocore.config import Config

import paths
from stack import ACCOUNT, REGION, Stack

TRIAL = paths.HERE / "trial"


def deploy_trial(stack: Stack) -> dict[str, str]:
    """Deploys the trial template, its function an executable named like one of ours; returns the outputs."""
    program = stack.root / "trial" / "operator"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{(TRIAL / 'operator.py').read_text()}")
    program.chmod(0o755)
    return stack.deploy(TRIAL / "template.yaml", program.parent)


class Account:
    """Short ways to make users, buckets and roles for one probe each."""

    def __init__(self, stack: Stack):
        self.stack = stack
        self.outputs = deploy_trial(stack)
        self.function_arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:holdfast-operator"
        self.key = self.client("kms").create_key()["KeyMetadata"]["Arn"]
        self.bucket = "probe-plain"
        self.client("s3").create_bucket(
            Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
        )

    def client(self, service: str):
        """A client of the account's root."""
        return self.stack.client(service)

    def client_with(self, service: str, key: str, secret: str):
        """A client with any credentials."""
        return boto3.client(
            service, endpoint_url=self.stack.endpoint, region_name=REGION, aws_access_key_id=key,
            aws_secret_access_key=secret, config=Config(retries={"total_max_attempts": 1}),
        )

    def user_with(self, service: str, *statements: dict):
        """A client of a new user with this policy, and the user's name."""
        iam, name = self.client("iam"), f"probe-{secrets.token_hex(4)}"
        iam.create_user(UserName=name)
        document = {"Version": "2012-10-17", "Statement": list(statements)}
        iam.put_user_policy(UserName=name, PolicyName="probe", PolicyDocument=json.dumps(document).replace("USER", name))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return self.client_with(service, key["AccessKeyId"], key["SecretAccessKey"]), name

    def role(self, service: str, *statements: dict) -> str:
        """The ARN of a new role that a service may assume."""
        iam, name = self.client("iam"), f"probe-{secrets.token_hex(4)}"
        trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        arn = iam.create_role(
            RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        )["Role"]["Arn"]
        if statements:
            document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
            iam.put_role_policy(RoleName=name, PolicyName="probe", PolicyDocument=document)
        return arn
