"""The agent of a guest that is hostile: it stops init, takes its listening socket, and answers as MODE says by then."""
import ctypes
import os
import socket
import struct
import sys
import threading
import time

MODE = sys.argv[1]
STEERING = "\x1b]52;c;aGk=\x07\x1b]0;t\x07\x9b31m\u202e\nforged"
PTRACE_SEIZE, PTRACE_INTERRUPT, PIDFD_GETFD = 0x4206, 0x4207, 438


def head(major, n):
    if n < 24:
        return bytes([major << 5 | n])
    size, code = next((size, code) for size, code in ((1, 24), (2, 25), (4, 26), (8, 27)) if n < 1 << 8 * size)
    return bytes([major << 5 | code]) + n.to_bytes(size, "big")


def cbor(value):
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, float):
        return b"\xfb" + struct.pack(">d", value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(cbor, value))
    return head(5, len(value)) + b"".join(cbor(key) + cbor(member) for key, member in value.items())


def answers(mode, number):
    """What comes for a request, as bodies of frames."""
    known = {"id": 1, "process": 1, "pid": 7, "argv": [STEERING], "startedMs": 0}
    if mode == "words":
        return [{"id": number, "ok": False, "error": {"code": "EIO", "message": STEERING}}]
    if mode == "code":
        return [{"id": number, "ok": False, "error": {"code": STEERING, "message": "no"}}]
    if mode == "deep":
        return [b"\x81" * 900000 + b"\x00"]
    if mode == "tags":
        return [b"\xa2\x62id" + cbor(number) + b"\x62ok\xd8\x1b\x82\x66RegExp\x65(a+)+"]
    if mode == "numbers":
        exit = {"exitCode": 1 << 40, "code": 1 << 40, "signal": STEERING, "timedOut": False, "oomKilled": False}
        return [{"id": number, "ok": True, "process": float("nan"), "processes": [{**known, "pid": -1.5}], **exit}]
    if mode == "prototype":
        polluted = {"__proto__": {"polluted": True}, "constructor": {"prototype": {"polluted": True}}}
        return [{"id": number, "ok": True, **polluted, "processes": [{**known, **polluted}]}]
    if mode == "many":
        return [{"id": number, "ok": True, "processes": [{**known, "id": n, "process": n} for n in range(5000)]}]
    return []


def frame(body):
    body = body if isinstance(body, bytes) else cbor(body)
    return struct.pack(">I", len(body)) + body


def serve(connection):
    with open(MODE) as file:
        mode = file.read()
    if mode == "garbage":
        connection.sendall(os.urandom(100000))
        return
    if mode == "giant":
        connection.sendall(b"\xff\xff\xff\xff" + bytes(1000))
        time.sleep(1000)
    number, pending = 0, b""
    while mode != "silent":
        while len(pending) < 4 or len(pending) < 4 + int.from_bytes(pending[:4], "big"):
            more = connection.recv(65536)
            if not more:
                return
            pending += more
        pending = pending[4 + int.from_bytes(pending[:4], "big") :]
        number += 1  # requests are numbered from 1; the first is the greeting
        if number == 1:
            connection.sendall(frame({"id": 1, "ok": True, "version": 1, "agent": "agent" + STEERING}))
        while number > 1 and mode == "flood":
            connection.sendall(frame({"id": 77, "ev": "stdout", "data": bytes(60000)}))
        while number > 1 and mode == "drip":
            connection.sendall(b"\x00" if pending is None else b"\x00\x0f\xff\xff")
            pending = None
            time.sleep(0.5)
        for body in answers(mode, number) if number > 1 else []:
            connection.sendall(frame(body))
    time.sleep(1000)


def init_s_socket():
    """init stands still from now on."""
    libc = ctypes.CDLL(None)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
        if libc.ptrace(request, 1, None, None) != 0:
            sys.exit("init cannot be traced")
    for name in os.listdir("/proc"):  # the agents that it has forked
        if name.isdigit() and name not in ("1", str(os.getpid())):
            with open(f"/proc/{name}/cmdline") as file:
                if file.read().startswith("/init"):
                    os.kill(int(name), 9)
    init = os.pidfd_open(1)
    for number in range(3, 64):
        fd = libc.syscall(PIDFD_GETFD, init, number, 0)
        if fd < 0:
            continue
        try:
            taken = socket.socket(fileno=fd)
        except OSError:
            continue
        if taken.family == socket.AF_VSOCK and taken.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            taken.setblocking(True)
            return taken
        taken.detach()
    sys.exit("init has no such socket")


def answer(connection):
    with connection:
        try:
            serve(connection)
        except OSError:
            pass


if os.fork() == 0:
    os.setsid()
    listener = init_s_socket()
    with open(MODE + ".taken", "w"):
        pass
    while True:
        threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()
