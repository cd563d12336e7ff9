//! The coverage report as the last scan of the databases left it.

use domain::coverage::Report;
use serde::{Deserialize, Serialize};

use crate::{
    Catalog,
    record::{Record, Versioned},
    table::{Key, TableError},
};

/// The newest coverage report. There is one; alerts keep what was when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CoverageRecord(pub Report);

fn coverage_key() -> Key {
    Key { pk: "COVERAGE".to_owned(), sk: "newest".to_owned() }
}

impl Record for CoverageRecord {
    fn key(&self) -> Key {
        coverage_key()
    }
}

impl Catalog {
    /// The newest coverage report, if there was a scan yet.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn coverage(&self) -> Result<Option<Versioned<CoverageRecord>>, TableError> {
        self.get(&coverage_key()).await
    }

    /// Puts a report in the place of the one that was read. Of two at once the first counts: they looked at the same time.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn record_coverage(&self, read: Option<Versioned<CoverageRecord>>, report: Report) -> Result<(), TableError> {
        let record = CoverageRecord(report.fitted());
        let written = match read {
            None => self.create(record).await,
            Some(read) => self.update(&read, record).await,
        };
        match written {
            Ok(_) | Err(TableError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::coverage::{Finding, Gap, Place, TenantRows, Values};
    use jiff::Timestamp;

    use super::*;
    use crate::MemoryTable;

    fn report(scanned_at: &str) -> Report {
        let first = vec![TenantRows { tenant: "x\u{202e}\"".into(), rows: 2 }];
        let gaps = [
            Gap::NoTenant { rows: 1 },
            Gap::UnknownTenants(Values { tenants: 1, rows: 2, first }),
            Gap::SharedTable,
            Gap::Schema { tables: 1 },
            Gap::Database { tables: None },
            Gap::LargeObjects { objects: 1 },
        ];
        let place = Place::database("i", "d").table("s", "t");
        let findings = gaps.map(|gap| Finding { place: place.clone(), gap, only_with: None });
        let scanned_at: Timestamp = scanned_at.parse().unwrap();
        Report { findings: findings.into(), ..Report::at(scanned_at) }
    }

    #[tokio::test]
    async fn the_newest_report_is_kept_and_comes_back_as_it_was() {
        let catalog = Catalog::new(Arc::new(MemoryTable::default()));
        assert_eq!(catalog.coverage().await.unwrap(), None);
        for scanned_at in ["2026-11-23T05:00:00Z", "2026-11-24T05:00:00Z"] {
            let read = catalog.coverage().await.unwrap();
            catalog.record_coverage(read, report(scanned_at)).await.unwrap();
        }
        let read = catalog.coverage().await.unwrap();
        assert_eq!(read.as_ref().unwrap().value.0, report("2026-11-24T05:00:00Z"));
        catalog.record_coverage(None, report("2026-11-25T05:00:00Z")).await.unwrap();
        assert_eq!(catalog.coverage().await.unwrap(), read, "somebody else was faster");
    }
}
