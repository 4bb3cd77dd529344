"""How many calls of each kind ended how, and how long they took, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40)
"""The upper end is a pay that waits for its buyer: 35 s and a little."""


class Metrics:
    """The edge's counters, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._calls = Counter(
            "paymux_calls",
            "Calls answered, by name and by the code that counts.",
            ("call", "outcome"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "paymux_call_seconds",
            "Time from the whole request to the whole reply.",
            ("call",),
            registry=self.registry,
            buckets=_SECONDS,
        )
        # Finding a labelled counter costs more than counting; there are as few as there are codes.
        self._kept: dict[tuple[str, str], tuple[Counter, Histogram]] = {}

    def count(self, call: str, outcome: str, *, took_ms: int) -> None:
        """Note one answered call."""
        kept = self._kept.get((call, outcome))
        if kept is None:
            kept = (self._calls.labels(call, outcome), self._seconds.labels(call))
            self._kept[call, outcome] = kept
        counter, seconds = kept
        counter.inc()
        seconds.observe(took_ms / 1000)

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self.registry)
