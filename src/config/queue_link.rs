//! What people take for a queue's URL, and the URL that they probably meant. Pure.

use crate::config::nearest;

/// What a queue's URL looks like.
pub(super) const EXPECTED: &str =
    "expected https://sqs.REGION.amazonaws.com/ACCOUNT/QUEUE, as the SQS console shows it";

/// The error for what the browser's address line shows while the console shows a queue: it may hold the URL, percent-encoded.
/// `is_url`: whether a text is a queue's URL.
pub(super) fn from_console(rest: &str, is_url: impl Fn(&str) -> bool) -> Option<String> {
    let (host, link) = rest.split_once('/')?;
    let console = ["console.aws.amazon.com", "console.amazonaws.cn", "console.amazonaws-us-gov.com"];
    if !console.iter().any(|console| host == *console || host.ends_with(&format!(".{console}"))) {
        return None;
    }
    let link = link.replace("%3A", ":").replace("%3a", ":").replace("%2F", "/").replace("%2f", "/");
    let meant = link.rfind("https://").map(|at| link[at..].split(['?', '#', '&']).next().unwrap_or_default());
    let instead = match meant.filter(|meant| is_url(meant)) {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("copy the field \"URL\" of the queue's details there; {EXPECTED}"),
    };
    Some(format!("this is a link to the AWS console, not the queue's URL; {instead}"))
}

/// The host that was probably meant by one of SQS's whose region is none: `eu-west1`, `euwest-1`, `eu_west_1`.
pub(super) fn misspelt_region(host: &str) -> Option<String> {
    let (region, tail) = host.strip_prefix("sqs.")?.split_once(".amazonaws.com")?;
    if is_region(region) || !matches!(tail, "" | ".cn") {
        return None;
    }
    let letters = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
    let wanted = letters(region);
    let known = REGIONS.iter().find(|known| letters(known) == wanted);
    let known = known.copied().or_else(|| nearest(region, REGIONS.iter().copied()));
    Some(format!("sqs.{}.amazonaws.com{tail}", known.unwrap_or("REGION")))
}

/// Regions to guess from; others are taken as they are written.
const REGIONS: &[&str] = &[
    "af-south-1",
    "ap-east-1",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ca-central-1",
    "ca-west-1",
    "cn-north-1",
    "cn-northwest-1",
    "eu-central-1",
    "eu-central-2",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-gov-east-1",
    "us-gov-west-1",
    "us-west-1",
    "us-west-2",
];

/// `eu-west-1`, `us-gov-east-1`: words of letters, then a number.
pub(super) fn is_region(text: &str) -> bool {
    let mut parts: Vec<&str> = text.split('-').collect();
    let number = parts.pop().unwrap_or_default();
    parts.len() >= 2
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
        && parts.iter().all(|word| word.len() >= 2 && word.bytes().all(|b| b.is_ascii_lowercase()))
}

/// The error for an ARN in the URL's place; it holds the URL when the ARN tells it.
pub(super) fn from_arn(text: &str) -> String {
    match text.split(':').collect::<Vec<_>>()[..] {
        ["arn", partition, "sqs", region, account, name] if is_region(region) => {
            let tail = if partition == "aws-cn" { ".cn" } else { "" };
            format!(
                "this is the queue's ARN, not its URL; expected https://sqs.{region}.amazonaws.com{tail}/{account}/{name}"
            )
        }
        _ => format!("this is an ARN, not a queue's URL; {EXPECTED}"),
    }
}
