//! A person's configuration: what the AWS CLI would use, given the same flags, variables and files.

use aws_config::{Region, profile::ProfileFileCredentialsProvider, provider_config::ProviderConfig};
use aws_credential_types::provider::SharedCredentialsProvider;

use crate::Clients;

/// What a person said on the command line. What is left out comes from the environment, then from AWS's config files.
#[derive(Debug, Clone, Copy, Default)]
pub struct Person<'a> {
    /// The profile. Once named, it alone gives the credentials, whatever the environment has.
    pub profile: Option<&'a str>,
    /// The region.
    pub region: Option<&'a str>,
}

impl Clients {
    /// Reads AWS's environment variables and profile as the AWS CLI does. Makes no call.
    pub async fn load_for(person: Person<'_>) -> Self {
        let mut loader = Self::loader();
        if let Some(profile) = person.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = person.region {
            loader = loader.region(Region::new(region.to_owned()));
        }
        let mut config = Box::pin(loader.load()).await;
        if let Some(profile) = person.profile {
            // The SDK's own chain would look into the environment first.
            let around = ProviderConfig::default().with_region(config.region().cloned());
            let named = ProfileFileCredentialsProvider::builder().configure(&around).profile_name(profile).build();
            config = config.into_builder().credentials_provider(SharedCredentialsProvider::new(named)).build();
        }
        Self::of(config)
    }
}

/// What a person can do about credentials that could not be had.
pub(crate) fn remedy(said: &str) -> &'static str {
    let says = |texts: &[&str]| texts.iter().any(|text| said.contains(text));
    if says(&["SSO token", "SSO OIDC", "UnauthorizedException", "Session token not found or invalid"]) {
        "log in again with `aws sso login`, naming the same --profile"
    } else if says(&["was not defined", "sso-session named"]) {
        "there is no such profile in AWS's config files; `aws configure list-profiles` shows which there are"
    } else if says(&["did not contain credential information", "missing credential source"]) {
        "the profile says nowhere where its credentials come from; `aws configure list --profile …` shows what it has"
    } else if says(&["ExpiredToken", "expired"]) {
        "the session is over; get new credentials as you got these"
    } else {
        "pass --profile, or set AWS_PROFILE or AWS_ACCESS_KEY_ID; `aws sts get-caller-identity` must work too"
    }
}

/// The region that a Function URL's host name says it is in.
pub(crate) fn region_in(url: &str) -> Option<&str> {
    let host = url.split_once("://")?.1.split(['/', ':', '?']).next()?;
    let (_, region) = host.strip_suffix(".on.aws")?.split_once(".lambda-url.")?;
    let is_region = !region.is_empty() && region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    is_region.then_some(region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_url_says_its_region_and_any_other_does_not() {
        for (url, region) in [
            ("https://abc.lambda-url.eu-west-3.on.aws/", Some("eu-west-3")),
            ("https://abc.lambda-url.us-gov-east-1.on.aws", Some("us-gov-east-1")),
            ("https://abc.lambda-url.eu-west-3.on.aws.evil.example/", None),
            ("https://abc.lambda-url.EU.on.aws/", None),
            ("http://127.0.0.1:4566/url", None),
            ("abc.lambda-url.eu-west-3.on.aws", None),
        ] {
            assert_eq!(region_in(url), region, "{url}");
        }
    }
}
