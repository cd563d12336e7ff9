"""The tenants' settings in the parameter store, and their secrets; each secret value holds the tenant's canary."""

import json

from .plan import PLAN_PARAMETER, plan
from .roster import DATABASES, Tenant


def put_plan(stack) -> None:
    """Writes the backup plan to where Holdfast looks for it."""
    stack.client("ssm").put_parameter(Name=PLAN_PARAMETER, Type="String", Value=json.dumps(plan()), Overwrite=True)


def put_database_secret(stack, database_id: str, username: str, password: str) -> None:
    """Stores the account for one database under the name the plan gives."""
    stack.client("secretsmanager").create_secret(
        Name=DATABASES[database_id].secret, SecretString=json.dumps({"username": username, "password": password})
    )


def put_tenant(stack, tenant: Tenant, overwrite: bool = False) -> None:
    """Writes one tenant's parameters, over those that are there if told to, and its secrets."""
    ssm, secrets, below = stack.client("ssm"), stack.client("secretsmanager"), f"platform/tenants/{tenant.id}/"
    parameters = (
        ("smtp/host", "String", f"smtp.{tenant.id}.example"),
        ("features", "StringList", "invoices,exports,sso"),
        ("display-name", "String", tenant.display_name),
        ("api-key", "SecureString", f"key-{tenant.secret_canary}"),
    )
    for name, kind, value in parameters:
        ssm.put_parameter(Name=f"/{below}{name}", Type=kind, Value=value, Description=f"{name} of {tenant.id}", Overwrite=overwrite)
    for name in ("webhook", "payment-provider"):
        secrets.create_secret(
            Name=below + name, SecretString=json.dumps({"token": f"{name}-{tenant.secret_canary}"}),
            Description=f"{name} of {tenant.id}", Tags=[{"Key": "tenant", "Value": tenant.id}],
        )


def delete_tenant(stack, tenant: Tenant) -> None:
    """Removes what `put_tenant` wrote."""
    ssm, secrets, below = stack.client("ssm"), stack.client("secretsmanager"), f"platform/tenants/{tenant.id}/"
    for name in ("smtp/host", "features", "display-name", "api-key"):
        ssm.delete_parameter(Name=f"/{below}{name}")
    for name in ("webhook", "payment-provider"):
        secrets.delete_secret(SecretId=below + name, ForceDeleteWithoutRecovery=True)
