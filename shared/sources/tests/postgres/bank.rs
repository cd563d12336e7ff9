//! Money that moves while it is exported: every export is of one moment, whoever reads it and however many.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use domain::tenant::Layout;
use vault::PointReader;

use crate::{
    cluster::{Cluster, cluster},
    fixture,
    world::World,
};

/// Accounts of each tenant in each of two tables, and what each begins with.
const ACCOUNTS: i64 = 50;
const AMOUNT: i64 = 1_000;
const TOTAL: i64 = 2 * ACCOUNTS * AMOUNT;

/// Two tables of a hundred rows that lie among enough empty pages to be read in slices by two sessions, and a count of transfers.
const BANK: &str = "SET ROLE app_owner; CREATE SCHEMA ledger; SET search_path = ledger;
    CREATE TABLE current (id int PRIMARY KEY, tenant_id text, amount bigint NOT NULL, filler text) WITH (fillfactor = 10, autovacuum_enabled = off);
    INSERT INTO current SELECT i, CASE WHEN i % 2 = 0 THEN 'acme' ELSE 'other' END, 1000, repeat('x', 500) FROM generate_series(1, 4400) i;
    CREATE TABLE savings (LIKE current INCLUDING ALL) WITH (fillfactor = 10, autovacuum_enabled = off); INSERT INTO savings SELECT * FROM current;
    DELETE FROM current WHERE id BETWEEN 51 AND 4350; DELETE FROM savings WHERE id BETWEEN 51 AND 4350;
    UPDATE current SET filler = ''; UPDATE savings SET filler = ''; ANALYZE current, savings;
    CREATE SEQUENCE transfers; CREATE TABLE stop ()";

/// Moves random amounts between two current accounts and a savings account of one tenant, until told to stop.
///
/// Rows are changed in the order of table and key, so that clients wait for one another and never in a circle. The sequence counts what
/// was committed: it is drawn from right before the commit, and may be ahead by one for each client. The pause after it leaves the
/// exports their share of the processors.
fn transfers(tenant: &str) -> String {
    let account = "CASE WHEN random() < 0.5 THEN 0 ELSE 4350 END + 2 * ceil(random() * 25)::int";
    let shift = i32::from(tenant == "other");
    format!(
        "DO $$DECLARE a int; b int; c int; n int; BEGIN WHILE NOT EXISTS (SELECT FROM ledger.stop) LOOP
            a := {account} - {shift}; b := {account} - {shift}; c := {account} - {shift}; n := ceil(random() * 99);
            UPDATE ledger.current SET amount = amount - 2 * n WHERE id = least(a, b);
            UPDATE ledger.current SET amount = amount + n WHERE id = greatest(a, b);
            UPDATE ledger.savings SET amount = amount + n WHERE id = c;
            PERFORM nextval('ledger.transfers'); COMMIT; PERFORM pg_sleep(0.002);
        END LOOP; END$$"
    )
}

fn open_bank(cluster: &Cluster, database: &str) {
    fixture::database(cluster, database);
    cluster.sql(database, BANK);
}

/// The money in the rows that a recovery point holds, read back from its vault; by tenant.
async fn stored(point: &PointReader) -> BTreeMap<String, i64> {
    let mut totals = BTreeMap::new();
    for table in ["current", "savings"] {
        let (mut stream, mut text) = (point.stream(&format!("\"ledger\".\"{table}\"")).unwrap().all(), Vec::new());
        while let Some(lines) = stream.next().await.unwrap() {
            text.extend_from_slice(&lines);
        }
        for line in String::from_utf8(text).unwrap().lines() {
            let fields: Vec<_> = line.split('\t').collect();
            *totals.entry(fields[1].to_owned()).or_default() += fields[2].parse::<i64>().unwrap();
        }
    }
    totals
}

fn committed(cluster: &Cluster) -> i64 {
    cluster.sql("bank_run", "SELECT last_value FROM ledger.transfers").parse().unwrap()
}

/// The sessions that read rows of the bank so far, as the server's log tells them apart.
fn readers(cluster: &Cluster) -> usize {
    let reading = |line: &&str| line.contains("COPY (SELECT") && line.contains("\"ledger\".\"");
    let log = cluster.log();
    log.lines().filter(reading).filter_map(|line| line.split(['[', ']']).nth(1)).collect::<BTreeSet<_>>().len()
}

#[test]
fn two_halves_read_in_two_transactions_do_not_add_up() {
    let cluster = cluster();
    open_bank(cluster, "bank_naive");
    let sum = |of: &str| cluster.sql("bank_naive", &format!("SELECT sum(amount) FROM ledger.{of}")).parse::<i64>().unwrap();
    let transfer = "BEGIN; UPDATE ledger.current SET amount = amount - 10 WHERE id = 2; UPDATE ledger.current SET amount = amount + 4 WHERE id = 4400;
        UPDATE ledger.savings SET amount = amount + 6 WHERE id = 4; COMMIT";
    assert_eq!(sum("current") + sum("savings"), 2 * TOTAL);
    let of_tables = [sum("current"), (cluster.sql("bank_naive", transfer), sum("savings")).1];
    assert_eq!(of_tables.iter().sum::<i64>(), 2 * TOTAL + 6, "money that was never there");
    let of_slices = [sum("current WHERE id < 2000"), (cluster.sql("bank_naive", transfer), sum("current WHERE id >= 2000")).1];
    assert_eq!(of_slices.iter().sum::<i64>(), sum("current") + 10, "and within one table");
    assert_eq!(sum("current") + sum("savings"), 2 * TOTAL, "yet it was never lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_export_conserves_what_is_moved_while_it_reads() {
    let cluster = cluster();
    open_bank(cluster, "bank_run");
    let (database, schema) = (|| "bank_run".to_owned(), || "ledger".to_owned());
    let worlds = [
        ("database", 40, 2 * TOTAL, Layout::Database { database: database() }),
        ("schema", 40, 2 * TOTAL, Layout::Schema { database: database(), schema: schema() }),
        ("pool", 120, TOTAL, Layout::Pool { database: database(), schema: schema(), tenant_column: "tenant_id".into() }),
    ]
    .map(|(name, exports, total, layout)| (name, exports, total, World::new("acme", layout)));
    let clients = ["acme", "other"].map(|tenant| std::thread::spawn(move || cluster.sql("bank_run", &transfers(tenant))));

    let (mut made, mut meanwhile, mut beside) = (0, 0, 0);
    for (name, exports, total, world) in &worlds {
        let (begun, first, reading) = (Instant::now(), committed(cluster), readers(cluster));
        for number in 0..*exports {
            let before = committed(cluster);
            let point = world.export().await;
            meanwhile += committed(cluster) - before;
            let point = world.open(&point).await;
            let totals = stored(&point).await;
            assert_eq!(totals.values().sum::<i64>(), *total, "export {number} of {name}: {totals:?}");
            assert!(totals.values().all(|total| *total == TOTAL), "export {number} of {name}: {totals:?}");
            let slices = point.stream("\"ledger\".\"current\"").unwrap().slices();
            assert_eq!(slices > 1, *name != "pool", "{slices} slices in {name}");
            made += 1;
        }
        let sessions = readers(cluster) - reading;
        beside += sessions - exports;
        eprintln!(
            "{name}: {exports} exports by {sessions} reading sessions, each conserved {total}; {} transfers in {} ms",
            committed(cluster) - first,
            begun.elapsed().as_millis()
        );
    }
    cluster.sql("bank_run", "INSERT INTO ledger.stop DEFAULT VALUES");
    clients.into_iter().for_each(|client| drop(client.join().unwrap()));
    eprintln!("{made} exports, {meanwhile} transfers committed while they were made, {beside} exports read by two sessions");
    assert!(made >= 200 && meanwhile > 0 && beside > 0, "{made} exports, {meanwhile} transfers, {beside} by two sessions");
    let sum =
        "SELECT sum(amount) FROM (SELECT amount FROM ledger.current UNION ALL SELECT amount FROM ledger.savings) AS all_of_it";
    assert_eq!(cluster.sql("bank_run", sum), (2 * TOTAL).to_string());
    cluster.sql("postgres", "DROP DATABASE bank_run WITH (FORCE)");
}
