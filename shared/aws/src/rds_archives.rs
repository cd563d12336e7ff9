//! Exports of snapshots to files of Parquet, which RDS writes into a bucket.

use aws_sdk_rds::{Client, types::ExportTask};

use crate::{AwsError, Call, Started};

/// How far an export has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchiveState {
    /// RDS is working on it.
    Working {
        /// Progress, 0 to 100.
        percent: u8,
    },
    /// Everything is in the bucket.
    Complete,
    /// It never will be.
    Failed {
        /// RDS's word for it, and why.
        why: String,
    },
}

/// An export to be made.
#[derive(Debug, Clone, Copy)]
pub struct Archive<'a> {
    /// Its identifier: letters, digits and hyphens, at most 60.
    pub name: &'a str,
    /// ARN of the snapshot.
    pub snapshot: &'a str,
    /// The bucket.
    pub bucket: &'a str,
    /// What the keys begin with, before the identifier.
    pub prefix: &'a str,
    /// ARN of the role with which RDS writes there.
    pub role: &'a str,
    /// ARN of the KMS key that the files are encrypted under.
    pub key: &'a str,
}

/// RDS's exports of snapshots.
#[derive(Debug, Clone)]
pub struct Archives {
    client: Client,
}

impl Archives {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Begins an export. Needs `rds:StartExportTask`, `iam:PassRole` for the role, and `kms:CreateGrant` and `kms:DescribeKey` for the key.
    ///
    /// [`Started::Before`] says that there is one of that name, whoever made it.
    ///
    /// # Errors
    /// If the snapshot does not exist or is in no state to be exported, or bucket, role or key cannot be used.
    pub async fn start(&self, wanted: &Archive<'_>) -> Result<Started, AwsError> {
        let asked = self.client.start_export_task().export_task_identifier(wanted.name).source_arn(wanted.snapshot);
        let asked = asked.s3_bucket_name(wanted.bucket).s3_prefix(wanted.prefix).iam_role_arn(wanted.role).kms_key_id(wanted.key);
        match asked.send().await {
            Ok(_) => Ok(Started::Now),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_export_task_already_exists_fault()) => {
                Ok(Started::Before)
            }
            Err(error) => Err(Call::new("rds:StartExportTask", format!("{} of {}", wanted.name, wanted.snapshot)).failed(error)),
        }
    }

    /// How far an export has come, if RDS knows one of this name. Needs `rds:DescribeExportTasks`.
    ///
    /// # Errors
    /// If the call fails otherwise.
    pub async fn find(&self, name: &str) -> Result<Option<ArchiveState>, AwsError> {
        match self.client.describe_export_tasks().export_task_identifier(name).send().await {
            Ok(found) => Ok(found.export_tasks().first().map(read)),
            Err(error) => match Call::new("rds:DescribeExportTasks", name).failed(error) {
                error if error.is_not_found() => Ok(None),
                error => Err(error),
            },
        }
    }

    /// How many exports RDS is working on in this account and region, whoever asked. Needs `rds:DescribeExportTasks`.
    ///
    /// # Errors
    /// If a page of the listing fails.
    pub async fn working(&self) -> Result<usize, AwsError> {
        let mut tasks = self.client.describe_export_tasks().into_paginator().items().send();
        let mut working = 0;
        while let Some(task) = tasks.next().await {
            let task = task.map_err(|error| Call::new("rds:DescribeExportTasks", "*").failed(error))?;
            working += usize::from(matches!(read(&task), ArchiveState::Working { .. }));
        }
        Ok(working)
    }
}

fn read(task: &ExportTask) -> ArchiveState {
    let status = task.status().unwrap_or("unknown");
    match status.to_ascii_uppercase().as_str() {
        "COMPLETE" => ArchiveState::Complete,
        "STARTING" | "IN_PROGRESS" | "CANCELING" => {
            ArchiveState::Working { percent: u8::try_from(task.percent_progress().unwrap_or(0).clamp(0, 100)).unwrap_or(0) }
        }
        _ => ArchiveState::Failed { why: format!("{status}: {}", task.failure_cause().unwrap_or("RDS does not say why")) },
    }
}
