//! The queue: its URL, and what the URL does not tell.

use crate::cli::init::InitOptions;
use crate::cli::init::answers::Answers;
use crate::cli::init::file::{self, QueueKeys};
use crate::cli::new_file;
use crate::config::queue_url::{QueueUrl, is_loopback_host, may_be_region};
use std::path::Path;

const CREDENTIALS: &str = "/etc/tidegate/credentials.csv";

/// Asks for the queue, for region and endpoint only where its URL does not tell them, and for the place of the key.
///
/// # Errors
/// There is no answer, or none that fits.
pub(super) fn queue(file: &Path, options: &InitOptions, answers: &mut Answers) -> Result<QueueKeys, String> {
    let question = "The queue's URL, as the SQS console shows it?";
    let url = match &options.queue {
        Some(url) => QueueUrl::parse(url)?,
        None => answers.until(question, "", "--queue", QueueUrl::parse)?,
    };
    let (mut region, mut endpoint) = (options.region.clone(), options.endpoint.clone());
    if url.region.is_none() {
        if region.is_none() {
            let question = format!("{} does not tell the region. Which is it, such as eu-west-1?", url.host);
            region = Some(answers.until(&question, "", "--region", read_region)?);
        }
        let own = url.endpoint().unwrap_or_default();
        if endpoint.is_none() {
            let answer = answers.ask(&format!("The service's address? [{own}]"), &own)?;
            endpoint = (answer.trim_end_matches('/') != own).then_some(answer);
        }
    }
    let talks_to = endpoint.clone().or_else(|| url.endpoint());
    let allow_plain_http = match talks_to.as_deref().and_then(exposed) {
        None => false,
        Some(_) if options.allow_plain_http => true,
        Some(host) => {
            let question =
                format!("{host} has no TLS: every record travels readable over the network. Send nevertheless?");
            if !answers.agrees(&question, false)? {
                return Err(format!("{host} has no TLS; use https://, or say --allow-plain-http; nothing was written"));
            }
            true
        }
    };
    let credentials_file = match &options.credentials {
        Some(path) => a_file(file, &file::of_flag(path).display().to_string())?,
        None => {
            let question = format!("Where will the access key's .csv be? [{CREDENTIALS}]");
            answers.until(&question, CREDENTIALS, "--credentials", |place| a_file(file, place))?
        }
    };
    Ok(QueueKeys { url: url.text, region, endpoint, allow_plain_http, credentials_file })
}

/// The place of a file, where no folder is; a relative one counts from the folder of `config`.
fn a_file(config: &Path, place: &str) -> Result<String, String> {
    match new_file::folder(config).join(place).is_dir() {
        true => Err(format!("{place} is a folder; name the file, such as {CREDENTIALS}")),
        false => Ok(place.to_owned()),
    }
}

/// The host of an endpoint without TLS on another machine.
fn exposed(endpoint: &str) -> Option<String> {
    let uri = endpoint.parse::<http::Uri>().ok()?;
    let host = uri.host().filter(|host| uri.scheme_str() == Some("http") && !is_loopback_host(host))?;
    Some(host.trim_matches(['[', ']']).to_owned())
}

fn read_region(text: &str) -> Result<String, String> {
    if may_be_region(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("\"{text}\" is no region; expected one such as eu-west-1"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_no_place_for_the_key() {
        let config = Path::new("/usr/tidegate.toml");
        for folder in ["/", "lib"] {
            assert!(a_file(config, folder).is_err_and(|why| why.contains("is a folder")), "{folder}");
        }
        for file in [CREDENTIALS, "src-of-nothing", "$CREDENTIALS_DIRECTORY/credentials.csv"] {
            assert_eq!(a_file(config, file).as_deref(), Ok(file));
        }
    }

    #[test]
    fn only_plain_http_to_another_machine_is_exposed() {
        assert_eq!(exposed("http://10.0.0.5:9324/").as_deref(), Some("10.0.0.5"));
        assert_eq!(exposed("http://[2001:db8::1]:80").as_deref(), Some("2001:db8::1"));
        for safe in ["https://10.0.0.5", "http://127.0.0.1:5000", "http://[::1]:1", "http://localhost"] {
            assert_eq!(exposed(safe).as_deref(), None, "{safe}");
        }
        assert!(read_region("eu-west-1").is_ok() && read_region("").is_err() && read_region("EU_WEST").is_err());
    }
}
