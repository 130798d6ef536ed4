//! Prometheus's text format, 0.0.4.

use crate::histogram::Histogram;
use crate::status::metrics::METRICS;
use crate::visible;
use std::fmt::Write;

/// An exposition in the making.
#[derive(Debug, Default)]
pub(super) struct Text {
    pub(super) out: String,
    last: &'static str,
}

impl Text {
    /// A sample, with its head before the first of a name. Samples of one name come together.
    pub(super) fn put(&mut self, name: &'static str, labels: &[(&str, &str)], value: f64) {
        self.head(name);
        self.sample(name, "", labels, value);
    }

    /// The samples of a histogram: each bucket holds what lies within its bound, so that the last one holds all.
    pub(super) fn histogram(&mut self, name: &'static str, labels: &[(&str, &str)], of: &Histogram) {
        self.head(name);
        let mut bucket = |bound: &str, count: u64| {
            let labels: Vec<(&str, &str)> = labels.iter().copied().chain([("le", bound)]).collect();
            self.sample(name, "_bucket", &labels, count as f64);
        };
        of.buckets().for_each(|(bound, count)| bucket(&bound.to_string(), count));
        bucket("+Inf", of.count());
        self.sample(name, "_sum", labels, of.sum_s());
        self.sample(name, "_count", labels, of.count() as f64);
    }

    fn head(&mut self, name: &'static str) {
        if self.last != name {
            self.last = name;
            if let Some((_, kind, help)) = METRICS.iter().find(|(known, ..)| *known == name) {
                let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            }
        }
    }

    fn sample(&mut self, name: &str, suffix: &str, labels: &[(&str, &str)], value: f64) {
        let _ = write!(self.out, "{name}{suffix}");
        for (index, (label, text)) in labels.iter().enumerate() {
            let text = visible::line(text).replace('\\', "\\\\").replace('"', "\\\"");
            let _ = write!(self.out, "{}{label}=\"{text}\"", if index == 0 { '{' } else { ',' });
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.out, "{close} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_histogram_has_cumulative_buckets_up_to_infinity() {
        let mut histogram = Histogram::new(&[10, 1000]);
        [5, 5, 400, 2500].into_iter().for_each(|ms| histogram.observe(Duration::from_millis(ms)));
        let mut text = Text::default();
        text.histogram("tidegate_queue_call_seconds", &[("queue", "a\"b")], &histogram);
        let (_, samples) = text.out.split_once("# TYPE tidegate_queue_call_seconds histogram\n").expect("a head");
        assert_eq!(
            samples,
            "tidegate_queue_call_seconds_bucket{queue=\"a\\\"b\",le=\"0.01\"} 2\n\
             tidegate_queue_call_seconds_bucket{queue=\"a\\\"b\",le=\"1\"} 3\n\
             tidegate_queue_call_seconds_bucket{queue=\"a\\\"b\",le=\"+Inf\"} 4\n\
             tidegate_queue_call_seconds_sum{queue=\"a\\\"b\"} 2.91\n\
             tidegate_queue_call_seconds_count{queue=\"a\\\"b\"} 4\n"
        );
    }
}
