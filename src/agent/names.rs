//! The names in use: read from a configuration and put into it; and once the journal is open and ours, settled, said where they
//! changed, and kept.

use crate::agent::forget_command::{forget_command, forget_command_at};
use crate::config::{Config, host_name};
use crate::journal::OpenReport;
use crate::mqtt::names::{self, Copy, Kept, Names, News, choose};
use crate::record::JournalId;
use std::path::Path;

/// Those of a configuration.
pub(super) fn of(config: &Config) -> Names {
    let (gateway_id, site) = (config.gateway.id.clone(), config.gateway.site.clone());
    Names { gateway_id, site, client_id: config.mqtt.client_id.clone() }
}

/// The configuration with these names.
pub(super) fn put_into(mut config: Config, names: Names) -> Config {
    (config.gateway.id, config.gateway.site) = (names.gateway_id, names.site);
    config.mqtt.client_id = names.client_id;
    config
}

/// The configuration with the names that its journal keeps. Blocks for a small read.
pub(crate) fn resolved(config: Config) -> Config {
    let kept = names::kept(&config.journal.path, &config.mqtt.url);
    let names = choose(&config.given, &host_name(), kept.as_ref());
    put_into(config, names)
}

/// The configuration with the names in use, and what a person has to decide about them. `file` is where the
/// configuration came from. Blocks on the disk.
pub(super) fn settle(config: Config, report: &OpenReport, journal: JournalId, file: &Path) -> (Config, Option<String>) {
    let (folder, url, given) = (&config.journal.path, &config.mqtt.url, &config.given);
    let kept = names::kept(folder, url);
    let host = host_name();
    // Read again: the folder may have been mounted only while the journal was waited for.
    let mut names = kept.as_ref().map_or_else(|| of(&config), |kept| choose(given, &host, Some(kept)));
    if let Some(kept) = &kept {
        let news = names::news(given, &host, kept, &names, url);
        news.iter().for_each(|news| say(news, &names, url, &host, file));
    }
    let mut copy_of = kept.as_ref().and_then(|kept| kept.copy_of.clone()).filter(|_| given.client_id.is_none());
    let mut remark = None;
    // A journal whose state was lost is not a copy, whatever its id is.
    let copied = report.new_id && !report.made && !report.state_lost;
    match copied.then(|| names::of_copy(given, kept.as_ref(), &names, &config.mqtt.address, journal)).flatten() {
        Some(Copy::Own { client_id, of }) => (names.client_id, copy_of) = (client_id, Some(of)),
        Some(Copy::Given { proposed }) => {
            remark = Some(format!(
                "this journal was copied from another gateway, and both may use the client id {} at {url}. If this one replaces the other, nothing has to be done, and a restart ends this: sudo systemctl restart tidegate. If both go on, each throws the other out: set mqtt.client_id here, such as \"{proposed}\"",
                names.client_id
            ));
        }
        None => {}
    }
    if let Some(of) = &copy_of {
        remark = Some(of_own_name(&names, of, url, file));
    }
    if let (true, Some(remark)) = (copied, &remark) {
        tracing::error!("{remark}");
    }
    let (client_id, gateway_id) = (names.client_id.clone(), Some(names.gateway_id.clone()));
    let now = Kept { url: url.clone(), client_id, gateway_id, copy_of, seeded: false };
    if kept.as_ref() != Some(&now)
        && let Err(error) = names::keep(folder, &now)
    {
        tracing::error!(error, "the names in use are not kept: until they are, set gateway.id and mqtt.client_id");
    }
    (put_into(config, names), remark)
}

fn of_own_name(names: &Names, of: &str, url: &str, file: &Path) -> String {
    let Names { client_id, gateway_id, .. } = names;
    format!(
        "this journal was copied from another gateway: this agent now uses the client id {client_id} at {url}, and leaves {of} to the other one. If both go on, set mqtt.client_id = \"{client_id}\" (and gateway.id, which is {gateway_id}); if this one replaces it, set mqtt.client_id = \"{of}\", reload, and run: {} (what came since this start comes once more then, and without a mark where the sensor gives its messages no id)",
        forget_command(client_id, file)
    )
}

fn say(news: &News, names: &Names, url: &str, host: &str, file: &Path) {
    let Names { gateway_id, client_id, .. } = names;
    match news {
        News::Host => tracing::info!(
            host,
            gateway_id,
            client_id,
            "the host is called otherwise, and gateway.id is not set: the names in use stay; set gateway.id to change it"
        ),
        News::Gateway { was } => tracing::warn!(
            was,
            gateway_id,
            client_id,
            "records carry another gateway id from now on; the session at the broker stays"
        ),
        News::Session { url: None, client_id: was } => tracing::warn!(
            broker = url,
            was,
            client_id,
            "the broker keeps the session of before, and keeps filling it; end it: {}",
            forget_command(was, file)
        ),
        News::Session { url: Some(old), client_id: was } if was == client_id => tracing::warn!(
            was = old,
            broker = url,
            client_id,
            "the broker of before keeps our session, and keeps filling it; end it, with this agent stopped: {}",
            forget_command_at(old, was, file)
        ),
        News::Session { url: Some(old), client_id: was } => tracing::warn!(
            was_broker = old,
            was,
            broker = url,
            client_id,
            "the broker of before keeps the session of before, and keeps filling it; end it: {}",
            forget_command_at(old, was, file)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: JournalId = JournalId(0x0123_4567_89ab_cdef);

    /// A start on `folder`, with these lines in `[mqtt]`: the client id, and the remark.
    fn start(folder: &Path, mqtt: &str, copied: bool) -> (String, Option<String>) {
        let text = format!(
            "[gateway]\nid = \"roof\"\n[mqtt]\n{mqtt}\n[journal]\npath = \"{}\"\n[queues.main]\ncredentials = \"aws-chain\"\n\
             url = \"https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo\"\n\
             [[routes]]\nprofile = \"rak\"\nqueue = \"main\"\n",
            folder.display()
        );
        let config = Config::parse(&text, "tidegate.toml".as_ref(), &Default::default()).expect("a configuration");
        let report = OpenReport { new_id: copied, ..OpenReport::default() };
        let (config, remark) = settle(config, &report, ID, "/etc/tidegate/tidegate.toml".as_ref());
        (config.mqtt.client_id, remark)
    }

    #[test]
    fn a_copy_keeps_its_own_id_until_a_person_decides() {
        let folder = tempfile::tempdir().expect("folder");
        let remote = "url = \"mqtt://broker.lan\"";
        assert_eq!(start(folder.path(), remote, false), ("tidegate-roof".into(), None));
        let (own, remark) = start(folder.path(), remote, true);
        assert_eq!(own, "tidegate-roof-01234567");
        let command = "tidegate forget-session --client-id tidegate-roof-01234567";
        let run = format!("reload, and run: {command} (what came since this start comes once more then");
        assert!(remark.as_ref().is_some_and(|remark| remark.contains(&run)), "{remark:?}");
        assert_eq!(start(folder.path(), remote, false), (own.clone(), remark), "over restarts");
        for decided in [&*own, "tidegate-roof"] {
            let given = format!("{remote}\nclient_id = \"{decided}\"");
            assert_eq!(start(folder.path(), &given, false), (decided.into(), None));
        }
        assert_eq!(start(folder.path(), remote, false), ("tidegate-roof".into(), None));
    }

    #[test]
    fn copies_keep_local_or_given_ids_and_report_only_given() {
        let folder = tempfile::tempdir().expect("folder");
        assert_eq!(start(folder.path(), "", true), ("tidegate-roof".into(), None));
        let (given, remark) = start(folder.path(), "url = \"mqtt://broker.lan\"\nclient_id = \"mine\"", true);
        let remark = remark.expect("something to decide");
        assert!(given == "mine" && remark.contains("mine-01234567"), "{remark}");
        assert!(remark.contains("a restart ends this: sudo systemctl restart tidegate"), "{remark}");
        assert_eq!(start(folder.path(), "url = \"mqtt://broker.lan\"\nclient_id = \"mine\"", false).1, None, "it does");
    }
}
