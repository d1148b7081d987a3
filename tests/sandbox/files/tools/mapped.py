"""A file that one program has mapped and written, copied by another while it still is: every way to copy has the bytes."""
import mmap, os, subprocess, sys

SIZE = 1 << 16


def text(path):
    with open(path, "rb") as file:
        return file.read()


def reading(reader):
    """A way that has the file open."""

    def way(name):
        with open(name, "rb") as source:
            return reader(source.fileno())

    return way


def whole(file):
    return b"".join(iter(lambda: os.read(file, 1 << 14), b""))


def sendfile(file):
    with open("copy", "wb") as copy:
        while os.sendfile(copy.fileno(), file, None, SIZE):
            pass
    return text("copy")


def copy_file_range(file):
    with open("copy", "wb") as copy:
        while os.copy_file_range(file, copy.fileno(), SIZE):
            pass
    return text("copy")


def data_only(file):
    """As tar -S and rsync -S read it: what SEEK_DATA leaves out is zeros."""
    seen, at = bytearray(os.fstat(file).st_size), 0
    while at < len(seen):
        try:
            at = os.lseek(file, at, os.SEEK_DATA)
        except OSError:
            break
        end = os.lseek(file, at, os.SEEK_HOLE)
        seen[at:end] = os.pread(file, end - at, at)
        at = end
    return bytes(seen)


def program(*command):
    """One that makes a copy of its own."""

    def way(name):
        subprocess.run([*command, name, "copy"], check=True)
        return text("copy")

    return way


def cat(name):
    return subprocess.run(["cat", name], stdout=subprocess.PIPE, check=True).stdout


def tar(name):
    archive = subprocess.run(["tar", "-S", "-cf", "-", name], stdout=subprocess.PIPE, check=True).stdout
    return subprocess.run(["tar", "-xOf", "-"], input=archive, stdout=subprocess.PIPE, check=True).stdout


WAYS = {
    "read": reading(whole),
    "sendfile": reading(sendfile),
    "copy_file_range": reading(copy_file_range),
    "SEEK_DATA": reading(data_only),
    "cp": program("cp"),
    "cp --sparse=always": program("cp", "--sparse=always"),
    "cp --reflink=never": program("cp", "--reflink=never"),
    "cat": cat,
    "tar -S": tar,
}
wrong = []
for what, way in WAYS.items():
    for flush in False, True:  # each with a file of its own: to copy it may be what writes it out
        name = f"{what}{', flushed' if flush else ''}"
        file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        os.ftruncate(file, SIZE)
        pages = mmap.mmap(file, SIZE)
        for turn, byte in enumerate(b"AB"):
            pages[:] = bytes([byte]) * SIZE
            if flush:
                pages.flush()
            seen = way(name)
            if seen != bytes([byte]) * SIZE:
                wrong.append(f"{name}, written {turn + 1} times: {seen[:4]!r}, {len(seen)} bytes")
        os.close(file)
        pages.close()
        os.unlink(name)
print("\n".join(wrong), end="")
sys.exit(1 if wrong else 0)
