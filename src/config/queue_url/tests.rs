//! Queue URLs: those of AWS and of others, and what people paste in their place.

use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> QueueUrl {
    QueueUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn the_standard_hosts_tell_region_and_endpoint() {
    let at = |host: &str| {
        let url = parse(&format!("https://{host}/123456789012/site.fifo"));
        (url.region.clone(), url.endpoint())
    };
    let own = |region: &str| (Some(region.to_owned()), None);
    let given = |region: &str, host: &str| (Some(region.to_owned()), Some(format!("https://{host}")));
    assert_eq!(at("sqs.eu-west-1.amazonaws.com"), own("eu-west-1"));
    assert_eq!(at("SQS.EU-West-1.amazonaws.com"), own("eu-west-1"));
    assert_eq!(at("sqs.eu-west-1.amazonaws.com:443"), own("eu-west-1"));
    assert_eq!(at("sqs.us-gov-east-1.amazonaws.com"), own("us-gov-east-1"));
    assert_eq!(at("sqs.cn-north-1.amazonaws.com.cn"), own("cn-north-1"));
    assert_eq!(at("queue.amazonaws.com"), own("us-east-1"));
    assert_eq!(at("eu-west-1.queue.amazonaws.com"), own("eu-west-1"));
    for host in
        ["sqs-fips.us-east-1.amazonaws.com", "sqs.us-east-1.api.aws", "vpce-0a1b-cd.sqs.us-east-1.vpce.amazonaws.com"]
    {
        assert_eq!(at(host), given("us-east-1", host));
    }
}

#[test]
fn any_other_host_becomes_the_endpoint() {
    let url = parse("http://127.0.0.1:5000/000000000000/q");
    assert_eq!((url.region.as_deref(), url.endpoint().as_deref()), (None, Some("http://127.0.0.1:5000")));
    assert!(url.is_loopback() && !url.fifo);
    let six = parse("http://[::1]:5000/000000000000/q.fifo");
    assert_eq!(six.endpoint().as_deref(), Some("http://[::1]:5000"));
    assert!(six.is_loopback() && six.fifo);
    // The port and the scheme of a standard host are meant, not dropped.
    assert_eq!(
        parse("http://sqs.eu-west-1.amazonaws.com/123456789012/q").endpoint().as_deref(),
        Some("http://sqs.eu-west-1.amazonaws.com")
    );
    assert_eq!(parse("https://proxy.example.org/123456789012/q").region, None);
    assert_eq!(parse("https://sqs.attacker.example.org/123456789012/q").region, None);
    assert!(!is_loopback_host("localhost.example.org") && !is_loopback_host("127.0.0.1.example.org"));
}

#[test]
fn a_mistake_is_named_with_what_was_expected() {
    let long = "q".repeat(81);
    for (text, part) in [
        ("", "is empty"),
        ("arn:aws:sqs:eu-west-1:123456789012:site.fifo", "https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo"),
        ("sqs.eu-west-1.amazonaws.com/123456789012/q", "no https://"),
        ("ftp://sqs.eu-west-1.amazonaws.com/123456789012/q", "ftp://"),
        ("https://sqs.eu-west-1.amazonaws.com", "ends after its host"),
        ("https://sqs.eu-west-1.amazonaws.com/123456789012", "no queue name"),
        ("https://sqs.eu-west-1.amazonaws.com/123456789012/", "no queue name"),
        ("https://sqs.eu-west-1.amazonaws.com/123456789012/a/b", "too many parts"),
        ("https://sqs.eu-west-1.amazonaws.com/12345/q", "twelve digits"),
        ("https://sqs.eu-west-1.amazonaws.com/123456789012/q.FIFO", "lower case"),
        ("https://sqs.eu-west-1.amazonaws.com/123456789012/a.b", "'.'"),
        ("https://sqs.eu-west-1.amazonaws.com/123456789012/.fifo", "1 to 80"),
        (&format!("https://sqs.eu-west-1.amazonaws.com/123456789012/{long}"), "81 characters"),
        ("https://sqs.eu-west-1.amazonaws.com/123456789012/q?x=1", "'?'"),
        ("https://sqs.eu-west-1.amazonaws.com/123456789012/q ", "copying"),
        ("https://sqs.eu-west-1.amazonaws.com:0/123456789012/q", "port"),
        ("https://user:key@host/123456789012/q", "before its host"),
        ("https://[::1/123456789012/q", "host name"),
        ("https:///123456789012/q", "host name"),
        (
            "https://eu-west-1.console.aws.amazon.com/sqs/v3/home?region=eu-west-1#/queues/https%3A%2F%2Fsqs.eu-west-1.amazonaws.com%2F123456789012%2Fsite.fifo",
            "a link to the AWS console, not the queue's URL; did you mean https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo?",
        ),
        ("https://console.aws.amazon.com/sqs/v3/home#/queues", "copy the field \"URL\""),
        (
            "https://sqs.eu-west1.amazonaws.com/123456789012/q.fifo",
            "sqs.eu-west1.amazonaws.com is no host of SQS; did you mean https://sqs.eu-west-1.amazonaws.com/123456789012/q.fifo?",
        ),
        ("https://sqs.eu_central_1.amazonaws.com/123456789012/q", "https://sqs.eu-central-1.amazonaws.com/"),
        ("https://sqs.eu-wset1.amazonaws.com/123456789012/q", "https://sqs.eu-west-1.amazonaws.com/"),
        ("https://sqs.cnnorth1.amazonaws.com.cn/123456789012/q", "https://sqs.cn-north-1.amazonaws.com.cn/"),
        ("https://sqs.here.amazonaws.com/123456789012/q", "https://sqs.REGION.amazonaws.com/123456789012/q"),
    ] {
        let error = QueueUrl::parse(text).expect_err(text);
        assert!(error.contains(part), "{text}: {error}");
        assert!(!error.contains("user:key"), "a key must not be repeated: {error}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,60}", url in "https?://[a-z.:\\[\\]@0-9]{0,20}/[0-9]{10,13}/[a-zA-Z.fifo/?_-]{0,90}") {
        let _ = QueueUrl::parse(&text);
        let _ = QueueUrl::parse(&url).map(|url| url.endpoint());
    }

    #[test]
    fn every_legal_queue_is_read_back(name in "[A-Za-z0-9_-]{1,75}", fifo: bool, account in "[0-9]{12}") {
        let name = if fifo { format!("{name}.fifo") } else { name };
        let url = QueueUrl::parse(&format!("https://sqs.eu-west-1.amazonaws.com/{account}/{name}")).unwrap();
        prop_assert_eq!((url.account, url.name, url.fifo), (account, name, fifo));
    }
}
