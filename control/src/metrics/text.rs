//! A scrape's answer, in one of the two text formats.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::MetricEncoder;
use prometheus_client::encoding::text;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;

use super::names::Metric;

/// The text format of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0: what Prometheus asks for.
    OpenMetrics,
    /// Prometheus' own, for tools that know no other.
    Classic,
}

impl Format {
    /// The format that a request's Accept header asks for.
    pub fn wanted(accept: Option<&str>) -> Format {
        match accept {
            Some(accept) if accept.contains("application/openmetrics-text") => Format::OpenMetrics,
            _ => Format::Classic,
        }
    }

    /// Its media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// A metric's samples: labels and value of each.
#[derive(Clone, Debug)]
pub struct Family {
    metric: Metric,
    samples: Vec<(Vec<(&'static str, String)>, Value)>,
}

#[derive(Clone, Copy, Debug)]
enum Value {
    Whole(u64),
    Part(f64),
}

/// All that is exposed, in the order in which it was added.
#[derive(Clone, Debug, Default)]
pub struct Families(Vec<Family>);

impl Families {
    /// Adds a sample of `metric`. All samples of a name stand together, whenever they come.
    pub fn add(&mut self, metric: &Metric, labels: &[(&'static str, &str)], count: u64) {
        let value = match metric.divisor {
            1 => Value::Whole(count),
            divisor => Value::Part(count as f64 / divisor as f64),
        };
        self.put(metric, labels, value);
    }

    /// The same of a figure that is no count.
    pub fn add_part(&mut self, metric: &Metric, labels: &[(&'static str, &str)], figure: f64) {
        self.put(metric, labels, Value::Part(figure));
    }

    fn put(&mut self, metric: &Metric, labels: &[(&'static str, &str)], value: Value) {
        let own = metric.label.iter();
        let labels = labels.iter().chain(own);
        let labels = labels.map(|(label, value)| (*label, (*value).to_owned()));
        let sample = (labels.collect(), value);
        let known = self.0.iter_mut().rev();
        match known
            .into_iter()
            .find(|family| family.metric.name == metric.name)
        {
            Some(family) => family.samples.push(sample),
            None => self.0.push(Family {
                metric: metric.clone(),
                samples: vec![sample],
            }),
        }
    }

    /// Writes them all.
    ///
    /// # Errors
    /// A sample cannot be written; none is known that could not.
    pub fn write(self, format: Format) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        let families = self.0;
        registry.register_collector(Box::new(Exposition { families, format }));
        let mut text = String::new();
        text::encode_registry(&mut text, &registry)?;
        if format == Format::OpenMetrics {
            text::encode_eof(&mut text)?;
        }
        Ok(text)
    }
}

#[derive(Debug)]
struct Exposition {
    families: Vec<Family>,
    format: Format,
}

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for Family { metric, samples } in &self.families {
            let kind = match metric.is_gauge {
                true => MetricType::Gauge,
                false => MetricType::Counter,
            };
            // OpenMetrics names a counter without its ending, the classic format with it.
            let is_whole_name = metric.is_gauge || self.format == Format::Classic;
            let name = match metric.is_gauge || !is_whole_name {
                true => metric.name.clone(),
                false => format!("{}_total", metric.name),
            };
            let mut family = encoder.encode_descriptor(&name, &metric.help, None, kind)?;
            for (labels, value) in samples {
                if labels.is_empty() {
                    write_value(&mut family, *value, is_whole_name)?;
                } else {
                    let mut sample = family.encode_family(labels)?;
                    write_value(&mut sample, *value, is_whole_name)?;
                }
            }
        }
        Ok(())
    }
}

/// Writes a value after its name and labels. As a gauge it is written as it is, as a counter
/// with `_total` after the name.
fn write_value(
    encoder: &mut MetricEncoder<'_>,
    value: Value,
    is_whole_name: bool,
) -> Result<(), fmt::Error> {
    match (value, is_whole_name) {
        (Value::Whole(count), true) => encoder.encode_gauge(&count),
        (Value::Part(figure), true) => encoder.encode_gauge(&figure),
        (Value::Whole(count), false) => encoder.encode_counter(&count, NONE),
        (Value::Part(figure), false) => encoder.encode_counter(&figure, NONE),
    }
}

/// No counter here points to a trace.
const NONE: Option<&Exemplar<Vec<(String, String)>, u64>> = None;

#[cfg(test)]
mod tests {
    use super::super::names::named;
    use super::*;

    fn families() -> Families {
        let mut families = Families::default();
        let busy = Metric {
            divisor: 1000,
            ..named("busy_seconds", false, "Busy.")
        };
        let drops = |reason| Metric {
            label: Some(("reason", reason)),
            ..named("dropped", false, "Dropped.")
        };
        families.add(&drops("a"), &[("worker", "0")], 1);
        families.add(&busy, &[("worker", "0")], 1500);
        families.add(&drops("b"), &[("worker", "0")], u64::MAX);
        families.add(&named("calls", true, "Calls."), &[], 7);
        families.add(&named("odd", true, "Odd."), &[("name", "a\"b\\c\nd")], 0);
        families
    }

    #[test]
    fn openmetrics() {
        insta::assert_snapshot!(families().write(Format::OpenMetrics).unwrap());
    }

    #[test]
    fn the_classic_format() {
        insta::assert_snapshot!(families().write(Format::Classic).unwrap());
    }

    #[test]
    fn the_format_is_what_was_asked_for() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2";
        assert_eq!(Format::wanted(Some(prometheus)), Format::OpenMetrics);
        assert_eq!(Format::wanted(Some("*/*")), Format::Classic);
        assert_eq!(Format::wanted(None), Format::Classic);
    }
}
