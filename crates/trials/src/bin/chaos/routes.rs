//! The routes of a world, and the filters by which they ask for its topics: several sets, each of which covers all topics
//! once. Pure.

use crate::plan::{Lanes, Mix, Shape};
use crate::world::BARE_DEVICES;
use testkit::agent::AgentConfig;
use testkit::fleet::{APPLICATION, COPY, Device, WEAK};
use testkit::random::Random;

/// A route: its profile, its queue, its filters.
struct Route {
    profile: &'static str,
    queue: &'static str,
    filters: Vec<String>,
}

/// Puts the routes of a world into `config`, with one set of filters or another.
pub(crate) fn put(config: &mut AgentConfig, shape: Shape, set: usize) {
    let mut routes = routes(shape, set).into_iter();
    config.topics = routes.next().map(|route| route.filters).unwrap_or_default();
    let table = |route: Route| {
        let Route { profile, queue, filters } = route;
        format!("[[routes]]\nprofile = \"{profile}\"\nqueue = \"{queue}\"\ntopics = {filters:?}\n\n")
    };
    config.extra = routes.map(table).collect();
}

/// All filters, in the order of the routes.
pub(crate) fn filters(shape: Shape, set: usize) -> Vec<String> {
    routes(shape, set).into_iter().flat_map(|route| route.filters).collect()
}

fn routes(shape: Shape, set: usize) -> Vec<Route> {
    let set = set % 3;
    let uplinks = match set {
        0 => "application/+/device/+/event/+".to_owned(),
        1 => "application/#".to_owned(),
        _ => format!("application/{APPLICATION}/device/+/event/up"),
    };
    let mut random = Random::seeded(0);
    let bare: Vec<String> =
        (0..BARE_DEVICES).map(|index| Device::new(index, &mut random).bare_reading().topic).collect();
    let of = |prefix: &str| match set {
        0 => vec![format!("{prefix}#")],
        1 => vec![format!("{prefix}+")],
        _ => bare.iter().filter(|topic| topic.starts_with(prefix)).cloned().collect(),
    };
    let route = |profile, queue, filters| Route { profile, queue, filters };
    let mut routes = vec![
        route("chirpstack-v4", "main", vec![uplinks.clone()]),
        route("generic", "main", of("bare/")),
        route("zigbee2mqtt", "main", of("zigbee2mqtt/")),
    ];
    if shape.lanes == Lanes::Apart {
        routes.push(route("chirpstack-v4", "copies", vec![format!("{COPY}{uplinks}")]));
    }
    if shape.mix != Mix::None {
        let filter = if set == 1 { format!("{WEAK}+/+") } else { format!("{WEAK}#") };
        routes.push(route("generic", "main", vec![filter]));
    }
    routes
}
