//! Rows against objects, over histories made from seeds: everything that dangles and every orphan is found, and nothing else.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod model;
mod recorded;

use std::collections::BTreeSet;

use domain::plan::Reference;
use model::{Case, Seeded};
use recorded::Recorded;
use sources::references::{Asked, reconcile, reconcile_by};

const CASES: u64 = 400;

#[tokio::test]
async fn everything_that_dangles_and_every_orphan_is_found_and_nothing_else() {
    let (mut dangling, mut orphans, mut undecided) = (0, 0, 0);
    for seed in 0..CASES {
        let case = Case::new(&mut Seeded(seed));
        let recorded = Recorded::of(&case).await;
        let asked = Asked {
            tenant: &case.tenant,
            database: &recorded.database,
            as_of: None,
            media: &recorded.media,
            references: &case.references,
            keys_max: usize::MAX,
        };
        let truth = case.truth();
        // The second time in several passes, as if there were more objects than fit.
        for objects_at_once in [u64::MAX, 4 + seed % 7] {
            let found = reconcile_by(asked, objects_at_once).await.unwrap();
            let first_dangling: BTreeSet<_> = found.first_dangling.iter().cloned().collect();
            let first_orphans: BTreeSet<_> = found.first_orphans.iter().cloned().collect();
            assert_eq!(first_dangling, truth.dangling, "seed {seed}, {objects_at_once} at once");
            assert_eq!(first_orphans, truth.orphans, "seed {seed}, {objects_at_once} at once");
            assert_eq!(found.columns, truth.columns, "seed {seed}, {objects_at_once} at once");
            assert_eq!(found.objects, truth.objects, "seed {seed}, {objects_at_once} at once");
            assert_eq!(found.without_column, truth.without_column, "seed {seed}");
            if objects_at_once == u64::MAX {
                dangling += found.dangling();
                orphans += found.objects.orphans;
                undecided += found.objects.undecided + found.columns.iter().map(|column| column.undecided).sum::<u64>();
            }
        }
    }
    assert!(dangling > CASES && orphans > CASES && undecided > 0);
    println!("{CASES} cases, seeds 0 to {}: {dangling} dangling rows, {orphans} orphans, {undecided} undecided", CASES - 1);
}

#[tokio::test]
async fn keys_are_told_only_if_asked_for() {
    let with_both = |case: &Case| !case.truth().orphans.is_empty() && !case.truth().dangling.is_empty();
    let case = (0..).map(|seed| Case::new(&mut Seeded(seed))).find(with_both).unwrap();
    let recorded = Recorded::of(&case).await;
    let asked = |keys_max| Asked {
        tenant: &case.tenant,
        database: &recorded.database,
        as_of: None,
        media: &recorded.media,
        references: &case.references,
        keys_max,
    };
    let counted = reconcile(asked(0)).await.unwrap();
    let told = reconcile(asked(usize::MAX)).await.unwrap();
    assert!(counted.dangling() > 0 && counted.objects.orphans > 0, "{counted:?}");
    assert_eq!((counted.first_dangling.len(), counted.first_orphans.len()), (0, 0));
    assert_eq!(
        (told.first_dangling.len() as u64, told.first_orphans.len() as u64),
        (counted.dangling(), counted.objects.orphans)
    );
    assert_eq!((counted.columns, counted.objects), (told.columns, told.objects));
    let answer = serde_json::to_string(&reconcile(asked(usize::MAX)).await.unwrap()).unwrap();
    assert!(!answer.contains("first"), "what is stored and answered holds no key: {answer}");
}

#[tokio::test]
async fn a_reference_that_no_table_of_the_tenant_has_is_told_by_its_place() {
    let case = Case::new(&mut Seeded(3));
    let recorded = Recorded::of(&case).await;
    let reference = |table: &str, column: &str| Reference { table: table.into(), column: column.into(), before: String::new() };
    let references = [reference("nowhere", "path"), reference(&case.tables[0].name, "no such column")];
    let asked = Asked {
        tenant: &case.tenant,
        database: &recorded.database,
        as_of: None,
        media: &recorded.media,
        references: &references,
        keys_max: 0,
    };
    let found = reconcile(asked).await.unwrap();
    assert_eq!((found.columns.len(), found.without_column), (0, vec![0, 1]));
}
