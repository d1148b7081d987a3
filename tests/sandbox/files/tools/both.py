"""
The guest and this machine in one directory, this program running on both: what is done under a lock the other sees, be it a
count or a database. Usage: both.py OWN-NAME OTHER-NAME ROUNDS
"""
import fcntl, os, sqlite3, sys, time

own, other, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
os.umask(0)


def made(path):
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o666))


def meet(where):
    """Both are there."""
    made(f"{where}.{own}")
    while not os.path.exists(f"{where}.{other}"):
        time.sleep(0.02)


def flock(file):
    fcntl.flock(file, fcntl.LOCK_EX)


def posix(file):
    fcntl.lockf(file, fcntl.LOCK_EX)


def work():
    made("data.db")
    meet("begun")
    for lock in flock, posix:
        count = f"count.{lock.__name__}"
        for _ in range(rounds):
            with open(os.open("lock", os.O_RDWR | os.O_CREAT, 0o666), "r+") as guard:
                lock(guard)
                made(count)
                with open(count, "r+") as file:
                    value = int(file.read() or 0)
                    file.seek(0)
                    file.write(str(value + 1))
    database = sqlite3.connect("data.db", timeout=100, isolation_level=None)
    database.execute("create table if not exists entries (who, number)")
    for number in range(rounds):
        database.execute("insert into entries values (?, ?)", (own, number))
    meet("done")
    for lock in flock, posix:
        with open(f"count.{lock.__name__}") as file:
            assert file.read() == str(2 * rounds), (lock, "two have counted at once")
    assert database.execute("pragma integrity_check").fetchall() == [("ok",)]
    assert database.execute("select count(*) from entries").fetchone() == (2 * rounds,)
    database.close()
    meet("looked")


try:
    work()
finally:  # who fails does not keep the other waiting
    for where in "begun", "done", "looked":
        made(f"{where}.{own}")
