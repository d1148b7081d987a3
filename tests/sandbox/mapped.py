"""What one program has written through a mapping is what every other way of reading and asking finds, at once.

In the directory that is named: a line for each thing that was tried, "ok" or what was found instead. With one more
argument: file "watched" by sendfile, again and again from the same open file, until it holds that.
"""
import errno
import fcntl
import mmap
import os
import socket
import subprocess
import sys

SIZE = 1 << 18
FICLONE = 0x40049409
os.chdir(sys.argv[1])


def expected(mark):
    return mark * (SIZE // 4) + bytes(SIZE // 4 + SIZE // 4) + mark * (SIZE // 4)


def fresh(name, mark=b"R"):
    """A new file of which two parts are written, by a mapping that is neither written out nor closed."""
    fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    os.ftruncate(fd, SIZE)
    mapped = mmap.mmap(fd, SIZE)
    mapped[: SIZE // 4] = mark * (SIZE // 4)
    mapped[SIZE - SIZE // 4 :] = mark * (SIZE // 4)
    return fd, mapped


def content(name):
    with open(name, "rb") as file:
        return file.read()


def aligned(fd):
    """As much of the file as O_DIRECT reads."""
    with mmap.mmap(-1, SIZE) as buffer:
        return bytes(buffer[: os.preadv(fd, [buffer], 0)])


def sent(fd, size):
    """The first bytes of a file, by sendfile."""
    one, other = socket.socketpair()
    got, done = b"", 0
    while len(got) < size:
        done += os.sendfile(one.fileno(), fd, done, min(65536, size - done))
        while len(got) < done:
            got += other.recv(65536)
    return got


# Started before anything is open: a process that starts another gives up what it has open there, which writes it out.
shell = subprocess.Popen(["sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def run(command):
    shell.stdin.write(f"{command}; echo $?\n")
    shell.stdin.flush()
    status = shell.stdout.readline()
    if status != "0\n":
        raise OSError(f"{command}: {status}")


def by_program(command):
    def read():
        fd, mapped = fresh("live")
        run(command)
        return content("copy") == expected(b"R")

    return read


def sendfile():
    fd, mapped = fresh("live")
    reader = os.open("live", os.O_RDONLY)
    return sent(reader, SIZE) == expected(b"R")


def copy_file_range():
    fd, mapped = fresh("live")
    with open("live", "rb") as source, open("copy", "wb") as target:
        left = SIZE
        while left:
            done = os.copy_file_range(source.fileno(), target.fileno(), left)
            if not done:
                return f"{left} bytes were not copied"
            left -= done
    return content("copy") == expected(b"R")


def copy_into_mapped():
    fd, mapped = fresh("live")
    with open("source", "wb") as source:
        source.write(b"S" * SIZE)
    with open("source", "rb") as source:
        os.copy_file_range(source.fileno(), fd, 4096, 0, 8192)
    return bytes(mapped[:12288 + 4096]) == b"R" * 8192 + b"S" * 4096 + b"R" * 4096


def seek():
    fd, mapped = fresh("live")
    parts, at = [], 0
    while True:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break
        at = os.lseek(fd, start, os.SEEK_HOLE)
        parts.append((start, at))
    whole = all(any(a <= place < b for a, b in parts) for place in (0, SIZE // 4 - 1, SIZE - SIZE // 4, SIZE - 1))
    return whole or str(parts)


def blocks():
    fd, mapped = fresh("live")
    told = os.stat("live").st_blocks
    mapped.flush()
    flushed = os.fstat(fd).st_blocks
    os.fsync(fd)
    return (told >= SIZE // 1024 and flushed >= SIZE // 1024 and os.fstat(fd).st_blocks >= SIZE // 1024) or f"{told}, {flushed}"


def time_of_change():
    fd, mapped = fresh("live")
    mapped.flush()
    os.utime("live", (1, 1))
    mapped[0] = 0x58
    return os.stat("live").st_mtime > 1


def direct_read():
    fd, mapped = fresh("live")
    return aligned(os.open("live", os.O_RDONLY | os.O_DIRECT)) == expected(b"R")


def direct_write():
    fd, mapped = fresh("live")
    assert mapped[5000] == ord("R")
    writer = os.open("live", os.O_WRONLY | os.O_DIRECT)
    with mmap.mmap(-1, 4096) as buffer:
        buffer[:] = b"D" * 4096
        os.pwritev(writer, [buffer], 4096)
    seen = bytes(mapped[:12288])
    again = mmap.mmap(fd, SIZE)
    return seen == bytes(again[:12288]) == b"R" * 4096 + b"D" * 4096 + b"R" * 4096


def write_and_map():
    fd, mapped = fresh("live")
    os.pwrite(fd, b"W" * 100, 50)
    return bytes(mapped[:200]) == content("live")[:200] == b"R" * 50 + b"W" * 100 + b"R" * 50


def punched():
    fd, mapped = fresh("live")
    run("fallocate -p -o 4096 -l 4096 live")
    return bytes(mapped[:12288]) == content("live")[:12288] == b"R" * 4096 + bytes(4096) + b"R" * 4096


def truncated():
    fd, mapped = fresh("live")
    os.truncate("live", 6000)
    os.truncate("live", SIZE)
    return content("live")[:8192] == bytes(mapped[:8192]) == b"R" * 6000 + bytes(2192)


def cloned():
    fd, mapped = fresh("live")
    with open("copy", "wb") as target:
        try:
            fcntl.ioctl(target, FICLONE, fd)
        except OSError as error:
            return error.errno == errno.EOPNOTSUPP or errno.errorcode[error.errno]
    return content("copy") == expected(b"R")


def closed():
    fd, mapped = fresh("live")
    os.close(fd)
    mapped[0:4] = b"LAST"
    mapped.close()
    return content("live")[:8] == b"LASTRRRR"


if len(sys.argv) > 2:
    watched = os.open("watched", os.O_RDONLY)
    wanted = sys.argv[2].encode()
    print(sent(watched, len(wanted)).decode(), flush=True)
    while sent(watched, len(wanted)) != wanted:
        pass
    print("seen")
    sys.exit()

for name, attempt in {
    "cp": by_program("cp live copy"),
    "cp --sparse=always": by_program("cp --sparse=always live copy"),
    "cat": by_program("cat live >copy"),
    "tar -S": by_program("tar -S -cf - live | tar -xOf - >copy"),
    "dd": by_program("dd if=live of=copy bs=64k status=none"),
    "sendfile": sendfile,
    "copy_file_range": copy_file_range,
    "copy_file_range into it": copy_into_mapped,
    "SEEK_DATA": seek,
    "st_blocks": blocks,
    "st_mtime": time_of_change,
    "O_DIRECT read": direct_read,
    "O_DIRECT write": direct_write,
    "write": write_and_map,
    "fallocate": punched,
    "truncate": truncated,
    "FICLONE": cloned,
    "close": closed,
}.items():
    try:
        found = attempt()
    except OSError as error:
        found = repr(error)
    print(f"{name}: {'ok' if found is True else found}", flush=True)
