"""A client of gRPC in hand-written HTTP/2, for what no gRPC client does: requests that are not sent to their end."""
import socket
import struct
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
CANCEL = struct.pack(">I", 8)
END_STREAM, END_HEADERS, ACK = 1, 4, 1
FRAME_BYTES_MAX = 16384


def _frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _headers(path):
    """HPACK: indexed fields, and literals that are not indexed."""
    def text(value):
        assert len(value) < 127
        return bytes([len(value)]) + value.encode()
    return (b"\x83\x86\x04" + text(path) + b"\x01" + text("test") + b"\x0f\x10" + text("application/grpc")
            + b"\x00" + text("te") + text("trailers"))


class Http2:
    def __init__(self, address, source="127.0.0.1", takes_answers=True):
        """From an address of this host; without `takes_answers` it gives the server no window to send data in."""
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=20, source_address=(source, 0))
        self.socket.sendall(PREFACE + _frame(SETTINGS, 0, 0, b"" if takes_answers else struct.pack(">HI", 4, 0)))
        self.window = 65535
        self.initial_window = 65535
        self.windows = {}
        self.received = b""
        self.next_stream = 1
        self.closed = False

    def close(self):
        self.socket.close()

    def open(self, path):
        """Begin a call, and send nothing of its request."""
        stream = self.next_stream
        self.next_stream += 2
        self.windows[stream] = self.initial_window
        self.socket.sendall(_frame(HEADERS, END_HEADERS, stream, _headers(path)))
        return stream

    def give_up(self, path, calls):
        """Begin calls and reset each at once."""
        frames = []
        for _ in range(calls):
            frames += [_frame(HEADERS, END_HEADERS, self.next_stream, _headers(path)), _frame(RST_STREAM, 0, self.next_stream, CANCEL)]
            self.next_stream += 2
        self.socket.sendall(b"".join(frames))
        self._read(0)

    def open_for_ever(self, path):
        """Begin a call whose headers do not end."""
        stream = self.next_stream
        self.next_stream += 2
        self.socket.sendall(_frame(HEADERS, 0, stream, _headers(path)))
        return stream

    def more_headers(self, stream, block):
        self.socket.sendall(_frame(CONTINUATION, 0, stream, block))
        self._read(0)

    def send(self, stream, data, seconds=20):
        """Send data of a stream as the server lets it in; how much got through before time was over, or the server
        had enough."""
        deadline = time.monotonic() + seconds
        sent = 0
        try:
            while sent < len(data) and stream in self.windows:
                room = min(self.window, self.windows[stream], FRAME_BYTES_MAX, len(data) - sent)
                if room > 0:
                    self.socket.sendall(_frame(DATA, 0, stream, data[sent:sent + room]))
                    sent += room
                    self.window -= room
                    self.windows[stream] -= room
                if not self._read(0 if room > 0 else deadline - time.monotonic()):
                    break
        except OSError:
            self.closed = True
        return sent

    def send_last(self, stream, data):
        """Send what fits the first window, as the end of the request."""
        self.socket.sendall(_frame(DATA, END_STREAM, stream, data))

    def _read(self, seconds):
        """Take what has come; False when time was over or the server has closed the connection."""
        self.socket.settimeout(max(seconds, 0.0001))
        try:
            data = self.socket.recv(65536)
        except (TimeoutError, BlockingIOError):
            return seconds <= 0
        finally:
            self.socket.settimeout(20)
        if not data:
            self.closed = True
            return False
        self.received += data
        while len(self.received) >= 9:
            length = int.from_bytes(self.received[:3], "big")
            if len(self.received) < 9 + length:
                break
            kind, flags = self.received[3:5]
            stream = int.from_bytes(self.received[5:9], "big")
            self._take(kind, flags, stream, self.received[9:9 + length])
            self.received = self.received[9 + length:]
        return True

    def _take(self, kind, flags, stream, payload):
        if kind == SETTINGS and not flags & ACK:
            for at in range(0, len(payload), 6):
                name, value = struct.unpack(">HI", payload[at:at + 6])
                if name == 4:
                    for one in self.windows:
                        self.windows[one] += value - self.initial_window
                    self.initial_window = value
            self.socket.sendall(_frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.socket.sendall(_frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE and stream == 0:
            self.window += int.from_bytes(payload, "big")
        elif kind == WINDOW_UPDATE and stream in self.windows:
            self.windows[stream] += int.from_bytes(payload, "big")
        elif kind == RST_STREAM or (kind == HEADERS and flags & END_STREAM):
            self.windows.pop(stream, None)
