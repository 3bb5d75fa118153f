//! Metrics of looks at services.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use prometheus_client::registry::Unit;

use crate::model::ServiceName;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LookLabels {
    service: String,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabels {
    service: String,
}

/// Metrics of looks.
#[derive(Debug, Default)]
pub struct LookMetrics {
    looks: Family<LookLabels, Counter>,
    latency: Family<ServiceLabels, Gauge<f64, AtomicU64>>,
    open: Family<ServiceLabels, Gauge>,
}

impl LookMetrics {
    /// All of them at zero.
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let looks = Self::default();
        registry.register("looks", "Looks at services by service and result", Family::clone(&looks.looks));
        registry.register_with_unit(
            "page_latency",
            "How long the page took to answer in the last look",
            Unit::Seconds,
            Family::clone(&looks.latency),
        );
        registry.register("incidents_open", "Open incidents by service", Family::clone(&looks.open));
        looks
    }

    /// Counts a look at `service`, and sets how long its page took to answer.
    pub fn count(&self, service: &ServiceName, result: &'static str, latency_ms: Option<u64>) {
        self.looks.get_or_create(&LookLabels { service: service.to_string(), result }).inc();
        if let Some(latency_ms) = latency_ms {
            self.latency.get_or_create(&ServiceLabels { service: service.to_string() }).set(latency_ms as f64 / 1000.0);
        }
    }

    /// Sets how many incidents of `service` are open.
    pub fn set_open(&self, service: &ServiceName, open: usize) {
        self.open.get_or_create(&ServiceLabels { service: service.to_string() }).set(open as i64);
    }
}
