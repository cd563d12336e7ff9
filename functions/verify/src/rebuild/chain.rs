//! One chain of the vault: whose it is, and a record for each of its recovery points that has none.

use std::collections::{BTreeMap, BTreeSet};

use catalog::{
    Record,
    tenants::{TenantError, TenantRecord},
};
use domain::{
    Coded, ErrorCode, ErrorReport, RecoveryPointId, TenantId, VaultTenantId, caps,
    point::{Content, Kind, Origin, Proof, RecoveryPoint},
    register::Tenant,
    slot::Subject,
};
use futures::StreamExt;
use jiff::Timestamp;
use runtime::{
    Deadline,
    services::{ORIGIN_FACT, first_few, owner},
};
use serde::Deserialize;
use vault::{ChainLink, CheckReport, Stored};

use super::{
    Round,
    known::{self, Known},
};
use crate::authentic::lines;

/// Recovery points opened at the same time: each takes four or five requests, one after the other.
const OPENED_AT_ONCE: usize = 8;

/// What a manifest and what it names came to.
enum Read {
    /// A record to make, and the register's row that travelled with it.
    Whole(Box<(RecoveryPoint, Tenant, Timestamp)>),
    /// Its manifest is not there.
    Gone,
    /// It cannot be told what it is, and why.
    Unclear(String),
}

impl Round<'_> {
    /// Follows one chain and records what the catalog lacks of it. Whether time was enough.
    pub(super) async fn chain(&mut self, name: VaultTenantId, deadline: &Deadline) -> Result<bool, ErrorReport> {
        if deadline.near() {
            return Ok(false);
        }
        let mut whose = self.names.get(&name).cloned();
        // Before the chain: what is published while it is followed is no recovery point without a link.
        let mut records = self.records(whose.as_ref()).await?;
        let mut names = self.names_of(whose.as_ref()).await?;
        let (links, report) = self.vault.chain_links(name, 0).await?;
        self.tell_chain(&report);
        let links = known::by_point(links);
        for (point, place) in known::without_link(records.values(), &links, name) {
            let problem = format!(
                "recovery point {point} of {name}: the catalog has it at place {place} of the chain, and no such link is there"
            );
            self.found.problem(problem);
        }
        let stored = self.vault.stored(name).await?;
        // The oldest first: whose the chain is was settled before anybody who got hold of the writing role could add to it.
        let mut oldest_first: Vec<&Vec<ChainLink>> = links.values().collect();
        oldest_first.sort_by_key(|links| links.first().map(|link| link.reference.sequence));
        for batch in oldest_first.chunks(OPENED_AT_ONCE) {
            if deadline.near() {
                return Ok(false);
            }
            let lacking: Vec<_> =
                batch.iter().filter_map(|links| Some((links, self.lacking(links, &records, (name, &names))?))).collect();
            let (round, stored) = (&*self, &stored);
            let read: Vec<_> = futures::stream::iter(lacking)
                .map(|(links, link)| async move { (links, link, round.read(name, link, stored).await) })
                .buffered(OPENED_AT_ONCE)
                .collect()
                .await;
            for (links, link, read) in read {
                match read? {
                    Read::Gone => self.found.gone += 1,
                    Read::Unclear(why) => {
                        self.found.problem(format!(
                            "recovery point {} at place {} of {name}: {why}",
                            link.point, link.reference.sequence
                        ));
                    }
                    Read::Whole(whole) => {
                        let (record, row, written_at) = *whole;
                        if let Some(tenant) = whose.as_ref().filter(|tenant| **tenant != row.id) {
                            let problem = format!(
                                "recovery point {} at place {} of {name} says that it is tenant {}'s, and the chain is tenant {tenant}'s",
                                link.point, link.reference.sequence, row.id
                            );
                            self.found.problem(problem);
                            continue;
                        }
                        if whose.is_none() {
                            whose = Some(row.id.clone());
                            let (former, seen_at) = (BTreeSet::new(), written_at);
                            self.tenant(TenantRecord { vault_tenant: name, former, tenant: row, seen_at, erased: None }).await?;
                            records = self.records(whose.as_ref()).await?;
                            names = self.names_of(whose.as_ref()).await?;
                        }
                        // It may have been looked up before anybody knew whose it is.
                        if self.lacking(links, &records, (name, &names)).is_some() {
                            self.record(record).await?;
                        }
                    }
                }
            }
        }
        self.found.chains += 1;
        Ok(true)
    }

    async fn records(&self, whose: Option<&TenantId>) -> Result<BTreeMap<RecoveryPointId, RecoveryPoint>, ErrorReport> {
        let Some(tenant) = whose else { return Ok(BTreeMap::new()) };
        let mut records = BTreeMap::new();
        for kind in Kind::EXPORTED {
            let listed = self.catalog.points(&Subject::Tenant(tenant.clone()), Some(kind), caps::LISTED_POINTS_MAX).await?;
            records.extend(listed.into_iter().map(|point| (point.value.id, point.value)));
        }
        Ok(records)
    }

    /// Every name in the vault that the catalog knows a tenant by.
    async fn names_of(&self, whose: Option<&TenantId>) -> Result<Vec<VaultTenantId>, ErrorReport> {
        let Some(tenant) = whose else { return Ok(Vec::new()) };
        match self.catalog.tenant(tenant).await {
            Ok(record) => Ok(record.names()),
            // A dry run records none.
            Err(TenantError::Unknown { .. }) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    fn tell_chain(&mut self, report: &CheckReport) {
        self.found.links += report.links;
        lines(report).into_iter().for_each(|line| self.found.problem(line));
    }

    /// The link of which a record is to be made, if the catalog has none: of several, the last.
    fn lacking<'a>(
        &mut self,
        links: &'a [ChainLink],
        records: &BTreeMap<RecoveryPointId, RecoveryPoint>,
        (name, names): (VaultTenantId, &[VaultTenantId]),
    ) -> Option<&'a ChainLink> {
        let last = links.last()?;
        match records.get(&last.point).map(|record| known::compare(record, links, name, names)) {
            None => return Some(last),
            Some(Known::Same) => self.found.points_known += 1,
            Some(Known::Unpublished) => self.found.unpublished += 1,
            Some(Known::Other(what)) => self.found.problem(format!("recovery point {} of {name}: {what}", last.point)),
        }
        None
    }

    /// Records whose a chain is. After a lost table, somebody may have met the tenant before and drawn it a new name, and backups may have
    /// been made under that: then this chain's is a former one, under which the tenant is restored, swept and erased as well.
    async fn tenant(&mut self, record: TenantRecord) -> Result<(), ErrorReport> {
        let (id, name, catalog) = (record.tenant.id.clone(), record.vault_tenant, self.catalog);
        let known = if self.dry_run { catalog.get(&record.key()).await? } else { catalog.know_tenant_again(record).await? };
        match known {
            None => self.found.tenants_recorded += 1,
            Some(known) if known.value.names().contains(&name) => {}
            Some(known) if self.is_unused(known.value.vault_tenant).await? => {
                if !self.dry_run {
                    catalog.rename_tenant(&known, name).await?;
                }
                self.found.tenants_renamed += 1;
            }
            Some(known) => {
                tracing::info!(tenant.id = %id, "it goes by {} in the vault, and {name} is a former name", known.value.vault_tenant);
                if !self.dry_run {
                    catalog.know_former_name(&id, name).await?;
                }
                self.found.names_recorded += 1;
            }
        }
        Ok(())
    }

    async fn is_unused(&self, name: VaultTenantId) -> Result<bool, ErrorReport> {
        Ok(self.vault.chain_links(name, 0).await?.0.is_empty())
    }

    async fn record(&mut self, record: RecoveryPoint) -> Result<(), ErrorReport> {
        let is_refuted = matches!(record.proof, Proof::Refuted { .. });
        if self.dry_run || self.catalog.know_point_again(record).await? {
            self.found.points_recorded += 1;
            self.found.points_refuted += usize::from(is_refuted);
        } else {
            self.found.points_known += 1;
        }
        Ok(())
    }

    /// Reads what there is to record of one link's recovery point.
    ///
    /// # Errors
    /// Only if it could not be looked at, which says nothing about it.
    async fn read(&self, name: VaultTenantId, link: &ChainLink, stored: &Stored) -> Result<Read, ErrorReport> {
        let opened = self.vault.open(name, link.point, &link.reference).await;
        let reader = match opened {
            Ok(reader) => reader,
            Err(error) if error.is_missing_manifest() => return Ok(Read::Gone),
            Err(error) if error.code() == ErrorCode::NotAuthentic => return Ok(Read::Unclear(error.to_string())),
            Err(error) => return Err(error.into()),
        };
        let manifest = reader.manifest();
        let Some(row) = owner(&reader) else {
            return Ok(Read::Unclear("its manifest names no tenant".to_owned()));
        };
        let subject = Subject::Tenant(row.id.clone());
        let origin = match manifest.facts.get(ORIGIN_FACT).map(Origin::deserialize) {
            Some(Ok(origin)) => origin,
            Some(Err(error)) => return Ok(Read::Unclear(format!("its manifest does not say how it came to be: {error}"))),
            None => match Origin::guess(&self.plan, &self.plan.zone()?, &subject, link.point, manifest.written_at) {
                Some(origin) => origin,
                None => {
                    return Ok(Read::Unclear(
                        "its manifest is of a version that does not say its slot, and it is of no rule of the plan; docs/break-glass opens it".to_owned(),
                    ));
                }
            },
        };
        if origin.slot(&subject).recovery_point_id() != link.point {
            return Ok(Read::Unclear("its manifest says another slot than its id is of".to_owned()));
        }
        let presence = self.vault.check_presence(name, link.point, &link.reference, stored).await?;
        let mut findings = lines(&presence);
        let plaintext_bytes = match reader.plaintext_bytes().await {
            Ok(bytes) => bytes,
            Err(error) if error.code() == ErrorCode::NotAuthentic => {
                findings.push(error.to_string());
                0
            }
            Err(error) => return Err(error.into()),
        };
        let content = Content::Export {
            vault_tenant: name,
            sequence: link.reference.sequence,
            link_sha256: link.reference.link_sha256.clone(),
            parent: origin.parent,
            rows: reader.rows(),
            plaintext_bytes,
            stored_bytes: link.own_bytes,
            read: origin.read,
        };
        let mut record = origin.record(&subject, manifest.run, manifest.written_at, content);
        if !findings.is_empty() {
            tracing::warn!(recovery_point.id = %link.point, "it is not whole: {}", first_few(&findings));
            record.proof = Proof::Refuted { at: self.now, findings };
        }
        Ok(Read::Whole(Box::new((record, row, manifest.written_at))))
    }
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
