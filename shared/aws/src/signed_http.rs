//! Signed requests to the operator's Function URL.
//!
//! The URL demands IAM authentication, so a request carries a SigV4 signature for the service `lambda`. Lambda tells the
//! function who signed; the body never says who is asking. The SDK has no client for this, so its own signer and HTTP
//! client are put together here.

use std::{borrow::Cow, time::Duration};

use aws_config::SdkConfig;
use aws_credential_types::provider::{ProvideCredentials, error::CredentialsError};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector, HttpConnectorSettings},
        identity::Identity,
    },
    http::Request,
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};
use bytes::Bytes;
use serde_json::Value;

use crate::{
    Answer, AwsError, Call,
    error::chain,
    person::{region_in, remedy},
};

/// For connecting to the URL.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For the answer: as long as the operator function may take, and a little more.
const READ_TIMEOUT: Duration = Duration::from_secs(65);
const CONTENT_TYPE: (&str, &str) = ("content-type", "application/json");

/// What the function answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Bytes,
}

/// A client for one Function URL, signing with the caller's own credentials.
#[derive(Debug, Clone)]
pub struct SignedHttp {
    config: SdkConfig,
    base_url: String,
}

impl SignedHttp {
    pub(crate) fn new(config: &SdkConfig, base_url: &str) -> Self {
        Self { config: config.clone(), base_url: base_url.trim_end_matches('/').to_owned() }
    }

    /// The URL that is called.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Posts a JSON document to a path such as `/v1/list`. Needs `lambda:InvokeFunctionUrl` and `lambda:InvokeFunction`.
    ///
    /// Not repeated on failure: a caller cannot tell whether the request was carried out, and asks instead.
    ///
    /// # Errors
    /// If there are no credentials or no answer. An answer that refuses is an answer.
    pub async fn post(&self, path: &str, body: &Value) -> Result<HttpAnswer, AwsError> {
        let url = format!("{}{path}", self.base_url);
        let call = Call::new("lambda:InvokeFunctionUrl", &url);
        let request = match self.signed(&url, body.to_string()).await {
            Ok(request) => request,
            Err(answer) => return Err(AwsError::Denied { call, answer }),
        };
        self.send(request).await.map_err(|answer| AwsError::Unavailable { call, answer })
    }

    async fn signed(&self, url: &str, body: String) -> Result<Request, Answer> {
        let provider =
            self.config.credentials_provider().ok_or_else(|| refused("no credentials; set AWS_PROFILE or AWS_ACCESS_KEY_ID"))?;
        let found = provider.provide_credentials().await.map_err(|error| unsigned(&error))?;
        let identity: Identity = found.into();
        // The URL's own word outweighs what is configured: a signature for another region is refused.
        let configured = self.config.region().map(AsRef::as_ref);
        let region = region_in(&self.base_url).or(configured).ok_or_else(|| {
            refused("no region to sign for, and the URL names none; pass --region, set AWS_REGION, or give the profile one")
        })?;
        let time = self.config.time_source().ok_or_else(|| refused("no clock to sign with"))?.now();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name("lambda")
            .time(time)
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| refused(&chain(&error)))?
            .into();
        let signable = SignableRequest::new("POST", url, [CONTENT_TYPE].into_iter(), SignableBody::Bytes(body.as_bytes()));
        let signed = signable.and_then(|signable| sign(signable, &parameters)).map_err(|error| refused(&chain(&error)))?;

        let mut request = Request::new(SdkBody::from(body.as_str()));
        request.set_method("POST").map_err(|error| refused(&chain(&error)))?;
        request.set_uri(url).map_err(|error| refused(&chain(&error)))?;
        request.headers_mut().insert(CONTENT_TYPE.0, CONTENT_TYPE.1);
        for (name, value) in signed.output().headers() {
            request.headers_mut().insert(Cow::Owned::<str>(name.to_owned()), Cow::Owned::<str>(value.to_owned()));
        }
        Ok(request)
    }

    async fn send(&self, request: Request) -> Result<HttpAnswer, Answer> {
        let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT).build();
        let connector = aws_smithy_http_client::default_connector(&settings, self.config.sleep_impl());
        let connector = connector.ok_or_else(|| refused("this program was built without an HTTPS client"))?;
        let response = connector.call(request).await.map_err(|error| refused(&chain(&error)))?;
        let status = response.status().as_u16();
        let body = ByteStream::new(response.into_body()).collect().await.map_err(|error| refused(&chain(&error)))?;
        Ok(HttpAnswer { status, body: body.into_bytes() })
    }
}

/// Credentials could not be had. The remedy comes first: what the SDK says of it is long.
fn unsigned(error: &CredentialsError) -> Answer {
    let said = chain(error);
    refused(&format!("no credentials to sign the call with: {}; AWS's client says: {said}", remedy(&said)))
}

fn refused(message: &str) -> Answer {
    Answer { code: "NoAnswer".to_owned(), message: message.to_owned(), status: None }
}
