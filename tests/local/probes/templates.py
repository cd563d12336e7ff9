"""CloudFormation: what the trial template says is what there is."""

import json

from probes import expect, probe, refused
from stack import ACCOUNT, REGION


@probe("cfn-bucket-properties")
def bucket_properties(account):
    s3, bucket = account.client("s3"), account.outputs["BucketName"]
    lock = s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]
    expect(lock["Rule"]["DefaultRetention"], {"Mode": "GOVERNANCE", "Days": 3}, "the default lock")
    version = s3.put_object(Bucket=bucket, Key="v1/default", Body=b"x")["VersionId"]
    refused("AccessDenied", s3.delete_object, Bucket=bucket, Key="v1/default", VersionId=version)
    rule = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]
    expect(rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"], account.outputs["KeyArn"], "the bucket's key")
    lifecycle = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"][0]
    expect(lifecycle["AbortIncompleteMultipartUpload"], {"DaysAfterInitiation": 2}, "the lifecycle")


@probe("cfn-table-properties")
def table_properties(account):
    table, name = account.client("dynamodb"), account.outputs["TableName"]
    backups = table.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    expect(backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"], "ENABLED", "point-in-time recovery")
    encryption = table.describe_table(TableName=name)["Table"].get("SSEDescription", {})
    expect(encryption.get("KMSMasterKeyArn"), account.outputs["KeyArn"], "the table's key")


@probe("cfn-role-boundary")
def role_boundary(account):
    iam = account.client("iam")
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    boundary = iam.create_policy(PolicyName="probe-boundary", PolicyDocument=json.dumps(document))["Policy"]["Arn"]
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
    template = {"Resources": {"Role": {
        "Type": "AWS::IAM::Role",
        "Properties": {"RoleName": "probe-bounded", "AssumeRolePolicyDocument": trust, "PermissionsBoundary": boundary},
    }}}
    cloudformation = account.client("cloudformation")
    cloudformation.create_stack(
        StackName="probe-boundary", TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_NAMED_IAM"]
    )
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName="probe-boundary", WaiterConfig={"Delay": 1, "MaxAttempts": 20}
    )
    found = iam.get_role(RoleName="probe-bounded")["Role"].get("PermissionsBoundary", {})
    expect(found.get("PermissionsBoundaryArn"), boundary, "the role's boundary")


@probe("scheduler-template-properties")
def schedule_properties(account):
    schedule = account.client("scheduler").get_schedule(Name="holdfast-nightly")
    expect(schedule["ScheduleExpressionTimezone"], "Europe/Berlin", "the time zone")


@probe("sns-needs-queue-policy", "SNS delivers to a queue only if the queue's policy lets it")
def queue_policy(account):
    sqs, sns = account.client("sqs"), account.client("sns")
    closed = sqs.create_queue(QueueName="probe-closed")["QueueUrl"]
    topic = sns.create_topic(Name="probe")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:{REGION}:{ACCOUNT}:probe-closed")
    sns.publish(TopicArn=topic, Message="nobody hears this")
    expect(sqs.receive_message(QueueUrl=closed, WaitTimeSeconds=1).get("Messages", []), [], "what arrived")
