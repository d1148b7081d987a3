"""A shop: takes orders for as long as it runs, and says each number once the order is in the database for good."""
import sqlite3
database = sqlite3.connect("/data/shop.db", isolation_level=None)
database.execute("pragma journal_mode = wal")
database.execute("pragma synchronous = full")
database.execute("create table if not exists orders (number integer primary key, what text)")
(number,) = database.execute("select coalesce(max(number), 0) from orders").fetchone()
while True:
    number += 1
    database.execute("insert into orders values (?, ?)", (number, "x" * 500))
    print(number, flush=True)
