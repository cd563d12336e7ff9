//! Step Functions: starting runs and asking how they ended, and answering the tasks that wait for a person.

use aws_sdk_sfn::{Client, types::ExecutionStatus};
use serde_json::Value;

use crate::{AwsError, Call, Started};

/// What became of an answer to a waiting task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskAnswer {
    /// The task took it.
    Taken,
    /// The task no longer waits: it was answered before, it timed out, or its execution ended.
    TooLate,
}

/// How an execution stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Execution {
    /// It has not ended.
    Running,
    /// It ended well, with this output.
    Succeeded(Value),
    /// It ended otherwise.
    Failed {
        /// The error's name, such as one of our codes or `States.Timeout`.
        error: String,
        /// What was said about it; of a function's error, its JSON.
        cause: String,
    },
}

/// An execution that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    /// What it was started with.
    pub input: Value,
    /// How it stands.
    pub stands: Execution,
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

    /// What was started under this name, and how it stands. Needs `states:DescribeExecution`.
    ///
    /// # Errors
    /// If there is none.
    pub async fn execution(&self, machine_arn: &str, name: &str) -> Result<Described, AwsError> {
        let arn = format!("{}:{name}", machine_arn.replacen(":stateMachine:", ":execution:", 1));
        let call = Call::new("states:DescribeExecution", &arn);
        let found = match self.client.describe_execution().execution_arn(&arn).send().await {
            Ok(found) => found,
            Err(error) => return Err(call.failed(error)),
        };
        let Some(input) = found.input().and_then(|input| serde_json::from_str(input).ok()) else {
            return Err(call.lacks("input"));
        };
        let stands = match found.status() {
            ExecutionStatus::Running | ExecutionStatus::PendingRedrive => Execution::Running,
            ExecutionStatus::Succeeded => {
                let output = found.output().and_then(|output| serde_json::from_str(output).ok());
                Execution::Succeeded(output.ok_or_else(|| call.lacks("output"))?)
            }
            ended => Execution::Failed {
                error: found.error().unwrap_or(ended.as_str()).to_owned(),
                cause: found.cause().unwrap_or_default().to_owned(),
            },
        };
        Ok(Described { input, stands })
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
}
