"""One of the two who write a SQLite database at once: so many transactions, each of which reads what is there."""
import sqlite3
import sys

path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
database = sqlite3.connect(path, timeout=600, isolation_level=None)
database.execute("pragma synchronous = off")  # who is told what is the matter, not what a power failure leaves
for turn in range(count):
    database.execute("begin immediate")
    database.execute("update total set n = n + 1")
    database.execute("insert into entry values ((select n from total), ?, ?, ?)", (name, turn, name * 100))
    database.execute("commit")
    if turn % 16 == 0:
        written = database.execute("select count(*), (select n from total) from entry").fetchone()
        assert written[0] == written[1], written
