//! Logs and metrics.

mod looks;

use std::fmt::Write as _;
use std::io::Write;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use prometheus_client::registry::Unit;
use text::misleads;

use crate::model::DatasetName;
use crate::model::FaultKind;
use crate::model::Outcome;
use crate::model::Reconcile;
use crate::model::ServiceName;
use crate::model::Stage;

pub use crate::telemetry::looks::LookMetrics;

/// Begins logging to standard error, as text or JSON, filtered by `level` (the syntax of `tracing`'s `EnvFilter`).
pub fn start_logging(json: bool, level: &str) {
    let filter = tracing_subscriber::EnvFilter::try_new(level).unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // It tells of every head that cannot be read, and who sends those are strangers: they would fill the disk.
    let filter = match "actix_http=off".parse() {
        Ok(silence) => filter.add_directive(silence),
        Err(_) => filter,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Log(std::io::stderr())).with_ansi(false);
    // A second start in one process (tests) keeps the first.
    let _ = if json { builder.json().flatten_event(true).try_init() } else { builder.try_init() };
}

/// Where log lines go. Whatever words from outside an event carries, it stays one line and shows what is written: a character that
/// misleads is written as its number, in the way that JSON reads back.
struct Log<W>(W);

impl<W: Write> Write for Log<W> {
    fn write(&mut self, event: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let (line, end) = text.strip_suffix('\n').map_or((text.as_ref(), ""), |line| (line, "\n"));
        if line.contains(misleads) {
            let mut plain = String::with_capacity(text.len() + 16);
            for c in line.chars() {
                if misleads(c) {
                    let _ = write!(plain, "\\u{:04x}", u32::from(c));
                } else {
                    plain.push(c);
                }
            }
            self.0.write_all((plain + end).as_bytes())?;
        } else {
            self.0.write_all(text.as_bytes())?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    service: String,
    outcome: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FaultLabels {
    service: String,
    kind: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabels {
    step: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabels {
    service: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StandingLabels {
    service: String,
    word: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    dataset: String,
    outcome: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabels {
    dataset: String,
    phase: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DatasetLabels {
    dataset: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NotifierLabels {
    notifier: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NoticeLabels {
    notifier: String,
    result: &'static str,
}

/// Metrics of notifiers.
#[derive(Debug, Default)]
struct NotifierMetrics {
    messages: Family<NoticeLabels, Counter>,
    owed: Family<NotifierLabels, Gauge>,
    dropped: Family<NotifierLabels, Gauge>,
    failing: Family<NotifierLabels, Gauge>,
}

/// What is known of a dataset at a moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct DatasetNow {
    /// How many own commits the remote does not have.
    pub pending: u64,
    /// How much parked work waits for an operator.
    pub parked: usize,
    /// How many peers are owed something.
    pub owed: usize,
    /// How long ago the app last loaded something.
    pub loaded_age: Option<Duration>,
    /// Whether the app serves something older than it should.
    pub stale: bool,
}

/// Metrics of datasets.
#[derive(Debug, Default)]
struct DatasetMetrics {
    reloads: Family<ReloadLabels, Counter>,
    pending: Family<DatasetLabels, Gauge>,
    parked: Family<DatasetLabels, Gauge>,
    owed: Family<DatasetLabels, Gauge>,
    stale: Family<DatasetLabels, Gauge>,
    loaded_age: Family<DatasetLabels, Gauge<f64, AtomicU64>>,
}

/// Every metric.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    deployments: Family<OutcomeLabels, Counter>,
    steps: Family<StepLabels, Histogram>,
    requests: Family<RouteLabels, Counter>,
    faults: Family<FaultLabels, Counter>,
    refused_calls: Counter,
    waiting: Gauge,
    running: Gauge,
    unapproved: Gauge,
    unapproved_age: Gauge<f64, AtomicU64>,
    journal_unwritable: Gauge,
    last_live: Family<ServiceLabels, Gauge<f64, AtomicU64>>,
    standing: Family<StandingLabels, Gauge>,
    away: Family<ServiceLabels, Gauge<f64, AtomicU64>>,
    looks: LookMetrics,
    datasets: DatasetMetrics,
    notifiers: NotifierMetrics,
    phases: Family<PhaseLabels, Histogram>,
}

impl Metrics {
    /// All metrics at zero; the outcomes of `services` are shown before the first of them.
    #[must_use]
    pub fn new<'a>(services: impl IntoIterator<Item = &'a ServiceName>) -> Self {
        let mut registry = Registry::with_prefix("tagalong");
        let buckets = || Histogram::new([0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0]);
        let steps: Family<StepLabels, Histogram> = Family::new_with_constructor(buckets);
        let deployments = Family::default();
        let requests = Family::default();
        let last_live = Family::default();
        let standing: Family<StandingLabels, Gauge> = Family::default();
        let away: Family<ServiceLabels, Gauge<f64, AtomicU64>> = Family::default();
        let faults: Family<FaultLabels, Counter> = Family::default();
        let refused_calls = Counter::default();
        let waiting = Gauge::default();
        let running = Gauge::default();
        let unapproved = Gauge::default();
        let unapproved_age = Gauge::<f64, AtomicU64>::default();
        let journal_unwritable = Gauge::default();
        registry.register("deployments", "Ended deployments by service and outcome", Family::clone(&deployments));
        registry.register("faults", "Causes of failed deployments and rollbacks", faults.clone());
        registry.register_with_unit("step", "Duration of steps", Unit::Seconds, steps.clone());
        registry.register("http_requests", "Answered requests by route and status", Family::clone(&requests));
        registry.register("refused_calls", "Calls whose authentication failed", refused_calls.clone());
        registry.register("deployments_waiting", "Waiting deployments", waiting.clone());
        registry.register("deployments_running", "Running deployments", running.clone());
        registry.register("deployments_waiting_for_approval", "Deployments that wait for an approval", unapproved.clone());
        let age = "How long the oldest of them has waited";
        registry.register_with_unit("approval_oldest_wait", age, Unit::Seconds, unapproved_age.clone());
        registry.register("journal_unwritable", "1 while journal lines cannot be stored", journal_unwritable.clone());
        registry.register("last_live_timestamp", "When a release was last verified, seconds since 1970", Family::clone(&last_live));
        registry.register("service_standing", "1 for the word that tells how the service stands, 0 for the others", standing.clone());
        registry.register_with_unit("page_away", "How long the page was away in the last deployment", Unit::Seconds, away.clone());
        let looks = LookMetrics::registered(&mut registry);
        let (datasets, phases) = register_datasets(&mut registry);
        let notifiers = register_notifiers(&mut registry);
        let metrics = Self {
            registry,
            deployments,
            steps,
            requests,
            faults,
            refused_calls,
            waiting,
            running,
            unapproved,
            unapproved_age,
            journal_unwritable,
            last_live,
            standing,
            away,
            looks,
            datasets,
            notifiers,
            phases,
        };
        for service in services {
            for outcome in Outcome::NAMES {
                let _zero =
                    metrics.deployments.get_or_create_owned(&OutcomeLabels { service: service.to_string(), outcome: outcome.to_owned() });
            }
        }
        metrics
    }

    /// Counts an ended deployment.
    pub fn ended(&self, service: &ServiceName, outcome: &Outcome, now_ms: i64) {
        self.deployments.get_or_create(&OutcomeLabels { service: service.to_string(), outcome: outcome.name().to_owned() }).inc();
        if matches!(outcome, Outcome::Live { .. }) {
            self.last_live.get_or_create(&ServiceLabels { service: service.to_string() }).set(now_ms as f64 / 1000.0);
        }
    }

    /// Sets how long the page of `service` was away in its last deployment.
    pub fn away(&self, service: &ServiceName, away: Duration) {
        self.away.get_or_create(&ServiceLabels { service: service.to_string() }).set(away.as_secs_f64());
    }

    /// The metrics of looks.
    #[must_use]
    pub fn looks(&self) -> &LookMetrics {
        &self.looks
    }

    /// Counts what was at fault.
    pub fn fault(&self, service: &ServiceName, kind: FaultKind) {
        self.faults.get_or_create(&FaultLabels { service: service.to_string(), kind: kind.as_str().to_owned() }).inc();
    }

    /// Counts how long a step took.
    pub fn step(&self, step: Stage, took: Duration) {
        self.steps.get_or_create(&StepLabels { step: step.to_string() }).observe(took.as_secs_f64());
    }

    /// Counts an answered request.
    pub fn request(&self, route: &str, status: u16) {
        self.requests.get_or_create(&RouteLabels { route: route.to_owned(), status }).inc();
    }

    /// Counts a call without a proof that holds.
    pub fn refused_call(&self) {
        self.refused_calls.inc();
    }

    /// Sets since when deployments wait for an approval (ms since 1970, UTC).
    pub fn set_unapproved(&self, since_ms: &[i64], now_ms: i64) {
        self.unapproved.set(since_ms.len() as i64);
        let oldest_ms = since_ms.iter().min().map_or(0, |since_ms| (now_ms - since_ms).max(0));
        self.unapproved_age.set(oldest_ms as f64 / 1000.0);
    }

    /// Sets what is looked up when metrics are asked for.
    pub fn set_now(&self, waiting: i64, running: i64, journal_unwritable: bool) {
        self.waiting.set(waiting);
        self.running.set(running);
        self.journal_unwritable.set(i64::from(journal_unwritable));
    }

    /// Sets how a service stands: the word `now`, one of `all`.
    pub fn set_standing(&self, service: &ServiceName, now: &'static str, all: impl IntoIterator<Item = &'static str>) {
        for word in all {
            let labels = StandingLabels { service: service.to_string(), word };
            self.standing.get_or_create(&labels).set(i64::from(word == now));
        }
    }

    /// Shows every outcome of a dataset before the first of them.
    pub fn know_dataset(&self, dataset: &DatasetName) {
        for outcome in Reconcile::ALL.map(Reconcile::as_str).into_iter().chain([Reconcile::UNUSABLE]) {
            let labels = ReloadLabels { dataset: dataset.to_string(), outcome: outcome.to_owned() };
            let _zero = self.datasets.reloads.get_or_create_owned(&labels);
        }
    }

    /// Counts an ended reload.
    pub fn reloaded(&self, dataset: &DatasetName, outcome: &str) {
        self.datasets.reloads.get_or_create(&ReloadLabels { dataset: dataset.to_string(), outcome: outcome.to_owned() }).inc();
    }

    /// Counts how long a phase of a reload took.
    pub fn phase(&self, dataset: &DatasetName, phase: &str, took: Duration) {
        self.phases.get_or_create(&PhaseLabels { dataset: dataset.to_string(), phase: phase.to_owned() }).observe(took.as_secs_f64());
    }

    /// Sets what is looked up of a dataset when metrics are asked for.
    pub fn set_dataset(&self, dataset: &DatasetName, now: DatasetNow) {
        let labels = DatasetLabels { dataset: dataset.to_string() };
        self.datasets.pending.get_or_create(&labels).set(now.pending as i64);
        self.datasets.parked.get_or_create(&labels).set(now.parked as i64);
        self.datasets.owed.get_or_create(&labels).set(now.owed as i64);
        self.datasets.stale.get_or_create(&labels).set(i64::from(now.stale));
        if let Some(age) = now.loaded_age {
            self.datasets.loaded_age.get_or_create(&labels).set(age.as_secs_f64());
        }
    }

    /// Counts a message that was sent by a notifier, or was not.
    pub fn notified(&self, notifier: &str, is_sent: bool) {
        let result = if is_sent { "sent" } else { "failed" };
        self.notifiers.messages.get_or_create(&NoticeLabels { notifier: notifier.to_owned(), result }).inc();
    }

    /// Sets how many messages a notifier has still to send, how many were dropped so far, and whether the last try failed.
    pub fn set_notifier(&self, notifier: &str, owed: usize, dropped: u64, is_failing: bool) {
        let labels = NotifierLabels { notifier: notifier.to_owned() };
        self.notifiers.owed.get_or_create(&labels).set(owed as i64);
        self.notifiers.dropped.get_or_create(&labels).set(i64::try_from(dropped).unwrap_or(i64::MAX));
        self.notifiers.failing.get_or_create(&labels).set(i64::from(is_failing));
    }

    /// The metrics in the [OpenMetrics](https://prometheus.io/docs/specs/om/open_metrics_spec/) text format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

fn register_datasets(registry: &mut Registry) -> (DatasetMetrics, Family<PhaseLabels, Histogram>) {
    let buckets = || Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0]);
    let phases: Family<PhaseLabels, Histogram> = Family::new_with_constructor(buckets);
    let datasets = DatasetMetrics::default();
    registry.register("reloads", "Ended reloads by dataset and outcome", Family::clone(&datasets.reloads));
    registry.register_with_unit("reload_phase", "Duration of the phases of reloads", Unit::Seconds, phases.clone());
    registry.register("dataset_pending_commits", "Local commits that the remote does not have", Family::clone(&datasets.pending));
    registry.register("dataset_parked", "Parked work that waits for a person", Family::clone(&datasets.parked));
    registry.register("dataset_peers_owed", "Peers that have not been told about a commit yet", Family::clone(&datasets.owed));
    registry.register("dataset_stale", "1 while the app serves something older than the checkout", Family::clone(&datasets.stale));
    registry.register_with_unit(
        "dataset_loaded_age",
        "Seconds since the app last loaded new data",
        Unit::Seconds,
        Family::clone(&datasets.loaded_age),
    );
    (datasets, phases)
}

fn register_notifiers(registry: &mut Registry) -> NotifierMetrics {
    let notifiers = NotifierMetrics::default();
    registry.register("notifier_messages", "Messages of notifiers, sent and failed", Family::clone(&notifiers.messages));
    registry.register("notifier_owed", "Messages that a notifier has still to send", Family::clone(&notifiers.owed));
    registry.register("notifier_dropped", "Messages that were dropped, because too many were owed", Family::clone(&notifiers.dropped));
    let failing = "1 while a notifier cannot send, or its service has refused a message";
    registry.register("notifier_failing", failing, Family::clone(&notifiers.failing));
    notifiers
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_event_is_more_than_a_line() {
        let mut log = super::Log(Vec::new());
        std::io::Write::write_all(&mut log, "a \u{1b}[31m\u{202e}b\r\nINFO forged\n".as_bytes()).expect("a vector takes all");
        assert_eq!(String::from_utf8_lossy(&log.0), "a \\u001b[31m\\u202eb\\u000d\\u000aINFO forged\n");
    }
}
