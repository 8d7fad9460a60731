"""A stranger beside the load: idle and half-said connections, batches that are none, bombs, names with NUL, producer ids that
are guessed, questions that cost. Nothing of it may be stored, and nobody else may notice.

Whatever of it an agent stored would be a record that nobody sent: the checker finds it."""
import contextlib
import functools
import gzip
import random
import socket
import threading
import time

import grpc

from harness.batch import batch, varint
from harness.rpc import Client, pb

_IDLE_CONNECTIONS = 60
_BOMB_BYTES = 100_000_000  # more than a batch may unfold to
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@functools.cache
def _bomb():
    body = b"\0" + varint(0) + varint(0) + varint(-1) + varint(_BOMB_BYTES) + b"\0" * _BOMB_BYTES + b"\0"
    return batch([b""], codec=1, records=gzip.compress(varint(len(body)) + body, 1))


class Attacker:
    """Attacks one address from `start` to `stop`. `refused` counts what was answered by an error, `stored` what was not."""

    def __init__(self, address, topics, partitions, seed):
        self.address, self.topics, self.partitions = address, topics, partitions
        self.rng = random.Random(f"attacker-{seed}")
        self.refused = self.stored = 0
        self._stopping = threading.Event()
        self._sockets = []
        self._thread = threading.Thread(target=self._run, name="attacker", daemon=True)

    def start(self):
        self._thread.start()
        return self

    def stop(self):
        self._stopping.set()
        self._thread.join(30)
        for connection in self._sockets:
            connection.close()

    def _run(self):
        host, port = self.address.rsplit(":", 1)
        for i in range(_IDLE_CONNECTIONS):
            with contextlib.suppress(OSError):
                connection = socket.create_connection((host, int(port)), timeout=1)
                self._sockets.append(connection)
                connection.sendall((b"", _PREFACE, _PREFACE[:9], b"GET / HTTP/1.1\r\nHost: x\r\n", b"\0" * 400)[i % 5])
        bomb = _bomb()
        with Client(self.address, deadline=2) as client:
            while not self._stopping.wait(0.02):
                self._ask(client, bomb)

    def _ask(self, client, bomb):
        topic, partition = self.rng.choice(self.topics), self.rng.randrange(self.partitions)
        good = batch([b"attacker"], timestamp_ms=int(time.time() * 1000))
        broken = bytearray(good)
        broken[self.rng.randrange(17, len(good))] ^= 1 << self.rng.randrange(8)
        guessed = batch([b"attacker"], timestamp_ms=int(time.time() * 1000), producer_id=self.rng.randrange(1 << 40),
                        producer_epoch=0, base_sequence=self.rng.randrange(10))
        question = self.rng.choice([
            lambda: self._produce(client, topic, partition, bytes(broken)),
            lambda: self._produce(client, topic, partition, guessed),
            lambda: self._produce(client, topic, partition, bomb),
            lambda: self._produce(client, topic + "\0x", partition, good),
            lambda: client._Metadata(pb.MetadataRequest(topics=[topic] * 2000), timeout=2),
            lambda: client._Fetch(pb.FetchRequest(max_wait_ms=100, partitions=[
                pb.FetchPartition(topic=topic, partition=partition, offset=self.rng.choice([-1, 1 << 62]))]), timeout=2)])
        with contextlib.suppress(grpc.RpcError):
            question()

    def _produce(self, client, topic, partition, batches):
        try:
            result = client._Produce(pb.ProduceRequest(partitions=[
                pb.ProducePartition(topic=topic, partition=partition, batches=batches)]), timeout=2).results[0]
        except grpc.RpcError:
            self.refused += 1
            return
        if result.HasField("error"):
            self.refused += 1
        else:
            self.stored += 1
