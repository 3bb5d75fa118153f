#!/usr/bin/env python3
"""What a call costs at the door, beside Debian's `webhook` (which forks /bin/true), in turn, in one run.

    bench/door.py TAGALONG REGISTRY_PORT [SECONDS]

refuse       a signed order whose signature is wrong, from many addresses through one trusted proxy, whose 16 connections (wrk) are kept:
             the ratio of the rates. Beside it the same from one stranger, whose connection ends with each answer: printed, without
             a limit, because most of what it costs is the new connection, which webhook does not ask for
accept       signed orders, each with an id of its own: answered 202 after they are on disk. Afterwards the server is killed and
             every 202 must be in its database
webhooks     native webhooks of a forge whose signature is wrong: 100 at once that announce 10 MiB, which are refused unread; and 100 at once
             just below the cap, for which only the room for large bodies is taken
while it pulls  50 orders a second, while the same service is deployed from images that must be pulled each time; between them as
                many calls of webhook, which stores nothing: what they wait for is the machine's

Each is done in several rounds, and their median counts. Printed for each round: the rates, or the time from when an order was
due to its answer; what the disk takes for one small write that is to be durable (each commit waits for one) at the same time;
and the machine's load, for on a machine that others use too a limit may be missed that holds on a quiet one. It takes two to
three minutes, and ends with 1 when a limit is missed.
"""
import base64, concurrent.futures, hashlib, hmac, http.client, json, os, pathlib, re, secrets, shutil, socket, sqlite3, statistics, subprocess, sys, tempfile, threading, time

tagalong, registry = os.path.abspath(sys.argv[1]), sys.argv[2]
seconds = int(sys.argv[3]) if len(sys.argv) > 3 else 3
rounds, connections, per_second, pull_rounds, pull_seconds = 5, 16, 50, 3, 10
work = pathlib.Path(tempfile.mkdtemp(prefix="tagalong-bench-"))
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
site, large = f"127.0.0.1:{registry}/acme/site", f"127.0.0.1:{registry}/acme/large"
key = secrets.token_bytes(32)
missed = []


def docker(*args, check=True):
    return subprocess.run(["docker", *args], check=check, capture_output=True, text=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def memory(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024


def wait_for(port):
    for _ in range(200):
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
    sys.exit(f"nothing listens on {port}")


def signed(body, call):
    now = str(int(time.time()))
    mac = hmac.new(key, f"{call}.{now}.".encode() + body, hashlib.sha256).digest()
    return now, "v1," + base64.b64encode(mac).decode()


def order(service, tag):
    return json.dumps({"service": service, "tag": tag}).encode()


# --- the two servers -----------------------------------------------------------------------------------------------------------


def stack(name, image):
    folder = work / name
    folder.mkdir()
    (folder / "compose.yml").write_text(f"name: tagalong-bench-{name}\nservices:\n  web:\n    image: {image}:${{TAG}}\n    stop_signal: SIGKILL\n")
    (folder / ".env").write_text("TAG=1f0c9e2\n")
    return f'[service.{name}]\ndir = "{folder}"\nproject = "tagalong-bench-{name}"\nimage = "{image}"\nvariable = "TAG"\n'


def start_tagalong(port):
    (work / "ci.secret").write_text("whsec_" + base64.b64encode(key).decode())
    (work / "hook.secret").write_text(secrets.token_hex(32))
    (work / "tagalong.toml").write_text(
        f'version = 1\n[server]\nlisten = ["127.0.0.1:{port}", "[::1]:{port}"]\nsocket = "{work}/tagalong.sock"\ndata_dir = "{work}/data"\n'
        f'trusted_proxies = ["127.0.0.1"]\n[[forge]]\nid = "github"\nkind = "github"\nwebhook_secret_file = "hook.secret"\n[[key]]\nid = "ci"\nsecret_file = "ci.secret"\nscopes = ["deploy:*", "read"]\n'
        # What runs stays where it is, so that every order waits, and takes the place of the one before it.
        + stack("web", site)
        + '[service.web.before]\nargv = ["sleep", "600"]\n'
        + stack("large", large)
    )
    log = (work / "tagalong.log").open("w")
    server = subprocess.Popen([tagalong, "--config", str(work / "tagalong.toml"), "serve"], stdout=log, stderr=log)
    wait_for(port)
    return server


def start_webhook(port):
    rule = {"match": {"type": "payload-hmac-sha256", "secret": key.hex(), "parameter": {"source": "header", "name": "X-Hub-Signature-256"}}}
    hook = {"id": "deploy", "execute-command": "/bin/true", "trigger-rule": rule, "trigger-rule-mismatch-http-response-code": 401}
    (work / "hooks.json").write_text(json.dumps([hook]))
    server = subprocess.Popen(["webhook", "-hooks", str(work / "hooks.json"), "-ip", "127.0.0.1", "-port", str(port)], **quiet)
    wait_for(port)
    return server


# --- load ----------------------------------------------------------------------------------------------------------------------

# What is sent is made before the clock starts, so that it costs nobody anything.
lua = """
local mode, file, body = %(mode)q, %(file)q, %(body)q
local threads = 0
function setup(thread) thread:set("number", threads); threads = threads + 1 end
local requests, at = {}, 0
local function add(path, more)
  local headers = { ["content-type"] = "application/json", ["x-forwarded-proto"] = "https" }
  for name, value in pairs(more) do headers[name] = value end
  requests[#requests + 1] = wrk.format("POST", path, headers, body)
end
local function proof(id, at_s, signature)
  return { ["webhook-id"] = id, ["webhook-timestamp"] = at_s, ["webhook-signature"] = signature }
end
function init()
  if mode == "webhook" then
    add("/hooks/deploy", { ["X-Hub-Signature-256"] = %(webhook)q })
  elseif mode == "direct" then
    requests[1] = wrk.format("POST", "/api/v1/deployments", proof("msg_wrong", %(now)q, %(wrong)q), body)
  elseif mode == "refuse" then
    for address = 0, 62499 do
      local more = proof("msg_wrong", %(now)q, %(wrong)q)
      more["x-forwarded-for"] = "198.51." .. (address % 250) .. "." .. math.floor(address / 250)
      add("/api/v1/deployments", more)
    end
  else
    local n = 0
    for line in io.lines(file) do
      if n % 2 == number then add("/api/v1/deployments", proof(line:match("(%S+) (%S+) (%S+)"))) end
      n = n + 1
    end
  end
end
function request()
  at = at + 1
  if mode == "accept" then return requests[at] or error("too few orders were signed") end
  return requests[(at - 1) % #requests + 1]
end
function done(summary, latency)
  io.write(string.format("RESULT %d %d %d %f %d\\n", summary.requests, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout, summary.duration / 1e6, latency:percentile(99)))
end
"""


def load(port, mode, body, file="", good=True, host="127.0.0.1"):
    """Requests a second of wrk. All must be answered, and all well, or all refused."""
    mac = "sha256=" + hmac.new(key.hex().encode(), body, hashlib.sha256).hexdigest()
    values = {
        "mode": mode, "file": file, "body": body.decode(), "now": str(int(time.time())),
        "webhook": mac if good else "sha256=" + "0" * 64, "wrong": "v1," + base64.b64encode(bytes(32)).decode(),
    }
    script = work / "load.lua"
    script.write_text(re.sub(r"%\((\w+)\)q", lambda m: json.dumps(values[m[1]]), lua))
    command = ["wrk", "-t", "2", "-c", str(connections), "-d", f"{seconds}s", "-s", str(script), f"http://{host}:{port}/"]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    result = re.search(r"RESULT (\d+) (\d+) (\d+) ([\d.]+) (\d+)", found.stdout)
    if not result:
        sys.exit(found.stdout + found.stderr)
    requests, refused, broken, took = int(result[1]), int(result[2]), int(result[3]), float(result[4])
    wrong = refused if good else requests - refused
    if wrong or broken > connections:
        sys.exit(f"{mode}: {wrong} of {requests} answers were not as they should be, {broken} connections broke\n{found.stdout}")
    return requests / took, requests


def sign_many(path, body, many):
    with path.open("w") as out:
        for _ in range(many):
            call = "msg_" + secrets.token_hex(12)
            out.write(f"{call} {' '.join(signed(body, call))}\n")


def hold(what, figure, value, limit, unit, at_least):
    kept = value >= limit if at_least else value <= limit
    if not kept:
        missed.append(what)
    print(f"{what:<16} {'pass' if kept else 'FAIL'}  {figure} {value:.2f}{unit}, limit {'at least' if at_least else 'at most'} {limit:g}{unit}")


def load_now():
    return f"load {os.getloadavg()[0]:.1f}"


class Disk(threading.Thread):
    """What fdatasync of 4 KiB takes on the file system of the data folder, so many times a second while it runs."""

    def __init__(self, per_second):
        super().__init__()
        self.per_second = per_second

    def __enter__(self):
        self.over, self.took = threading.Event(), []
        self.start()
        return self

    def run(self):
        with (work / "probe").open("wb", buffering=0) as file:
            while not self.over.wait(1 / self.per_second):
                file.seek(0)
                file.write(bytes(4096))
                began = time.monotonic()
                os.fdatasync(file.fileno())
                self.took.append((time.monotonic() - began) * 1000)

    def __exit__(self, *_):
        self.over.set()
        self.join()

    def __str__(self):
        return f"fdatasync median {statistics.median(self.took):.1f} ms, p99 {percentile(self.took, 99):.1f} ms, worst {max(self.took):.1f} ms, {load_now()}"


# --- what is measured ----------------------------------------------------------------------------------------------------------


def refuse(ours, theirs):
    body, ratios = order("web", "1f0c9e2"), []
    for _ in range(rounds):
        their_rate = load(theirs, "webhook", body, good=False)[0]
        our_rate = load(ours, "refuse", body, good=False)[0]
        ratios.append(our_rate / their_rate)
        # What comes from ::1 comes from no proxy that is trusted.
        direct_rate = load(ours, "direct", body, good=False, host="[::1]")[0]
        print(f"refuse           webhook {their_rate:.0f}/s, tagalong {our_rate:.0f}/s through a proxy, {direct_rate:.0f}/s from one stranger; {load_now()}")
    hold("refuse", "tagalong / webhook", statistics.median(ratios), 1.5, "", True)


def accept(ours, theirs):
    body, rates, taken = order("web", "1f0c9e2"), [], 0
    for _ in range(rounds):
        sign_many(work / "orders", body, seconds * 8000)
        their_rate = load(theirs, "webhook", body)[0]
        with Disk(4) as disk:
            rate, many = load(ours, "accept", body, str(work / "orders"))
        rates.append(rate)
        taken += many
        print(f"accept           webhook {their_rate:.0f}/s (nothing is stored), tagalong {rate:.0f}/s; {disk}")
    hold("accept", "stored", statistics.median(rates), 2000, "/s", True)
    return taken


def wrong_webhook(port, number, announced, sent):
    """The status of a webhook whose signature is wrong."""
    head = (f"POST /hooks/github HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-forwarded-for: 203.0.113.{number}\r\nx-github-event: push\r\n"
            f"x-hub-signature-256: sha256={'0' * 64}\r\ncontent-length: {announced}\r\n\r\n")
    with socket.create_connection(("127.0.0.1", port), 30) as line:
        try:
            line.sendall(head.encode() + bytes(sent))
        except OSError:
            pass  # it was answered before it had come whole
        try:
            return int(line.recv(4096).split()[1])
        except (OSError, IndexError):
            return 0


def webhooks(port, pid):
    def at_once(announced, sent):
        pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins anew
        with concurrent.futures.ThreadPoolExecutor(100) as calling:
            calls = [calling.submit(wrong_webhook, port, number, announced, sent) for number in range(100)]
            statuses = [call.result() for call in calls]
        return memory(pid), {status: statuses.count(status) for status in sorted(set(statuses))}

    small, refused = at_once(1000, 1000)
    print(f"webhooks         100 of 1 kB: {refused}, peak {small:.1f} MiB; {load_now()}")
    unread, refused = at_once(10 << 20, 0)
    print(f"webhooks         100 that announce 10 MiB: {refused}, peak {unread:.1f} MiB")
    if refused != {413: 100}:
        missed.append("webhooks above the cap")
    large, refused = at_once((1 << 20) - 1, (1 << 20) - 1)
    print(f"webhooks         100 just below the cap: {refused}, peak {large:.1f} MiB")
    if not set(refused) <= {0, 401, 503}:
        missed.append("webhooks below the cap")
    # 4 MiB are kept for large bodies, and each connection has a buffer.
    hold("webhooks", "100 large ones take more than small ones by", large - small, 12, " MiB", False)


def build_large():
    tags = []
    for number in range(2):
        folder = work / f"image{number}"
        folder.mkdir()
        (folder / "noise").write_bytes(secrets.token_bytes(150 << 20))
        (folder / "Dockerfile").write_text(f"FROM {site}:1f0c9e2\nCOPY noise /noise\n")
        tags.append(f"large{number}")
        docker("build", "-q", "-t", f"{large}:{tags[-1]}", str(folder))
        docker("push", "-q", f"{large}:{tags[-1]}")
        docker("image", "rm", "-f", f"{large}:{tags[-1]}")
        (folder / "noise").unlink()
    return tags


def forget(tags, over):
    """What does not run is not kept, so that the next deployment pulls it again."""
    while not over.wait(0.5):
        listed = docker("image", "ls", "-q", "--no-trunc", large, check=False).stdout.split()
        used = docker("ps", "-q", "--no-trunc", "--format", "{{.Image}}", check=False).stdout
        for image in set(listed):
            if image not in used:
                docker("image", "rm", "-f", image, check=False)


def post(port, path, body, headers, due):
    """The status, and the time from when it was due, in milliseconds."""
    time.sleep(max(0, due - time.monotonic()))
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    line.request("POST", path, body, {"content-type": "application/json", **headers})
    status = line.getresponse().status
    took = time.monotonic() - due
    line.close()
    return status, took * 1000


def send(port, service, tag, due):
    body, call = order(service, tag), "msg_" + secrets.token_hex(12)
    now, signature = signed(body, call)
    headers = {"webhook-id": call, "webhook-timestamp": now, "webhook-signature": signature}
    status, took = post(port, "/api/v1/deployments", body, headers, due)
    assert status == 202, status
    return took


def send_webhook(port, due):
    body = order("web", "1f0c9e2")
    mac = "sha256=" + hmac.new(key.hex().encode(), body, hashlib.sha256).hexdigest()
    status, took = post(port, "/hooks/deploy", body, {"X-Hub-Signature-256": mac}, due)
    assert status == 200, status
    return took


def pulls_so_far():
    with sqlite3.connect(work / "data" / "tagalong.db") as db:
        select = "SELECT COUNT(*) FROM lines JOIN deployments ON id = deployment WHERE service = 'large' AND lines.step = 'pull' AND lines.kind = 'step'"
        return db.execute(select).fetchone()[0]


def percentile(took, part):
    return sorted(took)[len(took) * part // 100]


def pull_round(ours, theirs, tags):
    """Orders at their times, whatever became of the ones before; the time from when each was due to its answer."""
    before, began = pulls_so_far(), time.monotonic() + 0.5
    with Disk(per_second) as disk, concurrent.futures.ThreadPoolExecutor(connections) as ordering, concurrent.futures.ThreadPoolExecutor(connections) as calling:
        orders = range(per_second * pull_seconds)
        sent = [ordering.submit(send, ours, "large", tags[n // per_second % 2], began + n / per_second) for n in orders]
        beside = [calling.submit(send_webhook, theirs, began + (n + 0.5) / per_second) for n in orders]
        took, machine = [one.result() for one in sent], [one.result() for one in beside]
    p99, pulls = percentile(took, 99), pulls_so_far() - before
    print(f"while it pulls   {len(took)} orders, {pulls} pulls, median {percentile(took, 50):.1f} ms, p99 {p99:.1f} ms, worst {max(took):.0f} ms;"
          f" webhook median {percentile(machine, 50):.1f} ms, p99 {percentile(machine, 99):.1f} ms; {disk}")
    return p99, pulls


def while_it_pulls(ours, theirs, tags):
    over = threading.Event()
    janitor = threading.Thread(target=forget, args=(tags, over))
    janitor.start()
    try:
        measured = [pull_round(ours, theirs, tags) for _ in range(pull_rounds)]
    finally:
        over.set()
        janitor.join()
    if not all(pulls for _, pulls in measured):
        missed.append("there was a round in which nothing was pulled")
    hold("while it pulls", "p99", statistics.median(p99 for p99, _ in measured), 20, " ms", False)


servers = []
try:
    ours, theirs = free_port(), free_port()
    servers = [start_tagalong(ours), start_webhook(theirs)]
    print(f"{rounds} rounds of {seconds} s with {connections} connections · {subprocess.run(['webhook', '-version'], capture_output=True, text=True).stdout.strip()}")
    refuse(ours, theirs)
    webhooks(ours, servers[0].pid)
    taken = accept(ours, theirs)
    while_it_pulls(ours, theirs, build_large())
    peak = memory(servers[0].pid)
    servers[0].kill()
    servers[0].wait()
    with sqlite3.connect(work / "data" / "tagalong.db") as db:
        stored = db.execute("SELECT COUNT(*) FROM deployments WHERE service = 'web'").fetchone()[0]
    print(f"stored           {stored} orders in the database after SIGKILL, {taken} were answered 202")
    if stored < taken:
        missed.append("stored")
    print(f"memory           webhook, peak {memory(servers[1].pid):.1f} MiB")
    hold("memory", "peak", peak, 40, " MiB", False)
    print("every limit holds" if not missed else f"MISSED: {', '.join(missed)}")
    sys.exit(1 if missed else 0)
finally:
    for server in servers:
        server.kill()
        server.wait()
    for name in ("web", "large"):
        if (work / name).exists():
            subprocess.run(["docker", "compose", "down", "-v", "-t", "0"], cwd=work / name, **quiet)
    for image in set(docker("image", "ls", "-q", "--no-trunc", large, check=False).stdout.split()):
        docker("image", "rm", "-f", image, check=False)
    shutil.rmtree(work)
