//! Values in the file and in the environment, and settings of one section that contradict each other.

use super::{check, said_after, said_of};
use crate::config::tests::{MINIMAL, parse_with};

#[test]
fn mistakes_in_values_are_told_with_place_and_remedy() {
    check(&[
        (
            said_of(
                "[mqtt]\nurl = \"127.0.0.1:1883\"\nkeep_alive = 30\nmax_payload_bytes = \"1 MiB\"\nclient_id = 7\n",
            ),
            r##"
tidegate.toml:2:7: mqtt.url: found "127.0.0.1:1883"; expected "mqtt://host:1883", "mqtts://host:8883" for TLS, or "unix:///path"
 2 | url = "127.0.0.1:1883"
   |       ^^^^^^^^^^^^^^^^
   → did you mean "mqtt://127.0.0.1:1883"?
tidegate.toml:3:14: mqtt.keep_alive: found 30; expected a time with its unit, such as "30 s", "500 ms" or "5 min"
 3 | keep_alive = 30
   |              ^^
   → did you mean "30 s"?
tidegate.toml:4:21: mqtt.max_payload_bytes: found "1 MiB"; expected 1 KiB to 700 KiB
 4 | max_payload_bytes = "1 MiB"
   |                     ^^^^^^^
tidegate.toml:5:13: mqtt.client_id: found 7; expected text in quotes
 5 | client_id = 7
   |             ^
   → did you mean "7"?"##,
        ),
        (
            said_of("[mqtt]\nurl = \"mqtt://me:hunter2@broker\"\n"),
            r##"
tidegate.toml:2:7: mqtt.url: the URL holds a user name or a password
 2 | url = …
   |       ^
   → set mqtt.username and mqtt.password_file instead"##,
        ),
        (
            said_of("[mqtt]\nurl = \"ws://broker:9001\"\n"),
            r##"
tidegate.toml:2:7: mqtt.url: found "ws://broker:9001"; expected "mqtt://host:1883", "mqtts://host:8883" for TLS, or "unix:///path"
 2 | url = "ws://broker:9001"
   |       ^^^^^^^^^^^^^^^^^^
   → websockets are not supported: use the broker's plain or TLS port"##,
        ),
        (
            said_of("[journal]\nmax_bytes = \"512 MB\"\non_full = \"drop_oldest\"\nlinger = \"2 s\"\n"),
            r##"
tidegate.toml:2:13: journal.max_bytes: found "512 MB"; expected a size such as "512 MiB" or "64 KiB", or a number of bytes
 2 | max_bytes = "512 MB"
   |             ^^^^^^^^
   → did you mean "512 MiB"?
tidegate.toml:3:11: journal.on_full: found "drop_oldest"; expected "drop-oldest" or "stop"
 3 | on_full = "drop_oldest"
   |           ^^^^^^^^^^^^^
   → did you mean "drop-oldest"?
tidegate.toml:4:10: journal.linger: found "2 s"; expected 0 s to 1 s
 4 | linger = "2 s"
   |          ^^^^^"##,
        ),
        (
            said_of("[journal]\nmax_bytes = 1048576\npath = \"~/journal\"\n"),
            r##"
tidegate.toml:2:13: journal.max_bytes: found 1048576; expected 16 MiB to 1024 GiB
 2 | max_bytes = 1048576
   |             ^^^^^^^
tidegate.toml:3:8: journal.path: found "~/journal"; expected a path; "~" has no meaning here
 3 | path = "~/journal"
   |        ^^^^^^^^^^^
   → write the whole path"##,
        ),
        (
            said_after("\"credentials.csv\"", "\"$HOME/credentials.csv\""),
            r##"
tidegate.toml:4:20: queues.main.credentials_file: found "$HOME/credentials.csv"; expected a path; $CREDENTIALS_DIRECTORY is the only variable known here
 4 | credentials_file = "$HOME/credentials.csv"
   |                    ^^^^^^^^^^^^^^^^^^^^^^^
   → $CREDENTIALS_DIRECTORY/credentials.csv"##,
        ),
        (
            said_of("[gateway]\nid = \"HQ Tower Roof\"\nsite = \"\"\n"),
            r##"
tidegate.toml:2:6: gateway.id: found "HQ Tower Roof"; expected 1 to 64 letters, digits, ".", "_" or "-"
 2 | id = "HQ Tower Roof"
   |      ^^^^^^^^^^^^^^^
   → did you mean "hq-tower-roof"?
tidegate.toml:3:8: gateway.site: found ""; expected a text that is not empty
 3 | site = ""
   |        ^^"##,
        ),
        (
            said_of("[status]\nlisten = \"0.0.0.0:8377\"\n"),
            r##"
tidegate.toml:2:10: status.listen: found "0.0.0.0:8377"; expected a loopback address, or status.token_file beside it: others can reach this one
 2 | listen = "0.0.0.0:8377"
   |          ^^^^^^^^^^^^^^
   → did you mean "127.0.0.1:8377"?"##,
        ),
        (
            said_of("[status]\nlisten = 8377\n"),
            r##"
tidegate.toml:2:10: status.listen: found 8377; expected an address and a port such as "127.0.0.1:8377", or "" to switch the page off
 2 | listen = 8377
   |          ^^^^
   → did you mean "127.0.0.1:8377"?"##,
        ),
        (
            said_of("[records]\ntype_prefix = \"com.example.\"\n"),
            r##"
tidegate.toml:2:15: records.type_prefix: found "com.example."; expected words of letters, digits and "-" with dots between, such as "com.example"
 2 | type_prefix = "com.example."
   |               ^^^^^^^^^^^^^^"##,
        ),
        (
            said_after("queue = \"main\"", "queue = \"main\"\ngroup = \"sensor\""),
            r##"
tidegate.toml:9:9: route 1: group: found "sensor"; expected "device", "topic", "gateway" or "application"
 9 | group = "sensor"
   |         ^^^^^^^^"##,
        ),
        (
            said_after(
                "url = \"https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo\"",
                "url = \"https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo\"\nmax_in_flight = 64\nbody = \"raw \"\nallow_plain_http = \"yes\"\nbatch_bytes = \"2 MiB\"",
            ),
            r##"
tidegate.toml:4:17: queues.main.max_in_flight: found 64; expected a number from 1 to 32
 4 | max_in_flight = 64
   |                 ^^
tidegate.toml:5:8: queues.main.body: found "raw "; expected a text without spaces at its ends
 5 | body = "raw "
   |        ^^^^^^
   → did you mean "raw"?
tidegate.toml:6:20: queues.main.allow_plain_http: found "yes"; expected true or false, without quotes
 6 | allow_plain_http = "yes"
   |                    ^^^^^
tidegate.toml:7:15: queues.main.batch_bytes: found "2 MiB"; expected 1 KiB to 1023 KiB
 7 | batch_bytes = "2 MiB"
   |               ^^^^^^^"##,
        ),
    ]);
}

#[test]
fn contradicting_broker_settings_are_told_with_place_and_remedy() {
    check(&[
        (
            said_of("[mqtt]\nurl = \"mqtts://broker\"\nclient_cert_file = \"client.pem\"\npassword_file = \"pw\"\n"),
            r##"
tidegate.toml:3:20: mqtt.client_cert_file: is set without client_key_file
 3 | client_cert_file = "client.pem"
   |                    ^^^^^^^^^^^^
   → set mqtt.client_key_file too, or neither
tidegate.toml:4:17: mqtt.password_file: a password without a user name
 4 | password_file = "pw"
   |                 ^^^^
   → set mqtt.username too"##,
        ),
        (
            said_of("[mqtt]\nca_file = \"ca.pem\"\n"),
            r##"
tidegate.toml:2:11: mqtt.ca_file: has no effect: the broker's url is not mqtts://
 2 | ca_file = "ca.pem"
   |           ^^^^^^^^
   → set mqtt.url to "mqtts://host:8883""##,
        ),
        (
            said_of(
                "[mqtt]\nurl = \"mqtts://b\"\ncert_pin = \"sha256 Fingerprint=C4:B3:84:E3:C0:21:43:7B:DD:03:AE:27:41:29:13:43:4D:8A:37:22:44:73:04:AA:80:95:FB:B4:0E:A8:79:A5\"\n",
            ),
            r##"
tidegate.toml:3:12: mqtt.cert_pin: found "sha256 Fingerprint=C4:B3:84:E3:C0:21:43:7B:DD:03:AE:27:41:29:13:43:4D:8A:37:22:44:73:04:AA:80:95:FB:B4:0E:A8:79:A5"; expected "sha256:" and 64 hexadecimal digits, as openssl x509 -in CERTIFICATE -noout -fingerprint -sha256 prints them
 3 | cert_pin = "sha256 Fingerprint=C4:B3:84:E3:C0:21:43:7B:DD:03:AE:27:41:29:13:43:4D:8A:37:22:44:73:04:AA:80:95:FB:B4:0E:A8:79:A5"
   |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   → did you mean "sha256:c4b384e3c021437bdd03ae27412913434d8a3722447304aa8095fbb40ea879a5"?"##,
        ),
        (
            said_of("[mqtt]\ncert_pin = \"sha256:c4b384e3c021437bdd03ae27412913434d8a3722447304aa8095fbb40ea879a5\"\n"),
            r##"
tidegate.toml:2:12: mqtt.cert_pin: has no effect: the broker's url is not mqtts://
 2 | cert_pin = "sha256:c4b384e3c021437bdd03ae27412913434d8a3722447304aa8095fbb40ea879a5"
   |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   → set mqtt.url to "mqtts://host:8883""##,
        ),
        (
            said_of("[mqtt]\nmax_unacked_bytes = \"128 KiB\"\n"),
            r##"
tidegate.toml:2:21: mqtt.max_unacked_bytes: 128 KiB is less than one payload may have; expected at least max_payload_bytes, 700 KiB
 2 | max_unacked_bytes = "128 KiB"
   |                     ^^^^^^^^^"##,
        ),
    ]);
}

#[test]
fn mistakes_in_variables_name_the_variable() {
    let variables = [
        ("TIDEGATE_JOURNAL_MAX_BYTE", "128 MiB"),
        ("TIDEGATE_MQTT_KEEP_ALIVE", "30"),
        ("TIDEGATE_QUEUES_AUDIT_ENDPOINT", "http://127.0.0.1"),
    ];
    check(&[(
        parse_with(MINIMAL, &variables).expect_err("mistakes"),
        r##"
environment variable TIDEGATE_MQTT_KEEP_ALIVE: mqtt.keep_alive: found "30"; expected a time with its unit, such as "30 s", "500 ms" or "5 min"
   → did you mean "30 s"?
environment variable TIDEGATE_JOURNAL_MAX_BYTE: names no key
   → did you mean TIDEGATE_JOURNAL_MAX_BYTES?
environment variable TIDEGATE_QUEUES_AUDIT_ENDPOINT: names no key
   → only queues of the file have variables: add [queues.NAME] there"##,
    )]);
}
