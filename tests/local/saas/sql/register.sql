-- The central database: the register that says which tenants exist, and what they are billed.
-- Variable: invoices_per_tenant.
\set ON_ERROR_STOP on
SET ROLE app_owner;
BEGIN;
CREATE SCHEMA register;
CREATE TABLE register.tenants (
    tenant_id text PRIMARY KEY CHECK (tenant_id ~ '^[a-z0-9][a-z0-9-]{0,40}$'),
    display_name text NOT NULL,
    layout text NOT NULL CHECK (layout IN ('silo', 'database', 'schema', 'pool')),
    database_id text NOT NULL,
    database_name text NOT NULL,
    schema_name text,
    criticality text NOT NULL CHECK (criticality IN ('critical', 'standard')),
    time_zone text NOT NULL,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended', 'deleted')),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE register.tenants IS 'Who must be backed up is decided here, and nowhere else.';

CREATE SCHEMA billing;
CREATE TYPE billing.invoice_state AS ENUM ('draft', 'sent', 'paid', 'written off');
CREATE TABLE billing.invoices (
    invoice_number text PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES register.tenants,
    issued_on date NOT NULL,
    amount numeric(12, 2) NOT NULL,
    state billing.invoice_state NOT NULL,
    lines jsonb NOT NULL
);
CREATE INDEX invoices_unpaid ON billing.invoices (tenant_id, issued_on) WHERE state IN ('sent', 'draft');
CREATE TABLE billing.payments (
    payment_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    invoice_number text NOT NULL REFERENCES billing.invoices,
    received_at timestamptz NOT NULL,
    amount numeric(12, 2) NOT NULL,
    reference text
);
CREATE TABLE billing.sessions (session_id uuid PRIMARY KEY, data jsonb);
GRANT USAGE ON SCHEMA register, billing TO app_user;
GRANT SELECT ON ALL TABLES IN SCHEMA register, billing TO app_user;
COMMIT;
