"""
What is in a tree: a line for each name, with what a program can learn of it. Two looks must agree.
Usage: view.py DIRECTORY [exact]     exact: times, links, special files and the sticky bit too
"""
import hashlib, os, stat, sys

top = sys.argv[1].encode()
exact = sys.argv[2:] == ["exact"]
KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link", stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket"}


def look(path, seen):
    status = os.lstat(path)
    kind = KINDS[stat.S_IFMT(status.st_mode)]
    words = [kind, f"{status.st_mode & (0o7777 if exact else 0o777):o}"]
    if kind == "file":
        with open(path, "rb") as file:
            bytes_ = file.read()
        words += [str(len(bytes_)), hashlib.sha256(bytes_).hexdigest()[:16]]
        if len(bytes_) != status.st_size:
            words.append(f"although st_size is {status.st_size}")
    if kind == "link":
        words = [kind, repr(os.readlink(path))]
    if exact:
        if kind == "file":
            words.append(f"links {status.st_nlink} first {seen.setdefault(status.st_ino, path)!r}")
        words.append(f"at {status.st_mtime_ns}")
    if exact or kind not in ("fifo", "socket"):
        yield f"{path[len(top):]!r} {' '.join(words)}"
    if kind == "directory":
        for name in sorted(os.listdir(path)):
            yield from look(path + b"/" + name, seen)


first, second = list(look(top, {})), list(look(top, {}))
if first != second:
    sys.exit("two looks differ:\n" + "\n".join(sorted(set(first) ^ set(second))))
print("\n".join(first))
