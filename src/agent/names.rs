//! The names of a run, once the journal is open and ours: settled, said where they changed, and kept.

use crate::config::{Config, host_name};
use crate::journal::OpenReport;
use crate::mqtt::names::{self, Copy, Kept, Names, News, choose, forget_command, forget_command_at};
use crate::record::JournalId;
use std::path::Path;

/// The configuration with the names in use, and what a person has to decide about them. `file` is where the
/// configuration came from. Blocks on the disk.
pub(super) fn settle(config: Config, report: &OpenReport, journal: JournalId, file: &Path) -> (Config, Option<String>) {
    let (folder, url, given) = (&config.journal.path, &config.mqtt.url, &config.given);
    let kept = names::kept(folder, url);
    let host = host_name();
    // Read again: the folder may have been mounted only while the journal was waited for.
    let mut names = kept.as_ref().map_or_else(|| Names::of(&config), |kept| choose(given, &host, Some(kept)));
    if let Some(kept) = &kept {
        let news = names::news(given, &host, kept, &names, url);
        news.iter().for_each(|news| say(news, &names, url, &host, file));
    }
    let mut copy_of = kept.as_ref().and_then(|kept| kept.copy_of.clone()).filter(|_| given.client_id.is_none());
    let mut remark = None;
    // A journal whose state was lost is no copy, whatever its id is.
    let copied = report.new_id && !report.made && !report.state_lost;
    match copied.then(|| names::of_copy(given, kept.as_ref(), &names, &config.mqtt.address, journal)).flatten() {
        Some(Copy::Own { client_id, of }) => (names.client_id, copy_of) = (client_id, Some(of)),
        Some(Copy::Given { proposed }) => {
            remark = Some(format!(
                "this journal was copied from another gateway, and both may use the client id {} at {url}: then each throws the other out; if both go on, set mqtt.client_id here, such as \"{proposed}\"",
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
    (names.put_into(config), remark)
}

fn of_own_name(names: &Names, of: &str, url: &str, file: &Path) -> String {
    let Names { client_id, gateway_id, .. } = names;
    format!(
        "this journal was copied from another gateway: this agent now uses the client id {client_id} at {url}, and leaves {of} to the other one. If both go on, set mqtt.client_id = \"{client_id}\" (and gateway.id, which is {gateway_id}); if this one replaces it, set mqtt.client_id = \"{of}\", reload, and run: {}",
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
        News::Session { url: old, client_id: was } if old == url => tracing::warn!(
            broker = url,
            was,
            client_id,
            "the broker keeps the session of before, and goes on filling it; end it: {}",
            forget_command(was, file)
        ),
        News::Session { url: old, client_id: was } if was == client_id => tracing::warn!(
            was = old,
            broker = url,
            client_id,
            "if that was another broker, it keeps our session, and goes on filling it; end it, with this agent stopped: {}",
            forget_command_at(old, was, file)
        ),
        News::Session { url: old, client_id: was } => tracing::warn!(
            was_broker = old,
            was,
            broker = url,
            client_id,
            "the broker of before keeps the session of before, and goes on filling it; end it: {}",
            forget_command_at(old, was, file)
        ),
    }
}
