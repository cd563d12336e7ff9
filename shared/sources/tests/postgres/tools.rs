//! Which `pg_dump` and `pg_restore` are used, and which are not.

use std::os::unix::fs::PermissionsExt;

use domain::{ErrorCode, ErrorReport, tenant::Layout};
use sources::postgres::Tools;

use crate::{fixture, world::World};

#[tokio::test]
async fn programs_with_known_holes_are_refused_with_the_reason_and_the_remedy() {
    let world = World::new("old-tools", Layout::Database { database: "old_tools".into() });
    fixture::database(world.cluster, "old_tools");
    let folder = std::env::temp_dir().join(format!("holdfast-tools-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    for (dump, restore, refused) in
        [("15.18", "15.19", "pg_dump"), ("99.1", "15.18", "pg_restore"), ("17.10", "17.11", "pg_dump")]
    {
        for (program, version) in [("pg_dump", dump), ("pg_restore", restore)] {
            let path = folder.join(program);
            std::fs::write(&path, format!("#!/bin/sh\necho '{program} (PostgreSQL) {version}'\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let error = world.try_export_by(&Tools::new(&folder), &world.scope).await.err().expect("it has known holes");
        let report = ErrorReport::from(error);
        assert_eq!(report.code, ErrorCode::NotConfigured, "{report}");
        for word in [&format!("{refused} cannot be used"), "known security holes", "15.19", "17.11", "HOLDFAST_PG_BIN"] {
            assert!(report.message.contains(word), "`{report}` does not say `{word}`");
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
}
