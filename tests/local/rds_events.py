"""What RDS tells EventBridge about instances and snapshots, in its own shape.

Event ids and categories: "Amazon RDS event categories and event messages" of the user guide.
"""

import datetime
import json

# name: (event id, category, message)
EVENTS = {
    "instance created": ("RDS-EVENT-0005", "creation", "DB instance created"),
    "instance restored": ("RDS-EVENT-0043", "restoration", "Restored from snapshot"),
    "instance restored to time": ("RDS-EVENT-0019", "restoration", "Restored from another DB instance to a time"),
    "instance deleted": ("RDS-EVENT-0003", "deletion", "DB instance deleted"),
    "instance failed": ("RDS-EVENT-0031", "failure", "DB instance put into a failed state"),
    "instance stopped": ("RDS-EVENT-0087", "notification", "DB instance stopped"),
    "instance started": ("RDS-EVENT-0088", "notification", "DB instance started"),
    "snapshot created": ("RDS-EVENT-0042", "creation", "Manual snapshot created"),
    "snapshot deleted": ("RDS-EVENT-0041", "deletion", "User snapshot deleted"),
}


def entry(resource, name: str) -> dict | None:
    """The PutEvents entry for what happened to a moto resource; None where RDS says nothing."""
    if name not in EVENTS:
        return None
    event_id, category, message = EVENTS[name]
    kind = name.split()[0]
    now = datetime.datetime.now(datetime.timezone.utc)
    return {
        "Source": "aws.rds",
        "DetailType": {"instance": "RDS DB Instance Event", "snapshot": "RDS DB Snapshot Event"}[kind],
        "Resources": [resource.arn],
        "Detail": json.dumps({
            "EventCategories": [category],
            "SourceType": {"instance": "DB_INSTANCE", "snapshot": "SNAPSHOT"}[kind],
            "SourceArn": resource.arn,
            "Date": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "Message": message,
            "SourceIdentifier": resource.resource_id,
            "EventID": event_id,
        }),
    }
