"""
Files and directories that several processes move about: nothing gets lost, doubled or mixed up, and who looks sees a whole
file. Usage: renames.py SEED ROUNDS
"""
import os, random, sys

seed, rounds = map(int, sys.argv[1:])
TREES, FILES = 5, 6


def move_files(number):
    """Its own files, from directory to directory, which another process renames meanwhile."""
    chance = random.Random(seed * 100 + number)
    at = {name: 0 for name in range(FILES)}
    for name in at:
        with open(f"still0/{number}.{name}", "w") as file:
            file.write(f"{number}.{name}\n" * 200)
    for _ in range(rounds):
        name, to = chance.randrange(FILES), chance.randrange(TREES)
        os.rename(f"still{at[name]}/{number}.{name}", f"still{to}/{number}.{name}")
        at[name] = to
        with open(f"still{to}/{number}.{name}") as file:
            assert file.read() == f"{number}.{name}\n" * 200
    return {f"still{at[name]}/{number}.{name}" for name in at}


def move_trees(number):
    """Directories with what is in them, into one another and back."""
    chance = random.Random(seed * 100 + number)
    os.makedirs(f"tree{number}/a/b/c")
    with open(f"tree{number}/a/b/c/file", "w") as file:
        file.write("deep")
    path = f"tree{number}"
    for turn in range(rounds // 2):
        other = chance.choice([f"tree{number}-{chance.randrange(3)}", f"into{chance.randrange(2)}/tree{number}"])
        if other != path:
            os.rename(path, other)
            path = other
        with open(f"{path}/a/b/c/file") as file:
            assert file.read() == "deep"
        if turn % 3 == 0:
            os.rename(f"{path}/a/b", f"{path}/b")
            os.rename(f"{path}/b/c/file", f"{path}/a/file")
            os.rename(f"{path}/a/file", f"{path}/b/c/file")
            os.rename(f"{path}/b", f"{path}/a/b")
    return {path}


def replace(number):
    """As programs save: who reads sees one whole text or another."""
    for turn in range(rounds):
        with open(f"saved.tmp{number}", "w") as file:
            file.write(str(turn % 10) * 5000)
        os.rename(f"saved.tmp{number}", "saved")
        with open("saved") as file:
            text = file.read()
        assert len(text) == 5000 and len(set(text)) == 1, text[:20]
    return {"saved"}


for tree in range(TREES):
    os.mkdir(f"still{tree}")
for into in range(2):
    os.mkdir(f"into{into}")
with open("saved", "w") as file:
    file.write("0" * 5000)
children = {}
for number, work in enumerate([move_files, move_files, move_trees, move_trees, replace, replace]):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, "\n".join(work(number)).encode())
        except BaseException as error:
            print(f"seed {seed}, {work.__name__} {number}: {error!r}", flush=True)
            os._exit(1)
        os._exit(0)
    os.close(write)
    children[child] = read
expected, code = set(), 0
for child, read in children.items():
    code = max(code, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    with os.fdopen(read) as told:
        expected |= set(told.read().split("\n"))
if code == 0:
    there = {"saved"} | {f"still{tree}/{name}" for tree in range(TREES) for name in os.listdir(f"still{tree}")}
    there |= {name for name in os.listdir(".") if name.startswith("tree")}
    there |= {f"into{into}/{name}" for into in range(2) for name in os.listdir(f"into{into}")}
    if there != expected:
        print(f"seed {seed}: differs: {there ^ expected}")
        code = 1
sys.exit(code)
