"""
Several processes that make, rename, link, write and remove in one tree at once, as fsstress does. Whatever one does to
another's file, the errors are those that a disk would give. Usage: fsstress.py SEED PROCESSES OPERATIONS
"""
import errno, os, random, sys

seed, processes, operations = map(int, sys.argv[1:])
EXPECTED = {errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.ELOOP, errno.EPERM}


def work(chance):
    def path():
        """Few names, so that processes meet; three levels at most."""
        return "/".join(f"{chance.choice('abc')}{chance.randrange(4)}" for _ in range(chance.choice([1, 1, 2, 2, 3])))

    def write():
        file = os.open(path(), os.O_WRONLY | os.O_CREAT | chance.choice([0, os.O_TRUNC, os.O_APPEND]), 0o644)
        os.write(file, chance.randbytes(chance.randrange(1, 9000)))
        os.close(file)

    def read():
        with open(path(), "rb") as file:
            file.read()

    def cut():
        os.truncate(path(), chance.randrange(10_000))

    def held():
        """Open while others may remove it: what is written can be read again."""
        file = os.open(path(), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(file, b"held")
        if chance.random() < 0.5:
            os.fchmod(file, 0o640)
        os.fsync(file)
        os.fstat(file)
        os.close(file)

    def walk():
        for directory, _, files in os.walk("."):
            for name in files:
                os.lstat(os.path.join(directory, name))

    calls = [
        *[write] * 4,
        *[lambda: os.mkdir(path())] * 3,
        *[lambda: os.rename(path(), path())] * 3,
        *[lambda: os.unlink(path())] * 2,
        read,
        cut,
        held,
        lambda: os.rmdir(path()),
        lambda: os.link(path(), path()),
        lambda: os.symlink(path(), path()),
        lambda: os.chmod(path(), 0o700),
        lambda: os.utime(path(), ns=(chance.randrange(1 << 60), chance.randrange(1 << 60))),
        lambda: os.listdir(os.path.dirname(path()) or "."),
        walk,
    ]
    for number in range(operations):
        call = chance.choice(calls)
        try:
            call()
        except OSError as error:
            if error.errno not in EXPECTED:
                print(f"seed {seed}, operation {number}: {call}: {error!r}", flush=True)
                os._exit(1)


children = []
for number in range(processes):
    child = os.fork()
    if child == 0:
        work(random.Random(seed * 1000 + number))
        os._exit(0)
    children.append(child)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
