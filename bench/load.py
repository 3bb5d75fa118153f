#!/usr/bin/env python3
"""How a store of very many deployments is borne: five lines each, over 180 days, of 200 services.

    bench/load.py TAGALONG [DEPLOYMENTS] [SECONDS] [DATABASE…]      default 1000000 60 sqlite postgres

start        from the start of the program to its first answer
pages        the 99th percentile of each list and view of the API, one reader, and the processor time of one, which does not depend on
             the load
dashboard    the same of the pages for people, by somebody who is logged in: the first one after the start, the first ones after a
             while, which find nothing in mind, the 99th percentile of those that follow, and how large they are
idle         the processor time that it takes while nobody asks for anything
sweep        half of the store is older than it is kept for: orders come at their times while that is forgotten; the slowest answer,
             and how large the log of SQLite becomes

Printed: each figure, its limit, and the machine's load meanwhile, for on a machine that others use too a limit may be missed that
holds on a quiet one. The engine is a stand-in, so that what is measured is the store and what asks it. It ends with 1 when a limit
is missed; with fewer deployments than a million the figures are printed only, and it ends with 1 when something went wrong.
"""
import http.client, json, os, pathlib, re, secrets, shutil, signal, socket, sqlite3, statistics, subprocess, sys, tempfile, threading, time, urllib.parse

here = pathlib.Path(__file__).resolve().parent
tagalong = os.path.abspath(sys.argv[1])
many = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
seconds = int(sys.argv[3]) if len(sys.argv) > 3 else 60
databases = sys.argv[4:] or ["sqlite", "postgres"]
services, configured, reads, per_second = 200, 20, 200 if many >= 100_000 else 20, 10
token = secrets.token_urlsafe(32)
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
missed = []
is_whole = many >= 1_000_000
docker = """#!/bin/sh
# A stand-in: a daemon is there, and nothing runs.
case $1 in
    events) exec sleep 3600 ;;
    info) echo '{"ServerVersion":"27.0.0","OSType":"linux","Architecture":"x86_64","Driver":"overlay2","DockerRootDir":"/"}' ;;
esac
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def hold(database, what, figure, limit, unit, beside=""):
    kept = figure <= limit
    if not kept:
        missed.append(f"{what} ({database})")
    print(f"{database:<9} {what:<34} {'pass' if kept else 'FAIL'}  {figure:9.2f} {unit}, limit {limit:g} {unit}, {figure / limit:.2f} of it{beside}; load {os.getloadavg()[0]:.1f}", flush=True)


class Sqlite:
    name = "sqlite"

    def __init__(self, work):
        self.work, self.file = work, work / "data" / "tagalong.db"

    config = ""

    def fill(self):
        with sqlite3.connect(self.file, isolation_level=None) as db:
            db.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -400000; BEGIN;" + script(self.name) + "COMMIT; PRAGMA journal_mode = WAL;")
        db.close()

    def ask(self, question):
        with sqlite3.connect(self.file, timeout=60) as db:
            found = db.execute(question).fetchone()[0]
        db.close()
        return found

    def size(self):
        return self.file.stat().st_size

    def log_size(self):
        log = pathlib.Path(f"{self.file}-wal")
        return log.stat().st_size if log.exists() else 0

    def stop(self):
        pass


class Postgres:
    name = "postgres"

    def __init__(self, work):
        script = (here.parent / "tests/api/postgres.sh").read_text()
        run = ["setsid"] + (["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else [])
        self.server = subprocess.Popen(run + ["sh", "-c", script], cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.dir = self.server.stdout.readline().strip()
        if not self.dir.startswith("/"):
            sys.exit(f"PostgreSQL does not start: {self.dir}")
        self.ask("CREATE DATABASE load", "postgres")
        (work / "postgres.url").write_text(f"postgres://tagalong@localhost/load?host={self.dir}")
        self.config = '[store]\npostgres_url_file = "postgres.url"\n'

    def ask(self, question, database="load"):
        command = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", self.dir, "-U", "tagalong", database]
        done = subprocess.run(command, input=question, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        return done.stdout.strip()

    def fill(self):
        self.ask("SET synchronous_commit = off; SET work_mem = '256MB';" + script(self.name))
        self.ask("VACUUM ANALYZE")

    def size(self):
        return int(self.ask("SELECT pg_database_size('load')"))

    def log_size(self):
        return 0

    def stop(self):
        self.server.stdin.close()
        self.server.wait()


def script(name):
    text = (here / f"fill.{name}.sql").read_text()
    for word, value in {"many": many, "services": services, "now_ms": int(time.time() * 1000)}.items():
        text = re.sub(rf"(?<!:):{word}\b", str(value), text)
    return text


# --- the server ----------------------------------------------------------------------------------------------------------------


class Server:
    """Tagalong over the store, where everything is kept for so many days (or a year)."""

    def __init__(self, work, database, days):
        self.port = free_port()
        stacks = [work / f"s{number}" for number in range(configured)] + [work / "quiet"]
        text = f'version = 1\n[server]\nlisten = ["127.0.0.1:{self.port}"]\nsocket = "{work}/tagalong.sock"\ndata_dir = "{work}/data"\nmax_waiting = 100000\n'
        text += f'[retention]\njournal_days = {days}\ndeliveries_days = {min(days, 365)}\n{database.config}[docker]\nprogram = "{work}/docker"\n'
        text += '[[key]]\nid = "load"\ntoken_file = "load.token"\nscopes = ["deploy:*", "read"]\n'
        for stack in stacks:
            stack.mkdir(exist_ok=True)
            image = f"127.0.0.1:1/acme/{stack.name}"
            (stack / "compose.yml").write_text(f"services:\n  web:\n    image: {image}:${{TAG}}\n")
            (stack / ".env").write_text("TAG=before\n")
            text += f'[service.{stack.name}]\ndir = "{stack}"\nproject = "{stack.name}"\nimage = "{image}"\nvariable = "TAG"\n'
        (work / "tagalong.toml").write_text(text)
        self.log = (work / "tagalong.log").open("a")
        began = time.monotonic()
        self.program = subprocess.Popen([tagalong, "--config", str(work / "tagalong.toml"), "serve"], stdout=self.log, stderr=self.log)
        self.wait_for(began)
        self.line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        self.control = [tagalong, "--socket", str(work / "tagalong.sock"), "user"]
        self.cookie = None

    def wait_for(self, began):
        while True:
            try:
                line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                line.request("GET", "/healthz")
                assert line.getresponse().status == 200
                self.started_ms = (time.monotonic() - began) * 1000
                return line.close()
            except OSError:
                if self.program.poll() is not None or time.monotonic() - began > 120:
                    sys.exit("tagalong does not start:\n" + pathlib.Path(self.log.name).read_text()[-2000:])
                time.sleep(0.005)

    def call(self, path, body=None):
        """The time that it takes, ms, and the answer."""
        began = time.monotonic()
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        self.line.request("POST" if body else "GET", path, json.dumps(body) if body else None, headers)
        answer = self.line.getresponse()
        text = answer.read()
        return (time.monotonic() - began) * 1000, answer.status, text

    def log_in(self):
        """Somebody who may read everything is logged in, and opens pages from now on."""
        subprocess.run(self.control + ["add", "ada", "--scope", "read"], check=True, **quiet)
        code = subprocess.run(self.control + ["code", "ada"], check=True, capture_output=True, text=True).stdout.split()[0]
        headers = {"content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "same-origin"}
        self.line.request("POST", "/login", urllib.parse.urlencode({"code": code}), headers)
        answer = self.line.getresponse()
        answer.read()
        if answer.status != 303:
            sys.exit(f"the login got {answer.status}")
        self.cookie = answer.getheader("set-cookie").split(";")[0]

    def open_page(self, path):
        """The time that a page takes, ms, and its text."""
        began = time.monotonic()
        self.line.request("GET", path, headers={"cookie": self.cookie})
        answer = self.line.getresponse()
        text = answer.read()
        took = (time.monotonic() - began) * 1000
        if answer.status != 200:
            sys.exit(f"{path}: {answer.status} {text[:500]}")
        return took, text

    def processor_ms(self):
        tasks = pathlib.Path(f"/proc/{self.program.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e6

    def stop(self):
        self.line.close()
        self.program.send_signal(signal.SIGTERM)
        self.program.wait(60)
        self.log.close()


# --- what is measured ----------------------------------------------------------------------------------------------------------


def pages(database, server):
    middle, last = f"01{many // 2:024d}", f"01{many:024d}"
    asked = {
        "list": "/api/v1/deployments", "list, a deep page": f"/api/v1/deployments?before={middle}",
        "list of a service": "/api/v1/deployments?service=s1", "list of a service without any": "/api/v1/deployments?service=quiet",
        "list, running": "/api/v1/deployments?state=running", "list, waiting": "/api/v1/deployments?state=waiting",
        "list, done": "/api/v1/deployments?state=done", "list, live": "/api/v1/deployments?state=live",
        "list, an outcome without any": "/api/v1/deployments?state=broken",
        "list of a service, live": f"/api/v1/deployments?service=s1&state=live&before={middle}",
        "list of a service, such an outcome": "/api/v1/deployments?service=s1&state=broken",
        "list of a service, running": "/api/v1/deployments?service=s1&state=running",
        "show": f"/api/v1/deployments/{middle}", "log": f"/api/v1/deployments/{last}/log?follow=false",
        "service": "/api/v1/services/s1", "service without any": "/api/v1/services/quiet",
        f"overview of {configured + 1} services": "/api/v1/services", "metrics": "/metrics", "readyz": "/readyz",
    }
    for what, path in asked.items():
        took = []
        for number in range(reads + 5):
            if number == 5:
                before = server.processor_ms()
            ms, status, text = server.call(path)
            if status != 200:
                sys.exit(f"{path}: {status} {text[:500]}")
            if number >= 5:
                took.append(ms)
        took.sort()
        work = (server.processor_ms() - before) / reads
        beside = f", median {statistics.median(took):.2f} ms, processor {work:.2f} ms"
        hold(database.name, f"p99 of {what}", took[len(took) * 99 // 100], 20, "ms", beside)


def dashboard(database, server):
    """People's pages, on a server that has just started: nothing is in mind yet."""
    server.log_in()
    middle = f"01{many // 2:024d}"
    asked = {"overview": "/", "deployments": "/deployments", "deployments that are live": "/deployments?state=live",
             "service": "/services/s1", "service without any": "/services/quiet", "deployment": f"/deployments/{middle}",
             "incidents": "/incidents", "data": "/data", "agents": "/agents", "audit": "/audit", "keys": "/keys"}
    for what, path in asked.items():
        first, text = server.open_page(path)
        hold(database.name, f"first page: {what}", first, 100, "ms")
        hold(database.name, f"size of a page: {what}", len(text) / 1024, 100, "KiB")
    for what, path in asked.items():
        before, took = server.processor_ms(), []
        for _ in range(reads // 2):
            took.append(server.open_page(path)[0])
        took.sort()
        work = (server.processor_ms() - before) / len(took)
        hold(database.name, f"p99 of a page: {what}", took[len(took) * 99 // 100], 100, "ms", f", median {statistics.median(took):.2f} ms, processor {work:.2f} ms")
    # What is kept in mind for a while is old by then, and the connection too.
    server.line.close()
    time.sleep(40)
    for what in ["overview", "service"]:
        hold(database.name, f"a page after a while: {what}", server.open_page(asked[what])[0], 100, "ms")


def idle(database, server):
    # What was asked for is kept in mind for a while, and what listens for it ends then.
    time.sleep(min(20, seconds))
    before = server.processor_ms()
    time.sleep(seconds / 2)
    hold(database.name, "idle processor time", (server.processor_ms() - before) / (seconds / 2) / 10, 0.2, "%")


class Watch(threading.Thread):
    """How large the log of the database becomes while it runs."""

    def __init__(self, database):
        super().__init__()
        self.database, self.over, self.most = database, threading.Event(), 0

    def run(self):
        while not self.over.wait(0.1):
            self.most = max(self.most, self.database.log_size())


def old_deployments(database):
    return int(database.ask("SELECT COUNT(*) FROM deployments WHERE id < '02'"))


def sweep(database, server, before):
    """Orders at their times while old things are forgotten, of which there were `before`; each is for a service of its own, so that none
    takes another's place."""
    watch, took = Watch(database), []
    watch.start()
    began = time.monotonic()
    for number in range(seconds * per_second):
        due = began + number / per_second
        time.sleep(max(0, due - time.monotonic()))
        _, status, text = server.call("/api/v1/deployments", {"service": f"s{number % configured}", "tag": f"v{number}"})
        took.append((time.monotonic() - due) * 1000)
        if status != 202:
            sys.exit(f"an order got {status} during the sweep: {text[:500]}")
    watch.over.set()
    watch.join()
    gone = before - old_deployments(database)
    took.sort()
    print(f"{database.name:<9} sweep: {gone} deployments forgotten in {time.monotonic() - began:.0f} s; {len(took)} orders, median {statistics.median(took):.1f} ms, p99 {took[len(took) * 99 // 100]:.1f} ms")
    if not gone:
        sys.exit("nothing was swept")
    hold(database.name, "slowest order during the sweep", took[-1], 250, "ms")
    if database.name == "sqlite":
        hold(database.name, "largest log during the sweep", watch.most / (1 << 20), 64, "MiB")


def measure(kind):
    work = pathlib.Path(tempfile.mkdtemp(prefix="tagalong-load-"))
    database = server = None
    try:
        (work / "load.token").write_text(token)
        (work / "docker").write_text(docker)
        (work / "docker").chmod(0o755)
        database = kind(work)
        (work / "data").mkdir()
        server = Server(work, database, 36500)
        server.stop()
        began = time.monotonic()
        database.fill()
        print(f"{database.name:<9} {many} deployments and {5 * many} lines, {database.size() / (1 << 20):.0f} MiB, made in {time.monotonic() - began:.0f} s", flush=True)
        server = Server(work, database, 36500)
        hold(database.name, "start", server.started_ms, 200, "ms")
        dashboard(database, server)
        pages(database, server)
        idle(database, server)
        server.stop()
        before = old_deployments(database)
        server = Server(work, database, 90)
        sweep(database, server, before)
    finally:
        if server and server.program.poll() is None:
            server.program.kill()
            server.program.wait()
        if database:
            database.stop()
        shutil.rmtree(work)


for name in databases:
    measure({"sqlite": Sqlite, "postgres": Postgres}[name])
print("every limit holds" if not missed else f"MISSED: {', '.join(missed)}")
sys.exit(1 if missed and is_whole else 0)
