-- Invoices and payments for the tenants in the register. Variable: invoices_per_tenant.
\set ON_ERROR_STOP on
SET ROLE app_owner;
BEGIN;
INSERT INTO billing.invoices
SELECT format('%s-%s', upper(tenant_id), to_char(i, 'FM00000')), tenant_id, date '2020-01-01' + i,
       (abs(hashtext(tenant_id || i)) % 100000) / 100.0,
       (enum_range(NULL::billing.invoice_state))[1 + i % 4],
       jsonb_build_array(jsonb_build_object('text', display_name, 'seats', i % 40, 'discount', NULL))
FROM register.tenants, generate_series(1, :invoices_per_tenant) i;
INSERT INTO billing.payments (invoice_number, received_at, amount, reference)
SELECT invoice_number, issued_on + interval '12 days 3 hours', amount, nullif(E'Überweisung\t' || tenant_id, '')
FROM billing.invoices WHERE state = 'paid' ORDER BY invoice_number;
INSERT INTO billing.sessions SELECT md5(i::text)::uuid, '{}' FROM generate_series(1, 50) i;
COMMIT;
ANALYZE;
