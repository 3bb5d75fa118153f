#!/usr/bin/env python3
"""What it costs a deployment that many follow it: once without followers and once with them, in one run.

    bench/followers.py TAGALONG REGISTRY_PORT [FOLLOWERS] [LINES] [events|ws|both]     default 1000, 10000 and events

A deployment's hook writes LINES lines within ten seconds, while FOLLOWERS connections read its journal as server-sent events,
or over WebSockets (or every other one of them), from the first line to the outcome. Every follower must have every line, in order and once: what each was sent is hashed and
compared with the stored journal. Printed: the deployment's time without and with followers (from the beginning of its run to
its end, by its record), when the last follower had the outcome after that, the server's memory at its highest, and how many
followers missed something; and the machine's load, for on a machine that others use too a limit may be missed that holds on a
quiet one. It ends with 1 when a limit is missed.
"""
import hashlib, json, os, pathlib, re, resource, selectors, socket, subprocess, sys, tempfile, time

tagalong, registry = os.path.abspath(sys.argv[1]), sys.argv[2]
followers = int(sys.argv[3]) if len(sys.argv) > 3 else 1000
lines = int(sys.argv[4]) if len(sys.argv) > 4 else 10_000
how = sys.argv[5] if len(sys.argv) > 5 else "events"
seconds, wait_s = 10, 5
work = pathlib.Path(tempfile.mkdtemp(prefix="tagalong-bench-"))
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
secret = "tk-" + os.urandom(24).hex()
alive = b": still here\n\n"
missed = []


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(port):
    stack = work / "web"
    stack.mkdir()
    (stack / "compose.yml").write_text(f"name: tagalong-bench-web\nservices:\n  web:\n    image: 127.0.0.1:{registry}/acme/site:${{TAG}}\n    stop_signal: SIGKILL\n")
    (stack / ".env").write_text("TAG=1f0c9e2\n")
    # It keeps time by the clock, so that a slow machine makes it no longer. The followers come before its first line.
    (work / "hook.py").write_text(
        f"import time\ntime.sleep({wait_s})\nbegan = time.monotonic()\nfor line in range(1, {lines} + 1):\n"
        f"    wait = began + line * {seconds} / {lines} - time.monotonic()\n    if wait > 0.01:\n        time.sleep(wait)\n"
        f"    print(f'line {{line}} of a program that has something to say, as long as such lines are', flush=True)\n"
    )
    (work / "reader.token").write_text(secret)
    config = work / "tagalong.toml"
    config.write_text(
        f'version = 1\n[server]\nlisten = ["127.0.0.1:{port}"]\nsocket = "{work}/tagalong.sock"\ndata_dir = "{work}/data"\n'
        f"max_connections = {2 * followers + 100}\nmax_connections_per_address = {followers + 50}\nmax_followers = {followers}\n"
        '[[key]]\nid = "reader"\ntoken_file = "reader.token"\nscopes = ["read"]\n'
        f'[service.web]\ndir = "{stack}"\nproject = "tagalong-bench-web"\nimage = "127.0.0.1:{registry}/acme/site"\nvariable = "TAG"\n'
        f'[service.web.before]\nargv = ["{sys.executable}", "{work}/hook.py"]\n'
    )
    env = dict(os.environ, TAGALONG_CONFIG=str(config))
    server = subprocess.Popen([tagalong, "serve"], env=env, stdout=subprocess.DEVNULL, stderr=(work / "log").open("w"))
    while subprocess.run([tagalong, "status"], env=env, **quiet).returncode:
        if server.poll() is not None:
            sys.exit((work / "log").read_text())
        time.sleep(0.05)
    return server, env


def ordered(env, tag):
    subprocess.run([tagalong, "deploy", "--no-wait", "web", tag], env=env, check=True, **quiet)
    return json.loads(subprocess.run([tagalong, "history", "web", "-n", "1", "--json"], env=env, capture_output=True, check=True).stdout)["deployments"][0]["id"]


def ask(id, more=""):
    return (f"GET /api/v1/deployments/{id}/log{more} HTTP/1.1\r\nconnection: close\r\nhost: 127.0.0.1\r\nauthorization: Bearer {secret}\r\naccept: text/event-stream\r\n\r\n").encode()


class Chunks:
    """A body that comes in chunks: their content, whatever comes at a time."""

    def __init__(self):
        self.rest, self.left = b"", 0

    def content(self, got):
        self.rest += got
        parts, at = [], 0
        while True:
            if self.left:
                part = self.rest[at : at + self.left]
                parts.append(part)
                at += len(part)
                self.left -= len(part)
                if self.left:
                    break
            # The end of the chunk before, and the length of the next.
            start = at + 2 if self.rest[at : at + 2] == b"\r\n" else at
            end = self.rest.find(b"\r\n", start)
            if end < 0:
                break
            self.left, at = int(self.rest[start:end], 16), end + 2
            if not self.left:
                break
        self.rest = self.rest[at:]
        return b"".join(parts)


class Frames:
    """The texts of a WebSocket, whatever comes at a time; a single line end only shows that it lives."""

    def __init__(self):
        self.rest, self.pings = b"", 0

    def content(self, got):
        self.rest += got
        parts, at = [], 0
        while len(self.rest) - at >= 2:
            kind, length, start = self.rest[at], self.rest[at + 1], at + 2
            if length >= 126:
                start += 2 if length == 126 else 8
                if len(self.rest) < start:
                    break
                length = int.from_bytes(self.rest[at + 2 : start], "big")
            if len(self.rest) < start + length:
                break
            if kind == 0x81 and length > 1:
                parts.append(self.rest[start : start + length])
            self.pings += kind == 0x89
            at = start + length
        self.rest = self.rest[at:]
        return b"".join(parts)


def open_socket(id):
    return (
        f"GET /ws/deployments/{id} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {secret}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
        "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


class Follower:
    def __init__(self, port, id, is_socket):
        self.line = socket.create_connection(("127.0.0.1", port), 30)
        self.is_socket, self.status = is_socket, b" 101 " if is_socket else b" 200 "
        self.line.sendall(open_socket(id) if is_socket else ask(id))
        self.head, self.hash, self.ended, self.many = b"", hashlib.blake2b(), None, 0
        self.chunks = Frames() if is_socket else Chunks()

    def take(self):
        """Whether there may be more."""
        got = self.line.recv(1 << 18)
        if not got:
            self.ended = time.time()
            self.line.close()
            return False
        if self.head is not None:
            self.head += got
            if b"\r\n\r\n" not in self.head:
                return True
            head, got = self.head.split(b"\r\n\r\n", 1)
            assert self.status in head.split(b"\r\n")[0], (head, got)
            self.head = None
        got = self.chunks.content(got)
        if alive in got:
            got = got.replace(alive, b"")
        if self.is_socket and self.chunks.pings:
            # A client that answers no pings would count as gone.
            self.line.sendall(b"\x8a\x80\0\0\0\0" * self.chunks.pings)
            self.chunks.pings = 0
        self.many += len(got)
        self.hash.update(got)
        return True


def follow(port, id):
    """Follows from FOLLOWERS connections until the last has ended, which only waits for bytes."""
    selector, all = selectors.DefaultSelector(), [Follower(port, id, how == "ws" or how == "both" and at % 2) for at in range(followers)]
    for one in all:
        selector.register(one.line, selectors.EVENT_READ, one)
    while selector.get_map():
        found = selector.select(60)
        assert found, "nothing came for a minute"
        for key, _ in found:
            try:
                more = key.data.take()
            except ConnectionError:
                more = False
            if not more:
                selector.unregister(key.fileobj)
    return all


def ended(env, id):
    while True:
        shown = json.loads(subprocess.run([tagalong, "history", "web", "-n", "5", "--json"], env=env, capture_output=True, check=True).stdout)
        one = next(one for one in shown["deployments"] if one["id"] == id)
        if one["state"] == "done":
            assert one["outcome"] == "live", one
            return one
        time.sleep(0.2)


def took(one):
    """Without the wait for the followers, which would hide what they cost."""
    return (one["ended_ms"] - one["started_ms"]) / 1000 - wait_s


def memory(pid):
    return int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def hold(what, value, limit, unit):
    if value > limit:
        missed.append(what)
    print(f"{what:<34} {'pass' if value <= limit else 'FAIL'}  {value:.2f}{unit}, limit at most {limit:g}{unit}")


def stored(port, id):
    line = socket.create_connection(("127.0.0.1", port), 30)
    line.sendall(ask(id, "?follow=false"))
    whole = b"".join(iter(lambda: line.recv(1 << 18), b""))
    return Chunks().content(whole.split(b"\r\n\r\n", 1)[1])


resource.setrlimit(resource.RLIMIT_NOFILE, (min(65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
port = free_port()
server, env = start(port)
try:
    ended(env, ordered(env, "1f0c9e2"))
    alone = took(ended(env, ordered(env, "2a7d410")))
    print(f"without followers                  {alone:.2f} s, memory at its highest {memory(server.pid):.1f} MiB; load {os.getloadavg()[0]:.1f}")
    id = ordered(env, "1f0c9e2")
    all = follow(port, id)
    one = ended(env, id)
    print(f"with {followers} followers ({how})       {took(one):.2f} s; load {os.getloadavg()[0]:.1f}")
    journal = stored(port, id)
    numbers = [int(number) for number in re.findall(rb"^id: (\d+)$", journal, re.M)]
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) > lines, "the stored journal has a gap"
    objects = b"".join(data + b"\n" for data in re.findall(rb"^data: (.*)$", journal, re.M))
    right = [hashlib.blake2b(whole).digest() for whole in (journal, objects)]
    without = sum(one.hash.digest() != right[bool(one.is_socket)] for one in all)
    print(f"journal                            {len(numbers)} lines, {len(journal)} bytes; sent {sum(one.many for one in all) >> 20} MiB in all")
    hold("followers that missed something", without, 0, "")
    hold("deployment, with / without", took(one) / alone, 1.05, "")
    hold("last outcome after the end", max(follower.ended for follower in all) - one["ended_ms"] / 1000, 2, " s")
    hold("memory at its highest", memory(server.pid), 96, " MiB")
    print("every limit holds" if not missed else "A LIMIT IS MISSED")
    sys.exit(1 if missed else 0)
finally:
    server.terminate()
    server.wait()
    subprocess.run(["docker", "compose", "down", "-v", "-t", "0"], cwd=work / "web", **quiet)
    subprocess.run(["rm", "-rf", str(work)])
