"""What must hold when tagalong deploys the stack that it runs in; tests/rig/itself.sh makes the images and the stack.

    itself.py patch FROM TO                               a binary that refuses the stores of the one that it was made of
    itself.py table PROJECT FOLDER PORT REPOSITORY [ROUND…]   every round, those that are named, or `brief`
"""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request


def patch(source, target):
    """One letter of a comment in the first migration differs, and with it its checksum."""
    data = open(source, "rb").read()
    place = data.find(b"CREATE TABLE meta")
    assert place > 0, "the first migration is not in the binary"
    begin = data.rfind(b"--", 0, place)
    assert 0 < place - begin < 4000, "there is no comment before it"
    changed = data[: begin + 3] + bytes([data[begin + 3] ^ 1]) + data[begin + 4 :]
    open(target, "wb").write(changed)
    shutil.copymode(source, target)


def docker(*args, check=True):
    ran = subprocess.run(["docker", *args], capture_output=True, text=True)
    assert not check or ran.returncode == 0, f"docker {args}: {ran.stderr}"
    return ran.stdout.strip()


def until(what, holds, within_s=60.0):
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        found = holds()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {within_s} s for {what} in vain")


class Host:
    def __init__(self, project, folder, port, repository):
        self.project, self.folder, self.repository = project, folder, repository
        self.address = f"http://127.0.0.1:{port}"
        self.token = os.environ["ITSELF_TOKEN"]
        self.hits = {}

    def call(self, method, path, body=None, headers=(), timeout=10):
        request = urllib.request.Request(self.address + path, method=method, data=json.dumps(body).encode() if body else None)
        for name, value in [("Authorization", f"Bearer {self.token}"), ("Content-Type", "application/json"), *headers]:
            request.add_header(name, value)
        return urllib.request.urlopen(request, timeout=timeout)

    def answers(self):
        try:
            return self.call("GET", "/healthz").status == 200
        except OSError:
            return False

    def rows(self, statement, *values):
        database = sqlite3.connect(f"file:{self.folder}/state/tagalong.db?mode=ro", uri=True, timeout=5)
        try:
            return database.execute(statement, values).fetchall()
        finally:
            database.close()

    def can_write(self):
        database = sqlite3.connect(f"{self.folder}/state/tagalong.db", timeout=0.5, isolation_level=None)
        try:
            database.execute("BEGIN IMMEDIATE")
            database.execute("ROLLBACK")
            return True
        except sqlite3.OperationalError:
            return False
        finally:
            database.close()

    def step(self, deployment):
        found = self.rows("SELECT step, executor FROM runs WHERE deployment = ? AND state = 'running'", deployment)
        return found[0] if found else (None, None)

    def container(self, service):
        labels = ["--filter", f"label=com.docker.compose.project={self.project}", "--filter", f"label=com.docker.compose.service={service}"]
        return docker("ps", "--all", "--no-trunc", "--quiet", *labels).split()

    def beside(self):
        return docker("ps", "--all", "--quiet", "--filter", f"label=tagalong.of={self.project}/tagalong").split()

    def pid(self, name):
        """The first process of a running container; none: it does not run."""
        said = docker("inspect", "--format", "{{.State.Running}} {{.State.Pid}}", name, check=False).split()
        return int(said[1]) if said and said[0] == "true" else None

    def kill_docker(self):
        """The daemon is killed; started again, it ends what it had left running, and starts what is to be restarted."""
        pid = int(open(f"{self.folder}/docker/pid").read())
        os.kill(pid, signal.SIGKILL)
        until("the daemon to end", lambda: not os.path.exists(f"/proc/{pid}") or open(f"/proc/{pid}/stat").read().split()[2] == "Z")
        subprocess.Popen([f"{self.folder}/docker/start"])
        until("the daemon", lambda: subprocess.run(["docker", "info"], capture_output=True).returncode == 0)

    def order(self, kind, body):
        end = time.monotonic() + 30
        while True:
            try:
                return json.load(self.call("POST", f"/api/v1/{kind}", body))["id"]
            except urllib.error.HTTPError as error:
                raise AssertionError(error.read().decode()) from error
            except OSError:
                assert time.monotonic() < end, "no order was taken for 30 s"
                time.sleep(0.2)


class Follower(threading.Thread):
    """Follows a journal to its outcome, and connects again behind the last line that it has wherever the stream breaks."""

    def __init__(self, host, deployment):
        super().__init__(daemon=True)
        self.host, self.deployment = host, deployment
        self.ids, self.outcome, self.connections = [], None, 0
        self.start()

    def run(self):
        while self.outcome is None:
            last = [("Last-Event-ID", self.ids[-1])] if self.ids else []
            try:
                stream = self.host.call("GET", f"/api/v1/deployments/{self.deployment}/log", headers=[("Accept", "text/event-stream"), *last], timeout=30)
                self.connections += 1
                self.read(stream)
            except OSError:
                pass
            time.sleep(0.1)

    def read(self, stream):
        event = None
        for line in stream:
            line = line.decode().rstrip("\n")
            if line.startswith("id:"):
                self.ids.append(line[3:].strip())
            elif line.startswith("event:"):
                event = line[6:].strip()
            elif line.startswith("data:") and event == "outcome":
                self.outcome = json.loads(line[5:])
                return
            elif not line:
                event = None


def stopped(host, deployment, step, is_left=True):
    """Stops the carrier at `step` and makes sure that it is there. Gives its process; none: it was faster than we."""
    carrier = f"tagalong-carrier-{deployment.lower()}"
    pid = until("the carrier", lambda: host.pid(carrier))
    order = ["guards", "resolve", "preflight", "before_hook", "pull", "pin", "up", "health", "smoke", "after_hook"]
    order += ["undo_pin", "undo_up", "undo_health", "undo_smoke"]
    while True:
        now, executor = host.step(deployment)
        is_carried = bool(executor) and executor.startswith("carrier")
        if is_carried and now == step:
            break
        has_ended = now is None and host.rows("SELECT 1 FROM deployments WHERE id = ? AND state = 'done'", deployment)
        if has_ended or (is_carried and order.index(now) > order.index(step)):
            return None
        time.sleep(0.001)
    os.kill(pid, signal.SIGSTOP)
    # In the middle of a write, whoever is stopped keeps the lock of SQLite: nobody can do anything then but remove the container.
    if host.step(deployment)[0] != step or (is_left and not host.can_write()):
        os.kill(pid, signal.SIGCONT)
        return None
    return pid


def killed(host, deployment, step, victims):
    """Does to the victims at `step` what their name says. False: it was faster than we."""
    carrier = f"tagalong-carrier-{deployment.lower()}"
    pid = stopped(host, deployment, step, victims == "hung carrier")
    if pid is None:
        return False
    if victims == "hung carrier":
        return True
    if victims == "removed carrier":
        docker("rm", "--force", carrier)
        return True
    if victims == "docker":
        host.kill_docker()
        return True
    servers = host.container("tagalong")
    for name in {"carrier": [carrier], "server": servers, "both": [carrier, *servers]}[victims]:
        victim = host.pid(name)
        # A version that crashes may have ended by itself.
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim or 0x7FFFFFFF, signal.SIGKILL)
    if victims == "server":
        os.kill(pid, signal.SIGCONT)
    return True


def settled(host, deployment, follower, wanted, image, neighbour):
    """One version serves, the record is true, nothing is left over, and the follower has every line."""
    state = lambda: host.rows("SELECT state, outcome FROM deployments WHERE id = ? AND state = 'done'", deployment)
    outcome = json.loads(until("the outcome", state, 150)[0][1])
    assert wanted in json.dumps(outcome), f"{outcome}, not {wanted}"
    until("the server", host.answers)
    until("the carrier to go", lambda: not host.beside(), 40)
    assert host.rows("SELECT deployment FROM runs WHERE state = 'running'") == []
    containers = host.container("tagalong")
    assert len(containers) == 1, containers
    runs = docker("inspect", "--format", "{{.Image}}", containers[0])
    digests = docker("image", "inspect", "--format", "{{join .RepoDigests \" \"}} {{join .RepoTags \" \"}}", runs)
    assert f"{host.repository}:{image}" in digests, f"{digests} runs, not {image}"
    pinned = [line for line in open(f"{host.folder}/stack/.env") if line.startswith("TAGALONG_TAG=")]
    assert pinned[0].startswith(f"TAGALONG_TAG={image}@sha256:"), pinned
    assert host.rows("SELECT value FROM meta WHERE name = 'seat'") == [(containers[0],)]
    now = docker("inspect", "--format", "{{.Id}} {{.State.StartedAt}}", host.container("neighbour")[0])
    assert now.startswith(neighbour), f"the neighbour was touched: {neighbour}, {now}"
    follower.join(30)
    assert follower.outcome, "the follower did not see the end"
    lines = [str(row[0]) for row in host.rows("SELECT position FROM lines WHERE deployment = ? ORDER BY position", deployment)]
    assert follower.ids == lines, f"the follower has {len(follower.ids)} lines of {len(lines)}"
    return outcome


class Table:
    def __init__(self, host, only):
        self.host, self.only, self.live = host, only, "one"

    def round(self, name, tag, wanted, step=None, victims=None):
        """`tag` is ordered; without one the next good version is, and stays."""
        if self.only and name not in self.only and name != "good":
            return
        host = self.host
        # Docker starts it again when Docker itself was killed.
        started = "" if victims == "docker" else " {{.State.StartedAt}}"
        neighbour = docker("inspect", "--format", "{{.Id}}" + started, host.container("neighbour")[0])
        for attempt in range(1, 9):
            ordered = tag or ("two" if self.live != "two" else "three")
            began = time.monotonic()
            deployment = host.order("deployments", {"service": "tagalong", "tag": ordered, "force": True})
            follower = Follower(host, deployment)
            is_hit = step is None or killed(host, deployment, step, victims)
            stays = self.live if tag else ordered
            outcome = settled(host, deployment, follower, wanted, stays, neighbour)
            self.live = stays
            if is_hit:
                break
        else:
            raise AssertionError(f"{name}: {step} was never met")
        host.hits[name] = attempt
        took = time.monotonic() - began
        print(f"{name}: {wanted} after {took:.1f} s, {follower.connections} connections, try {attempt}. {outcome.get('why', '')}", flush=True)

    def one_after_the_other(self):
        """An order that comes while tagalong replaces itself is carried out behind it, by whoever serves then."""
        if self.only and "next" not in self.only:
            return
        first, second = ("two", "three") if self.live != "two" else ("three", "two")
        began = self.host.order("deployments", {"service": "tagalong", "tag": first, "force": True})
        until("its turn", lambda: self.host.step(began)[0])
        waits = self.host.order("deployments", {"service": "tagalong", "tag": second, "force": True})
        followers = [Follower(self.host, began), Follower(self.host, waits)]
        neighbour = docker("inspect", "--format", "{{.Id}} {{.State.StartedAt}}", self.host.container("neighbour")[0])
        settled(self.host, waits, followers[1], "live", second, neighbour)
        followers[0].join(30)
        assert followers[0].outcome and followers[0].outcome["outcome"] == "live", followers[0].outcome
        self.live = second
        self.host.hits["next"] = 1
        print("next: both are live", flush=True)

    def a_rollback_in_between(self):
        """A rollback stops a deployment of tagalong itself: that one brings the old version back, which carries the rollback out."""
        if self.only and "rollback" not in self.only:
            return
        host = self.host
        to = "two" if self.live != "two" else "three"
        neighbour = docker("inspect", "--format", "{{.Id}} {{.State.StartedAt}}", host.container("neighbour")[0])
        while True:
            deployment = host.order("deployments", {"service": "tagalong", "tag": to, "force": True})
            pid = stopped(host, deployment, "health")
            if not pid:
                until("its end", lambda: not host.step(deployment)[0])
                to, self.live = self.live, to
                continue
            until("the new version", host.answers)
            back = host.order("rollbacks", {"service": "tagalong", "to": {"tag": self.live}})
            os.kill(pid, signal.SIGCONT)
            settled(host, back, Follower(host, back), "live", self.live, neighbour)
            outcome = json.loads(host.rows("SELECT outcome FROM deployments WHERE id = ?", deployment)[0][0])
            # It may have been verified before it heard of the rollback: then that stopped nothing, and was carried out all the same.
            if outcome["outcome"] != "live":
                break
        assert "cancelled" in json.dumps(outcome) and outcome.get("brought_back") is True, outcome
        host.hits["rollback"] = 1
        print(f"rollback: {outcome}", flush=True)


# What CI has time for; the others differ in nothing but the step.
BRIEF = {"wrong", "incompatible", "crashing", "hanging", "lying", "deaf", "both at pin", "carrier at up", "server at up", "both at up"}
BRIEF |= {"both at after_hook", "carrier at undo_up", "both at undo_health", "hung carrier at health", "next", "rollback"}


def table(host, only):
    until("the server", host.answers)
    docker("exec", host.container("tagalong")[0], "tagalong", "--config", "/etc/tagalong/tagalong.toml", "adopt", "tagalong")
    rounds = Table(host, only)
    rounds.round("good", None, "live")
    for tag in ["wrong", "incompatible"]:
        rounds.round(tag, tag, "failed")
    for tag in ["crashing", "hanging", "lying", "deaf"]:
        rounds.round(tag, tag, "rolled_back")
    for victims in ["carrier", "server", "both"]:
        for step in ["guards", "resolve", "preflight", "before_hook", "pull", "pin", "up", "health", "smoke", "after_hook"]:
            rounds.round(f"{victims} at {step}", None, "live", step, victims)
        for step in ["undo_pin", "undo_up", "undo_health", "undo_smoke"]:
            rounds.round(f"{victims} at {step}", "crashing", "rolled_back", step, victims)
    for step in ["preflight", "health", "after_hook"]:
        rounds.round(f"hung carrier at {step}", None, "live", step, "hung carrier")
        rounds.round(f"removed carrier at {step}", None, "live", step, "removed carrier")
    if os.environ.get("ITSELF_DAEMON"):
        for step in ["pull", "up", "health", "smoke"]:
            rounds.round(f"docker at {step}", None, "live", step, "docker")
        rounds.round("docker at undo_up", "crashing", "rolled_back", "undo_up", "docker")
    rounds.one_after_the_other()
    rounds.a_rollback_in_between()
    print(f"{len(host.hits)} rounds, none missed; tries: {', '.join(f'{name} {tries}' for name, tries in host.hits.items())}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["patch", source, target]:
            patch(source, target)
        case ["table", project, folder, port, repository, *only]:
            table(Host(project, folder, port, repository), BRIEF if only == ["brief"] else set(only))
        case _:
            sys.exit(__doc__)
