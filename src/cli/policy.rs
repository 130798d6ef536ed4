//! `tidegate policy`: the least permissions that the configured queues need, to be pasted into IAM.

use crate::cli::output::{complain, note, say_json};
use crate::cli::{ExitCode, load};
use crate::config::Config;
use serde_json::{Value, json};
use std::path::Path;

/// Prints the policy; `kms_key`: the ARN of a customer's own key that the queues are encrypted with.
pub(super) fn policy(config: &Path, kms_key: Option<&str>) -> ExitCode {
    let config = match load(config) {
        Ok(config) => config,
        Err(code) => return code,
    };
    if let Some(key) = kms_key.filter(|key| !is_key_arn(key)) {
        complain!(
            "{key} is not the ARN of a KMS key; expected arn:aws:kms:REGION:ACCOUNT:key/ID, as the KMS console shows it \
             (an alias will not do: policies want the key)"
        );
        return ExitCode::Failed;
    }
    say_json(&serde_json::to_string_pretty(&document(&config, kms_key)).unwrap_or_default());
    note!("Paste it in the IAM console: the user, Add permissions, Create inline policy, JSON.");
    ExitCode::Done
}

fn is_key_arn(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    matches!(parts[..], ["arn", partition, "kms", region, account, key]
        if partition.starts_with("aws")
            && !region.is_empty()
            && account.len() == 12
            && account.bytes().all(|byte| byte.is_ascii_digit())
            && key.strip_prefix("key/").is_some_and(|id| !id.is_empty()))
}

fn document(config: &Config, kms_key: Option<&str>) -> Value {
    let mut queues: Vec<String> = config.queues.iter().map(|queue| queue.url.arn(&queue.region)).collect();
    queues.sort();
    queues.dedup();
    let one_or_all = |mut arns: Vec<String>| if arns.len() == 1 { json!(arns.remove(0)) } else { json!(arns) };
    let mut statements = vec![json!({
        "Sid": "TidegateSends",
        "Effect": "Allow",
        "Action": ["sqs:SendMessage", "sqs:SendMessageBatch"],
        "Resource": one_or_all(queues),
    })];
    if let Some(key) = kms_key {
        statements.push(json!({
            "Sid": "TidegateEncrypts",
            "Effect": "Allow",
            "Action": ["kms:GenerateDataKey", "kms:Decrypt"],
            "Resource": key,
        }));
    }
    json!({ "Version": "2012-10-17", "Statement": statements })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(urls: &[&str]) -> Config {
        let queues = urls
            .iter()
            .enumerate()
            .map(|(n, url)| format!("[queues.q{n}]\nurl = \"{url}\"\ncredentials_file = \"/c.csv\"\n"));
        let text = format!("{}[[routes]]\nprofile = \"chirpstack-v4\"\nqueue = \"q0\"\n", queues.collect::<String>());
        Config::parse(&text, Path::new("t.toml"), &Default::default()).expect("a configuration")
    }

    #[test]
    fn the_policy_has_two_queue_actions_and_two_for_keys() {
        let one = document(&config(&["https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo"]), None);
        assert_eq!(one["Statement"][0]["Resource"], "arn:aws:sqs:eu-west-1:123456789012:site.fifo");
        assert_eq!(one["Statement"].as_array().map(Vec::len), Some(1));
        let key = "arn:aws-cn:kms:cn-north-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
        let urls = [
            "https://sqs.cn-north-1.amazonaws.com.cn/210987654321/b",
            "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/a.fifo",
        ];
        let two = document(&config(&urls), Some(key));
        let arns = ["arn:aws-cn:sqs:cn-north-1:123456789012:a.fifo", "arn:aws-cn:sqs:cn-north-1:210987654321:b"];
        assert_eq!(two["Statement"][0]["Resource"], json!(arns));
        assert_eq!(two["Statement"][1]["Resource"], key);
        assert_eq!(two["Statement"][1]["Action"], json!(["kms:GenerateDataKey", "kms:Decrypt"]));
    }

    #[test]
    fn only_a_keys_arn_is_taken() {
        assert!(is_key_arn("arn:aws:kms:eu-west-1:123456789012:key/abc"));
        for wrong in
            ["alias/x", "arn:aws:kms:eu-west-1:123456789012:alias/x", "arn:aws:sqs:eu-west-1:123456789012:x", ""]
        {
            assert!(!is_key_arn(wrong), "{wrong}");
        }
    }
}
