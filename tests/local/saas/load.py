"""Roles, databases, schemas and rows, put in place by `psql` from the SQL files beside this module."""

import os
from pathlib import Path

import psql

from .roster import DATABASES, Tenant

SQL = Path(__file__).parent / "sql"
APP_PASSWORD = "app-user-of-the-local-platform"
INVOICES_PER_TENANT = 400


def prepare_instance(stack, instance: str, databases: list[str]) -> None:
    """Creates the application's roles on an instance, and its databases, all owned by the application."""
    admin = stack.dsn(instance, "postgres")
    psql.run_file(admin, SQL / "roles.sql", app_password=APP_PASSWORD)
    for database in databases:
        create_database(stack, instance, database)


def create_database(stack, instance: str, database: str) -> None:
    """Creates a database that the application owns and that only its own roles may enter."""
    name = psql.identifier(database)
    psql.execute(
        stack.dsn(instance, "postgres"),
        f"CREATE DATABASE {name} OWNER app_owner",
        f"REVOKE CONNECT, TEMPORARY ON DATABASE {name} FROM PUBLIC",
        f"GRANT CONNECT ON DATABASE {name} TO app_user",
    )


def drop_database(stack, instance: str, database: str) -> None:
    """Drops a database, ending the sessions in it."""
    psql.execute(stack.dsn(instance, "postgres"), f"DROP DATABASE IF EXISTS {psql.identifier(database)} WITH (FORCE)")


def create_register(stack) -> None:
    """Creates the central database's tables."""
    psql.run_file(_central(stack), SQL / "register.sql")


def create_pool(stack) -> None:
    """Creates the pooled tables, shared by the tenants in them."""
    psql.run_file(stack.dsn(DATABASES["pool"].instance, DATABASES["pool"].name), SQL / "pool.sql")


def register(stack, tenants) -> None:
    """Writes tenants into the register, in one transaction."""
    rows = ",\n".join(_register_row(tenant) for tenant in tenants)
    psql.execute(
        _central(stack),
        "INSERT INTO register.tenants (tenant_id, display_name, layout, database_id, database_name, schema_name, "
        f"criticality, time_zone, status, created_at) VALUES {rows}",
    )


def unregister(stack, tenant: Tenant) -> None:
    """Removes a tenant from the register, with its invoices."""
    psql.execute(
        _central(stack),
        f"DELETE FROM billing.invoices WHERE tenant_id = {psql.literal(tenant.id)}",
        f"DELETE FROM register.tenants WHERE tenant_id = {psql.literal(tenant.id)}",
    )


def bill(stack) -> None:
    """Writes invoices and payments for every registered tenant."""
    psql.run_file(_central(stack), SQL / "billing.sql", invoices_per_tenant=INVOICES_PER_TENANT)


def load_tenant(stack, tenant: Tenant) -> None:
    """Creates a tenant's tables, unless they are the pool's, and fills them."""
    dsn = stack.dsn(tenant.instance, tenant.database)
    whole_database = int(tenant.owns_database)
    if tenant.layout != "pool":
        psql.run_file(dsn, SQL / "application.sql", schema=tenant.table_schema, whole_database=whole_database)
    psql.run_file(
        dsn, SQL / "data.sql", schema=tenant.table_schema, tenant=tenant.id, display_name=tenant.display_name,
        canary=tenant.row_canary, percent=tenant.percent, pool=int(tenant.layout == "pool"), whole_database=whole_database,
    )


def drop_tenant(stack, tenant: Tenant) -> None:
    """Destroys what is left of the tenant in its database, leaving the others' alone."""
    dsn = stack.dsn(tenant.instance, tenant.database)
    match tenant.layout:
        case "database":
            drop_database(stack, tenant.instance, tenant.database)
        case "schema":
            psql.execute(dsn, f"DROP SCHEMA IF EXISTS {psql.identifier(tenant.table_schema)} CASCADE")
        case "silo":
            psql.execute(
                dsn, "DROP SCHEMA IF EXISTS app CASCADE", 'DROP SCHEMA IF EXISTS "Reports 2024" CASCADE',
                "DROP TABLE IF EXISTS public.feature_flags",
            )
        case "pool":
            delete_pool_rows(stack, tenant)


def delete_pool_rows(stack, tenant: Tenant) -> None:
    """Deletes a pool tenant's rows from every table, as a script that went wrong would, in one transaction."""
    dsn, mine = stack.dsn(tenant.instance, tenant.database), f"tenant_id = {psql.literal(tenant.id)}"
    children_first = (
        "attachments", "tickets", '"Order Lines"', "orders", "orders_archive", "customers", "products", "employees",
        "departments", '"Größe & Gewicht"', "audit_log", "notes", "settings", "sessions", "type_gallery",
    )
    deletes = "\n".join(f"DELETE FROM app.{table} WHERE {mine};" for table in children_first)
    psql.run_script(dsn, f"BEGIN;\n{deletes}\nCOMMIT;")


def workers() -> int:
    """How many loads run at once: the servers share the machine with everything else."""
    return max(2, min(8, os.cpu_count() or 2))


def _central(stack) -> str:
    return stack.dsn(DATABASES["central"].instance, DATABASES["central"].name)


def _register_row(tenant: Tenant) -> str:
    values = (
        tenant.id, tenant.display_name, tenant.layout, tenant.database_id, tenant.database, tenant.schema,
        tenant.criticality, tenant.time_zone, tenant.status, tenant.created_at,
    )
    return "(" + ", ".join("NULL" if value is None else psql.literal(value) for value in values) + ")"
