//! How long each span of our sources took: the phases of a job. Those of libraries are left out.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use serde_json::{Value, json};
use tracing::{Subscriber, span};
use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt, registry::LookupSpan};

/// Seconds by the name of the span.
#[derive(Clone, Default)]
pub(crate) struct Phases(Arc<Mutex<BTreeMap<&'static str, f64>>>);

struct Began(Instant);

/// Measures every span from now on.
pub(crate) fn measure() -> Phases {
    let phases = Phases::default();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(phases.clone())).expect("nobody else set one");
    phases
}

impl Phases {
    pub(crate) fn seconds(&self) -> Value {
        json!(*self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Phases {
    fn on_new_span(&self, _: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id).filter(|span| span.metadata().target().starts_with("sources::")) {
            span.extensions_mut().insert(Began(Instant::now()));
        }
    }

    fn on_close(&self, id: span::Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(took) = span.extensions().get::<Began>().map(|began| began.0.elapsed().as_secs_f64()) else { return };
        let mut seconds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *seconds.entry(span.name()).or_default() += took;
    }
}
