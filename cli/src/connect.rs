//! Finding the operator function, and who asks it.

use aws::{Clients, Person};

use crate::{
    args::Args,
    call::{Failure, Operator},
};

/// The operator function of the Holdfast that was named, as the person whose credentials are at hand.
pub(crate) async fn connect(args: &Args) -> Result<Operator, Failure> {
    let url = args.url.trim();
    if url.is_empty() {
        let message = "which Holdfast? Set HOLDFAST_OPERATOR_URL, or --url, to the stack's output OperatorUrl";
        return Err(Failure::Usage(message.to_owned()));
    }
    if !url.starts_with("https://") && !url.starts_with("http://") {
        let message = format!("`{url}` is no URL: expected the stack's output OperatorUrl, which begins with https://");
        return Err(Failure::Usage(message));
    }
    let person = Person { profile: args.profile.as_deref(), region: args.region.as_deref() };
    Ok(Operator::new(Clients::load_for(person).await.signed_http(url)))
}
