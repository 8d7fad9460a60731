"""A proxy in front of an S3 server that makes it unwell: too busy, slow, forgetful, gone. Controlled while it runs.

    proxy = S3Proxy(endpoint)              # agents get proxy.endpoint as s3_endpoint
    proxy.limit("put", 50)                 # 503 SlowDown to PUTs beyond 50 a second; None: no limit
    proxy.slow("get", 0.2)                 # each GET takes so many seconds longer, or with share=0.02 one in fifty
    proxy.fault("put", "lose_reply", 3)    # the next three: see ACTIONS; count None: all, until clear()
    proxy.fault("get", "truncate", share=0.1)
    proxy.leave() ... proxy.come_back()    # connections are cut and refused meanwhile
    proxy.clear()                          # well again (but it does not come back by that)
    proxy.count("put", "refused")          # what became of requests: passed, refused, or an action's name
    proxy.close()

Kinds are put (uploads of parts too), get, head, delete, list, post, and "any". Requests go on unchanged, so signatures
hold. One thread a connection.
"""
import collections
import random
import socket
import ssl
import threading
import time
import urllib.parse

ACTIONS = {
    "cut": "the connection ends before the request is passed on",
    "error": "500 InternalError, not passed on",
    "slow_down": "503 SlowDown, not passed on",
    "lose_reply": "passed on and answered, and the connection ends without the answer",
    "truncate": "the answer's body ends half way, and the connection with it",
    "flip": "one bit of the answer's body is another one",
    "hang": "no answer, until the client goes",
    "page_404": "404 with a page of HTML, not passed on",
    "page_200": "200 with a page of HTML, not passed on",
    "no_bucket": "404 NoSuchBucket, not passed on",
    "no_user": "404 XAdminUserNotFound, not passed on",
}
BURST_S = 0.1  # tokens are saved for so long
_CUT = b""


class S3Proxy:
    def __init__(self, upstream, seed=1, port=0, tls=None):
        """`tls`: (certificate, key), files of PEM, to be asked over TLS."""
        parts = urllib.parse.urlsplit(upstream)
        self._upstream = (parts.hostname, parts.port or 80)
        self._random = random.Random(seed)
        self._tls = None
        if tls:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*tls)
        self._lock = threading.Lock()  # guards all below
        self._limits, self._delays, self._faults = {}, {}, []
        self._counts = collections.Counter()
        self._connections = set()
        self._listener = self._listen(port)
        self.port = self._listener.getsockname()[1]
        self.endpoint = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"

    # --- what is wrong with it

    def limit(self, kind, rate):
        with self._lock:
            if rate is None:
                self._limits.pop(kind, None)
            else:
                self._limits[kind] = _Bucket(rate)

    def slow(self, kind, seconds, share=1.0):
        with self._lock:
            self._delays[kind] = (seconds, share)

    def fault(self, kind, action, count=None, share=1.0):
        assert action in ACTIONS, action
        with self._lock:
            self._faults.append(_Fault(kind, action, count, share))

    def clear(self):
        with self._lock:
            self._limits, self._delays, self._faults = {}, {}, []

    def leave(self):
        """Refuse and cut all connections."""
        with self._lock:
            listener, self._listener = self._listener, None
            connections = list(self._connections)
        _end(listener)
        for connection in connections:
            _end(connection)

    def come_back(self):
        with self._lock:
            self._listener = self._listen(self.port)

    def close(self):
        if self._listener:
            self.leave()

    def count(self, kind, outcome):
        with self._lock:
            return self._counts[kind, outcome]

    # --- connections

    def _listen(self, port):
        listener = socket.create_server(("127.0.0.1", port), backlog=128)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                if self._listener is not listener:
                    connection.close()
                    return
                self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        upstream = None
        try:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb") as reader:
                while request := _Request.read(connection, reader):
                    outcome, action = self._decide(request.kind)
                    if action == "hang":
                        connection.recv(1)
                        answer = _CUT
                    elif action == "cut" or action in _REFUSALS:
                        answer = _REFUSALS.get(action, _CUT)
                    else:
                        upstream = upstream or socket.create_connection(self._upstream)
                        answer = _spoil(request.pass_on(upstream), action, self._random)
                    self._note(request.kind, outcome)
                    if answer:
                        connection.sendall(answer)
                    if not answer or action == "truncate":
                        return
        except OSError:
            pass  # one of the two has gone
        finally:
            if upstream:
                upstream.close()
            with self._lock:
                self._connections.discard(connection)

    def _decide(self, kind):
        """What becomes of a request: its outcome's name, and the action that spoils it or None."""
        with self._lock:
            seconds, share = self._delays.get(kind) or self._delays.get("any") or (0, 0)
            delay = seconds if self._random.random() < share else 0
            action = next((f.action for f in self._faults if f.strikes(kind, self._random)), None)
            outcome = action or "passed"
            bucket = self._limits.get(kind) or self._limits.get("any")
            if action is None and bucket and not bucket.take():
                outcome, action = "refused", "slow_down"
        if delay:
            time.sleep(delay)
        return outcome, action

    def _note(self, kind, outcome):
        with self._lock:
            self._counts[kind, outcome] += 1


class _Bucket:
    def __init__(self, rate):
        self.rate, self.tokens, self.filled = rate, 1.0, time.monotonic()

    def take(self):
        now = time.monotonic()
        self.tokens = min(self.tokens + (now - self.filled) * self.rate, 1 + self.rate * BURST_S)
        self.filled = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class _Fault:
    def __init__(self, kind, action, count, share):
        self.kind, self.action, self.count, self.share = kind, action, count, share

    def strikes(self, kind, dice):
        if self.kind not in (kind, "any") or self.count == 0 or dice.random() >= self.share:
            return False
        if self.count is not None:
            self.count -= 1
        return True


class _Request:
    def __init__(self, method, target, head, body):
        self.method, self.head, self.body = method, head, body
        self.kind = "list" if method == "GET" and "list-type=" in target else method.lower()

    @classmethod
    def read(cls, connection, reader):
        """The next request; None when there is no more."""
        start, head, headers = _read_head(reader)
        if not start:
            return None
        method, target, _ = start.split(" ", 2)
        if headers.pop("expect", None):  # answered here, and not passed on
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            head = b"\r\n".join(line for line in head.split(b"\r\n") if not line.lower().startswith(b"expect:"))
        return cls(method, target, head, _read_exactly(reader, int(headers.get("content-length", 0))))

    def pass_on(self, upstream):
        """The server's whole answer."""
        upstream.sendall(self.head + self.body)
        with upstream.makefile("rb") as reader:
            start, head, headers = _read_head(reader)
            if not start:
                raise ConnectionError("the server has gone")
            code = int(start.split(" ")[1])
            if self.method == "HEAD" or code in (204, 304):
                return head
            if headers.get("transfer-encoding", "").lower() == "chunked":
                return head + _read_chunked(reader)
            return head + _read_exactly(reader, int(headers.get("content-length", 0)))


def _spoil(answer, action, dice):
    if action == "lose_reply":
        return _CUT
    if action == "flip":
        body = answer.index(b"\r\n\r\n") + 4
        if body == len(answer):
            return answer
        at = dice.randrange(body, len(answer))
        return answer[:at] + bytes([answer[at] ^ 1 << dice.randrange(8)]) + answer[at + 1:]
    if action == "truncate":
        head_bytes = answer.index(b"\r\n\r\n") + 4
        return answer[:head_bytes + (len(answer) - head_bytes) // 2]
    return answer


def _read_head(reader):
    """(first line, raw bytes, headers in lower case); an empty first line at the connection's end."""
    raw, headers, start = b"", {}, ""
    while line := reader.readline(65536):
        raw += line
        text = line.decode("latin-1").rstrip("\r\n")
        if not start:
            start = text
        elif not text:
            return start, raw, headers
        else:
            name, _, value = text.partition(":")
            headers[name.strip().lower()] = value.strip()
    return "", raw, headers


def _read_exactly(reader, length):
    data = reader.read(length)
    if len(data) < length:
        raise ConnectionError("cut off")
    return data


def _read_chunked(reader):
    raw = b""
    while True:
        line = reader.readline()
        raw += line
        length = int(line.split(b";")[0], 16)
        raw += _read_exactly(reader, length + 2)
        if length == 0:
            return raw


def _refusal(status, code):
    body = f"<Error><Code>{code}</Code></Error>"
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def _page(status):
    body = "<html><body>Something stands between you and the server.</body></html>"
    return f"HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


_REFUSALS = {
    "error": _refusal("500 Internal Server Error", "InternalError"),
    "slow_down": _refusal("503 Slow Down", "SlowDown"),
    "no_bucket": _refusal("404 Not Found", "NoSuchBucket"),
    "no_user": _refusal("404 Not Found", "XAdminUserNotFound"),
    "page_404": _page("404 Not Found"),
    "page_200": _page("200 OK"),
}


def _end(connection):
    """Wake whoever reads or accepts there, and close."""
    if connection is None:
        return
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    connection.close()
