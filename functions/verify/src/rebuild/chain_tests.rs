//! A catalog and a vault in memory: what was published, lost, and made again.

use std::sync::Arc;

use bytes::Bytes;
use catalog::{Catalog, MemoryTable, Taken};
use domain::{RunId, register::Status, slot::Slot, tenant::Layout};
use jiff::SignedDuration;
use runtime::{FixedClock, services::REGISTER_FACT};
use serde_json::{Value, json};
use vault::{MemoryKeys, MemorySigning, MemoryStore, StreamHeader, StreamSink, Vault, Written};

use super::*;
use crate::rebuild::found::Found;

const NOW: &str = "2026-11-23T12:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn name(n: u8) -> VaultTenantId {
    format!("vt_00000000-0000-0000-0000-0000000000{n:02}").parse().unwrap()
}

fn run(n: u8) -> RunId {
    format!("run_00000000-0000-0000-0000-0000000000{n:02}").parse().unwrap()
}

fn tenant(id: &str) -> Tenant {
    Tenant {
        id: id.parse().unwrap(),
        database_id: "central".into(),
        layout: Layout::Database { database: id.into() },
        criticality: "standard".into(),
        time_zone: "UTC".into(),
        status: Status::Active,
        created_at: Timestamp::UNIX_EPOCH,
    }
}

fn slot(id: &str, time: &str) -> Slot {
    Slot { rule: "daily".into(), scheduled_time: at(time), subject: Subject::Tenant(id.parse().unwrap()), kind: Kind::Database }
}

fn plan() -> domain::plan::Plan {
    let plan = json!({
        "version": 1, "environment": "test", "time_zone": "UTC",
        "register": { "database": "central", "query": "SELECT" },
        "databases": [{ "id": "central", "instance": "i", "database": "central", "secret": "s" }],
        "rules": [{ "id": "daily", "kind": "export", "classes": ["standard"], "schedule": { "daily_at": "02:15" }, "rpo_minutes": 1500 }],
        "retention": { "keep_all_days": 7, "daily": 1, "weekly": 1, "monthly": 1, "yearly": 1, "min_proven": 1, "max_expire_per_run": 1 }
    });
    domain::plan::Plan::parse(&plan.to_string()).unwrap()
}

struct World {
    store: Arc<MemoryStore>,
    vault: Vault,
    catalog: Catalog,
}

impl World {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let vault =
            Vault::new(store.clone(), Arc::new(MemoryKeys::new()), Arc::new(MemorySigning::new()), "main".parse().unwrap());
        Self { store, vault, catalog: Catalog::new(Arc::new(MemoryTable::default())) }
    }

    /// The same vault, and nothing known of it.
    fn lose_the_catalog(&mut self) {
        self.catalog = Catalog::new(Arc::new(MemoryTable::default()));
    }

    /// Stores something as a run would, with these facts.
    async fn store(&self, name: VaultTenantId, point: RecoveryPointId, run: RunId, facts: Value) -> Written {
        let writer = self.vault.begin(name, point, run, None).await.unwrap();
        let header =
            StreamHeader { name: "app.t".into(), digest_name: "t".into(), columns: vec!["id".into()], key_columns: vec![0] };
        let stream = writer.open(header).unwrap();
        let mut slice = stream.slice().unwrap();
        slice.rows(Bytes::from_static(b"1\n2\n3\n")).await.unwrap();
        slice.end().await.unwrap();
        stream.end().await.unwrap();
        writer.finish(facts, at(NOW)).await.unwrap()
    }

    /// Takes a slot, stores what an export stores, and publishes it unless told otherwise.
    async fn export(&self, id: &str, time: &str, run: RunId, publish: bool) -> RecoveryPoint {
        let name = self.catalog.remember_tenant(&tenant(id), name(1), at(NOW)).await.unwrap().vault_tenant;
        let Taken::Held(held) = self.catalog.take_slot(&slot(id, time), run, at(NOW)).await.unwrap() else { panic!("done") };
        let facts = json!({ REGISTER_FACT: tenant(id), ORIGIN_FACT: Origin::of(&held.value, None, None) });
        let written = self.store(name, held.value.id, run, facts).await;
        let content = Content::Export {
            vault_tenant: name,
            sequence: written.point.sequence,
            link_sha256: written.point.link_sha256,
            parent: None,
            rows: written.rows,
            plaintext_bytes: written.plaintext_bytes,
            stored_bytes: written.stored_bytes,
            read: None,
        };
        if publish { self.catalog.publish(&held, content, at(NOW)).await.unwrap() } else { held.value }
    }

    async fn rebuild(&self, dry_run: bool) -> Found {
        let known = self.catalog.tenants().await.unwrap();
        let of = |record: TenantRecord| record.names().into_iter().map(move |name| (name, record.tenant.id.clone()));
        let names = known.into_iter().flat_map(of).collect();
        let (catalog, vault, now) = (&self.catalog, &self.vault, at(NOW));
        let mut round = Round { catalog, vault, plan: plan(), now, names, dry_run, found: Found::default() };
        let deadline = Deadline::at(now + SignedDuration::from_hours(1), Arc::new(FixedClock::at(now)));
        for name in self.vault.tenants(None).await.unwrap() {
            assert!(round.chain(name, &deadline).await.unwrap());
        }
        round.found
    }

    async fn points(&self, id: &str) -> Vec<RecoveryPoint> {
        let points = self.catalog.points(&Subject::Tenant(id.parse().unwrap()), None, 100).await.unwrap();
        points.into_iter().map(|point| point.value).collect()
    }

    /// Loses what lies under keys that contain this.
    fn lose(&self, part: &str) {
        let lost: Vec<String> = self.store.objects().into_keys().filter(|key| key.contains(part)).collect();
        assert!(!lost.is_empty(), "{part}");
        lost.iter().for_each(|key| self.store.remove(key));
    }
}

fn counts(found: &Found) -> [usize; 6] {
    let Found { tenants_recorded, points_recorded, points_refuted, points_known, unpublished, gone, .. } = found;
    [*tenants_recorded, *points_recorded, *points_refuted, *points_known, *unpublished, *gone]
}

fn problems(found: &Found) -> Vec<String> {
    serde_json::from_value(json!(found)["problems"].clone()).unwrap()
}

const DAYS: [&str; 3] = ["2026-11-23T02:15:00Z", "2026-11-22T02:15:00Z", "2026-11-21T02:15:00Z"];

#[tokio::test]
async fn every_record_comes_back_as_it_was_and_again_changes_nothing() {
    let mut world = World::new();
    for (day, n) in DAYS.iter().rev().zip(1..) {
        world.export("acme", day, run(n), true).await;
    }
    let (before, whose) = (world.points("acme").await, world.catalog.tenants().await.unwrap());
    assert_eq!(counts(&world.rebuild(false).await), [0, 0, 0, 3, 0, 0], "an intact catalog is left as it is");

    world.lose_the_catalog();
    assert_eq!(counts(&world.rebuild(true).await), [1, 3, 0, 0, 0, 0]);
    assert_eq!(world.points("acme").await, [], "a dry run records nothing");
    let found = world.rebuild(false).await;
    assert_eq!((counts(&found), problems(&found)), ([1, 3, 0, 0, 0, 0], vec![]));
    assert_eq!((world.points("acme").await, world.catalog.tenants().await.unwrap()), (before, whose));
    assert_eq!(counts(&world.rebuild(false).await), [0, 0, 0, 3, 0, 0]);
}

#[tokio::test]
async fn a_tenant_that_was_met_anew_gets_its_old_name_back_unless_the_new_one_is_used_and_keeps_both() {
    let mut world = World::new();
    world.export("acme", DAYS[1], run(1), true).await;
    world.lose_the_catalog();
    world.catalog.remember_tenant(&tenant("acme"), name(2), at(NOW)).await.unwrap();
    assert_eq!(world.rebuild(true).await.tenants_renamed, 1);
    assert_eq!(world.catalog.tenants().await.unwrap()[0].vault_tenant, name(2), "a dry run renames nobody");
    assert_eq!(world.rebuild(false).await.tenants_renamed, 1);
    let names = world.catalog.tenants().await.unwrap()[0].names();
    assert_eq!(names, [name(1), name(2)], "a run may have begun under the new one");

    world.lose_the_catalog();
    world.catalog.remember_tenant(&tenant("acme"), name(2), at(NOW)).await.unwrap();
    world.export("acme", DAYS[0], run(2), true).await;
    assert_eq!(world.rebuild(true).await.names_recorded, 1);
    assert_eq!(world.catalog.tenants().await.unwrap()[0].names(), [name(2)], "a dry run records no name");
    let found = world.rebuild(false).await;
    assert_eq!((found.tenants_renamed, found.names_recorded, found.points_recorded, found.points_known), (0, 1, 1, 1));
    assert_eq!(problems(&found), Vec::<String>::new());
    assert_eq!(world.points("acme").await.len(), 2);
    assert_eq!(world.catalog.tenants().await.unwrap()[0].names(), [name(2), name(1)]);
    let again = world.rebuild(false).await;
    assert_eq!((again.names_recorded, again.points_recorded, again.points_known), (0, 0, 2), "a former name is known");

    world.lose_the_catalog();
    world.catalog.remember_tenant(&tenant("acme"), name(2), at(NOW)).await.unwrap();
    world.export("acme", DAYS[1], run(3), true).await;
    for _ in 0..2 {
        let found = world.rebuild(false).await;
        assert_eq!(problems(&found), Vec::<String>::new(), "a slot that was filled under both names");
    }
    assert_eq!(world.catalog.tenants().await.unwrap()[0].names(), [name(2), name(1)]);
    assert_eq!(world.points("acme").await.len(), 2);
}

#[tokio::test]
async fn of_what_is_not_whole_it_is_told_how_far_it_is_there() {
    let mut world = World::new();
    let swept = world.export("acme", DAYS[2], run(1), true).await;
    world.export("acme", DAYS[1], run(2), true).await;
    let pending = world.export("acme", DAYS[0], run(3), false).await;
    assert_eq!(counts(&world.rebuild(false).await), [0, 0, 0, 2, 1, 0], "a run that did not publish keeps its slot");

    world.lose(&format!("points/{}", swept.id));
    let half = world.points("acme").await[1].id;
    let link = world.vault.chain_links(name(1), 0).await.unwrap().0.into_iter().find(|link| link.point == half).unwrap();
    let packs = world.vault.link(name(1), half, &link.reference).await.unwrap().packs;
    world.lose(&packs[0].id.to_string());
    world.lose_the_catalog();
    let found = world.rebuild(false).await;
    // Everything of the third is stored, so it serves; nobody knows any more that it was not published.
    assert_eq!((counts(&found), problems(&found)), ([1, 2, 1, 0, 0, 1], vec![]));
    let records = world.points("acme").await;
    assert_eq!(records.iter().map(|record| record.id).collect::<Vec<_>>(), [pending.id, half]);
    assert_eq!(records[0].proof, Proof::Unproven);
    let Proof::Refuted { findings, .. } = &records[1].proof else { panic!("{:?}", records[1].proof) };
    assert!(findings[0].contains(&packs[0].id.to_string()), "{findings:?}");
}

#[tokio::test]
async fn what_a_manifest_says_is_held_against_its_id_and_its_chain() {
    let world = World::new();
    let good = world.export("acme", DAYS[2], run(1), true).await;
    let id = |time: &str| slot("acme", time).recovery_point_id();
    let origin = |time: &str| {
        let held = RecoveryPoint::begin(&slot("acme", time), run(2), at(NOW));
        json!(Origin::of(&held, None, None))
    };
    let facts = |who: &str, origin: Value| json!({ REGISTER_FACT: tenant(who), ORIGIN_FACT: origin });
    // Signed and sealed by whoever may write, and each of them a lie.
    world.store(name(1), id(DAYS[1]), run(2), facts("acme", origin(DAYS[0]))).await;
    let of_borealis = RecoveryPoint::begin(&slot("borealis", DAYS[0]), run(3), at(NOW));
    world.store(name(1), of_borealis.id, run(3), facts("borealis", json!(Origin::of(&of_borealis, None, None)))).await;
    world.store(name(1), id("2026-11-20T02:15:00Z"), run(4), facts("acme", json!("daily"))).await;
    world.store(name(1), id("2026-11-19T02:15:00Z"), run(5), json!({ ORIGIN_FACT: origin("2026-11-19T02:15:00Z") })).await;
    let found = world.rebuild(false).await;
    assert_eq!(counts(&found), [0, 0, 0, 1, 0, 0]);
    let mut said = problems(&found);
    said.sort_by_key(|problem| problem.find("place ").map(|place| problem[place..].to_owned()));
    let expected = ["another slot than its id", "says that it is tenant borealis's", "how it came to be", "names no tenant"];
    assert_eq!(said.len(), expected.len(), "{said:?}");
    for ((problem, place), part) in said.iter().zip(2..).zip(expected) {
        assert!(problem.contains(part) && problem.contains(&format!("place {place} ")), "{problem}");
    }
    assert_eq!((world.points("acme").await, world.points("borealis").await), (vec![good], vec![]));
}

#[tokio::test]
async fn whoever_adds_to_a_chain_does_not_take_it_over_when_the_catalog_is_lost() {
    let mut world = World::new();
    let good = world.export("acme", DAYS[1], run(1), true).await;
    let planted = RecoveryPoint::begin(&slot("borealis", DAYS[0]), run(3), at(NOW));
    let facts = json!({ REGISTER_FACT: tenant("borealis"), ORIGIN_FACT: Origin::of(&planted, None, None) });
    world.store(name(1), planted.id, run(3), facts).await;
    world.lose_the_catalog();
    let found = world.rebuild(false).await;
    assert_eq!(counts(&found), [1, 1, 0, 0, 0, 0]);
    assert!(problems(&found)[0].contains("says that it is tenant borealis's, and the chain is tenant acme's"), "{found:?}");
    assert_eq!((world.points("acme").await, world.points("borealis").await), (vec![good], vec![]));
}

#[tokio::test]
async fn a_manifest_of_before_slots_were_recorded_is_placed_by_its_id_if_it_is_of_a_rule() {
    let world = World::new();
    let facts = json!({ REGISTER_FACT: tenant("acme") });
    world.store(name(1), slot("acme", DAYS[0]).recovery_point_id(), run(1), facts.clone()).await;
    let by_hand = Slot { rule: Slot::MANUAL.into(), ..slot("acme", "2026-11-23T11:11:11Z") };
    world.store(name(1), by_hand.recovery_point_id(), run(2), facts).await;
    let found = world.rebuild(false).await;
    assert_eq!(found.points_recorded, 1);
    let records = world.points("acme").await;
    assert_eq!((records[0].rule.as_str(), records[0].scheduled_time, records[0].kind), ("daily", at(DAYS[0]), Kind::Database));
    assert!(problems(&found)[0].contains("docs/break-glass"), "{found:?}");
}

#[tokio::test]
async fn of_two_links_of_one_slot_the_published_one_is_known_and_of_none_the_last_is_taken() {
    let mut world = World::new();
    let overtaken = world.export("acme", DAYS[0], run(1), false).await;
    let published = world.export("acme", DAYS[0], run(2), true).await;
    assert_eq!((overtaken.id, counts(&world.rebuild(false).await)), (published.id, [0, 0, 0, 1, 0, 0]));
    world.lose_the_catalog();
    assert_eq!(counts(&world.rebuild(false).await), [1, 1, 0, 0, 0, 0]);
    assert_eq!(world.points("acme").await[0].state, published.state);
}

#[tokio::test]
async fn a_record_without_its_link_is_told_of_and_stays() {
    let world = World::new();
    world.export("acme", DAYS[1], run(1), true).await;
    let last = world.export("acme", DAYS[0], run(2), true).await;
    world.lose("chain/000000000002");
    let found = world.rebuild(false).await;
    assert!(problems(&found)[0].contains("at place 2") && problems(&found)[0].contains(&last.id.to_string()), "{found:?}");
    assert!(world.points("acme").await.contains(&last));
}
