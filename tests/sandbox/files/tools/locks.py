"""Locks between processes: flock, and POSIX and open-file locks of ranges; shared, exclusive, waited for, gone with their holder."""
import errno, fcntl, os, struct, sys

OFD_SETLK, OFD_SETLKW = 37, 38


def flock(file, how):
    fcntl.flock(file, how)


def posix(file, how, start=0, length=0):
    fcntl.lockf(file, how, length, start)


def ofd(file, how, start=0, length=0):
    kind = {fcntl.LOCK_SH: fcntl.F_RDLCK, fcntl.LOCK_EX: fcntl.F_WRLCK, fcntl.LOCK_UN: fcntl.F_UNLCK}[how & ~fcntl.LOCK_NB]
    request = struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0)
    fcntl.fcntl(file, OFD_SETLK if how & fcntl.LOCK_NB else OFD_SETLKW, request)


def child(work):
    """Runs in another process, which says what it returns."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        os.write(write, repr(work(write)).encode())
        os._exit(0)
    os.close(write)
    return pid, read


def answer(work):
    pid, read = child(lambda _: work())
    with os.fdopen(read) as told:
        text = told.read()
    os.waitpid(pid, 0)
    return text


def free(lock, how, *place):
    """Whether another process could have it at once."""

    def attempt():
        file = os.open("file", os.O_RDWR)
        try:
            lock(file, how | fcntl.LOCK_NB, *place)
        except OSError as error:
            assert error.errno in (errno.EAGAIN, errno.EACCES), error
            return False
        return True

    return answer(attempt) == "True"


EX, SH, UN = fcntl.LOCK_EX, fcntl.LOCK_SH, fcntl.LOCK_UN
open("file", "w").close()
for lock in flock, posix, ofd:
    file = os.open("file", os.O_RDWR)
    lock(file, EX)
    assert not free(lock, EX) and not free(lock, SH), lock
    lock(file, SH)
    assert free(lock, SH) and not free(lock, EX), lock
    lock(file, UN)
    assert free(lock, EX), lock
    if lock is not flock:
        lock(file, EX, 10, 10)
        assert free(lock, EX, 0, 10) and free(lock, EX, 20, 5) and not free(lock, EX, 15, 1) and not free(lock, EX, 0, 11), lock
        lock(file, UN, 12, 2)
        assert free(lock, EX, 12, 2) and not free(lock, EX, 10, 2), lock
        lock(file, UN)
    lock(file, EX)

    def wait(write):  # says when it begins, then has the lock
        mine = os.open("file", os.O_RDWR)
        os.write(write, b"begun ")
        lock(mine, EX)
        return "has it"

    pid, told = child(wait)
    assert os.read(told, 6) == b"begun "
    os.set_blocking(told, False)
    try:
        raise AssertionError(os.read(told, 99))
    except BlockingIOError:
        pass
    os.set_blocking(told, True)
    lock(file, UN)
    assert os.read(told, 99) == b"'has it'"
    os.waitpid(pid, 0)
    assert free(lock, EX), lock  # with the end of its holder
    os.close(file)

one, other = os.open("file", os.O_RDWR), os.open("file", os.O_RDWR)
for lock in flock, ofd:  # of one process, too, where the file was opened twice
    lock(one, EX)
    try:
        lock(other, EX | fcntl.LOCK_NB)
        sys.exit(f"{lock}: two have it")
    except BlockingIOError:
        pass
    copy = os.dup(one)
    os.close(one)
    assert not free(lock, EX), lock
    os.close(copy)
    assert free(lock, EX), lock
    one = os.open("file", os.O_RDWR)

lines = []  # a count that many raise, by turns
with open("count", "w") as count:
    count.write("0")
for number in range(4):

    def raise_it(_, lock=[flock, ofd, posix][0]):
        for _ in range(25):
            guard = os.open("file", os.O_RDWR)
            lock(guard, EX)
            with open("count") as count:
                value = int(count.read())
            with open("count", "w") as count:
                count.write(str(value + 1))
            os.close(guard)

    lines.append(child(raise_it))
for pid, read in lines:
    os.waitpid(pid, 0)
    os.close(read)
with open("count") as count:
    assert count.read() == "100"
