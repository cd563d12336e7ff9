//! Step Functions: starting runs, answering the tasks that wait for a person, and looking at how a run went.

use aws_sdk_sfn::{Client, types::ExecutionStatus};
use jiff::Timestamp;
use serde_json::Value;

use crate::{AwsError, Call, Started, time::timestamp};

/// A running or finished execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// Its ARN.
    pub arn: String,
    /// How it stands.
    pub state: ExecutionState,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// When it stopped, once it has.
    pub stopped_at: Option<Timestamp>,
}

/// How an execution stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecutionState {
    /// It goes on.
    Running,
    /// It finished.
    Succeeded {
        /// Its output, as JSON.
        output: Option<String>,
    },
    /// It stopped without finishing.
    Stopped {
        /// `FAILED`, `TIMED_OUT` or `ABORTED`.
        status: String,
        /// The error's name.
        error: Option<String>,
        /// The error's description.
        cause: Option<String>,
    },
}

/// What became of an answer to a waiting task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskAnswer {
    /// The task took it.
    Taken,
    /// The task no longer waits: it was answered before, it timed out, or its execution ended.
    TooLate,
}

/// State machines.
#[derive(Debug, Clone)]
pub struct Machines {
    client: Client,
}

impl Machines {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Starts an execution under a name of our choosing, such as the request's id. Needs `states:StartExecution`.
    ///
    /// Starting it twice is harmless: Step Functions runs a name once, and reports the second start.
    ///
    /// # Errors
    /// If the state machine does not exist or does not take the input.
    pub async fn start(&self, machine_arn: &str, name: &str, input: &Value) -> Result<Started, AwsError> {
        let call = self.client.start_execution().state_machine_arn(machine_arn).name(name).input(input.to_string());
        match call.send().await {
            Ok(_) => Ok(Started::Now),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_execution_already_exists()) => {
                Ok(Started::Before)
            }
            Err(error) => Err(Call::new("states:StartExecution", format!("{name} of {machine_arn}")).failed(error)),
        }
    }

    /// Lets a waiting task go on with `output`. Needs `states:SendTaskSuccess`.
    ///
    /// # Errors
    /// If Step Functions does not take the answer for another reason than its being too late.
    pub async fn succeed_task(&self, token: &str, output: &Value) -> Result<TaskAnswer, AwsError> {
        match self.client.send_task_success().task_token(token).output(output.to_string()).send().await {
            Ok(_) => Ok(TaskAnswer::Taken),
            Err(error) => match error.as_service_error() {
                Some(late) if late.is_task_timed_out() || late.is_task_does_not_exist() => Ok(TaskAnswer::TooLate),
                _ => Err(Call::new("states:SendTaskSuccess", "a waiting task").failed(error)),
            },
        }
    }

    /// Makes a waiting task fail. `error` is what the state machine matches. Needs `states:SendTaskFailure`.
    ///
    /// # Errors
    /// If Step Functions does not take the answer for another reason than its being too late.
    pub async fn fail_task(&self, token: &str, error: &str, cause: &str) -> Result<TaskAnswer, AwsError> {
        match self.client.send_task_failure().task_token(token).error(error).cause(cause).send().await {
            Ok(_) => Ok(TaskAnswer::Taken),
            Err(error) => match error.as_service_error() {
                Some(late) if late.is_task_timed_out() || late.is_task_does_not_exist() => Ok(TaskAnswer::TooLate),
                _ => Err(Call::new("states:SendTaskFailure", "a waiting task").failed(error)),
            },
        }
    }

    /// Describes the execution of this name. Needs `states:DescribeExecution`.
    ///
    /// # Errors
    /// `NotFound` if it was never started, or ended more than 90 days ago.
    pub async fn describe(&self, machine_arn: &str, name: &str) -> Result<Execution, AwsError> {
        let arn = execution_arn(machine_arn, name);
        let found = self.client.describe_execution().execution_arn(&arn).send().await;
        let found = found.map_err(|error| Call::new("states:DescribeExecution", &arn).failed(error))?;
        let state = match found.status() {
            ExecutionStatus::Running | ExecutionStatus::PendingRedrive => ExecutionState::Running,
            ExecutionStatus::Succeeded => ExecutionState::Succeeded { output: found.output().map(str::to_owned) },
            other => ExecutionState::Stopped {
                status: other.as_str().to_owned(),
                error: found.error().map(str::to_owned),
                cause: found.cause().map(str::to_owned),
            },
        };
        Ok(Execution { state, started_at: timestamp(found.start_date()), stopped_at: found.stop_date().and_then(timestamp), arn })
    }
}

/// `arn:…:stateMachine:<machine>` and a name give `arn:…:execution:<machine>:<name>`.
fn execution_arn(machine_arn: &str, name: &str) -> String {
    format!("{}:{name}", machine_arn.replacen(":stateMachine:", ":execution:", 1))
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_execution_is_named_after_its_machine() {
        assert_eq!(
            super::execution_arn("arn:aws:states:eu-central-1:123456789012:stateMachine:holdfast-restore", "rq_1"),
            "arn:aws:states:eu-central-1:123456789012:execution:holdfast-restore:rq_1"
        );
    }
}
