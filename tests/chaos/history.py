"""What clients did and saw: the events that the checker judges, kept in memory and written as JSON lines.

Times are seconds of the monotonic clock. A partition is named by its key, such as "orders/3". Every value that a
workload sends is unique, so a value names one record of one producer.
"""
import dataclasses
import json
import threading

OK = "ok"            # acknowledged at base_offset
FAILED = "failed"    # refused: nothing of it was stored
UNKNOWN = "unknown"  # no answer, or one that leaves the outcome open


@dataclasses.dataclass
class Produce:
    """One batch and what became of it after all of its retries."""
    producer: str
    partition: str
    values: list
    outcome: str
    base_offset: int = -1
    epoch: int = -1
    idempotent: bool = True
    started: float = 0.0
    ended: float = 0.0


@dataclasses.dataclass
class Refusal:
    """A producer with one batch in flight was told that its sequence does not fit: somebody forgot what it had sent."""
    producer: str
    partition: str
    reason: str
    value: str
    message: str


@dataclasses.dataclass
class Fetch:
    """One answer to a reader: records in the order in which they came. The reader asked from `start` and was told to
    go on at `next_offset`."""
    consumer: str
    partition: str
    start: int
    records: list  # [offset, value]
    next_offset: int
    time: float = 0.0


@dataclasses.dataclass
class Forced:
    """An operator's force_seal, or an orphan_timeout: acknowledged offsets in [first, limit) may have moved to a new
    offset, and are absent while the disk that holds them is away."""
    partition: str
    epoch: int
    first: int
    limit: int
    disk_returned: bool = True
    since: float = float("inf")  # when it was known that the epoch had been ended


@dataclasses.dataclass
class PowerCut:
    """A power cut under a policy weaker than `always`: what was acknowledged in epochs of that agent after `since` may
    be gone."""
    partition: str
    epoch: int
    since: float
    until: float


_KINDS = {kind.__name__: kind for kind in (Produce, Refusal, Fetch, Forced, PowerCut)}


class History:
    def __init__(self, path=None):
        self.events = []
        self._lock = threading.Lock()
        self._file = open(path, "w", encoding="utf-8") if path else None

    def add(self, event):
        with self._lock:
            self.events.append(event)
            if self._file:
                self._file.write(json.dumps({"kind": type(event).__name__, **dataclasses.asdict(event)}) + "\n")

    def close(self):
        if self._file:
            self._file.close()

    def of(self, kind):
        return [e for e in self.events if isinstance(e, kind)]

    @staticmethod
    def load(path):
        history = History()
        for line in open(path, encoding="utf-8"):
            fields = json.loads(line)
            history.events.append(_KINDS[fields.pop("kind")](**fields))
        return history
