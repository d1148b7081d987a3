#!/usr/bin/env python3
"""What two kinds of clients find, a line each: the C library, and questions made by hand.

Usage: names_client.py library NAME ...     what getaddrinfo says of each, for each family
       names_client.py raw SERVER           what a name server says to questions of every kind
"""
import concurrent.futures
import socket
import struct
import sys

FAMILIES = {"4": socket.AF_INET, "6": socket.AF_INET6, "any": socket.AF_UNSPEC}
OPTS = {
    "": b"",
    "edns": b"\0\0\x29\x04\xd0\0\0\0\0\0\0",
    "do": b"\0\0\x29\x10\0\0\0\x80\0\0\0",
    "cookie": b"\0\0\x29\x10\0\0\0\0\0\0\x0c\0\x0a\0\x08capsa-42",
}
TYPES = (1, 2, 5, 6, 12, 15, 16, 28, 33, 35, 43, 46, 48, 52, 64, 65, 99, 255, 257, 65280, 65535)
ODD = [b"_srv._tcp", b"a b", b"a.b", b"\xc3\xa9", b"\xff\0\x01", b"A" * 63, b"-", b"*", b"a\\b", b"UPPER", b"x" * 40]


def library(question):
    name, family = question
    try:
        found = socket.getaddrinfo(name, 1, FAMILIES[family], socket.SOCK_STREAM)
        return f"{name} {family}: {' '.join(sorted(address[4][0] for address in found))}"
    except socket.gaierror as error:
        return f"{name} {family}: {error.errno}"


def make(labels, kind=1, flags=0x0100, opt="", of=1):
    head = struct.pack("!HHHHHH", 0x1234, flags, 1, 0, 0, 1 if opt else 0)
    name = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return head + name + struct.pack("!HH", kind, of) + OPTS[opt]


def read(stream, size):
    got = b""
    while len(got) < size:
        more = stream.recv(size - len(got))
        if not more:
            return got
        got += more
    return got


def raw(task):
    server, what, message, stream = task
    try:
        if stream:
            with socket.create_connection((server, 53), 20) as s:
                s.sendall(len(message).to_bytes(2, "big") + message)
                said = read(s, int.from_bytes(read(s, 2), "big"))
        else:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.settimeout(20)
                s.connect((server, 53))
                s.send(message)
                said = s.recv(65535)
        return f"{what}: {said.hex()}"
    except OSError as error:
        return f"{what}: {error}"


def raw_tasks(server):
    for kind in TYPES:
        for opt in OPTS:
            yield server, f"type {kind} {opt}", make([b"plain", b"test"], kind, opt=opt), False
    for flags in (0x0000, 0x0110, 0x0120, 0x0130):
        yield server, f"flags {flags:x}", make([b"plain", b"test"], flags=flags, opt="do"), False
    for of in (3, 4, 254, 255, 999):
        yield server, f"class {of}", make([b"plain", b"test"], of=of), False
    for odd in ODD:
        yield server, f"name {odd!r}", make([odd, b"odd", b"test"]), False
    yield server, "case", make([b"pLaIn", b"tEsT"]), False
    yield server, "longest", make([b"l" * 61, b"m" * 41, b"odd", b"test"]), False
    for stream in (False, True):
        for opt in OPTS:
            for name in (b"many", b"cut"):
                for kind in (1, 28, 16):
                    yield server, f"{name} {kind} {opt} {stream}", make([name, b"test"], kind, opt=opt), stream


if sys.argv[1] == "library":
    ask, tasks = library, [(name, family) for name in sys.argv[2:] for family in FAMILIES]
else:
    ask, tasks = raw, list(raw_tasks(sys.argv[2]))
with concurrent.futures.ThreadPoolExecutor(48) as pool:
    print("\n".join(pool.map(ask, tasks)))
