"""A small ext4 disk of its own that can fill up and lose power. Needs root."""
import fcntl
import os
import pathlib
import subprocess

_FS_IOC_GOINGDOWN = 0x8004587D
_NOTHING_MORE_IS_WRITTEN = 2  # not even the journal: as when the power fails


class LoopDisk:
    def __init__(self, directory, megabytes=160):
        directory = pathlib.Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        self.image, self.path = directory / "disk.img", directory / "disk"
        self.path.mkdir()
        with open(self.image, "wb") as image:
            image.truncate(megabytes << 20)
        _run("mkfs.ext4", "-q", "-F", "-O", "^metadata_csum", self.image)
        self._mount()

    def lose_power(self):
        """From now on nothing reaches the disk; what was not synced is gone once power returns."""
        handle = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, _FS_IOC_GOINGDOWN, _NOTHING_MORE_IS_WRITTEN.to_bytes(4, "little"))
        finally:
            os.close(handle)

    def restore_power(self):
        """The disk as it was left, on a device of its own: a mount namespace made meanwhile may still hold the old one."""
        copy = self.image.with_suffix(".copy")
        _run("cp", "--sparse=always", self.image, copy)
        _run("umount", "-l", self.path)
        copy.replace(self.image)
        self._mount()

    def fill(self):
        """Leave no free block, whoever asks; again, take what has become free since."""
        block = b"\0" * (1 << 20)
        with open(self.path / "filler", "ab", buffering=0) as filler:
            for size in (1 << 20, 4096):
                try:
                    while filler.write(block[:size]):
                        pass
                except OSError:
                    pass

    def clear(self):
        (self.path / "filler").unlink(missing_ok=True)

    def close(self):
        subprocess.run(["umount", "-l", str(self.path)], stderr=subprocess.DEVNULL, check=False)
        self.image.unlink(missing_ok=True)

    def _mount(self):
        _run("mount", "-o", "loop", self.image, self.path)


def _run(*command):
    subprocess.run([str(c) for c in command], check=True, stdout=subprocess.DEVNULL, timeout=60)
