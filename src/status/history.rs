//! Depth and lag over the last hour and the last day, and how long the backlog will take: kept in memory, lost at a restart.
//!
//! Bounds: [`POINTS`] points for the hour and as many for the day, 24 bytes each, per queue: 17 KB. Nothing is sampled
//! while nothing moves, so an idle agent is not woken for it; a gap in the points is a time in which nothing changed.

use serde::Serialize;
use std::collections::VecDeque;

/// Points kept per span.
pub const POINTS: usize = 360;
/// Seconds between two points of the hour.
pub const HOUR_STEP_S: u64 = 10;
/// Seconds between two points of the day.
pub const DAY_STEP_S: u64 = 240;
/// Seconds over which the rate is taken.
const RATE_S: u64 = 300;
/// A rate below this, in records per second, counts as none: one record in a quarter of an hour.
const SLOWEST: f64 = 1.0 / 900.0;

/// A backlog that is said to grow has grown for so long, in seconds.
const GROWING_S: f64 = 30.0;

/// A queue at one instant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Point {
    /// When it was taken, in seconds since boot.
    pub at_s: u64,
    /// Records in the lane without an outcome.
    pub waiting: u64,
    /// Records accepted since the journal was made.
    pub accepted: u64,
    /// Age of the oldest waiting record, in seconds.
    pub lag_s: u64,
}

/// What one queue did.
#[derive(Clone, Debug, Default)]
pub struct History {
    hour: VecDeque<Point>,
    day: VecDeque<Point>,
}

impl History {
    /// Takes in a point; the day series keeps one point in so many, with the highest depth and lag since the previous one.
    pub fn note(&mut self, point: Point) {
        push(&mut self.hour, point, HOUR_STEP_S);
        push(&mut self.day, point, DAY_STEP_S);
    }

    /// The last hour, oldest first.
    pub fn hour(&self) -> impl Iterator<Item = &Point> {
        self.hour.iter()
    }

    /// The last day, oldest first.
    pub fn day(&self) -> impl Iterator<Item = &Point> {
        self.day.iter()
    }

    /// What comes next, judged by the last minutes up to `now`. A backlog that has grown in them and gets less since, as after every
    /// outage, is judged from its height on.
    pub fn outlook(&self, now: Point) -> DrainForecast {
        let since = now.at_s.saturating_sub(RATE_S);
        // The last point before the span counts, too: nothing changed in between.
        let before = self.hour.iter().rev().find(|point| point.at_s <= since);
        let first = before.or_else(|| self.hour.front()).copied();
        let height =
            self.hour.iter().filter(|point| point.at_s > since).max_by_key(|point| (point.waiting, point.at_s));
        let height = height.filter(|height| height.waiting > now.waiting.max(first.map_or(0, |first| first.waiting)));
        match height {
            None => outlook(first, now),
            Some(height) if now.at_s < height.at_s + HOUR_STEP_S => outlook(None, now),
            Some(height) => outlook(Some(*height), now),
        }
    }
}

/// In a step there is one point: later ones raise it.
fn push(points: &mut VecDeque<Point>, point: Point, step_s: u64) {
    if let Some(last) = points.back_mut()
        && last.at_s / step_s == point.at_s / step_s
    {
        let (waiting, lag_s) = (last.waiting.max(point.waiting), last.lag_s.max(point.lag_s));
        *last = Point { waiting, lag_s, at_s: last.at_s, ..point };
        return;
    }
    points.push_back(point);
    if points.len() > POINTS {
        points.pop_front();
    }
}

/// How long the backlog will take.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct DrainForecast {
    /// Records accepted per second, over about the last 5 minutes.
    pub accepted_per_s: f64,
    /// Seconds until nothing waits, if records keep arriving and leaving at this rate.
    pub eta_s: Option<u64>,
    /// Whether the backlog gets less or grows.
    pub says: Trend,
}

/// The outlook in a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trend {
    /// The queue has no waiting records.
    Drained,
    /// The backlog gets less.
    Draining,
    /// It grows or stays: as much arrives as is sent, or more.
    Growing,
    /// No record is accepted, or the history is too short to tell.
    Unknown,
}

/// Pure: from a point some minutes ago and the present one.
fn outlook(first: Option<Point>, now: Point) -> DrainForecast {
    let none = |says| DrainForecast { accepted_per_s: 0.0, eta_s: None, says };
    let Some(first) = first.filter(|first| first.at_s < now.at_s) else {
        return none(if now.waiting == 0 { Trend::Drained } else { Trend::Unknown });
    };
    let seconds = (now.at_s - first.at_s) as f64;
    let accepted_per_s = now.accepted.saturating_sub(first.accepted) as f64 / seconds;
    if now.waiting == 0 {
        return DrainForecast { accepted_per_s, eta_s: None, says: Trend::Drained };
    }
    if accepted_per_s < SLOWEST {
        return none(Trend::Unknown);
    }
    let less_per_s = (first.waiting as f64 - now.waiting as f64) / seconds;
    if less_per_s < SLOWEST {
        // A burst that has just come says nothing of what comes next.
        if seconds < GROWING_S {
            return none(Trend::Unknown);
        }
        return DrainForecast { accepted_per_s, eta_s: None, says: Trend::Growing };
    }
    let eta_s = (now.waiting as f64 / less_per_s).ceil() as u64;
    DrainForecast { accepted_per_s, eta_s: Some(eta_s), says: Trend::Draining }
}

/// A span of time for people: `40 s`, `12 min`, `3 h 20 min`, `2 d 4 h`.
pub fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn point(at_s: u64, waiting: u64, accepted: u64) -> Point {
        Point { at_s, waiting, accepted, lag_s: waiting / 2 }
    }

    proptest! {
        #[test]
        fn memory_is_bounded_and_peaks_are_kept(steps in prop::collection::vec((1u64..500, 0u64..1000), 1..2000)) {
            let (mut history, mut at) = (History::default(), 0);
            for (step, waiting) in &steps {
                at += step;
                history.note(point(at, *waiting, at));
            }
            prop_assert!(history.hour.len() <= POINTS && history.day.len() <= POINTS);
            let from = history.day.front().map_or(0, |first| first.at_s);
            let mut at = 0;
            let kept = steps.iter().filter_map(|(step, waiting)| { at += step; (at >= from).then_some(*waiting) });
            prop_assert_eq!(history.day().map(|point| point.waiting).max(), kept.max());
            prop_assert!(history.hour.iter().zip(history.hour.iter().skip(1)).all(|(a, b)| a.at_s < b.at_s));
        }

        /// A steady drain is foretold to the second, whatever its pace.
        #[test]
        fn a_steady_drain_ends_when_it_was_said_to(per_s in 1u64..500, incoming in 0u64..400, seconds in 30u64..300) {
            let start = 10_000_000;
            let at = |t: u64| point(t, start + incoming * t - (per_s + incoming) * t, (per_s + incoming) * t);
            let said = outlook(Some(at(0)), at(seconds));
            prop_assert_eq!(said.says, Trend::Draining);
            let left = at(seconds).waiting;
            prop_assert!(said.eta_s.is_some_and(|eta| eta.abs_diff(left.div_ceil(per_s)) <= 1), "{said:?}");
        }
    }

    /// An outage of minutes, then the link: what grew in it gets less now.
    #[test]
    fn a_shrinking_backlog_after_an_outage_is_not_called_growing() {
        let mut history = History::default();
        (0..=18).for_each(|step| history.note(point(step * 10, step * 100, 0)));
        let says = |at_s, waiting, accepted| history.outlook(point(at_s, waiting, accepted));
        assert_eq!(says(185, 1_500, 350).says, Trend::Unknown, "too short to tell");
        let said = says(200, 1_400, 600);
        assert_eq!((said.says, said.eta_s), (Trend::Draining, Some(70)), "{said:?}");
        assert_eq!(says(200, 1_900, 600).says, Trend::Growing);
    }

    #[test]
    fn what_cannot_be_foretold_is_not() {
        assert_eq!(outlook(None, point(5, 10, 0)).says, Trend::Unknown);
        assert_eq!(outlook(Some(point(0, 10, 0)), point(300, 400, 0)).says, Trend::Unknown, "nothing goes");
        assert_eq!(outlook(Some(point(0, 10, 0)), point(300, 400, 90)).says, Trend::Growing);
        assert_eq!(outlook(Some(point(0, 10, 0)), point(8, 2_900, 90)).says, Trend::Unknown, "a burst came");
        assert_eq!(outlook(Some(point(0, 10, 0)), point(300, 0, 90)).says, Trend::Drained);
        let said = [span(40), span(725), span(12_000), span(190_000)];
        assert_eq!(said, ["40 s", "12 min", "3 h 20 min", "2 d 4 h"]);
    }
}
