//! Snapshots that RDS takes: of instances, and of Aurora clusters, for which RDS has calls and names of their own.

use aws_sdk_rds::{
    Client,
    error::ProvideErrorMetadata,
    types::{DbClusterSnapshot, DbSnapshot},
};
use jiff::Timestamp;

use crate::{
    AwsError, Call, Started,
    rds::{Tags, read_tags, to_tags},
    time::timestamp,
};

/// How far a snapshot has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotState {
    /// RDS is still copying.
    Creating {
        /// Progress, 0 to 100.
        percent: u8,
    },
    /// It can be restored.
    Available,
    /// It is going.
    Deleting,
    /// It never will be.
    Failed {
        /// RDS's word for it.
        status: String,
    },
}

/// A snapshot as RDS describes it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its identifier.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// The instance or cluster it was taken of.
    pub of: String,
    /// The snapshot it is a copy of, if it is one, as RDS names it: by its ARN, or by its identifier.
    pub copy_of: Option<String>,
    /// How far it has come.
    pub state: SnapshotState,
    /// The instant whose data it holds, once RDS knows.
    pub created_at: Option<Timestamp>,
    /// When it was asked for: of a copy, when the copy was.
    pub asked_at: Option<Timestamp>,
    /// ARN of the KMS key it is encrypted under, if it is.
    pub kms_key: Option<String>,
    /// Its tags.
    pub tags: Tags,
}

/// What snapshots are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SnapshotOf {
    /// An instance.
    Instance,
    /// An Aurora cluster.
    Cluster,
}

impl SnapshotOf {
    /// What the snapshot with this ARN is of.
    #[must_use]
    pub fn of_arn(arn: &str) -> Self {
        if arn.contains(":cluster-snapshot:") { Self::Cluster } else { Self::Instance }
    }
}

/// RDS's snapshots, of instances or of clusters.
#[derive(Debug, Clone)]
pub struct Snapshots {
    client: Client,
    of: SnapshotOf,
}

impl Snapshots {
    pub(crate) fn new(client: Client, of: SnapshotOf) -> Self {
        Self { client, of }
    }

    fn call(&self, instance: &'static str, cluster: &'static str, subject: impl Into<String>) -> Call {
        let action = match self.of {
            SnapshotOf::Instance => instance,
            SnapshotOf::Cluster => cluster,
        };
        Call::new(action, subject)
    }

    /// Begins a snapshot. Needs `rds:CreateDBSnapshot` or `rds:CreateDBClusterSnapshot`, and `rds:AddTagsToResource`.
    ///
    /// [`Started::Before`] says that there is one of that name, whoever made it.
    ///
    /// # Errors
    /// If what it is to be of does not exist or is in no state to be copied, or the account has reached its quota.
    pub async fn create(&self, name: &str, of: &str, tags: &Tags) -> Result<Started, AwsError> {
        let tags = Some(to_tags(tags));
        let call = || self.call("rds:CreateDBSnapshot", "rds:CreateDBClusterSnapshot", format!("{name} of {of}"));
        match self.of {
            SnapshotOf::Instance => {
                let asked =
                    self.client.create_db_snapshot().db_snapshot_identifier(name).db_instance_identifier(of).set_tags(tags);
                started(asked.send().await, call)
            }
            SnapshotOf::Cluster => {
                let asked = self.client.create_db_cluster_snapshot().db_cluster_snapshot_identifier(name);
                started(asked.db_cluster_identifier(of).set_tags(tags).send().await, call)
            }
        }
    }

    /// Begins a copy under another key. Needs `rds:CopyDBSnapshot` or `rds:CopyDBClusterSnapshot` on both, `rds:AddTagsToResource`, and
    /// `kms:CreateGrant` and `kms:DescribeKey` for both keys.
    ///
    /// [`Started::Before`] says that there is one of that name, whoever made it.
    ///
    /// # Errors
    /// If there is nothing to copy, a key cannot be used, or the account has reached its quota.
    pub async fn copy(&self, from: &str, name: &str, key_arn: &str, tags: &Tags) -> Result<Started, AwsError> {
        let tags = Some(to_tags(tags));
        let call = || self.call("rds:CopyDBSnapshot", "rds:CopyDBClusterSnapshot", format!("{name} from {from}"));
        match self.of {
            SnapshotOf::Instance => {
                let asked =
                    self.client.copy_db_snapshot().source_db_snapshot_identifier(from).target_db_snapshot_identifier(name);
                started(asked.kms_key_id(key_arn).set_tags(tags).send().await, call)
            }
            SnapshotOf::Cluster => {
                let asked = self.client.copy_db_cluster_snapshot().source_db_cluster_snapshot_identifier(from);
                let asked = asked.target_db_cluster_snapshot_identifier(name);
                started(asked.kms_key_id(key_arn).set_tags(tags).send().await, call)
            }
        }
    }

    /// Describes one snapshot. Needs `rds:DescribeDBSnapshots` or `rds:DescribeDBClusterSnapshots`.
    ///
    /// # Errors
    /// `NotFound` if there is none of this name.
    pub async fn describe(&self, name: &str) -> Result<Snapshot, AwsError> {
        let call = || self.call("rds:DescribeDBSnapshots", "rds:DescribeDBClusterSnapshots", name);
        match self.of {
            SnapshotOf::Instance => {
                let found = self.client.describe_db_snapshots().db_snapshot_identifier(name).send().await;
                let found = found.map_err(|error| call().failed(error))?;
                found.db_snapshots().first().ok_or_else(|| call().lacks("snapshot")).and_then(|found| read(found, call()))
            }
            SnapshotOf::Cluster => {
                let found = self.client.describe_db_cluster_snapshots().db_cluster_snapshot_identifier(name).send().await;
                let found = found.map_err(|error| call().failed(error))?;
                let first = found.db_cluster_snapshots().first();
                first.ok_or_else(|| call().lacks("snapshot")).and_then(|found| read_of_cluster(found, call()))
            }
        }
    }

    /// Describes one snapshot, if there is one of this name. Needs what [`Snapshots::describe`] needs.
    ///
    /// # Errors
    /// If the call fails otherwise.
    pub async fn find(&self, name: &str) -> Result<Option<Snapshot>, AwsError> {
        match self.describe(name).await {
            Ok(snapshot) => Ok(Some(snapshot)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lists the snapshots of this account that somebody asked for, whoever did. Needs `rds:DescribeDBSnapshots` or
    /// `rds:DescribeDBClusterSnapshots` on all.
    ///
    /// # Errors
    /// If a page of the listing fails.
    pub async fn list(&self) -> Result<Vec<Snapshot>, AwsError> {
        let call = || self.call("rds:DescribeDBSnapshots", "rds:DescribeDBClusterSnapshots", "*");
        let mut found = Vec::new();
        match self.of {
            SnapshotOf::Instance => {
                let mut pages = self.client.describe_db_snapshots().snapshot_type("manual").into_paginator().items().send();
                while let Some(snapshot) = pages.next().await {
                    found.push(read(&snapshot.map_err(|error| call().failed(error))?, call())?);
                }
            }
            SnapshotOf::Cluster => {
                let mut pages =
                    self.client.describe_db_cluster_snapshots().snapshot_type("manual").into_paginator().items().send();
                while let Some(snapshot) = pages.next().await {
                    found.push(read_of_cluster(&snapshot.map_err(|error| call().failed(error))?, call())?);
                }
            }
        }
        Ok(found)
    }

    /// Begins to delete a snapshot. Needs `rds:DeleteDBSnapshot` or `rds:DeleteDBClusterSnapshot`.
    ///
    /// [`Started::Before`] says that it is gone or going already.
    ///
    /// # Errors
    /// If it cannot be deleted now, as while something is restored from it.
    pub async fn delete(&self, name: &str) -> Result<Started, AwsError> {
        let call = || self.call("rds:DeleteDBSnapshot", "rds:DeleteDBClusterSnapshot", name);
        let asked = match self.of {
            SnapshotOf::Instance => {
                let asked = self.client.delete_db_snapshot().db_snapshot_identifier(name).send().await;
                asked.map(drop).map_err(|error| call().failed(error))
            }
            SnapshotOf::Cluster => {
                let asked = self.client.delete_db_cluster_snapshot().db_cluster_snapshot_identifier(name).send().await;
                asked.map(drop).map_err(|error| call().failed(error))
            }
        };
        match asked {
            Ok(()) => Ok(Started::Now),
            Err(error) if error.is_not_found() => Ok(Started::Before),
            Err(error) => match self.find(name).await {
                Ok(None | Some(Snapshot { state: SnapshotState::Deleting, .. })) => Ok(Started::Before),
                _ => Err(error),
            },
        }
    }
}

/// What a call gave that makes something under a name of ours.
fn started<T, E>(
    answer: Result<
        T,
        aws_smithy_runtime_api::client::result::SdkError<E, aws_smithy_runtime_api::client::orchestrator::HttpResponse>,
    >,
    call: impl Fn() -> Call,
) -> Result<Started, AwsError>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match answer {
        Ok(_) => Ok(Started::Now),
        // `DBSnapshotAlreadyExists`, `DBClusterSnapshotAlreadyExistsFault`
        Err(error) if error.code().is_some_and(|code| code.contains("AlreadyExists")) => Ok(Started::Before),
        Err(error) => Err(call().failed(error)),
    }
}

fn state(status: &str, percent: Option<i32>) -> SnapshotState {
    match status {
        "available" => SnapshotState::Available,
        "creating" | "pending" | "copying" => {
            SnapshotState::Creating { percent: u8::try_from(percent.unwrap_or(0).clamp(0, 100)).unwrap_or(0) }
        }
        "deleting" => SnapshotState::Deleting,
        other => SnapshotState::Failed { status: other.to_owned() },
    }
}

fn read(found: &DbSnapshot, call: Call) -> Result<Snapshot, AwsError> {
    let (Some(name), Some(of), Some(status)) = (found.db_snapshot_identifier(), found.db_instance_identifier(), found.status())
    else {
        return Err(call.lacks("snapshot's name, instance or status"));
    };
    // The database's own time when RDS has it. The time of creation is when it was asked for; that of a copy, when the copy was.
    let at = found.snapshot_database_time().or(found.original_snapshot_create_time()).or(found.snapshot_create_time());
    Ok(Snapshot {
        name: name.to_owned(),
        arn: found.db_snapshot_arn().unwrap_or_default().to_owned(),
        of: of.to_owned(),
        copy_of: found.source_db_snapshot_identifier().map(str::to_owned),
        state: state(status, found.percent_progress()),
        created_at: at.and_then(timestamp),
        asked_at: found.snapshot_create_time().and_then(timestamp),
        kms_key: found.kms_key_id().filter(|_| found.encrypted().unwrap_or(false)).map(str::to_owned),
        tags: read_tags(found.tag_list()),
    })
}

fn read_of_cluster(found: &DbClusterSnapshot, call: Call) -> Result<Snapshot, AwsError> {
    let (Some(name), Some(of), Some(status)) =
        (found.db_cluster_snapshot_identifier(), found.db_cluster_identifier(), found.status())
    else {
        return Err(call.lacks("snapshot's name, cluster or status"));
    };
    Ok(Snapshot {
        name: name.to_owned(),
        arn: found.db_cluster_snapshot_arn().unwrap_or_default().to_owned(),
        of: of.to_owned(),
        copy_of: found.source_db_cluster_snapshot_arn().map(str::to_owned),
        state: state(status, found.percent_progress()),
        // RDS does not say when a copied one was taken.
        created_at: found.snapshot_create_time().filter(|_| found.source_db_cluster_snapshot_arn().is_none()).and_then(timestamp),
        asked_at: found.snapshot_create_time().and_then(timestamp),
        kms_key: found.kms_key_id().filter(|_| found.storage_encrypted().unwrap_or(false)).map(str::to_owned),
        tags: read_tags(found.tag_list()),
    })
}
