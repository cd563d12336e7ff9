-- The lookup table both schemas have; the pool's is shared by all tenants and filled once.
INSERT INTO countries (code, name, "vat rate %") VALUES
    ('DE', 'Deutschland', 19), ('AT', 'Österreich', 20), ('CH', 'Schweiz/Suisse/Svizzera/Svizra', 8.1), ('FR', 'France', 20),
    ('IS', 'Ísland', 24), ('JP', '日本', 10), ('IL', 'ישראל', 17), ('EG', 'مصر', 14), ('KR', '대한민국', 10), ('GR', 'Ελλάδα', 24),
    ('VN', E'Vie\u0323\u0302t Nam', 10), ('XX', E'nowhere\tin\nparticular \\', 0);
