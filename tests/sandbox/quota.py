"""What a guest does to have more room in a share than it was given. Usage: quota.py DIRECTORY; each way waits for a line."""
import ctypes, errno, mmap, os, sys, threading

top = sys.argv[1]
MIB = 1 << 20
data = os.urandom(MIB)


def refused(call, *arguments, **more):
    try:
        call(*arguments, **more)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return True
    return False


def path(name):
    return os.path.join(top, name)


opened_here = []


def opened(name, flags=0):
    fd = os.open(path(name), os.O_RDWR | os.O_CREAT | flags, 0o644)
    opened_here.append(fd)
    return fd


def fill(fd, at=0):
    """Write on until nothing more is taken."""
    while not refused(os.pwrite, fd, data, at):
        at = os.fstat(fd).st_size


def appends():
    fd = opened("a")
    fill(fd)
    assert os.pwrite(fd, data, 0) == MIB, "what has blocks is written anew"


def at_once():
    def one(fd):
        at = 0
        while not refused(os.pwrite, fd, data[: 64 << 10], at):
            at += 64 << 10

    threads = [threading.Thread(target=one, args=[opened(f"t{number}")]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def direct():
    fd, buffer = opened("direct", os.O_DIRECT), mmap.mmap(-1, MIB)
    at = 0
    while not refused(os.pwrite, fd, buffer, at):
        at += MIB


def mapped():
    fd = opened("mapped")
    os.ftruncate(fd, 64 * MIB)
    view = mmap.mmap(fd, 64 * MIB)
    for at in range(0, 64 * MIB, 4096):
        view[at] = 1
    assert refused(view.flush), "what a mapping could not write is told"


def sparse():
    fd = opened("sparse")
    os.ftruncate(fd, 1 << 42)
    at = 0
    while not refused(os.pwrite, fd, b"x", at):
        at += 1 << 21


def allocates():
    fd = opened("allocated")
    step = 64 * MIB
    while step >= 4096:
        if refused(os.posix_fallocate, fd, os.fstat(fd).st_size, step):
            step //= 2


def copies():
    source, fd = opened("source"), opened("copy")
    refused(os.pwrite, source, data[: 256 << 10], 0)
    at = 0
    while not refused(os.copy_file_range, source, fd, 256 << 10, 0, at):
        at += 256 << 10


def small():
    os.mkdir(path("small"))
    number = 0
    while not refused(os.mknod, path(f"small/{number}"), 0o644):
        number += 1


def names():
    os.close(os.open(path("one"), os.O_CREAT | os.O_RDWR))
    number = 0
    while not refused(os.link, path("one"), path(f"{number:0250}")):
        number += 1


def exchanges():
    for fd in [opened(name) for name in "xy"]:
        fill(fd)
    libc = ctypes.CDLL(None, use_errno=True)
    for _ in range(20):
        libc.renameat2(-100, path("x").encode(), -100, path("y").encode(), 2)
        refused(os.pwrite, opened("x"), data, 8 * MIB)


def clear():
    for name in os.listdir(top):
        if os.path.isdir(path(name)):
            for inner in os.listdir(path(name)):
                os.unlink(path(f"{name}/{inner}"))
            os.rmdir(path(name))
        else:
            os.unlink(path(name))


for way in [appends, at_once, direct, mapped, sparse, allocates, copies, small, names, exchanges]:
    way()
    os.sync()
    room = os.statvfs(top)
    print(way.__name__, room.f_blocks * room.f_frsize, room.f_bavail * room.f_frsize, flush=True)
    sys.stdin.readline()  # the host counts
    for fd in opened_here:
        os.close(fd)
    opened_here.clear()
    clear()
