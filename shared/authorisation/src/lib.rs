//! Who may do what: the policies of `infra/policy`, compiled in, and one question to them.
//!
//! Nothing here reads a plan, a clock or a record: grants, caller and act come in as values. Whatever no policy permits is refused, and so
//! is everything if a policy fails to be evaluated.

mod act;
mod authoriser;
mod decision;

pub use act::{Act, Action, Asked, Place};
pub use authoriser::{Authoriser, PolicyError};
pub use decision::{Decision, Reason};

// The tests that show what holds without the check need it in a debug build; nothing else does.
#[cfg(all(feature = "unguarded", not(debug_assertions)))]
compile_error!("the feature `unguarded` permits everything to everybody: it is for tests, and no release build may have it");
