#!/usr/bin/env python3
"""What an agent costs: at rest, and between a deployment that is ordered on the host itself and one that its control plane orders.

    bench/agent.py TAGALONG REGISTRY_PORT [ROUNDS [IDLE_S]]     default 20 and 60

One host with one stack on real Docker, and a control plane that it dials. Two tags are landed in turn, by `tagalong deploy` at the control
plane and on the host. Printed: the agent's memory and its part of a core while nothing happens, the medians of both ways, and their
difference; each with its limit and the ratio. It ends with 1 when a limit is missed.
"""
import json, os, pathlib, statistics, subprocess, sys, tempfile, time

tagalong, registry = os.path.abspath(sys.argv[1]), sys.argv[2]
rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 20
idle_s = int(sys.argv[4]) if len(sys.argv) > 4 else 60
tags = ["1f0c9e2", "2a7d410"]
work = pathlib.Path(tempfile.mkdtemp(prefix="tagalong-bench-"))
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
missed = []


def told(what, figure, limit, unit):
    print(f"{what}: {figure:.2f} {unit}, limit {limit} {unit}, ratio {figure / limit:.2f}")
    if figure > limit:
        missed.append(what)


def run(where, *args):
    return subprocess.run([tagalong, *args, "--config", str(work / where / "tagalong.toml")], check=True, capture_output=True, text=True).stdout


def start(where):
    server = subprocess.Popen([tagalong, "serve", "--config", str(work / where / "tagalong.toml")], stdout=subprocess.DEVNULL, stderr=(work / where / "log").open("a"))
    while subprocess.run([tagalong, "agent", "list", "--config", str(work / where / "tagalong.toml")], **quiet).returncode:
        if server.poll() is not None:
            sys.exit((work / where / "log").read_text())
        time.sleep(0.05)
    return server


def memory(pid, which="VmRSS"):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(which)).split()[1]) / 1024


def used(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split(" ")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def deployed(where, tag):
    began = time.monotonic()
    run(where, "deploy", "web", tag)
    return time.monotonic() - began


for where in ["control", "host"]:
    (work / where).mkdir()
stack = work / "web"
stack.mkdir()
(stack / "compose.yml").write_text(f"name: tagalong-bench-agent\nservices:\n  web:\n    image: 127.0.0.1:{registry}/acme/site:${{TAG}}\n    stop_signal: SIGKILL\n")
(stack / ".env").write_text(f"TAG={tags[0]}\n")
(work / "control/tagalong.toml").write_text(f'version = 1\n[server]\nlisten = ["127.0.0.1:0"]\nsocket = "s"\ndata_dir = "data"\n[service.web]\nhosts = ["micro"]\n')
control = start("control")
address = (work / "control/log").read_text().split("addresses=[")[1].split("]")[0]
host = f'version = 1\n[server]\nlisten = []\nsocket = "s"\ndata_dir = "data"\nlog_level = "warn"\n'
host += f'[service.web]\ndir = "{stack}"\nproject = "tagalong-bench-agent"\nimage = "127.0.0.1:{registry}/acme/site"\nvariable = "TAG"\n'
(work / "host/tagalong.toml").write_text(host)
(work / "code").write_text(run("control", "agent", "token", "micro"))
run("host", "agent", "enrol", "--url", f"http://{address}", "--code-file", str(work / "code"))
(work / "host/tagalong.toml").write_text(host + f'[agent]\nname = "micro"\nurl = "http://{address}"\n')
agent = start("host")
try:
    while json.loads(run("control", "agent", "list", "--json"))["agents"][0]["state"] != "online":
        time.sleep(0.1)
    for tag in tags:
        deployed("control", tag)
    time.sleep(15)
    before = used(agent.pid)
    time.sleep(idle_s)
    told("an agent at rest", (used(agent.pid) - before) / idle_s * 100, 0.1, "% of a core")
    told("its memory", memory(agent.pid), 16, "MiB")
    print(f"of that {memory(agent.pid, 'RssAnon'):.2f} MiB are its own, and {memory(agent.pid, 'RssFile'):.2f} MiB pages of the program and its libraries")
    times = {"control": [], "host": []}
    for at in range(2 * rounds):
        # Each way lands each tag as often as the other.
        where = "control" if at // 2 % 2 else "host"
        times[where].append(deployed(where, tags[at % 2]))
    medians = {where: statistics.median(some) for where, some in times.items()}
    print(f"a deployment: {medians['host'] * 1000:.0f} ms ordered on the host, {medians['control'] * 1000:.0f} ms through the control plane")
    told("through the agent it takes longer by", (medians["control"] - medians["host"]) * 1000, 60, "ms")
    print(f"load of the machine: {pathlib.Path('/proc/loadavg').read_text().strip()}")
finally:
    for server in [agent, control]:
        server.kill()
        server.wait()
    subprocess.run(["docker", "compose", "down", "-t", "0"], cwd=stack, **quiet)
sys.exit(1 if missed else 0)
