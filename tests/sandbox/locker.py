"""Locks files, on this machine or in a sandbox: a command a line, an answer a line.

try KIND HOW PATH      whether it can be had just now
hold KIND HOW PATH     the same, and it is kept until drop
drop                   all that is held
child KIND HOW PATH    a process that waits for it; its number, once it is blocked or has it
told PID               what it says: has, interrupted, or nothing because it was killed
signal NUMBER PID      to that process; a killed one is waited for
circle PATH            two processes that wait for each other: what the second is told
lock KIND HOW PATH     an open file and its mapping, which stay; HOW may be none
read PATH              what those hold
write TEXT PATH        by that mapping
who PATH               the process that has it by fcntl, as F_GETLK tells
"""
import errno
import fcntl
import mmap
import os
import select
import signal
import struct
import sys

held = []
kept = {}
children = {}  # what each says
alive = set()


def lock(fd, kind, how, wait):
    if kind == "flock":
        how = {"shared": fcntl.LOCK_SH, "exclusive": fcntl.LOCK_EX, "none": fcntl.LOCK_UN}[how]
        fcntl.flock(fd, how | (0 if wait else fcntl.LOCK_NB))
        return
    command = {"posix": (fcntl.F_SETLK, fcntl.F_SETLKW), "ofd": (fcntl.F_OFD_SETLK, fcntl.F_OFD_SETLKW)}[kind][wait]
    fcntl.fcntl(fd, command, ranged(how, 0, 0))


def ranged(how, start, length):
    kind = {"shared": fcntl.F_RDLCK, "exclusive": fcntl.F_WRLCK, "none": fcntl.F_UNLCK}[how]
    return struct.pack("hh4xqqi4x", kind, os.SEEK_SET, start, length, 0)


def opened(path):
    return os.open(path, os.O_RDONLY if os.path.isdir(path) else os.O_RDWR)


def attempt(kind, how, path):
    fd = opened(path)
    try:
        lock(fd, kind, how, False)
    except OSError as error:
        os.close(fd)
        return "no" if error.errno in (errno.EAGAIN, errno.EACCES) else errno.errorcode[error.errno]
    held.append(fd)
    return "yes"


def blocked(pid, told):
    """Asleep with nothing left to do but to wait for the lock; or it has said something."""
    while True:
        with open(f"/proc/{pid}/stat") as stat:
            state = stat.read().rpartition(")")[2].split()[0]
        if state == "S" or select.select([told], [], [], 0)[0]:
            return


def child(kind, how, path):
    fd = opened(path)
    told, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        def interrupt(*_):
            raise InterruptedError

        signal.signal(signal.SIGUSR1, interrupt)
        for other in held:
            os.close(other)
        try:
            lock(fd, kind, how, True)
            os.write(say, b"has")
        except InterruptedError:
            os.write(say, b"interrupted")
        signal.pause()
        os._exit(0)
    os.close(say)
    os.close(fd)
    children[pid] = told
    alive.add(pid)
    blocked(pid, told)
    return str(pid)


def both(path):
    if path not in kept:
        fd = opened(path)
        kept[path] = fd, mmap.mmap(fd, 4096)
    fd, mapped = kept[path]
    return os.pread(fd, 8, 0).decode(), mapped[:8].decode()


def circle(path):
    fd = opened(path)
    fcntl.fcntl(fd, fcntl.F_SETLK, ranged("exclusive", 0, 1))
    told, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        fcntl.fcntl(fd, fcntl.F_SETLK, ranged("exclusive", 1, 1))
        fcntl.fcntl(fd, fcntl.F_SETLKW, ranged("exclusive", 0, 1))
        os.write(say, b"has")
        os._exit(0)
    while fcntl.F_UNLCK == struct.unpack("hh4xqqi4x", fcntl.fcntl(fd, fcntl.F_GETLK, ranged("exclusive", 1, 1)))[0]:
        pass
    blocked(pid, told)
    try:
        fcntl.fcntl(fd, fcntl.F_SETLKW, ranged("exclusive", 1, 1))
        answer = "no circle"
    except OSError as error:
        answer = errno.errorcode[error.errno]
    os.close(fd)
    answer += " " + os.read(told, 16).decode()
    os.close(told)
    os.waitpid(pid, 0)
    return answer


def run(command, *args):
    if command == "hold":
        return attempt(*args)
    if command == "try":
        answer = attempt(*args)
        if answer == "yes":
            os.close(held.pop())
        return answer
    if command == "drop":
        while held:
            os.close(held.pop())
        return "dropped"
    if command == "child":
        return child(*args)
    if command == "told":
        return os.read(children[int(args[0])], 16).decode() or "nothing"
    if command == "signal":
        os.kill(int(args[1]), int(args[0]))
        if int(args[0]) == signal.SIGKILL:
            os.waitpid(int(args[1]), 0)
            alive.discard(int(args[1]))
        return "sent"
    if command == "circle":
        return circle(*args)
    if command == "lock":
        both(args[2])
        lock(kept[args[2]][0], args[0], args[1], False)
        return "locked"
    if command == "read":
        return " ".join(both(*args))
    if command == "write":
        both(args[1])
        kept[args[1]][1][:8] = args[0].encode()
        return "written"
    if command == "who":
        fd = opened(args[0])
        pid = struct.unpack("hh4xqqi4x", fcntl.fcntl(fd, fcntl.F_GETLK, ranged("exclusive", 0, 0)))[4]
        os.close(fd)
        return str(pid)
    raise ValueError(command)


for line in sys.stdin:
    try:
        print(run(*line.split()), flush=True)
    except Exception as error:
        print(repr(error), flush=True)
for pid in alive:
    os.kill(pid, signal.SIGKILL)
