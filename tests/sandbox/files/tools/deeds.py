"""
Does in a tree what it is told: a line of JSON with a list of deeds comes in, a line with what the tree then looks like goes
out, or with what failed. Usage: deeds.py DIRECTORY
"""
import errno, json, os, shutil, sys

os.chdir(sys.argv[1])


def put(path, text, mode):
    with open(path, mode) as file:
        file.write(text)


def move(path, to):
    """As mv does it, where a directory cannot be renamed."""
    try:
        os.rename(path, to)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copytree(path, to, symlinks=True)
        shutil.rmtree(path)


def save(path, text):
    put(".saving", text, "w")
    os.rename(".saving", path)


DEEDS = {
    "write": lambda path, text: put(path, text, "w"),
    "append": lambda path, text: put(path, text, "a"),
    "save": save,
    "remove": lambda path: os.unlink(path),
    "mkdir": lambda path: os.mkdir(path),
    "rmtree": lambda path: shutil.rmtree(path),
    "move": move,
    "chmod": lambda path, mode: os.chmod(path, int(mode, 8)),
    "link": lambda path, target: os.symlink(target, path),
}


def look(top="."):
    seen = {}
    for entry in os.scandir(top):
        path = entry.path[2:]
        if entry.is_symlink():
            seen[path] = "-> " + os.readlink(path)
        elif entry.is_dir():
            seen[path] = "directory"
            seen.update(look(entry.path))
        else:
            with open(path) as file:
                seen[path] = f"{os.stat(path).st_mode & 0o7777:o} {file.read()}"
    return seen


for line in sys.stdin:
    request = json.loads(line)
    try:
        for deed in request["deeds"]:
            DEEDS[deed["do"]](*deed["args"])
        print(json.dumps({"seen": look() if request["look"] else None}), flush=True)
    except OSError as error:
        print(json.dumps({"failed": f"{deed}: {error}"}), flush=True)
