#!/usr/bin/env python3
"""The peer of the network tests: plain sockets on a host of its own, until its standard input ends.

TCP 7000 echoes. TCP 7001 sends 16 MiB that depend on their place and ends. TCP 7002 takes everything, answers with its
SHA-256. UDP 7000 echoes. DNS on UDP 53 answers by a table. All of it on each address given.
Usage: network_peer.py ADDRESS ...
"""
import hashlib
import itertools
import socket
import struct
import sys
import threading

BLOCK = bytes((i * 7 + i // 256) & 255 for i in range(65536))
BLOCKS = 256
NAMES = {
    "peer.test": "198.51.100.2",
    "other.test": "198.51.100.3",
    "rebind.test": "127.0.0.1",
    "private.test": "10.9.9.9",
    "own.test": "198.51.100.1",
    "six.test": "fd63:6170:7361::2",
}
# Where it leads first, and where it leads later, in turns: a rebinding
TURNING = "turning.test"
LATER = ["127.0.0.1", "10.0.2.2", "169.254.169.254", "10.9.9.9"]
turns = itertools.chain(["198.51.100.3"], itertools.cycle(LATER))


def serve_tcp(address, port, serve):
    listener = socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET)

    def one(connection):
        with connection:
            try:
                serve(connection)
            except OSError:
                pass

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=one, args=(connection,), daemon=True).start()


def echo(connection):
    while data := connection.recv(65536):
        connection.sendall(data)


def send(connection):
    for _ in range(BLOCKS):
        connection.sendall(BLOCK)


def take(connection):
    digest = hashlib.sha256()
    while data := connection.recv(65536):
        digest.update(data)
    connection.sendall(digest.hexdigest().encode())


def serve_udp(address, port, answer):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, port))
        while True:
            data, peer = server.recvfrom(65536)
            try:
                server.sendto(answer(data), peer)
            except (OSError, IndexError, UnicodeError) as error:  # the test then misses its answer
                print(f"network_peer: {peer}: {error!r}", file=sys.stderr, flush=True)


def resolve(query):
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    question = query[12 : at + 5]
    name, kind = ".".join(labels).lower(), struct.unpack(">H", query[at + 1 : at + 3])[0]
    address = NAMES.get(name)
    if name == TURNING and kind == 1:
        address = next(turns)
    records = b""
    if address and kind == (28 if ":" in address else 1):
        data = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
        records = b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(data)) + data
    found = address or name == TURNING
    head = query[:2] + struct.pack(">HHHHH", 0x8180 if found else 0x8183, 1, 1 if records else 0, 0, 0)
    return head + question + records


def main():
    for address in sys.argv[1:]:
        for port, serve in ((7000, echo), (7001, send), (7002, take)):
            threading.Thread(target=serve_tcp, args=(address, port, serve), daemon=True).start()
        for port, answer in ((7000, lambda data: data), (53, resolve)):
            threading.Thread(target=serve_udp, args=(address, port, answer), daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


main()
