"""What Prometheus is told. No label has a value that pods can choose."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from pylxcfs.webhook.patch import Decision

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
#: Around what a review takes; the API server gives up after the configuration's timeoutSeconds.
_BUCKETS_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class Metrics:
    """The counters of one process."""

    def __init__(self) -> None:
        """Start all at zero, in a registry of our own."""
        self._registry = CollectorRegistry()
        self.reviews = Counter(
            "pylxcfs_webhook_reviews",
            "Reviews answered, by outcome.",
            ("reason",),
            registry=self._registry,
        )
        self.conflicts = Counter(
            "pylxcfs_webhook_conflicts",
            "Files left out because a container has a mount of its own there.",
            registry=self._registry,
        )
        self.review_seconds = Histogram(
            "pylxcfs_webhook_review_seconds",
            "From a review's last byte to the answer.",
            buckets=_BUCKETS_SECONDS,
            registry=self._registry,
        )
        self.refused = Counter(
            "pylxcfs_webhook_refused_requests",
            "HTTP requests that are no reviews, by status.",
            ("status",),
            registry=self._registry,
        )
        self.certificate_expiry = Gauge(
            "pylxcfs_webhook_certificate_expiry_timestamp_seconds",
            "When the certificate in use ends; 0 while there is none.",
            registry=self._registry,
        )
        self.certificate_loads = Counter(
            "pylxcfs_webhook_certificate_loads",
            "Certificates taken into use.",
            registry=self._registry,
        )
        self.certificate_errors = Counter(
            "pylxcfs_webhook_certificate_errors",
            "Failed attempts to read, renew or publish certificates.",
            registry=self._registry,
        )

    def reviewed(self, decision: Decision, seconds: float) -> None:
        """Count a review."""
        self.reviews.labels(decision.reason.value).inc()
        self.conflicts.inc(decision.conflicts)
        self.review_seconds.observe(seconds)

    def exposition(self) -> bytes:
        """Return all in Prometheus' text format."""
        return generate_latest(self._registry)
