"""CloudFormation: properties of a template that the emulator drops in silence.

A bucket that is locked, encrypted and pruned in the template must be so in the tests,
and a table's recovery settings must be what the template says.
"""

import botocore.serialize
import botocore.session
from ministack.services import dynamodb, iam, s3
from ministack.services.cloudformation import provisioners

from gaps import gap


@gap("cfn-bucket-properties", "AWS::S3::Bucket: ObjectLockConfiguration, BucketEncryption and LifecycleConfiguration take effect")
def bucket_properties() -> None:
    _after("AWS::S3::Bucket", _apply_bucket)


@gap("cfn-table-properties", "AWS::DynamoDB::Table: PointInTimeRecoverySpecification, SSESpecification and TTL take effect")
def table_properties() -> None:
    _after("AWS::DynamoDB::Table", _apply_table)


@gap("cfn-role-boundary", "AWS::IAM::Role: PermissionsBoundary limits the role")
def role_boundary() -> None:
    def apply(name, properties):
        if properties.get("PermissionsBoundary"):
            iam._roles[name]["PermissionsBoundary"] = properties["PermissionsBoundary"]

    _after("AWS::IAM::Role", apply)


def _after(resource_type: str, apply) -> None:
    """Has `apply(physical id, properties)` run after each create and update of a resource type."""
    handlers = provisioners._RESOURCE_HANDLERS[resource_type]

    def create(logical_id, properties, stack):
        result = handlers["create"](logical_id, properties, stack)
        apply(result[0], properties)
        return result

    def update(physical_id, old, new, stack, *more, **options):
        result = handlers["update"](physical_id, old, new, stack, *more, **options)
        apply(result[0] if isinstance(result, tuple) else physical_id, new)
        return result

    provisioners._RESOURCE_HANDLERS[resource_type] = {**handlers, "create": create, "update": update}


def _apply_bucket(name: str, properties: dict) -> None:
    if _true(properties.get("ObjectLockEnabled")):
        s3._bucket_versioning[name] = "Enabled"
        lock = {"ObjectLockEnabled": "Enabled"}
        rule = (properties.get("ObjectLockConfiguration") or {}).get("Rule") or {}
        if retention := rule.get("DefaultRetention"):
            numbers = {key: int(retention[key]) for key in ("Days", "Years") if key in retention}
            lock["Rule"] = {"DefaultRetention": {"Mode": retention["Mode"], **numbers}}
        body = _xml("PutObjectLockConfiguration", Bucket=name, ObjectLockConfiguration=lock)
        _expect(s3._put_object_lock_configuration(name, body))
    if encryption := properties.get("BucketEncryption"):
        rules = [
            {
                "ApplyServerSideEncryptionByDefault": rule["ServerSideEncryptionByDefault"],
                "BucketKeyEnabled": _true(rule.get("BucketKeyEnabled")),
            }
            for rule in encryption["ServerSideEncryptionConfiguration"]
        ]
        body = _xml("PutBucketEncryption", Bucket=name, ServerSideEncryptionConfiguration={"Rules": rules})
        _expect(s3._put_bucket_encryption(name, body))
    if lifecycle := properties.get("LifecycleConfiguration"):
        rules = [_lifecycle_rule(rule) for rule in lifecycle["Rules"]]
        body = _xml("PutBucketLifecycleConfiguration", Bucket=name, LifecycleConfiguration={"Rules": rules})
        _expect(s3._put_bucket_lifecycle(name, body))


def _lifecycle_rule(rule: dict) -> dict:
    """A template's lifecycle rule in the words of the API."""
    made = {"ID": rule.get("Id", "rule"), "Status": rule["Status"], "Filter": {"Prefix": rule.get("Prefix", "")}}
    if days := rule.get("ExpirationInDays"):
        made["Expiration"] = {"Days": int(days)}
    elif _true(rule.get("ExpiredObjectDeleteMarker")):
        made["Expiration"] = {"ExpiredObjectDeleteMarker": True}
    old = rule.get("NoncurrentVersionExpiration") or {}
    if days := rule.get("NoncurrentVersionExpirationInDays") or old.get("NoncurrentDays"):
        made["NoncurrentVersionExpiration"] = {"NoncurrentDays": int(days)}
    if days := (rule.get("AbortIncompleteMultipartUpload") or {}).get("DaysAfterInitiation"):
        made["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": int(days)}
    if transitions := rule.get("Transitions"):
        made["Transitions"] = [
            {"Days": int(one["TransitionInDays"]), "StorageClass": one["StorageClass"]} for one in transitions
        ]
    return made


def _apply_table(name: str, properties: dict) -> None:
    recovery = properties.get("PointInTimeRecoverySpecification") or {}
    if _true(recovery.get("PointInTimeRecoveryEnabled")):
        settings = {"PointInTimeRecoveryEnabled": True}
        _expect(dynamodb._update_continuous_backups(
            {"TableName": name, "PointInTimeRecoverySpecification": settings}
        ))
    if ttl := properties.get("TimeToLiveSpecification"):
        settings = {"Enabled": _true(ttl.get("Enabled")), "AttributeName": ttl.get("AttributeName", "")}
        _expect(dynamodb._update_ttl({"TableName": name, "TimeToLiveSpecification": settings}))
    encryption = properties.get("SSESpecification") or {}
    if _true(encryption.get("SSEEnabled")):
        dynamodb._tables[name]["SSEDescription"] = {
            "Status": "ENABLED", "SSEType": encryption.get("SSEType", "KMS"),
            "KMSMasterKeyArn": encryption.get("KMSMasterKeyId", "alias/aws/dynamodb"),
        }


def _xml(operation: str, **parameters) -> bytes:
    """The request body the SDK would send."""
    model = botocore.session.get_session().get_service_model("s3")
    serializer = botocore.serialize.create_serializer(model.metadata["protocol"], False)
    body = serializer.serialize_to_request(parameters, model.operation_model(operation))["body"]
    return body if isinstance(body, bytes) else body.encode()


def _expect(response: tuple) -> None:
    if response[0] >= 300:
        raise ValueError(response[2])


def _true(value) -> bool:
    return value in (True, "true")
