#!/usr/bin/env python3
"""Name servers that misbehave, for tests: UDP and TCP at port 53 of each address given, the first of them at its worst.

What a name of .test leads to, and how badly that is answered, its first label says: see `answer`. For a line on standard
input, a line of JSON: how often each "name type" was asked for since the last one.
Usage: names_server.py ADDRESS ...
"""
import collections
import json
import socket
import struct
import sys
import threading
import time

A, CNAME, MX, TXT, AAAA, OPT = 1, 5, 15, 16, 28, 41
SERVFAIL, FORMERR, NXDOMAIN, NOTIMP, REFUSED = 2, 1, 3, 4, 5
SLOW = 3  # seconds
asked = collections.Counter()
heard = set()  # with their numbers, by which one knows who says the same again
lock = threading.Lock()


def parse(query):
    end, labels = 12, []
    while query[end]:
        labels.append(query[end + 1 : end + 1 + query[end]])
        end += 1 + query[end]
    kind = struct.unpack("!H", query[end + 1 : end + 3])[0]
    return labels, kind, end + 5


def edns(query, end):
    """The bytes of a datagram that who asks takes; None without EDNS."""
    return struct.unpack("!H", query[end + 3 : end + 5])[0] if query[11] and len(query) > end else None


def record(kind, data, name=b"\xc0\x0c"):
    return name + struct.pack("!HHIH", kind, 1, 60, len(data)) + data


def records_of(what, kind, end):
    at = 9 + sum(what)  # the same name has the same address
    addresses = {A: [bytes([203, 0, 113, at % 200])], AAAA: [b"\x20\x01\x0d\xb8" + bytes(10) + struct.pack("!H", at)]}
    if what == b"four":
        addresses[AAAA] = []
    if what == b"six":
        addresses[A] = []
    if what in (b"many", b"cut"):
        addresses = {k: [v[0][:-1] + bytes([i]) for i in range(40 if k == A else 20)] for k, v in addresses.items()}
    if what == b"alias":
        chain = record(CNAME, b"\x04real\xc0" + bytes([12 + 6]))  # of "alias.test": behind its first label
        return [chain] + [record(kind, data, b"\xc0" + bytes([end + 12])) for data in addresses.get(kind, [])]
    if kind == TXT:
        return [record(TXT, b"\x05hello"), record(TXT, b"\xc8" + bytes(range(200)))]
    if kind == MX:
        return [record(MX, b"\0\x0a\x04mail\xc0\x0c")]
    return [record(kind, data) for data in addresses.get(kind, [])]


def message(query, end, code, records, cut=False):
    opt = edns(query, end)
    extra = b"\0" + struct.pack("!HHIH", OPT, 1232, query[end + 7] << 8 if len(query) > end + 7 else 0, 0) if opt else b""
    flags = 0x8080 | (query[2] & 1) << 8 | (query[3] & 0x10) | code | (0x200 if cut else 0)
    head = query[:2] + struct.pack("!HHHHH", flags, 1, len(records), 0, 1 if opt else 0)
    return head + query[12:end] + b"".join(records) + extra


def answer(query, worst, stream):
    """What to say, in turns: seconds to wait, bytes, whether from another port."""
    labels, kind, end = parse(query)
    what = labels[0].lower() if labels else b""
    question = f"{b'.'.join(labels).decode('latin1').lower()} {kind}"
    with lock:
        asked[question] += 1
        again = (question, query[:2]) in heard
        heard.add((question, query[:2]))
    known = len(labels) == 2 and labels[1].lower() == b"test" and not what.startswith(b"none")
    records = records_of(what, kind, end) if known else []
    right = message(query, end, 0 if known else NXDOMAIN, records)
    room = edns(query, end) or 512
    if not stream and len(right) > room:
        keep = 0 if what == b"cut" else 5
        right = message(query, end, 0, records[:keep], True)
    wrong = message(query, end, 0, [record(A, bytes([203, 0, 113, 66]))])
    code = {b"servfail": SERVFAIL, b"refused": REFUSED, b"notimp": NOTIMP}.get(what.split(b"-")[0])
    if code and (worst or what.endswith(b"-all")):
        return [(0, message(query, end, code, []), False)]
    if what == b"formerr" and worst and edns(query, end):
        return [(0, query[:2] + struct.pack("!HHHHH", 0x8080 | FORMERR, 0, 0, 0, 0), False)]
    if stream:
        return [(0, right, False)]
    return {
        b"slow": [(SLOW, right, False)],
        b"drop": [(0, right, False)] if again or not worst else [],
        b"silent": [] if worst else [(0, right, False)],
        b"wrongid": [(0, bytes([query[0] ^ 1]) + wrong[1:], False), (0.1, right, False)],
        b"wrongname": [(0, wrong[:13] + b"x" + wrong[14:], False), (0.1, right, False)],
        b"case": [(0, right[:13] + right[13:17].swapcase() + right[17:], False)],
        b"port": [(0, wrong, True), (0.1, right, False)],
        b"garbage": [(0, bytes(range(256)), False), (0.1, right, False)],
    }.get(what, [(0, right, False)])


def serve_udp(address, worst):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    elsewhere = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, 53))
    elsewhere.bind((address, 0))

    def one(query, peer):
        for wait, said, other in answer(query, worst, False):
            time.sleep(wait)
            (elsewhere if other else server).sendto(said, peer)

    while True:
        threading.Thread(target=one, args=server.recvfrom(4096), daemon=True).start()


def serve_tcp(address, worst):
    listener = socket.create_server((address, 53))

    def one(connection):
        with connection, connection.makefile("rb") as stream:
            while len(head := stream.read(2)) == 2:
                query = stream.read(int.from_bytes(head, "big"))
                for _, said, _ in answer(query, worst, True):
                    connection.sendall(len(said).to_bytes(2, "big") + said)

    while True:
        threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()


for index, place in enumerate(sys.argv[1:]):
    for serve in (serve_udp, serve_tcp):
        threading.Thread(target=serve, args=(place, index == 0), daemon=True).start()
time.sleep(0.2)
print("ready", flush=True)
for _ in sys.stdin:
    with lock:
        print(json.dumps(asked), flush=True)
        asked.clear()
