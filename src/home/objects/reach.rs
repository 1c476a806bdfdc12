//! Clients of buckets, with what the environment says of credentials: keys, else the identity of the pod or of the machine.

use std::str::FromStr;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{BackoffConfig, Error, ObjectStore, Result, RetryConfig};

use super::url::BucketKind;
use super::web::Web;

/// A request is repeated so often, if it may be, and no more after this time.
const RETRIES: usize = 3;
const RETRY: Duration = Duration::from_secs(10);
/// The longest pause between two of them.
const BACKOFF: Duration = Duration::from_secs(2);

/// Where a machine of Azure asks who it is.
const MANAGED_IDENTITY: &str = "IDENTITY_ENDPOINT";

pub(super) fn reach(
    kind: &BucketKind,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Box<dyn ObjectStore>> {
    let web = Web::new().map_err(|error| Error::Generic { store: "HTTP", source: Box::new(error) })?;
    let environment = environment.into_iter().collect();
    Ok(match kind {
        BucketKind::S3 { bucket, region, endpoint, path_style } => {
            let mut s3 =
                of_environment(AmazonS3Builder::new(), environment, "AWS_", AmazonS3Builder::with_config);
            s3 = s3.with_bucket_name(bucket).with_virtual_hosted_style_request(!path_style);
            if let Some(region) = region {
                s3 = s3.with_region(region);
            }
            // What the address says goes before what the environment does, whichever of its two names that has.
            let keys = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint];
            let endpoint = endpoint.clone().or_else(|| keys.iter().find_map(|key| s3.get_config_value(key)));
            if let Some(endpoint) = endpoint {
                let endpoint = if *path_style { endpoint } else { hosted(&endpoint, bucket) };
                s3 = s3.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
            }
            Box::new(s3.with_retry(retry()).with_http_connector(web).build()?)
        }
        BucketKind::Gcs { bucket } => {
            let with: fn(_, GoogleConfigKey, String) -> _ = GoogleCloudStorageBuilder::with_config;
            let gcs = of_environment(GoogleCloudStorageBuilder::new(), environment, "GOOGLE_", with);
            Box::new(gcs.with_bucket_name(bucket).with_retry(retry()).with_http_connector(web).build()?)
        }
        BucketKind::Azure { account, container, endpoint } => {
            let identity = environment.iter().find(|(name, _)| name == MANAGED_IDENTITY).cloned();
            let with: fn(_, AzureConfigKey, String) -> _ = MicrosoftAzureBuilder::with_config;
            let mut azure = of_environment(MicrosoftAzureBuilder::new(), environment, "AZURE_", with);
            azure = azure.with_account(account).with_container_name(container);
            if let Some((_, identity)) = identity {
                azure = azure.with_msi_endpoint(identity);
            }
            if let Some(endpoint) = endpoint {
                azure = azure.with_endpoint(endpoint.clone());
            }
            Box::new(azure.with_retry(retry()).with_http_connector(web).build()?)
        }
    })
}

fn retry() -> RetryConfig {
    let backoff = BackoffConfig { max_backoff: BACKOFF, ..BackoffConfig::default() };
    RetryConfig { backoff, max_retries: RETRIES, retry_timeout: RETRY }
}

/// Variables that begin so, and that the library knows.
fn of_environment<B, K: FromStr>(
    builder: B,
    environment: Vec<(String, String)>,
    begin: &str,
    with: impl Fn(B, K, String) -> B,
) -> B {
    let named = environment.into_iter().filter(|(name, _)| name.starts_with(begin));
    let known = named.filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value)));
    known.fold(builder, |builder, (key, value)| with(builder, key, value))
}

/// The bucket as a part of the host's name.
fn hosted(endpoint: &str, bucket: &str) -> String {
    match endpoint.split_once("://") {
        Some((scheme, host)) => format!("{scheme}://{bucket}.{host}"),
        None => endpoint.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_a_part_of_the_host_unless_it_is_to_be_in_the_path() {
        assert_eq!(hosted("https://s3.example.com:9000", "b"), "https://b.s3.example.com:9000");
    }
}
