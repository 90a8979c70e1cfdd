"""What Prometheus reads: counts since the start, and the state of the queue at the time of the request."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily

from monai_spine.service.queued_study import OPEN

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

    from monai_spine.service.spool import Spool
    from monai_spine.service.study_queue import StudyQueue

_PREFIX = "monai_spine_"
_BUCKETS = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class Metrics:
    """The metrics of a service."""

    def __init__(self, queue: StudyQueue, spool: Spool) -> None:
        self.registry = CollectorRegistry()

        def counter(name: str, about: str, *labels: str) -> Counter:
            return Counter(f"{_PREFIX}{name}", about, labels, registry=self.registry)

        self.images = counter("images_received", "Images that were stored.")
        self.associations = counter("associations", "Associations that were accepted.")
        self.refused = counter("refused", "Connections and objects that were refused, by the rule.", "rule")
        self.studies = counter("studies_done", "Studies that were graded or refused.", "outcome")
        self.seconds = Histogram(
            f"{_PREFIX}grading_seconds", "Seconds to grade a study.", buckets=_BUCKETS, registry=self.registry
        )
        self.sent = counter("objects_sent", "Objects that the archive confirmed.")
        self.failures = counter("send_failures", "Attempts to send a study that failed.")
        self.registry.register(_QueueCollector(queue, spool))
        ProcessCollector(registry=self.registry)

    def count(self, event: str, word: str) -> None:
        """Count an event of the receiver or of the delivery."""
        if event == "refused":
            self.refused.labels(word).inc()
            return
        counters = {"association": self.associations, "sent": self.sent, "send_failed": self.failures}
        counters[event].inc()


class _QueueCollector:
    def __init__(self, queue: StudyQueue, spool: Spool) -> None:
        self._queue, self._spool = queue, spool

    def collect(self) -> Iterator[GaugeMetricFamily]:
        states = GaugeMetricFamily(f"{_PREFIX}studies", "Studies in the queue, by their state.", labels=["state"])
        for state, count in self._queue.counts().items():
            states.add_metric([state.value], count)
        yield states
        oldest = min((one.created for one in self._queue.studies(*OPEN)), default=time.time())
        age = max(0.0, time.time() - oldest)
        yield GaugeMetricFamily(f"{_PREFIX}oldest_seconds", "Age of the oldest study that is not sent.", value=age)
        yield GaugeMetricFamily(f"{_PREFIX}folder_bytes", "Size of the service's folder.", value=self._spool.used)
        yield GaugeMetricFamily(f"{_PREFIX}free_bytes", "Space that its disk has left.", value=self._spool.free)

    def describe(self) -> list[Collector]:
        """Nothing: what is collected is known only when it is asked for."""
        return []
