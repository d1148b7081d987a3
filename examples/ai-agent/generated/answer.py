"""What a model might have written when asked: "find the primes below 100,000 whose digits are a palindrome"."""

import json
import socket

LIMIT = 100_000

sieve = bytearray([1]) * LIMIT
sieve[0:2] = b"\0\0"
for n in range(2, int(LIMIT**0.5) + 1):
    if sieve[n]:
        sieve[n * n :: n] = bytes(len(range(n * n, LIMIT, n)))
primes = [n for n in range(LIMIT) if sieve[n] and str(n) == str(n)[::-1]]

# Generated code may try anything. Here there is no network, and its own source cannot be changed.
attempts = {}
try:
    socket.create_connection(("203.0.113.1", 443), timeout=3)
    attempts["network"] = "open"
except OSError as error:
    attempts["network"] = error.strerror or type(error).__name__
try:
    with open(__file__, "a", encoding="utf-8"):
        attempts["own source"] = "open"
except OSError as error:
    attempts["own source"] = error.strerror

with open("/output/answer.json", "w", encoding="utf-8") as target:
    json.dump({"primes": primes, "attempts": attempts}, target)
print(f"{len(primes)} palindromic primes below {LIMIT}, the largest {primes[-1]}")
