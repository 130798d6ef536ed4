//! What people write who know other programs, or copy from the wrong place.

use super::{check, said_after, said_of};
use crate::config::tests::{MINIMAL, parse_with};

#[test]
fn habits_from_other_formats_are_reported_with_the_remedy() {
    check(&[
        (
            said_after("profile = \"chirpstack-v4\"", "profile: chirpstack-v4  # ours"),
            r##"
tidegate.toml:7:8: a colon in the place of the equals sign
 7 | profile: chirpstack-v4  # ours
   |        ^
   → write profile = "chirpstack-v4""##,
        ),
        (
            said_after("profile = \"chirpstack-v4\"", "// of the roof\nprofile = \"chirpstack-v4\" // and the hall"),
            r##"
tidegate.toml:7:1: a comment that starts with //
 7 | // of the roof
   | ^^
   → a comment starts with #: write # of the roof
tidegate.toml:8:27: a comment that starts with //
 8 | profile = "chirpstack-v4" // and the hall
   |                           ^
   → a comment starts with #: write # in the place of //"##,
        ),
        (
            said_of("[mqtt]\npassword: hunter2\n// password is hunter2\n"),
            r##"
tidegate.toml:2:9: a colon in the place of the equals sign
 2 |  …
   |  ^
   → write password = "…"
tidegate.toml:3:4: a comment that starts with //
 3 |  …
   |  ^
   → a comment starts with #: write #…"##,
        ),
    ]);
}

#[test]
fn a_url_from_the_wrong_place_suggests_the_right_one() {
    let url = "https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo";
    let link = "https://eu-west-1.console.aws.amazon.com/sqs/v3/home?region=eu-west-1#/queues/https%3A%2F%2Fsqs.eu-west-1.amazonaws.com%2F123456789012%2Fsite.fifo";
    check(&[
        (
            said_after(url, link),
            r##"
tidegate.toml:3:7: queues.main.url: this is a link to the AWS console, not the queue's URL; did you mean https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo?
 3 | url = "https://eu-west-1.console.aws.amazon.com/sqs/v3/home?region=eu-west-1#/queues/https%3A%2F%2Fsqs.eu-west-1.amazonaws.com%2F123456789012%2Fsite.fifo"
   |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^"##,
        ),
        (
            said_after(url, "https://sqs.eu-west1.amazonaws.com/123456789012/site.fifo"),
            r##"
tidegate.toml:3:7: queues.main.url: sqs.eu-west1.amazonaws.com is no host of SQS; did you mean https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo?
 3 | url = "https://sqs.eu-west1.amazonaws.com/123456789012/site.fifo"
   |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^"##,
        ),
    ]);
}

#[test]
fn an_ambiguous_profile_name_lists_what_each_profile_reads() {
    let said = said_after("\"chirpstack-v4\"", "\"chirpstack\"");
    for part in
        ["\"chirpstack-v4\" (ChirpStack 4", "\"chirpstack-v3\" (ChirpStack 3", "\"chirpstack-gateway\" (", "\"auto\""]
    {
        assert!(said.rsplit("→").next().is_some_and(|last| last.contains(part)), "{said}");
    }
    for (name, meant) in [("TTN", "tts-v3"), ("z2m", "zigbee2mqtt"), ("sparkplug", "sparkplug-b"), ("JSON", "generic")]
    {
        let said = said_after("\"chirpstack-v4\"", &format!("\"{name}\""));
        assert!(said.contains(&format!("→ did you mean \"{meant}\" (")), "{said}");
    }
}

#[test]
fn a_secret_in_a_variable_suggests_its_file_variable() {
    let variables = [
        ("TIDEGATE_MQTT_PASSWORD", "hunter2"),
        ("TIDEGATE_QUEUES_MAIN_SECRET_KEY", "hunter2"),
        ("TIDEGATE_MQTT_USER", "me"),
    ];
    check(&[(
        parse_with(MINIMAL, &variables).expect_err("mistakes"),
        r##"
environment variable TIDEGATE_MQTT_PASSWORD: names no key
   → put the password into a file and name it in TIDEGATE_MQTT_PASSWORD_FILE
environment variable TIDEGATE_MQTT_USER: names no key
   → did you mean TIDEGATE_MQTT_USERNAME?
environment variable TIDEGATE_QUEUES_MAIN_SECRET_KEY: names no key
   → keys do not stand here: name the IAM console's .csv with credentials_file"##,
    )]);
}
