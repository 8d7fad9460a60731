"""Record batches by hand, from the Kafka protocol guide: a second opinion on the format, and a source of bad ones."""
import gzip
import struct

_POLYNOMIAL = 0x82F63B78
_TABLE = []
for _n in range(256):
    _c = _n
    for _ in range(8):
        _c = (_c >> 1) ^ _POLYNOMIAL if _c & 1 else _c >> 1
    _TABLE.append(_c)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def varint(value):
    """Zigzag, base 128."""
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(data):
    return varint(-1) if data is None else varint(len(data)) + data


def record(index, key, value):
    body = b"\0" + varint(0) + varint(index) + _field(key) + _field(value) + varint(0)
    return varint(len(body)) + body


def batch(values, timestamp_ms=1_600_000_000_000, codec=0, magic=2, attributes=0, count=None, records=None, crc=None,
          producer_id=-1, producer_epoch=0, base_sequence=0, newest_delta_ms=0):
    """A batch of (key, value) pairs or of plain values, with codec 0 (none) or 1 (gzip); with a producer id it is an
    idempotent producer's. The other arguments make it wrong: `records` is taken as it is, compressed or not."""
    pairs = [v if isinstance(v, tuple) else (None, v) for v in values]
    if records is None:
        records = b"".join(record(i, k, v) for i, (k, v) in enumerate(pairs))
        if codec == 1:
            records = gzip.compress(records)
    count = len(pairs) if count is None else count
    first = (-1, -1) if producer_id < 0 else (producer_epoch, base_sequence)
    covered = struct.pack(">hiqqqhii", attributes | codec, count - 1, timestamp_ms, timestamp_ms + newest_delta_ms, producer_id, *first, count) + records
    head = struct.pack(">ibI", 0, magic, crc32c(covered) if crc is None else crc)
    return struct.pack(">qi", 0, len(head) + len(covered)) + head + covered
