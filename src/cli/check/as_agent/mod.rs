//! What the agent's user can read and write, tried as that user and judged by its unit: `check` runs as root as a rule,
//! whom nothing stops.

mod access;
mod unit;

use crate::cli::check::Step;
use crate::config::{BrokerAddress, Config, CredentialsSource, DEFAULT_PATH};
use crate::status::findings::Code;
pub(in crate::cli) use access::child;
use access::{Ids, Refusal, Want};
use std::path::{Path, PathBuf};
use unit::Unit;

/// Where systemd puts credentials: for the unit alone, whatever their owner is.
const CREDENTIALS: &str = "/run/credentials";
const STEP: &str = "files for the agent's user";

/// The agent's user by name and number.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Who {
    user: String,
    group: String,
    ids: Ids,
}

/// Something that the agent needs, by the key that names it.
type Need = (String, PathBuf, Want);

pub(super) fn steps(file: &Path, config: &Config) -> Vec<Step> {
    let unit = Unit::installed();
    if unit.is_none() && file != Path::new(DEFAULT_PATH) {
        return Vec::new(); // not installed here: the agent runs as the user who calls
    }
    let unit = unit.unwrap_or_else(|| Unit { user: "tidegate".to_owned(), ..Unit::default() });
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let Some(who) = who(&unit, &read("/etc/passwd"), &read("/etc/group")) else {
        let next = "install the package again, or make it: useradd --system --shell /usr/sbin/nologin tidegate";
        return vec![Step::bad(STEP, format!("there is no user {}, as whom the service runs", unit.user), next)];
    };
    let own = rustix::process::geteuid();
    if !own.is_root() && own.as_raw() != who.ids.user {
        let found = format!("not tried: only root can try them as {}", who.user);
        return vec![Step::open(STEP, found, "sudo tidegate check")];
    }
    let needs = needs(file, config);
    let paths: Vec<(PathBuf, Want)> = needs.iter().map(|(_, path, want)| (path.clone(), *want)).collect();
    let met = match access::try_as(&who.ids, &paths) {
        Ok(met) => met,
        Err(error) => {
            return vec![Step::open(STEP, format!("not tried as {}: {error}", who.user), "sudo tidegate check")];
        }
    };
    let missing = needs
        .iter()
        .zip(&met)
        .any(|((.., want), met)| *want != Want::Keep && met.as_ref().is_some_and(|met| met.missing));
    let bad: Vec<Step> = needs.iter().zip(met).filter_map(|(need, met)| judge(need, met, &unit, &who)).collect();
    match bad.is_empty() {
        true => vec![all_good(&who, missing)],
        false => bad,
    }
}

/// What is not there yet has not been read: other steps say so.
fn all_good(who: &Who, missing: bool) -> Step {
    let which = if missing { "each that is there" } else { "each of them" };
    // The permissions alone: what the disk takes is another step's.
    Step::good(STEP, format!("{} may read {which}, and may write the journal", who.user))
}

/// The user of the unit; `None`: there is none of that name.
fn who(unit: &Unit, passwd: &str, group: &str) -> Option<Who> {
    let user = if unit.user.is_empty() { "root" } else { unit.user.as_str() };
    let rows = |text: &str| {
        text.lines().map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    let (users, groups) = (rows(passwd), rows(group));
    let known = users.iter().find(|row| row.len() > 3 && (row[0] == user || row[2] == user))?;
    let gid = |name: &str| {
        let row = groups.iter().find(|row| row.len() > 2 && (row[0] == name || row[2] == name))?;
        row[2].parse::<u32>().ok()
    };
    let primary = if unit.group.is_empty() { known[3].parse().ok()? } else { gid(&unit.group)? };
    let member = |row: &&Vec<String>| row.len() > 3 && row[3].split(',').any(|member| member == known[0]);
    let mut supplementary: Vec<u32> = groups.iter().filter(member).filter_map(|row| row[2].parse().ok()).collect();
    supplementary.extend(unit.groups.iter().filter_map(|name| gid(name)));
    let name = groups.iter().find(|row| row.len() > 2 && row[2] == primary.to_string()).map(|row| row[0].clone());
    Some(Who {
        user: known[0].clone(),
        group: name.unwrap_or_else(|| primary.to_string()),
        ids: Ids { user: known[2].parse().ok()?, group: primary, groups: supplementary },
    })
}

/// Everything that the agent reads, and where it writes; each once.
fn needs(file: &Path, config: &Config) -> Vec<Need> {
    let mqtt = &config.mqtt;
    let mut needs: Vec<Need> = Vec::new();
    let mut add = |key: &str, path: &Path, want| {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        if !path.starts_with(CREDENTIALS) && needs.iter().all(|(_, known, _)| *known != path) {
            needs.push((key.to_owned(), path, want));
        }
    };
    add("configuration", file, Want::Read);
    let token = config.status.listen.and(config.status.token_file.as_ref());
    for (key, path) in [
        ("password_file", mqtt.password_file.as_ref()),
        ("ca_file", mqtt.ca_file.as_ref()),
        ("client_cert_file", mqtt.client_cert_file.as_ref()),
        ("client_key_file", mqtt.client_key_file.as_ref()),
        ("token_file", token),
    ] {
        path.into_iter().for_each(|path| add(key, path, Want::Read));
    }
    for queue in &config.queues {
        queue.ca_file.iter().for_each(|path| add("ca_file", path, Want::Read));
        if let CredentialsSource::CsvFile(path) = &queue.credentials {
            add("credentials_file", path, Want::Read);
        }
    }
    if let BrokerAddress::Unix(path) = &mqtt.address {
        add("broker's socket", path, Want::Connect);
    }
    add("journal", &config.journal.path, Want::Keep);
    needs
}

/// What keeps the agent from one of its needs. Pure, but for symbolic links.
fn judge((key, path, want): &Need, met: Option<Refusal>, unit: &Unit, who: &Who) -> Option<Step> {
    let step = format!("{key} for {}", who.user);
    // Other steps say that something is missing, and how to get it there.
    if met.as_ref().is_some_and(|met| met.missing) {
        return None;
    }
    let real = resolved(path);
    let hidden = match want {
        Want::Keep => unit.write_protects(&real),
        Want::Read | Want::Connect => unit.hides(&real),
    };
    if let Some(setting) = hidden {
        let found = format!("{}: the unit's {setting} keeps the agent from it", path.display());
        return Some(Step::bad(step, found, around_unit(path, *want, who)));
    }
    let made = *want == Want::Keep && unit.made.iter().any(|folder| real.starts_with(folder));
    let met = met?;
    // systemd makes the folder, and gives it to the user, at each start.
    if made && !met.at.starts_with(path) {
        return None;
    }
    let found = match met.at == *path {
        true => format!("{} cannot use {}: {}", who.user, path.display(), met.error),
        false => format!("{} cannot use {}: {} at {}", who.user, path.display(), met.error, met.at.display()),
    };
    Some(Step::bad(step, found, remedy(path, *want, &met, who)))
}

/// With symbolic links resolved, as far as there is something.
fn resolved(path: &Path) -> PathBuf {
    let there = path.ancestors().find_map(|folder| Some((folder, folder.canonicalize().ok()?)));
    there.map_or_else(
        || path.to_owned(),
        |(folder, real)| {
            let rest = path.strip_prefix(folder).unwrap_or(Path::new(""));
            if rest.as_os_str().is_empty() { real } else { real.join(rest) }
        },
    )
}

/// Into the one folder that the agent reads and no other user does.
fn put_away(path: &Path, who: &Who) -> String {
    let name = path.file_name().unwrap_or_default().display();
    let (from, group) = (path.display(), &who.group);
    format!(
        "install -o root -g {group} -m 640 {from} /etc/tidegate/{name}, and name /etc/tidegate/{name} in the configuration"
    )
}

fn around_unit(path: &Path, want: Want, who: &Who) -> String {
    let (at, Who { user, group, .. }) = (path.display(), who);
    match want {
        Want::Read => put_away(path, who),
        Want::Connect => format!("let the broker make its socket elsewhere than {at}, such as below /run"),
        Want::Keep => format!(
            "install -d -o {user} -g {group} -m 700 {at} && mkdir -p /etc/systemd/system/tidegate.service.d && printf \
             '[Service]\\nReadWritePaths={at}\\n' >/etc/systemd/system/tidegate.service.d/journal.conf && systemctl daemon-reload"
        ),
    }
}

fn remedy(path: &Path, want: Want, met: &Refusal, who: &Who) -> String {
    let (Who { user, group, .. }, at) = (who, met.at.as_path());
    match want {
        _ if met.read_only => {
            let row = Code::JournalReadOnly.row();
            format!("{}: {}", row.remedy, row.command)
        }
        Want::Read if at == path => format!("chown root:{group} {0} && chmod 640 {0}", path.display()),
        // tidegate advises to open its own folder to the agent, and no folder of another user.
        Want::Read if at.starts_with("/etc/tidegate") => {
            format!("chown root:{group} {0} && chmod 750 {0}", at.display())
        }
        Want::Read => put_away(path, who),
        Want::Connect => {
            format!("let {user} write {}: usermod -aG GROUP {user}, with the socket's group", at.display())
        }
        Want::Keep if met.closed => {
            format!(
                "set journal.path to a folder of the agent's own, such as /var/lib/tidegate/journal: {} is closed to it",
                at.display()
            )
        }
        Want::Keep if at.starts_with(path) => format!("chown -R {user}:{group} {}", path.display()),
        Want::Keep => format!("install -d -o {user} -g {group} -m 700 {}", path.display()),
    }
}

#[cfg(test)]
mod tests;
