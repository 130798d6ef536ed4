//! The routes: proposed from what the broker carries, or by a profile that a person names.

use crate::cli::init::InitOptions;
use crate::cli::init::answers::Answers;
use crate::cli::init::broker::Met;
use crate::cli::init::filters::filters;
use crate::cli::init::propose::{Proposal, own_filters, propose};
use crate::cli::output::{note, say};
use crate::cli::profiles::no_profile;
use crate::profile::Profile;
use crate::status::findings::counted;

/// Asks for the routes, or takes what was given.
///
/// # Errors
/// There is no answer, or none that fits.
pub(super) fn routes(met: &Met, options: &InitOptions, answers: &mut Answers) -> Result<Vec<Proposal>, String> {
    let mut routes = chosen(met, options, answers)?;
    let filters: Vec<String> = routes.iter().flat_map(Proposal::filters).collect();
    for filter in met.refused(&filters) {
        match routes.iter_mut().any(|route| leaves_out(route, &filter)) {
            true => note!("The broker refuses {filter} to this user: it is left out."),
            false => note!(
                "The broker refuses {filter} to this user: nothing comes under it until its access list allows it."
            ),
        }
    }
    Ok(routes)
}

/// Takes a filter out of a route on which messages came under another one; whether it did.
fn leaves_out(route: &mut Proposal, refused: &str) -> bool {
    let (out, left): (Vec<String>, Vec<String>) = route.filters().into_iter().partition(|filter| filter == refused);
    let can = route.messages > 0 && !out.is_empty() && !left.is_empty();
    if can {
        route.topics = left;
    }
    can
}

fn chosen(met: &Met, options: &InitOptions, answers: &mut Answers) -> Result<Vec<Proposal>, String> {
    if let Some(name) = &options.profile {
        return named(profile(name)?, met, options, answers);
    }
    let proposals = propose(&met.messages, &met.asked);
    for Proposal { profile, messages, qos0, example, .. } in &proposals {
        let weak = if *qos0 > 0 { format!(", {qos0} with QoS 0") } else { String::new() };
        let counted = counted(*messages as u64, "message", "messages");
        say!("  {profile}: {counted}{weak}, such as {example}");
    }
    if proposals.is_empty() {
        let question = "Which profile (tidegate profiles lists them)? [auto]";
        let name = answers.until(question, "auto", "--profile", profile)?;
        return named(name, met, options, answers);
    }
    let question = "Take these as routes, or name one profile? [yes]";
    match answers.until(question, "yes", "--profile", taken_or_named)? {
        None => Ok(proposals),
        Some(name) => named(name, met, options, answers),
    }
}

/// Whether the routes are taken, or which profile shall make others.
fn taken_or_named(answer: &str) -> Result<Option<&'static str>, String> {
    match &*answer.to_lowercase() {
        "y" | "yes" => Ok(None),
        "n" | "no" => Err("then name the profile whose routes you want; tidegate profiles lists them".to_owned()),
        _ => profile(answer).map(Some),
    }
}

fn profile(name: &str) -> Result<&'static str, String> {
    Profile::names().into_iter().find(|known| *known == name).ok_or_else(|| no_profile(name))
}

/// One route with a profile; where that has no filters of its own, they are asked for.
fn named(
    profile: &'static str,
    met: &Met,
    options: &InitOptions,
    answers: &mut Answers,
) -> Result<Vec<Proposal>, String> {
    let topics = if !options.topics.is_empty() {
        filters(&options.topics.join(","))?
    } else if own_filters(profile).is_empty() {
        // Not where the broker has refused it a moment ago.
        let (all, shown) = if met.all_refused { ("", "") } else { ("#", " [#]") };
        let question = format!("Which topics shall {profile} read (filters, commas between them)?{shown}");
        answers.until(&question, all, "--topics", filters)?
    } else {
        Vec::new()
    };
    Ok(vec![Proposal::unseen(profile, topics)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_no_asks_for_the_profile_instead() {
        assert_eq!((taken_or_named("Yes"), taken_or_named("rak")), (Ok(None), Ok(Some("rak"))));
        assert!(taken_or_named("n").is_err_and(|why| why.contains("name the profile")));
    }

    #[test]
    fn a_refused_filter_is_dropped_if_others_brought_messages() {
        let mut seen = Proposal { messages: 3, ..Proposal::unseen("shelly", Vec::new()) };
        assert!(leaves_out(&mut seen, "+/online"));
        assert_eq!(seen.topics, ["+/events/rpc", "+/status/+"]);
        assert!(!leaves_out(&mut seen, "+/online"), "it is not there any more");
        // Named by a person, or the last one: it stays, and is spoken of.
        assert!(!leaves_out(&mut Proposal::unseen("shelly", Vec::new()), "+/online"));
        let mut last = Proposal { messages: 1, ..Proposal::unseen("plain", vec!["a/#".into()]) };
        assert!(!leaves_out(&mut last, "a/#") && last.topics == ["a/#"]);
    }
}
