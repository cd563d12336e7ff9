//! What a person sees who follows long work: its state and for how long, on standard error and only if that is a terminal.

use std::{io::IsTerminal, time::Duration};

use domain::text::plain;
use indicatif::{ProgressBar, ProgressStyle};

const TURN: Duration = Duration::from_millis(120);

/// A line that turns while something is followed. Each state that is over stays above it; the line itself goes when it is dropped.
pub(crate) struct Progress {
    name: String,
    bar: Option<ProgressBar>,
    state: String,
}

impl Progress {
    /// Begins to show what is followed; nothing is shown where nobody looks.
    pub(crate) fn of(name: &str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed_precise}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(TURN);
            bar
        });
        Self { name: plain(name), bar, state: String::new() }
    }

    /// Shows a state, if it is another one than before.
    pub(crate) fn state(&mut self, state: &str) {
        if state == self.state {
            return;
        }
        let line = |state: &str| format!("{}: {}", self.name, plain(&state.replace('_', " ")));
        if let Some(bar) = &self.bar {
            if !self.state.is_empty() {
                bar.println(format!("{}, {} s", line(&self.state), bar.elapsed().as_secs()));
            }
            bar.reset_elapsed();
            bar.set_message(line(state));
        }
        state.clone_into(&mut self.state);
    }

    /// The last state shown.
    pub(crate) fn last(&self) -> &str {
        &self.state
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            if !self.state.is_empty() {
                bar.println(format!("{}: {}, {} s", self.name, plain(&self.state.replace('_', " ")), bar.elapsed().as_secs()));
            }
            bar.finish_and_clear();
        }
    }
}
