"""
One file under random reads, writes, cuts, mappings and holes, against a model of it in memory, as fsx does. The first
difference ends it, with the seed and the operations before. Usage: fsx.py SEED OPERATIONS
"""
import contextlib, ctypes, mmap, os, random, sys

seed, operations = int(sys.argv[1]), int(sys.argv[2])
chance = random.Random(seed)
MOST = 256 * 1024
PUNCH_HOLE, KEEP_SIZE = 2, 1
libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
model = bytearray()
log = []
name = "file"
file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
held = None  # a mapping that stays: what is written through it is nowhere else yet


def differs(what, at, want, seen):
    first = next((n for n, (a, b) in enumerate(zip(want, seen)) if a != b), min(len(want), len(seen)))
    print(f"seed {seed}, operation {len(log)}: {what}: byte {at + first} differs; {len(want)} wanted, {len(seen)} seen")
    print(f"wanted {bytes(want[first:first + 16])!r}\nseen   {bytes(seen[first:first + 16])!r}")
    print("\n".join(log[-30:]))
    sys.exit(1)


def some_bytes(length):
    return bytes([chance.randrange(1, 256)]) * (length - length // 2) + chance.randbytes(length // 2)


def place(most=MOST):
    """Where, and how much: often at the edge of a page."""
    at = chance.randrange(most)
    if chance.random() < 0.3:
        at -= at % 4096
    return at, chance.choice([1, 7, 4096, chance.randrange(1, 3 * 4096), chance.randrange(1, MOST // 4)])


def grow(to):
    if len(model) < to:
        model.extend(bytes(to - len(model)))


def read():
    at, length = place()
    log.append(f"read {at} {length}")
    seen = os.pread(file, length, at)
    if seen != model[at : at + length]:
        differs("read", at, model[at : at + length], seen)


def write():
    at, length = place(MOST // 2)
    data = some_bytes(length)
    log.append(f"write {at} {length}")
    assert os.pwrite(file, data, at) == length
    grow(at + length)
    model[at : at + length] = data


def append():
    if len(model) > MOST:
        return
    data = some_bytes(place()[1])
    log.append(f"append {len(data)}")
    other = os.open(name, os.O_WRONLY | os.O_APPEND)
    assert os.write(other, data) == len(data)
    os.close(other)
    model.extend(data)


def cut():
    global held
    to = chance.randrange(MOST)
    if held and to < len(held):
        held = None
    log.append(f"truncate {len(model)} to {to}")
    if chance.random() < 0.5:
        os.ftruncate(file, to)
    else:
        os.truncate(name, to)
    grow(to)
    del model[to:]


def mapped_read():
    if not model:
        return
    at, length = place(len(model))
    log.append(f"mapped read {at} {length}")
    with mmap.mmap(file, len(model), prot=mmap.PROT_READ) as pages:
        if pages[at : at + length] != model[at : at + length]:
            differs("mapped read", at, model[at : at + length], pages[at : at + length])


def mapped_write():
    global held
    if not model:
        return
    if held is None or chance.random() < 0.2:
        held = mmap.mmap(file, len(model))
    at, length = place(len(held))
    length = min(length, len(held) - at)
    data = some_bytes(length)
    log.append(f"mapped write {at} {length}")
    held[at : at + length] = data
    if chance.random() < 0.2:
        held.flush()
    model[at : at + length] = data


def punch():
    at, length = place()
    log.append(f"punch {at} {length}")
    if libc.fallocate(file, PUNCH_HOLE | KEEP_SIZE, at, length) != 0:
        raise OSError(ctypes.get_errno(), "fallocate")
    end = min(at + length, len(model))
    if at < end:
        model[at:end] = bytes(end - at)


def allocate():
    at, length = place(MOST // 2)
    log.append(f"allocate {at} {length}")
    os.posix_fallocate(file, at, length)
    grow(at + length)


def copy_range():
    if len(model) < 2:
        return
    length = chance.randrange(1, len(model) // 2 + 1)
    source, to = 0, chance.randrange(length, len(model))
    log.append(f"copy_file_range {source} {length} to {to}")
    left = length
    while left:
        done = os.copy_file_range(file, file, left, source + length - left, to + length - left)
        assert done > 0
        left -= done
    grow(to + length)
    model[to : to + length] = model[source : source + length]


def holes():
    """What SEEK_DATA leaves out holds zeros, and its end is the file's."""
    log.append("seek")
    at = 0
    while at < len(model):
        try:
            data = os.lseek(file, at, os.SEEK_DATA)
        except OSError:  # nothing but a hole from here on
            data = len(model)
        if any(model[at:data]):
            differs("SEEK_DATA passes over data", at, model[at:data], bytes(data - at))
        if data >= len(model):
            break
        at = os.lseek(file, data, os.SEEK_HOLE)
        assert data < at <= len(model), (data, at, len(model))


def again():
    global file
    log.append("close and open")
    if chance.random() < 0.3:
        os.fsync(file)
    os.close(file)
    file = os.open(name, os.O_RDWR)
    if os.fstat(file).st_size != len(model):
        differs("size", 0, model, bytes(os.fstat(file).st_size))


def rename():
    global name
    name = "file" if name != "file" else "other"
    log.append(f"rename to {name}")
    os.rename("other" if name == "file" else "file", name)


def link():
    log.append("link and unlink")
    os.link(name, "link")
    with contextlib.suppress(FileNotFoundError):
        os.unlink("link" if chance.random() < 0.5 else name)
    if not os.path.exists(name):
        os.rename("link", name)


kinds = [read, write, write, append, cut, mapped_read, mapped_write, punch, allocate, copy_range, holes, again, rename, link]
for _ in range(operations):
    chance.choice(kinds)()
os.close(file)
with open(name, "rb") as whole:
    seen = whole.read()
if seen != model:
    differs("at the end", 0, model, seen)
