"""What POSIX and Linux promise of a directory, one check a line: in the working directory, as whoever runs it."""
import contextlib, errno, fcntl, mmap, os, socket, stat, sys, time

failures = []
root = os.geteuid() == 0
E = errno


def fails(code, call, *args, **named):
    """The call fails, with this errno (or one of these)."""
    codes = code if isinstance(code, tuple) else (code,)
    words = " or ".join(E.errorcode[one] for one in codes)
    try:
        result = call(*args, **named)
    except OSError as error:
        if error.errno in codes:
            return
        result = E.errorcode.get(error.errno, error.errno)
    told = f"{call.__name__}{args}: {result}, not {words}"
    failures.append(told[:400])


def same(want, seen, what=""):
    if want != seen:
        frame = sys._getframe(1)
        failures.append(f"line {frame.f_lineno} {what}: {seen!r}, not {want!r}"[:400])


def group(function):
    """Run it in a directory of its own; what it throws is a failure of that group alone."""
    os.mkdir(function.__name__)
    os.chdir(function.__name__)
    before = len(failures)
    try:
        function()
    except Exception as error:
        line = error.__traceback__
        while line.tb_next and line.tb_next.tb_frame.f_code.co_filename == __file__:
            line = line.tb_next
        failures.append(f"line {line.tb_lineno}: {error!r}")
    os.chdir(top)
    failures[before:] = [f"{function.__name__}: {told}" for told in failures[before:]]
    return function


def as_user(uid, function):
    """In another process, as that user; its failures are told here."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        failures.clear()
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        try:
            function()
        except Exception as error:
            failures.append(repr(error))
        os.write(write, "\n".join(failures).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as told:
        failures.extend(f"as {uid}: {line}" for line in told.read().splitlines())
    os.waitpid(child, 0)


def put(path, text=b"", mode=0o644):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(text)


def get(path):
    with open(path, "rb") as file:
        return file.read()


def opened(path, flags, mode=0o644):
    return contextlib.closing(Descriptor(os.open(path, flags, mode)))


class Descriptor(int):
    def close(self):
        os.close(self)


def link_open(file, path):
    """Give the open file a name. (Python follows the link in /proc only where a directory's descriptor is given.)"""
    with opened(".", os.O_RDONLY) as here:
        os.link(f"/proc/self/fd/{file}", path, src_dir_fd=here, follow_symlinks=True)


def mode_of(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


top = os.getcwd()
os.umask(0o022)


@group
def opening():
    os.mkdir("d")
    put("f", b"text")
    os.symlink("loop", "loop")
    os.symlink("nothing", "dangling")
    os.symlink("f", "link")
    fails(E.ENOENT, os.open, "none", os.O_RDONLY)
    fails(E.ENOENT, os.open, "none/f", os.O_CREAT | os.O_WRONLY)
    fails(E.ENOENT, os.open, "", os.O_RDONLY)
    fails(E.ENOTDIR, os.open, "f/f", os.O_CREAT | os.O_WRONLY)
    fails(E.ENOTDIR, os.open, "f/", os.O_RDONLY)
    fails(E.ENOTDIR, os.open, "f", os.O_RDONLY | os.O_DIRECTORY)
    fails(E.EISDIR, os.open, "d", os.O_WRONLY)
    fails(E.EISDIR, os.open, "d", os.O_RDWR)
    fails(E.EISDIR, os.open, "d", os.O_CREAT | os.O_RDONLY)
    fails(E.EISDIR, os.open, "new/", os.O_CREAT | os.O_WRONLY)
    fails(E.ELOOP, os.open, "loop", os.O_RDONLY)
    fails(E.ELOOP, os.open, "link", os.O_RDONLY | os.O_NOFOLLOW)
    for taken in "f", "d", "link", "dangling", "loop":
        fails(E.EEXIST, os.open, taken, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    put("dangling", b"made")
    same(b"made", get("nothing"))
    with opened("f", os.O_WRONLY | os.O_TRUNC):
        same(0, os.stat("f").st_size)
    for mode in 0o777, 0o666, 0o640, 0o400, 0o000:
        put(f"m{mode}", b"", mode)
        same(mode & ~0o022, mode_of(f"m{mode}"), oct(mode))
    with opened("f", os.O_RDONLY) as file:
        fails(E.EBADF, os.write, file, b"x")
        fails(E.EINVAL, os.ftruncate, file, 0)
    with opened("f", os.O_WRONLY) as file:
        fails(E.EBADF, os.read, file, 1)
    with opened("d", os.O_RDONLY) as directory:
        fails(E.EISDIR, os.read, directory, 1)
        put("d/at", b"at")
        with contextlib.closing(Descriptor(os.open("at", os.O_RDONLY, dir_fd=directory))) as file:
            same(b"at", os.read(file, 9))


@group
def exclusive():
    """Of several at once that make the same name, one makes it."""
    for turn in range(20):
        start = os.pipe()
        children = []
        for _ in range(4):
            child = os.fork()
            if child == 0:
                os.close(start[1])
                os.read(start[0], 1)
                try:
                    os.open(f"lock{turn}", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
                    os._exit(0)
                except FileExistsError:
                    os._exit(1)
            children.append(child)
        os.close(start[0])
        os.close(start[1])
        won = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        same([0, 1, 1, 1], sorted(won))


@group
def names():
    for name in b"n" * 255, b"\xff\xfe", b"new\nline", b" ", b"-rf", b"*", "ä".encode() * 100, b"a\\b", b"...":
        put(name, name)
        same([name], os.listdir(b"."))
        same(name, get(name))
        os.rename(name, b"other")
        os.rename(b"other", name)
        os.unlink(name)
    for call in (lambda name: put(name)), os.mkdir, os.unlink, os.rmdir, os.stat, os.mkfifo:
        fails(E.ENAMETOOLONG, call, "n" * 256)
    put("f")
    for call in os.rename, os.link, os.symlink:
        fails(E.ENAMETOOLONG, call, "f", "n" * 256)
    fails(E.ENAMETOOLONG, os.stat, "./" * 2100 + "f")
    same(0, os.stat("./" * 2000 + "f").st_size)
    deep = ["d" * 60] * 40
    os.makedirs("/".join(deep))
    put("/".join([*deep, "f"]), b"deep")
    same(b"deep", get("/".join([*deep, "f"])))


@group
def unlinking():
    os.mkdir("d")
    put("f", b"before")
    fails(E.ENOENT, os.unlink, "none")
    fails(E.ENOTDIR, os.unlink, "f/f")
    fails(E.ENOTDIR, os.unlink, "f/")
    fails(E.EISDIR, os.unlink, "d")
    with opened("f", os.O_RDWR) as file:
        number = os.fstat(file).st_ino
        os.unlink("f")
        fails(E.ENOENT, os.stat, "f")
        same(0, os.fstat(file).st_nlink)
        same(number, os.fstat(file).st_ino)
        os.pwrite(file, b"after!", 0)
        os.ftruncate(file, 8)
        os.fchmod(file, 0o600)
        os.utime(file, ns=(5, 7))
        same(b"after!\0\0", os.pread(file, 9, 0))
        status = os.fstat(file)
        same((0o600, 7, 8), (stat.S_IMODE(status.st_mode), status.st_mtime_ns, status.st_size))
        put("f", b"another")
        same(b"after!\0\0", os.pread(file, 9, 0))
        same(b"after!\0\0", get(f"/proc/self/fd/{file}"))
    same(b"another", get("f"))
    os.symlink("f", "s")
    os.unlink("s")
    same(b"another", get("f"))


@group
def renaming():
    for name in "a", "b", "open":
        put(name, name.encode())
    for name in "d", "full", "empty":
        os.mkdir(name)
    put("full/f", b"full")
    fails(E.ENOENT, os.rename, "none", "a")
    fails(E.ENOENT, os.rename, "a", "none/a")
    fails(E.ENOTDIR, os.rename, "a", "b/a")
    fails(E.EISDIR, os.rename, "a", "d")
    fails(E.ENOTDIR, os.rename, "d", "a")
    fails((E.ENOTEMPTY, E.EEXIST), os.rename, "d", "full")
    fails(E.EINVAL, os.rename, "d", "d/below")
    os.mkdir("d/below")
    fails((E.ENOTEMPTY, E.EEXIST, E.EINVAL), os.rename, "d/below", "d")
    fails((E.EINVAL, E.EBUSY), os.rename, "d/.", "e")
    fails(E.ENOTDIR, os.rename, "a", "new/")
    os.rename("d", "new/")
    os.rename("full", "empty")  # over one that is empty
    same(["f"], os.listdir("empty"))
    os.rename("empty/f", "f")
    same(b"full", get("f"))
    with opened("open", os.O_RDWR) as file:
        os.rename("a", "open")
        same(b"open", os.pread(file, 9, 0))
        same(0, os.fstat(file).st_nlink)
        os.pwrite(file, b"gone", 0)
        same(b"a", get("open"))
    with opened("b", os.O_RDWR) as file:
        os.rename("b", "moved")
        os.pwrite(file, b"B", 0)
        same(b"B", get("moved"))
        same(os.stat("moved").st_ino, os.fstat(file).st_ino)
    os.link("moved", "second")
    os.rename("moved", "second")  # the same file: nothing happens
    same((b"B", b"B", 2), (get("moved"), get("second"), os.stat("moved").st_nlink))
    os.symlink("moved", "link")
    os.rename("link", "renamed")
    same("moved", os.readlink("renamed"))
    os.mkdir("tree")
    os.mkdir("tree/sub")
    put("tree/sub/f", b"deep")
    with opened("tree/sub", os.O_RDONLY) as below:
        os.rename("tree", "wood")
        with contextlib.closing(Descriptor(os.open("f", os.O_RDONLY, dir_fd=below))) as file:
            same(b"deep", os.read(file, 9))
        same(os.path.realpath("wood/sub"), os.readlink(f"/proc/self/fd/{below}"))
    same(b"deep", get("wood/sub/f"))
    fails(E.ENOENT, os.stat, "tree")


@group
def renaming_flags():
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def renameat2(old, new, flags):
        if libc.renameat2(-100, old.encode(), -100, new.encode(), flags) != 0:
            raise OSError(ctypes.get_errno(), "")

    put("a", b"a")
    put("b", b"b")
    os.mkdir("d")
    put("d/f", b"f")
    fails(E.EEXIST, renameat2, "a", "b", 1)
    fails(E.EEXIST, renameat2, "a", "d", 1)
    renameat2("a", "c", 1)
    renameat2("c", "b", 2)
    same((b"b", b"a"), (get("c"), get("b")))
    renameat2("c", "d", 2)
    same((b"f", b"b"), (get("c/f"), get("d")))
    fails(E.ENOENT, renameat2, "b", "none", 2)


@group
def linking():
    put("f", b"text")
    os.mkdir("d")
    os.symlink("f", "s")
    os.link("f", "d/g")
    same((2, 2), (os.stat("f").st_nlink, os.stat("d/g").st_nlink))
    same(os.stat("f").st_ino, os.stat("d/g").st_ino)
    put("d/g", b"longer text")
    same(b"longer text", get("f"))
    os.chmod("f", 0o600)
    same(0o600, mode_of("d/g"))
    os.unlink("f")
    same((1, b"longer text"), (os.stat("d/g").st_nlink, get("d/g")))
    os.link("d/g", "f")
    put("n", b"new")
    os.rename("n", "f")
    same((b"longer text", 1), (get("d/g"), os.stat("d/g").st_nlink))
    fails(E.EEXIST, os.link, "d/g", "f")
    fails(E.ENOENT, os.link, "none", "x")
    fails(E.ENOENT, os.link, "f", "none/x")
    fails(E.ENOTDIR, os.link, "f", "f/x")
    fails(E.EPERM, os.link, "d", "x")
    os.link("s", "t", follow_symlinks=False)
    same(("f", 2), (os.readlink("t"), os.lstat("s").st_nlink))
    for n in range(50):
        os.link("f", f"l{n}")
    same(51, os.stat("f").st_nlink)
    for n in range(50):
        os.unlink(f"l{n}")
    same(1, os.stat("f").st_nlink)
    with opened("f", os.O_RDONLY) as file:
        os.unlink("f")
        fails(E.ENOENT, link_open, file, "back")


@group
def links():
    os.symlink("a" * 4095, "long")
    same("a" * 4095, os.readlink("long"))
    fails(E.ENAMETOOLONG, os.symlink, "a" * 4096, "longer")
    put("f")
    fails(E.EEXIST, os.symlink, "x", "f")
    fails(E.EEXIST, os.symlink, "x", "long")
    fails(E.ENOENT, os.symlink, "x", "none/s")
    fails(E.ENOENT, os.symlink, "", "s")
    fails(E.EINVAL, os.readlink, "f")
    fails(E.EINVAL, os.readlink, ".")
    os.symlink(b"\xff\n ", b"bytes")
    same(b"\xff\n ", os.readlink(b"bytes"))
    same(3, os.lstat("bytes").st_size)
    os.mkdir("d")
    os.symlink("d", "to_d")
    put("to_d/f", b"through")
    same(b"through", get("d/f"))
    fails(E.ENOTDIR, os.rmdir, "to_d")


@group
def directories():
    put("f")
    os.symlink("nothing", "dangling")
    for taken in "f", "dangling", ".":
        fails(E.EEXIST, os.mkdir, taken)
    fails(E.ENOENT, os.mkdir, "none/d")
    fails(E.ENOTDIR, os.mkdir, "f/d")
    os.mkdir("d", 0o750)
    same(0o750, mode_of("d"))
    links = os.stat("d").st_nlink
    os.mkdir("d/e")
    same(3 if links == 2 else 1, os.stat("d").st_nlink)  # some count no subdirectories: all their directories have one
    fails(E.ENOTEMPTY, os.rmdir, "d")
    fails(E.ENOTDIR, os.rmdir, "f")
    fails(E.ENOENT, os.rmdir, "none")
    fails(E.EINVAL, os.rmdir, "d/.")
    fails((E.ENOTEMPTY, E.EEXIST), os.rmdir, "d/e/..")
    os.rmdir("d/e")
    same(links, os.stat("d").st_nlink)
    os.chdir("d")
    os.rmdir("../d")
    fails(E.ENOENT, put, "f")
    fails(E.ENOENT, os.mkdir, "e")
    fails(E.ENOENT, os.getcwd)
    same([], os.listdir("."))


@group
def listing():
    """Of what is there all the while each name comes once, whatever comes and goes meanwhile."""
    for n in range(200):
        put(f"stays{n}")
    for n in range(100):
        put(f"goes{n}")
    seen = []
    with os.scandir(".") as entries:
        for count, entry in enumerate(entries):
            seen.append(entry.name)
            if count < 100:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"goes{count}")
                put(f"comes{count}")
    same(sorted(f"stays{n}" for n in range(200)), sorted(name for name in seen if name.startswith("stays")))
    same(len(set(seen)), len(seen), "names that come twice")
    want = {f"stays{n}" for n in range(200)} | {f"comes{n}" for n in range(100)}
    same(want, set(os.listdir(".")))
    with opened(".", os.O_RDONLY) as directory:
        os.unlink("stays0")
        same(False, "stays0" in os.listdir(directory))
        put("stays0")
        same(True, "stays0" in os.listdir(directory))
    for name in os.listdir("."):  # as rm -r does it
        os.unlink(name)
    same([], os.listdir("."))
    kinds = {"f": put, "d": os.mkdir, "p": os.mkfifo, "s": lambda path: os.symlink("f", path)}
    for name, make in kinds.items():
        make(name)
    for entry in os.scandir("."):
        status = os.lstat(entry.name)
        same(entry.inode(), status.st_ino, entry.name)
        same(stat.S_ISDIR(status.st_mode), entry.is_dir(follow_symlinks=False), entry.name)
        same(stat.S_ISLNK(status.st_mode), entry.is_symlink(), entry.name)


@group
def permissions():
    put("f", b"text")
    for mode in 0o000, 0o444, 0o200, 0o755, 0o666:
        before = os.stat("f").st_ctime_ns
        time.sleep(0.02)
        os.chmod("f", mode)
        same(mode, mode_of("f"), oct(mode))
        same(True, os.stat("f").st_ctime_ns > before, "ctime")
    with opened("f", os.O_RDONLY) as file:
        os.fchmod(file, 0o640)
    same(0o640, mode_of("f"))
    os.symlink("f", "s")
    os.chmod("s", 0o600)
    same(0o600, mode_of("f"))
    os.mkdir("d")
    os.chmod("d", 0o1777)
    same(0o1777, mode_of("d"))
    fails(E.ENOENT, os.chmod, "none", 0o600)
    fails(E.ENOTDIR, os.chmod, "f/f", 0o600)
    if not root:
        put("f", b"text")
        os.chmod("f", 0o000)
        fails(E.EACCES, os.open, "f", os.O_RDONLY)
        os.chmod("f", 0o444)
        fails(E.EACCES, os.open, "f", os.O_WRONLY)
        fails(E.EACCES, os.truncate, "f", 0)
        same((True, False, False), tuple(os.access("f", way) for way in (os.R_OK, os.W_OK, os.X_OK)))
        os.mkdir("closed")
        put("closed/f", b"x")
        os.chmod("closed", 0o400)
        same(["f"], os.listdir("closed"))
        fails(E.EACCES, os.stat, "closed/f")
        os.chmod("closed", 0o500)
        same(b"x", get("closed/f"))
        fails(E.EACCES, put, "closed/g")
        fails(E.EACCES, os.unlink, "closed/f")
        fails(E.EACCES, os.rename, "closed/f", "f")
        fails(E.EACCES, os.rename, "f", "closed/f")
        fails(E.EACCES, os.mkdir, "closed/d")
        os.chmod("closed", 0o300)
        fails(E.EACCES, os.listdir, "closed")
        put("closed/g")
        os.chmod("closed", 0o700)


@group
def made_without_write_permission():
    """Who makes a file may write it by the descriptor it was made with, whatever its permissions."""
    for mode in 0o444, 0o400, 0o000:
        with opened(f"f{mode}", os.O_CREAT | os.O_EXCL | os.O_RDWR, mode) as file:
            os.write(file, b"written")
            os.ftruncate(file, 5)
            os.pwrite(file, b"W", 0)
            same(b"Writt", os.pread(file, 9, 0))
            os.fsync(file)
            with mmap.mmap(file, 5) as pages:
                pages[1:3] = b"RI"
        same((mode, 5), (mode_of(f"f{mode}"), os.stat(f"f{mode}").st_size))
        os.chmod(f"f{mode}", 0o600)
        same(b"WRItt", get(f"f{mode}"))
    put("f", b"text")
    with opened("f", os.O_RDWR) as file:
        os.chmod("f", 0)
        os.pwrite(file, b"T", 0)
        os.ftruncate(file, 3)
        same(b"Tex", os.pread(file, 9, 0))


@group
def owners():
    put("f")
    os.mkdir("d")
    uid, gid = os.geteuid(), os.getegid()
    status = os.stat("f")
    same((uid, gid), (status.st_uid, status.st_gid))
    os.chown("f", -1, -1)
    os.chown("f", uid, gid)
    os.symlink("f", "s")
    if not root:
        fails(E.EPERM, os.chown, "f", 0, -1)
        fails(E.EPERM, os.chown, "f", -1, 0)
        fails(E.EPERM, os.chown, "s", 0, 0, follow_symlinks=False)
        return
    os.chown("f", 1234, 5678)
    os.chown("s", 77, -1, follow_symlinks=False)
    owner = lambda path: (os.lstat(path).st_uid, os.lstat(path).st_gid)
    same(((1234, 5678), (77, gid)), (owner("f"), owner("s")))
    os.rename("f", "g")
    os.link("g", "h")
    same(((1234, 5678), (1234, 5678)), (owner("g"), owner("h")))
    put("new")
    os.rename("new", "g")
    same(((0, 0), (1234, 5678)), (owner("g"), owner("h")))
    os.unlink("h")
    put("h")
    same((0, 0), owner("h"))
    os.mkdir("open")
    os.chmod("open", 0o777)

    def other():
        put("open/theirs", b"x", 0o600)
        same((4321, 4321), owner("open/theirs"))
        os.mkdir("open/dir", 0o700)
        put("open/dir/f")
        fails(E.EACCES, put, "mine")
        fails(E.EPERM, os.chmod, "g", 0o777)
        fails(E.EPERM, os.utime, "g", (1, 1))
        fails(E.EACCES, os.utime, "g")
        fails(E.EACCES, os.open, "g", os.O_RDWR)

    as_user(4321, other)
    as_user(1111, lambda: fails(E.EACCES, get, "open/theirs"))
    as_user(1111, lambda: fails(E.EACCES, os.listdir, "open/dir"))
    same((4321, 4321), owner("open/theirs"))


@group
def sticky():
    if not root:
        return
    os.mkdir("t")
    os.chmod("t", 0o1777)
    as_user(1001, lambda: (put("t/a", b"a"), os.mkdir("t/d")))

    def other():
        fails(E.EPERM, os.unlink, "t/a")
        fails(E.EPERM, os.rename, "t/a", "t/b")
        fails(E.EPERM, os.rmdir, "t/d")
        put("t/own")
        fails(E.EPERM, os.rename, "t/own", "t/a")
        os.rename("t/own", "t/mine")
        os.unlink("t/mine")

    as_user(1002, other)
    as_user(1001, lambda: (os.unlink("t/a"), os.rmdir("t/d")))
    same([], os.listdir("t"))


@group
def lengths():
    put("f", b"0123456789")
    os.mkdir("d")
    os.truncate("f", 4)
    same(b"0123", get("f"))
    os.truncate("f", 8)
    same(b"0123\0\0\0\0", get("f"))
    os.truncate("f", 1 << 32)
    same(1 << 32, os.stat("f").st_size)
    os.truncate("f", 0)
    fails(E.EISDIR, os.truncate, "d", 0)
    fails(E.EINVAL, os.truncate, "f", -1)
    fails(E.ENOENT, os.truncate, "none", 0)
    fails(E.ENOTDIR, os.truncate, "f/f", 0)
    with opened("f", os.O_RDWR) as file:
        os.pwrite(file, b"end", 10_000)
        same((10_003, b"\0" * 10_000 + b"end"), (os.fstat(file).st_size, get("f")))
        same(b"", os.pread(file, 9, 20_000))
        os.posix_fallocate(file, 0, 20_000)
        same(20_000, os.fstat(file).st_size)
        fails(E.EINVAL, os.pread, file, 1, -1)
        fails(E.EINVAL, os.lseek, file, -1, os.SEEK_SET)
    before = os.stat("f").st_mtime_ns
    time.sleep(0.02)
    os.truncate("f", 0)
    same(True, os.stat("f").st_mtime_ns > before)


@group
def times():
    put("f")
    os.symlink("f", "s")
    wanted = 1_000_000_000_123_456_789, 1_500_000_000_987_654_321
    read = lambda path: (os.lstat(path).st_atime_ns, os.lstat(path).st_mtime_ns)
    os.utime("f", ns=wanted)
    same(wanted, read("f"))
    before = read("f")
    os.utime("s", ns=(1, 2), follow_symlinks=False)
    same((before, (1, 2)), (read("f"), read("s")))
    os.utime("s", ns=(3_000_000_000, 4_000_000_000))
    same((3_000_000_000, 4_000_000_000), read("f"))
    os.utime("f")
    same(True, abs(os.stat("f").st_mtime - time.time()) < 5)
    for change in (lambda: put("new")), (lambda: os.rename("new", "old")), (lambda: os.unlink("old")):
        os.utime(".", ns=(1, 1))
        change()
        same(True, os.stat(".").st_mtime_ns > 1, "a directory's time")
    os.utime("f", ns=(1, 1))
    with open("f", "ab") as file:
        file.write(b"x")
    same(True, os.stat("f").st_mtime_ns > 1)
    os.utime("f", ns=(1, 1))
    os.rename("f", "g")
    os.chmod("g", 0o600)
    same(1, os.stat("g").st_mtime_ns)
    fails(E.ENOENT, os.utime, "none")


@group
def special_files():
    os.mkfifo("p", 0o600)
    same((True, 0o600), (stat.S_ISFIFO(os.stat("p").st_mode), mode_of("p")))
    fails(E.EEXIST, os.mkfifo, "p")
    fails(E.ENXIO, os.open, "p", os.O_WRONLY | os.O_NONBLOCK)
    if os.fork() == 0:
        with open("p", "wb") as file:
            file.write(b"through")
        os._exit(0)
    with open("p", "rb") as file:
        same(b"through", file.read())
    os.wait()
    os.rename("p", "q")
    os.unlink("q")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind("s")
        same(True, stat.S_ISSOCK(os.stat("s").st_mode))
        server.listen()
        client.connect("s")
        accepted, _ = server.accept()
        with accepted:
            accepted.send(b"hello")
            same(b"hello", client.recv(9))
        with socket.socket(socket.AF_UNIX) as second:
            fails(E.EADDRINUSE, second.bind, "s")
    with socket.socket(socket.AF_UNIX) as client:
        fails(E.ECONNREFUSED, client.connect, "s")
    os.unlink("s")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("left")
    fails(E.ENXIO, os.open, "left", os.O_RDONLY)


@group
def appending():
    with opened("f", os.O_CREAT | os.O_WRONLY | os.O_APPEND) as one:
        with opened("f", os.O_WRONLY | os.O_APPEND) as other:
            for n in range(20):
                os.write(one if n % 2 else other, b"%02d" % n)
            os.pwrite(one, b"at the end", 0)
    same(b"".join(b"%02d" % n for n in range(20)) + b"at the end", get("f"))
    children = []
    for n in range(4):
        child = os.fork()
        if child == 0:
            with opened("log", os.O_CREAT | os.O_WRONLY | os.O_APPEND) as file:
                for line in range(100):
                    os.write(file, b"%d %03d\n" % (n, line))
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    same(sorted(b"%d %03d" % (n, line) for n in range(4) for line in range(100)), sorted(get("log").splitlines()))


@group
def unnamed():
    with opened(".", os.O_TMPFILE | os.O_RDWR, 0o600) as file:
        os.write(file, b"unnamed")
        same((0, b"unnamed"), (os.fstat(file).st_nlink, os.pread(file, 9, 0)))
        same([], os.listdir("."))
        link_open(file, "named")
        same((1, b"unnamed"), (os.fstat(file).st_nlink, get("named")))


@group
def numbers():
    """A file's number stays, whatever is done to it, and whatever the kernel forgets of it."""
    put("f", b"x")
    os.mkdir("d")
    number, directory = os.stat("f").st_ino, os.stat("d").st_ino
    same(False, number == directory)
    with open("f", "ab") as file:
        file.write(b"more")
    os.chmod("f", 0o600)
    os.rename("f", "d/g")
    os.link("d/g", "h")
    if root and os.access("/proc/sys/vm/drop_caches", os.W_OK) and "DROP" in os.environ:
        with open("/proc/sys/vm/drop_caches", "w") as file:
            file.write("2")
    same((number, number, directory), (os.stat("d/g").st_ino, os.stat("h").st_ino, os.stat("d").st_ino))
    os.rename("d", "e")
    same((number, directory), (os.stat("e/g").st_ino, os.stat("e").st_ino))
    many = set()
    for n in range(200):
        put(f"n{n}")
        many.add(os.stat(f"n{n}").st_ino)
    same(200, len(many))
    same(1, len({os.stat(f"n{n}").st_dev for n in range(200)}))


@group
def mapping():
    put("f", b"\0" * 8192)
    with opened("f", os.O_RDWR) as file, mmap.mmap(file, 8192) as pages:
        pages[4090:4100] = b"0123456789"
        same(b"0123456789", os.pread(file, 10, 4090))
        same(b"0123456789", get("f")[4090:4100])
        os.pwrite(file, b"written", 100)
        same(b"written", pages[100:107])
        private = mmap.mmap(file, 8192, flags=mmap.MAP_PRIVATE)
        private[0:4] = b"mine"
        same(b"\0\0\0\0", os.pread(file, 4, 0))
        private.close()
        os.unlink("f")
        pages[0:4] = b"gone"
        same(b"gone", os.pread(file, 4, 0))


@group
def descriptors():
    put("f", b"0123456789")
    with opened("f", os.O_RDWR) as file:
        copy = os.dup(file)
        os.lseek(file, 5, os.SEEK_SET)
        same(b"56", os.read(copy, 2))
        os.close(copy)
        same((10, b""), (os.lseek(file, 0, os.SEEK_END), os.read(file, 1)))
        flags = fcntl.fcntl(file, fcntl.F_GETFL)
        fcntl.fcntl(file, fcntl.F_SETFL, flags | os.O_APPEND)
        os.lseek(file, 0, os.SEEK_SET)
        os.write(file, b"end")
        same(b"0123456789end", get("f"))
        same(6, os.preadv(file, [bytearray(2), bytearray(4)], 0))
        same(4, os.writev(file, [b"AB", b"CD"]))
        same(b"0123456789endABCD", get("f"))
        os.fdatasync(file)
    same(os.statvfs(".").f_namemax, 255)


for directory, _, files in os.walk(top):  # who looks at what is left may be an ordinary user, too
    for name in files:
        if not os.path.islink(os.path.join(directory, name)):
            os.chmod(os.path.join(directory, name), 0o600)
for failure in failures:
    print(failure)
sys.exit(1 if failures else 0)
