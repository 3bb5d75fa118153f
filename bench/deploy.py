#!/usr/bin/env python3
"""A deploy through tagalong against the plain script, in turn.

    bench/deploy.py TAGALONG REGISTRY_PORT [ROUNDS]

The script is `docker compose pull && docker compose up -d --wait` after the tag was written to .env; tagalong is
`tagalong deploy` with everything on but smoke: a hook before and one after (which the script runs too), every rule of the policy, a
watch, and a webhook that is told of each release. Both land the same two images (with a healthcheck) alternately, each on a stack of
its own. Printed: medians, the ratio, tagalong's own time (from the order to the outcome, less its child processes and the
wait for Docker's healthcheck), and the server's memory before and after.
"""
import base64, http.server, json, os, pathlib, re, statistics, subprocess, sys, tempfile, threading, time

tagalong, port = os.path.abspath(sys.argv[1]), sys.argv[2]
rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 20
tags = ["1f0c9e2", "2a7d410"]
image = f"127.0.0.1:{port}/acme/site"
work = pathlib.Path(tempfile.mkdtemp(prefix="tagalong-bench-"))
docker = subprocess.run(["sh", "-c", "command -v docker"], capture_output=True, text=True, check=True).stdout.strip()
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def stack(name):
    folder = work / name
    folder.mkdir()
    (folder / "compose.yml").write_text(
        f"name: tagalong-bench-{name}\nservices:\n  web:\n    image: {image}:${{SITE_TAG}}\n    stop_signal: SIGKILL\n"
    )
    (folder / ".env").write_text(f"SITE_TAG={tags[0]}\n")
    return folder


def script(folder, tag):
    subprocess.run(["true"], check=True)
    (folder / ".env").write_text(f"SITE_TAG={tag}\n")
    for args in (["pull", "--quiet"], ["up", "-d", "--wait"]):
        subprocess.run([docker, "compose", *args], cwd=folder, check=True, **quiet)
    subprocess.run(["true"], check=True)


class Told(http.server.BaseHTTPRequestHandler):
    """Who is told of releases."""

    count = 0

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        Told.count += 1
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def union(spans):
    total, end = 0.0, 0.0
    for start, stop in sorted(spans):
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total


def memory(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def own_time(env, spans_before):
    """Seconds of the newest deployment that were neither a child's nor the healthcheck's."""
    page = json.loads(subprocess.run([tagalong, "history", "web", "-n", "1", "--json"], env=env, capture_output=True, check=True).stdout)
    one = page["deployments"][0]
    assert one["outcome"] == "live", one
    lines = subprocess.run([tagalong, "logs", one["id"], "--json"], env=env, capture_output=True, text=True, check=True).stdout
    steps = [json.loads(line) for line in lines.splitlines()]
    begin = {line["step"]: line["at_ms"] / 1000 for line in steps if line.get("kind") == "step"}
    spans = [tuple(map(float, line.split())) for line in (work / "children").read_text().splitlines()[spans_before:]]
    waiting = (begin["health"], begin["after_hook"])
    first, last = one["created_ms"] / 1000, one["ended_ms"] / 1000
    inside = [(max(a, first), min(b, last)) for a, b in spans if b > first and a < last]
    return (last - first) - union(inside + [waiting])


(work / "children").touch()
wrapper = work / "docker"
wrapper.write_text(f'#!/bin/bash\na=$EPOCHREALTIME\n{docker} "$@"\ncode=$?\necho "$a $EPOCHREALTIME" >>{work}/children\nexit $code\n')
wrapper.chmod(0o755)
plain, ours = stack("script"), stack("tagalong")
told = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Told)
threading.Thread(target=told.serve_forever, daemon=True).start()
(work / "notify.secret").write_text("whsec_" + base64.b64encode(os.urandom(32)).decode())
(work / "notify.secret").chmod(0o600)
# Those of the annotated configuration.
example = (pathlib.Path(__file__).parent.parent / "config/tagalong.toml").read_text()
rules = re.search(r"# \[policy\.rules\].*?\n((?:# \w+ = \"\w+\"\n|# [A-Z].*\n)+)", example)[1]
rules = "".join(f'{name} = "note"\n' for name in re.findall(r"^# (\w+) = ", rules, re.M))


def serve(program, data):
    config = work / f"{data}.toml"
    config.write_text(
        f'version = 1\n[server]\nlisten = []\nsocket = "{work}/{data}.sock"\ndata_dir = "{work}/{data}"\n[docker]\nprogram = "{program}"\n'
        f'[service.web]\ndir = "{ours}"\nproject = "tagalong-bench-tagalong"\nimage = "{image}"\nvariable = "SITE_TAG"\n'
        f'[service.web.before]\nargv = ["true"]\n[service.web.after]\nargv = ["true"]\n[service.web.watch]\nwatch_s = 600\n'
        f'[policy.rules]\n{rules}[[notify]]\nid = "told"\nkind = "webhook"\nevents = ["live"]\n'
        f'url = "http://127.0.0.1:{told.server_address[1]}/"\nsecret_file = "{work}/notify.secret"\n'
    )
    env = dict(os.environ, TAGALONG_CONFIG=str(config))
    server = subprocess.Popen([tagalong, "serve"], env=env, **quiet)
    while subprocess.run([tagalong, "status"], env=env, **quiet).returncode:
        time.sleep(0.05)
    return server, env


def deploy(env, tag):
    subprocess.run([tagalong, "deploy", "web", tag], env=env, check=True, **quiet)


try:
    server, env = serve(docker, "data")
    idle_first = memory(server.pid)
    for tag in tags:  # both images on the host, both stacks up
        script(plain, tag)
        deploy(env, tag)
    times = {"script": [], "tagalong": []}
    for round_ in range(rounds):
        tag = tags[round_ % 2]
        began = time.monotonic()
        script(plain, tag)
        times["script"].append(time.monotonic() - began)
        began = time.monotonic()
        deploy(env, tag)
        times["tagalong"].append(time.monotonic() - began)
        print(f"\r{round_ + 1}/{rounds}", end="", file=sys.stderr)
    print("", file=sys.stderr)
    time.sleep(1)
    idle_last = memory(server.pid)
    server.terminate()
    server.wait()
    # Own time is measured apart, since watching the children costs them time.
    server, env = serve(wrapper, "watched")
    own = []
    for round_ in range(rounds):
        seen = len((work / "children").read_text().splitlines())
        deploy(env, tags[round_ % 2])
        own.append(own_time(env, seen))
    server.terminate()
    server.wait()
    assert Told.count > rounds, "the webhook was not told of the releases"
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratio = medians["tagalong"] / medians["script"]
    print(f"rounds                      {rounds}")
    print(f"script, median              {medians['script'] * 1000:7.0f} ms")
    print(f"tagalong, median            {medians['tagalong'] * 1000:7.0f} ms")
    print(f"ratio                       {ratio:7.2f}      (limit 1.05)")
    print(f"own time, median / worst    {statistics.median(own) * 1000:4.0f} / {max(own) * 1000:.0f} ms (limit 150)")
    print(f"idle memory, start / end    {idle_first:4.1f} / {idle_last:.1f} MiB (limit 20)")
    held = ratio <= 1.05 and statistics.median(own) <= 0.150 and idle_last <= 20
    print("every limit holds" if held else "A LIMIT IS MISSED")
    sys.exit(0 if held else 1)
finally:
    for folder in (plain, ours):
        subprocess.run([docker, "compose", "down", "-v", "-t", "0"], cwd=folder, **quiet)
    subprocess.run(["rm", "-rf", str(work)])
