//! The one chart: how many records waited, over the last hour or the last day, one line per queue.

use crate::status::StatusSnapshot;
use crate::status::history::{History, Point};
use crate::status::page::escaped;
use std::collections::HashMap;
use std::fmt::Write;

/// Width and height of the chart, in its own units, and where the axes stand.
const SIZE: (f64, f64) = (720.0, 200.0);
const LEFT: f64 = 92.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 172.0;
const RIGHT: f64 = 708.0;

/// Draws what waited, if anything did.
pub(super) fn waiting(out: &mut String, snapshot: &StatusSnapshot, histories: &HashMap<String, History>, now_s: u64) {
    let of = |name: &String| histories.get(name);
    let beyond_an_hour =
        |history: &History| history.day().any(|point| now_s.saturating_sub(point.at_s) > 3600 && point.waiting > 0);
    let day = snapshot.queues.iter().filter_map(|queue| of(&queue.name)).any(beyond_an_hour);
    let seconds: u64 = if day { 86_400 } else { 3600 };
    let lines: Vec<(&str, Vec<Point>)> = snapshot
        .queues
        .iter()
        .filter_map(|queue| {
            let history = of(&queue.name)?;
            let points: Vec<Point> =
                if day { history.day().copied().collect() } else { history.hour().copied().collect() };
            let from = now_s.saturating_sub(seconds);
            Some((queue.name.as_str(), points.into_iter().filter(|point| point.at_s >= from).collect()))
        })
        .collect();
    let most = lines.iter().flat_map(|(_, points)| points).map(|point| point.waiting).max().unwrap_or_default();
    if most == 0 {
        return;
    }
    let top = round_up(most);
    let (width, height) = SIZE;
    let over = if day { "day" } else { "hour" };
    let _ = write!(
        out,
        "<section><h2>Records waiting <span class=\"dim\">last {over}</span></h2><svg viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-label=\"Records waiting over the last {over}, at most {most}\">"
    );
    axes(out, top, if day { ["24 h ago", "12 h ago", "now"] } else { ["60 min ago", "30 min ago", "now"] });
    for (index, (_, points)) in lines.iter().enumerate() {
        let _ = write!(out, "<path class=\"line q{}\" d=\"{}\"/>", index % 4, line(points, now_s, seconds, top));
    }
    out.push_str("</svg>");
    if lines.len() > 1 {
        out.push_str("<p class=\"dim\">");
        for (index, (name, _)) in lines.iter().enumerate() {
            let _ = write!(out, "<span class=\"key q{}\"></span>{} ", index % 4, escaped(name));
        }
        out.push_str("</p>");
    }
    out.push_str("</section>\n");
}

/// The next of 1, 2, 5, 10, 20, 50 …: a number that an axis can end with.
fn round_up(most: u64) -> u64 {
    let mut ten = 1_u64;
    loop {
        for step in [1, 2, 5] {
            let end = ten.saturating_mul(step);
            if end >= most {
                return end;
            }
        }
        ten = ten.saturating_mul(10);
    }
}

/// A number that has room beside an axis.
fn short(value: u64) -> String {
    match value {
        0..10_000 => value.to_string(),
        10_000..10_000_000 => format!("{}k", value / 1000),
        _ => format!("{}M", value / 1_000_000),
    }
}

fn axes(out: &mut String, top: u64, times: [&str; 3]) {
    let middle_y = (TOP + BOTTOM) / 2.0;
    for (y, value) in [(TOP, Some(top)), (middle_y, top.is_multiple_of(2).then_some(top / 2)), (BOTTOM, Some(0))] {
        let _ = write!(out, "<path class=\"grid\" d=\"M{LEFT} {y}H{RIGHT}\"/>");
        if let Some(value) = value {
            let _ =
                write!(out, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>", LEFT - 8.0, y + 5.0, short(value));
        }
    }
    for (index, (text, anchor)) in times.into_iter().zip(["start", "middle", "end"]).enumerate() {
        let x = LEFT + (RIGHT - LEFT) * index as f64 / 2.0;
        let _ = write!(out, "<text x=\"{x}\" y=\"{}\" text-anchor=\"{anchor}\">{text}</text>", BOTTOM + 20.0);
    }
}

/// In steps: between two points nothing changed.
fn line(points: &[Point], now_s: u64, seconds: u64, top: u64) -> String {
    // From the right: a machine may have been up for less than the span.
    let x = |at_s: u64| RIGHT - now_s.saturating_sub(at_s) as f64 / seconds as f64 * (RIGHT - LEFT);
    let y = |value: u64| BOTTOM - value as f64 / top as f64 * (BOTTOM - TOP);
    let mut path = String::new();
    for point in points {
        match path.is_empty() {
            true => _ = write!(path, "M{:.1} {:.1}", x(point.at_s), y(point.waiting)),
            false => _ = write!(path, "H{:.1}V{:.1}", x(point.at_s), y(point.waiting)),
        }
    }
    if !path.is_empty() {
        let _ = write!(path, "H{RIGHT}");
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_at_a_round_number_covering_every_point() {
        let ends = [1, 2, 3, 5, 6, 10, 11, 49, 977, u64::MAX].map(round_up);
        assert_eq!(ends, [1, 2, 5, 5, 10, 10, 20, 50, 1000, u64::MAX]);
    }

    #[test]
    fn the_line_ends_at_the_present_and_steps() {
        let point = |at_s, waiting| Point { at_s, waiting, ..Point::default() };
        assert_eq!(line(&[point(0, 10), point(1800, 0)], 3600, 3600, 10), "M92.0 12.0H400.0V172.0H708");
        assert_eq!(line(&[], 5, 3600, 10), "");
    }
}
