"""Many names of few files, made, replaced and removed by several processes at once: each name has its file's bytes. Usage: links.py SEED ROUNDS"""
import os, random, sys

seed, rounds = map(int, sys.argv[1:])
FILES, NAMES = 4, 12


def storm(number):
    chance = random.Random(seed * 100 + number)
    os.mkdir(str(number))
    here = lambda file, name: f"{number}/{file}.{name}"
    model = {}
    for file in range(FILES):
        with open(here(file, 0), "w") as made:
            made.write(f"{file}")
        model[file] = {0}
    for _ in range(rounds):
        file, name = chance.randrange(FILES), chance.randrange(NAMES)
        names = model[file]
        some = chance.choice(sorted(names))
        path, taken = here(file, some), here(file, name)
        step = chance.randrange(6)
        if step <= 1 and name not in names:
            os.link(path, taken)
            names.add(name)
        elif step == 2 and len(names) > 1:
            os.unlink(path)
            names.remove(some)
        elif step == 3 and name not in names:
            os.rename(path, taken)
            names ^= {some, name}
        elif step == 4:
            with open(path, "a") as one:
                one.write("+")
        elif step == 5:
            texts, links, numbers = set(), set(), set()
            for other in names:
                with open(here(file, other)) as one:
                    texts.add(one.read())
                status = os.stat(here(file, other))
                links.add(status.st_nlink)
                numbers.add(status.st_ino)
            assert len(texts) == 1 and links == {len(names)} and len(numbers) == 1, (texts, links, numbers, names)
            assert texts.pop().startswith(str(file))
    assert sorted(os.listdir(str(number))) == sorted(f"{file}.{name}" for file in model for name in model[file])


children = []
for number in range(4):
    child = os.fork()
    if child == 0:
        try:
            storm(number)
        except BaseException as error:
            print(f"seed {seed}, process {number}: {error!r}", flush=True)
            os._exit(1)
        os._exit(0)
    children.append(child)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
