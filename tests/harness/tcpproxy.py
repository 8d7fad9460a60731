"""A TCP proxy on a free port of 127.0.0.1 that can cut, silence and slow what goes through it: a network between two
processes. All of them share one thread."""
import asyncio
import threading


class _Loop:
    """The event loop of all proxies, in a thread of its own."""
    _instance = None

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="tcpproxy", daemon=True).start()

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout=30)

    @classmethod
    def get(cls):
        if cls._instance is None:
            cls._instance = cls()
        return cls._instance


class TcpProxy:
    """Forwards to `target` ("host:port"), which may change or be absent while it runs."""

    def __init__(self, target=None):
        self.target = target
        self._loop = _Loop.get()
        self._open = set()
        self._flowing = None
        self._refusing = False
        self.delay_s = 0.0
        self._server = self._loop.run(self._start())
        self.port = self._server.sockets[0].getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"

    async def _start(self):
        self._flowing = asyncio.Event()
        self._flowing.set()
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    # --- faults

    def cut(self):
        """Break what is open and refuse what comes."""
        self._refusing = True
        self._loop.run(self._break())

    def silence(self):
        """Connections stay, or are taken; nothing passes any more, as when packets are lost."""
        self._loop.run(self._set(False))

    def slow(self, seconds):
        """Hold each piece back for so long."""
        self.delay_s = seconds

    def heal(self):
        self._refusing = False
        self.delay_s = 0.0
        self._loop.run(self._set(True))

    def close(self):
        self._refusing = True
        self._loop.run(self._break())
        self._loop.loop.call_soon_threadsafe(self._server.close)

    # --- the work

    async def _set(self, flowing):
        self._flowing.set() if flowing else self._flowing.clear()

    async def _break(self):
        self._flowing.set()
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader, writer):
        if self._refusing or self.target is None:
            writer.transport.abort()
            return
        try:
            host, port = self.target.rsplit(":", 1)
            up_reader, up_writer = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, up_writer}
        try:
            await asyncio.gather(self._pump(reader, up_writer), self._pump(up_reader, writer))
        finally:
            for end in (writer, up_writer):
                self._open.discard(end)
                end.transport.abort()

    async def _pump(self, reader, writer):
        try:
            while data := await reader.read(65536):
                await self._flowing.wait()
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                writer.write(data)
                await writer.drain()
            writer.write_eof()
        except (OSError, RuntimeError):
            writer.transport.abort()
