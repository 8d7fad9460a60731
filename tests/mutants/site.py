"""One mutation: bytes of a file that are replaced."""
import dataclasses
import pathlib


@dataclasses.dataclass(frozen=True)
class Site:
    path: pathlib.Path  # below the root of the tree
    start: int  # bytes
    end: int
    new: str
    what: str  # in words

    def line(self, root=pathlib.Path(".")):
        """The number and the text of the line it stands in."""
        text = (root / self.path).read_bytes()
        number = text.count(b"\n", 0, self.start)
        return number + 1, text.splitlines()[number].decode().strip()

    def apply(self, root):
        """Writes the mutation; returns the bytes as they were."""
        path = root / self.path
        before = path.read_bytes()
        path.write_bytes(before[:self.start] + self.new.encode() + before[self.end:])
        return before

    def key(self, root=pathlib.Path(".")):
        """What equivalent.txt calls it: holds as long as the line and what is done to it stay the same."""
        return f"{self.path} | {self.line(root)[1]} | {self.what}"
