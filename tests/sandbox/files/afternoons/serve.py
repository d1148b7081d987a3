"""A development server: makes pages anew as soon as their source changes, and serves them."""
import ctypes, http.server, os, struct, threading

SOURCES, WATCHED = "/site/pages", 0x8 | 0x40 | 0x80 | 0x200  # written, moved away and here, removed
libc = ctypes.CDLL(None)
events = libc.inotify_init()
assert libc.inotify_add_watch(events, SOURCES.encode(), WATCHED) > 0
pages = {}


def build(name):
    try:
        with open(f"{SOURCES}/{name}") as file:
            pages[name] = file.read().replace("# ", "Title: ")
        print(f"built {name}", flush=True)
    except FileNotFoundError:
        pages.pop(name, None)
        print(f"gone {name}", flush=True)


def watch():
    while True:
        data, at, names = os.read(events, 4096), 0, {}
        while at < len(data):
            length = struct.unpack_from("iIII", data, at)[3]
            names[data[at + 16 : at + 16 + length].rstrip(b"\0").decode()] = True
            at += 16 + length
        for name in names:
            if name.endswith(".md"):
                build(name)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        page = pages.get(self.path[1:])
        self.send_response(200 if page is not None else 404)
        self.end_headers()
        self.wfile.write((page or "no such page\n").encode())

    def log_message(self, *_):
        pass


for name in sorted(os.listdir(SOURCES)):
    build(name)
threading.Thread(target=watch, daemon=True).start()
server = http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Handler)
print("ready", flush=True)
server.serve_forever()
