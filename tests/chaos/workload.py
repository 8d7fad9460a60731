"""Producers and consumers that write down what they did and saw. They speak gRPC through Debian's grpcio and build their
batches themselves, so nothing of the product judges itself.

A producer keeps one batch in flight per partition. With a producer id and sequence numbers it sends a batch again until it
knows the outcome; without, it gives up on a batch whose outcome is unknown.
"""
import random
import threading
import time

import grpc

from chaos.history import FAILED, OK, UNKNOWN, Fetch, Produce, Refusal
from harness.batch import batch
from harness.rpc import Client, pb

_CALL_SECONDS = 3
# Answers that were decided before anything was stored. Every other failure leaves the outcome open.
_REFUSED = (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.RESOURCE_EXHAUSTED)
_FORGOTTEN = ("OUT_OF_ORDER_SEQUENCE", "UNKNOWN_PRODUCER_ID", "INVALID_PRODUCER_EPOCH")
_LATER = 0.05


class Directory:
    """Who owns what, asked of any agent that answers. Shared by all workers of one run."""

    def __init__(self, addresses):
        self.addresses = list(addresses)
        self._lock = threading.Lock()
        self._clients = {}
        self._owners = {}

    def client(self, address):
        with self._lock:
            if address not in self._clients:
                self._clients[address] = Client(address, deadline=_CALL_SECONDS)
            return self._clients[address]

    def any(self, rng):
        return self.client(rng.choice(self.addresses))

    def owner(self, topic, partition, rng):
        """The client to send to; any agent where no owner is known."""
        with self._lock:
            known = self._owners.get((topic, partition))
        return self.client(known[1]) if known else self.any(rng)

    def learn(self, topic, partition, owner):
        """A client never turns to an owner of a lower epoch than it has seen."""
        with self._lock:
            known = self._owners.get((topic, partition))
            if owner.address and (known is None or owner.epoch >= known[0]):
                self._owners[topic, partition] = (owner.epoch, owner.address)

    def refresh(self, topic, rng):
        try:
            answer = self.any(rng)._Metadata(pb.MetadataRequest(topics=[topic]), timeout=_CALL_SECONDS)
        except grpc.RpcError:
            return
        for found in answer.topics:
            for partition in found.partitions:
                if partition.HasField("owner"):
                    self.learn(topic, partition.partition, partition.owner)

    def close(self):
        for client in self._clients.values():
            client.close()


class Worker:
    """A thread that ends when told to."""

    def __init__(self, name, directory, history, seed):
        self.name, self.directory, self.history = name, directory, history
        self.rng = random.Random(f"{seed}-{name}")
        self.stopping = threading.Event()
        self.failure = None
        self._thread = threading.Thread(target=self._guarded, name=name, daemon=True)

    def start(self):
        self._thread.start()
        return self

    def stop(self):
        self.stopping.set()

    def join(self, seconds):
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"{self.name} does not end"
        if self.failure:
            raise self.failure

    def _guarded(self):
        try:
            self.run()
        except Exception as failure:  # told by join()
            self.failure = failure


class Producer(Worker):
    """`give_up` is set when retries should end: what is still open then is of unknown outcome."""

    def __init__(self, name, directory, history, seed, topic, partitions, idempotent=True, recuts=False, batch_records=5,
                 pause_s=0.0):
        super().__init__(name, directory, history, seed)
        self.topic, self.partitions = topic, partitions
        self.idempotent, self.recuts, self.batch_records, self.pause_s = idempotent, recuts, batch_records, pause_s
        self.give_up = threading.Event()
        self.producer_id, self.sequences, self.count = -1, {}, 0

    def run(self):
        while not self.stopping.is_set():
            if self.idempotent and self.producer_id < 0 and not self.introduce():
                continue
            self.send_one(self.rng.choice(self.partitions))
            self.stopping.wait(self.pause_s)

    def introduce(self):
        """Get a producer id; the sequences begin anew."""
        try:
            answer = self.directory.any(self.rng)._InitProducer(pb.InitProducerRequest(), timeout=_CALL_SECONDS)
        except grpc.RpcError:
            self.stopping.wait(_LATER)
            return False
        self.producer_id, self.producer_epoch, self.sequences = answer.producer_id, answer.producer_epoch, {}
        return True

    def send_one(self, partition):
        values = [f"{self.name}-{partition}-{self.count + i}" for i in range(self.rng.randint(1, self.batch_records))]
        self.count += len(values)
        started = time.monotonic()
        while values:
            event = Produce(self.name, f"{self.topic}/{partition}", values, UNKNOWN, idempotent=self.idempotent, started=started)
            values = self.deliver(event, partition)
            event.ended = time.monotonic()
            self.history.add(event)
            if event.outcome == OK:
                self.sequences[partition] = self.sequences.get(partition, 0) + len(event.values)
                continue
            if values:  # sent once, with the rest
                self.history.add(Produce(self.name, event.partition, values, UNKNOWN, started=started, ended=time.monotonic()))
            if self.idempotent:
                self.producer_id = -1  # whatever of it is under way must not be taken for the next batch
            self.stopping.wait(_LATER)
            return

    def request(self, partition, values):
        sequence = self.sequences.get(partition, 0)
        fields = {"first_unacked_seq": sequence} if self.idempotent else {}
        return pb.ProduceRequest(partitions=[pb.ProducePartition(
            topic=self.topic, partition=partition, batches=self.encode(values, sequence), **fields)])

    def encode(self, values, sequence):
        encoded = [v.encode() for v in values]
        if not self.idempotent:
            return batch(encoded, timestamp_ms=int(time.time() * 1000))
        return batch(encoded, timestamp_ms=int(time.time() * 1000), producer_id=self.producer_id,
                     producer_epoch=self.producer_epoch, base_sequence=sequence)

    def deliver(self, event, partition):
        """Send until the outcome is known, or nobody wants to wait for it any more. One that `recuts` sends less when it
        sends again, as clients do whose batches are made anew: returns the values that are left for the next batch."""
        maybe_stored, left = False, []
        request = self.request(partition, event.values)
        while True:
            code, error, result = self.attempt(request, partition)
            if result is not None:
                event.outcome, event.base_offset, event.epoch = OK, result.base_offset, result.epoch
                return left
            if error.HasField("owner"):
                self.directory.learn(self.topic, partition, error.owner)
            if error.reason in _FORGOTTEN:
                self.history.add(Refusal(self.name, event.partition, error.reason, event.values[0], error.message))
            maybe_stored = maybe_stored or code not in _REFUSED
            if self.give_up.is_set() or (maybe_stored and not self.idempotent) or error.reason in _FORGOTTEN:
                event.outcome = UNKNOWN if maybe_stored else FAILED
                return left
            # Once: of two cuts the first may be stored, and what follows the second would overlap it.
            if self.recuts and not left and len(event.values) > 1:
                cut = self.rng.randint(1, len(event.values) - 1)
                event.values, left = event.values[:cut], event.values[cut:] + left
                request = self.request(partition, event.values)
            self.directory.refresh(self.topic, self.rng)
            self.give_up.wait(_LATER)

    def attempt(self, request, partition):
        """(status, PartitionError, None) or (None, None, ProduceResult)"""
        client = self.directory.owner(self.topic, partition, self.rng)
        try:
            result = client._Produce(request, timeout=_CALL_SECONDS).results[0]
        except grpc.RpcError as failure:
            detail = dict(failure.trailing_metadata() or ()).get("streamhouse-error-bin", b"")
            return failure.code(), pb.PartitionError.FromString(detail), None
        if result.HasField("error"):
            codes = {code.value[0]: code for code in grpc.StatusCode}
            return codes[result.error.code], result.error, None
        return None, None, result


class Consumer(Worker):
    """Follows one partition from its start; begins again from the start now and then, as a new reader would."""

    def __init__(self, name, directory, history, seed, topic, partition, from_start_again=0.02):
        super().__init__(name, directory, history, seed)
        self.topic, self.partition, self.again = topic, partition, from_start_again

    def run(self):
        offset = 0
        while not self.stopping.is_set():
            if offset and self.rng.random() < self.again:
                offset = 0
            offset = self.read(offset)

    def read(self, offset):
        request = pb.FetchRequest(max_wait_ms=300, min_bytes=1, max_bytes=self.rng.choice([2000, 20000, 0]), decode=True)
        request.partitions.add(topic=self.topic, partition=self.partition, offset=offset)
        client = self.directory.owner(self.topic, self.partition, self.rng) if self.rng.random() < 0.7 else self.directory.any(self.rng)
        try:
            result = client._Fetch(request, timeout=_CALL_SECONDS).results[0]
        except grpc.RpcError:
            return self.elsewhere(offset)
        if result.HasField("error"):
            if result.error.HasField("owner"):
                self.directory.learn(self.topic, self.partition, result.error.owner)
            return self.elsewhere(offset)
        self.history.add(Fetch(self.name, f"{self.topic}/{self.partition}", offset,
                               [[r.offset, r.value.decode()] for r in result.records], result.next_offset, time.monotonic()))
        return result.next_offset

    def elsewhere(self, offset):
        self.directory.refresh(self.topic, self.rng)
        self.stopping.wait(_LATER)
        return offset
