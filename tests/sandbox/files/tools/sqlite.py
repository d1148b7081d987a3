"""A database that several processes write at once, with either journal: nothing is lost, and it is whole. Usage: sqlite.py ROWS"""
import os, sqlite3, sys

rows = int(sys.argv[1])
WRITERS = 3


def connect():
    database = sqlite3.connect("data.db", timeout=100, isolation_level=None)
    database.execute("pragma synchronous = normal")
    return database


def write(writer):
    database = connect()
    for number in range(rows):
        database.execute("begin immediate")
        database.execute("insert into entries values (?, ?, ?)", (writer, number, os.urandom(300)))
        database.execute("update total set value = value + 1")
        database.execute("rollback" if number % 10 == 9 else "commit")
    database.close()


for journal in "delete", "wal":
    database = connect()
    (mode,) = database.execute(f"pragma journal_mode = {journal}").fetchone()
    assert mode == journal, mode
    database.execute("create table entries (writer, number, filler, unique (writer, number))")
    database.execute("create table total (value)")
    database.execute("insert into total values (0)")
    children = []
    for writer in range(WRITERS):
        child = os.fork()
        if child == 0:
            write(writer)
            os._exit(0)
        children.append(child)
    seen = 0
    while children:
        (now,) = database.execute("select value from total").fetchone()
        assert now >= seen, (now, seen)
        seen = now
        if os.waitpid(children[0], os.WNOHANG)[0]:
            children.pop(0)
    want = WRITERS * (rows - rows // 10)
    counts = database.execute("select value, (select count(*) from entries) from total").fetchone()
    assert counts == (want, want), (journal, counts, want)
    assert database.execute("pragma integrity_check").fetchall() == [("ok",)]
    database.execute("delete from entries where number % 2")
    database.execute("vacuum")
    assert database.execute("pragma integrity_check").fetchall() == [("ok",)]
    database.execute("drop table entries")
    database.execute("drop table total")
    database.close()
