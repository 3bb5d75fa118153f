#!/usr/bin/env python3
"""A world to look at: a configuration with several services, a docker that says how they stand, and a history of ninety days.

    world.py make DIR       writes DIR/tagalong.toml, the stacks and DIR/docker
    world.py fill DIR       fills the database that a server made in DIR/data, while no server runs
"""
import json, os, random, sqlite3, sys, time

DAY = 86_400_000
NOW = int(time.time() * 1000)
SERVICES = {
    "shop": dict(tags=["v4.18.0", "v4.18.1", "v4.19.0", "v4.19.1", "v4.20.0"], containers=["web", "worker", "db", "cache"]),
    "accounts": dict(tags=["2026.11.3", "2026.11.12", "2026.11.19"], containers=["web", "db"]),
    "billing": dict(tags=["r311", "r312", "r313"], containers=["web", "ledger", "db"]),
    "docs": dict(tags=["main-9f2c1ab", "main-a0b4e77", "main-c81d204"], containers=["site"]),
    "datenschutzgrundverordnungsauskunft": dict(tags=["v1.0.3", "v1.0.4"], containers=["web"]),
    "metrics": dict(tags=["v2.53.1", "v2.54.0"], containers=["prometheus", "grafana"]),
    "search": dict(tags=["0.9.1", "0.9.2"], containers=["web", "index"]),
}
PEOPLE = ["ada", "grace", "linus", "Bjørn Ærø", "ليلى", "margaret"]
ULID = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
dice = random.Random(7)


def ulid(at_ms):
    number = (at_ms << 80) | dice.getrandbits(80)
    return "".join(ULID[(number >> shift) & 31] for shift in range(125, -1, -5))


def digest(service, tag):
    return "sha256:" + random.Random(f"{service} {tag}").randbytes(32).hex()


def image(service, tag):
    return f"registry.example.com/acme/{service}:{tag}@{digest(service, tag)}"


# What stands on the host of the agent.
ELSEWHERE = {"wiki": dict(tags=["5.1", "5.2", "5.3"], containers=["web", "db"]), "mail": dict(tags=["2.0.7", "2.0.8"], containers=["web"])}


def make(root):
    text = f"""version = 1
[server]
listen = ["127.0.0.1:0"]
socket = "{root}/tagalong.sock"
data_dir = "{root}/data"
[docker]
program = "{root}/docker"
[[key]]
id = "ci-shop"
token_file = "ci.token"
scopes = ["deploy:shop", "read"]
refs = ["refs/heads/main", "refs/tags/*"]
[[key]]
id = "chat-bot"
secret_file = "bot.secret"
scopes = ["rollback:*", "read"]
[[key]]
id = "linus-laptop"
secret_file = "linus.secret"
scopes = ["approve:*", "read"]
[[notify]]
id = "pager"
kind = "webhook"
events = ["approval_wanted"]
url = "http://127.0.0.1:9/"
secret_file = "pager.secret"
[[person]]
id = "linus"
keys = ["linus-laptop"]
notify = "pager"
[[oidc]]
id = "acme-main"
issuer = "https://token.actions.githubusercontent.com"
audience = "https://tagalong.example.com"
scopes = ["deploy:*"]
refs = ["refs/heads/main"]
[oidc.claims]
repository_id = "1296269"
repository_owner_id = "1"
event_name = "push"
"""
    import base64, secrets
    for name, head in [("ci.token", ""), ("bot.secret", "whsec_"), ("linus.secret", "whsec_"), ("pager.secret", "whsec_")]:
        with open(f"{root}/{name}", "w") as file:
            file.write(head + base64.b64encode(secrets.token_bytes(32)).decode())
        os.chmod(f"{root}/{name}", 0o600)
    write(root, text, SERVICES)
    os.makedirs(f"{root}/micro")
    text = f'version = 1\n[server]\nlisten = []\nsocket = "{root}/micro/tagalong.sock"\ndata_dir = "{root}/micro/data"\n[docker]\nprogram = "{root}/micro/docker"\n'
    write(f"{root}/micro", text, ELSEWHERE)


def write(root, text, services):
    state = {}
    for service, about in services.items():
        os.makedirs(f"{root}/{service}", exist_ok=True)
        live = about["tags"][-1]
        with open(f"{root}/{service}/.env", "w") as env:
            env.write(f"TAG={live}@{digest(service, live)}\n")
        with open(f"{root}/{service}/compose.yml", "w") as compose:
            compose.write(f"services:\n  {about['containers'][0]}:\n    image: registry.example.com/acme/{service}:${{TAG}}\n")
        text += f'[service.{service}]\ndir = "{root}/{service}"\nproject = "{service}"\nimage = "registry.example.com/acme/{service}"\nvariable = "TAG"\n'
        if service not in ("metrics", "search", *ELSEWHERE):
            text += f'[service.{service}.smoke]\nurl = "https://{service[:12]}.example.com/"\n'
        if service == "billing":
            text += '[service.billing.approval]\napprovers = ["linus"]\n'
        one = []
        for at, name in enumerate(about["containers"]):
            ours = name in ("web", "site", "worker", "ledger", "index", "prometheus")
            runs = image(service, live) if ours else f"docker.io/library/{name}:16"
            one.append(dict(id=f"{service}-{name}".encode().hex()[:64].ljust(64, "0"), name=f"{service}-{name}-1", service=name, image=runs,
                            image_id="sha256:" + random.Random(runs).randbytes(32).hex(), status="running",
                            health="healthy" if at == 0 else ""))
        if service == "search":
            one[1].update(status="exited", health="", code=137)
        state[service] = one
    with open(f"{root}/containers.json", "w") as file:
        json.dump(state, file)
    with open(f"{root}/tagalong.toml", "w") as file:
        file.write(text)
    with open(f"{root}/docker", "w") as file:
        file.write(f"#!/usr/bin/env python3\nROOT = {root!r}\n" + DOCKER)
    os.chmod(f"{root}/docker", 0o755)


DOCKER = r'''
import json, sys, time
state = json.load(open(ROOT + "/containers.json"))
all = [(project, one) for project, ones in state.items() for one in ones]
args = sys.argv[1:]
if args[0] == "events":
    while True:
        time.sleep(3600)
elif args[0] == "info":
    print('{"ServerVersion":"27.0.0","OSType":"linux","Architecture":"x86_64","Driver":"overlay2","DockerRootDir":"/"}')
elif args[0] == "ps":
    wanted = " ".join(args).partition("com.docker.compose.project=")[2].split(" ")[0]
    for project, one in all:
        if not wanted or project == wanted:
            print(one["id"])
elif args[0] == "inspect":
    for project, one in all:
        if one["id"] in args:
            labels = {"com.docker.compose.project": project, "com.docker.compose.service": one["service"], "com.docker.compose.oneoff": "False"}
            health = {"Health": {"Status": one["health"], "Log": []}} if one["health"] else {}
            print(json.dumps({"Id": one["id"], "Name": "/" + one["name"], "Image": one["image_id"], "RestartCount": 0,
                              "Created": "2026-11-20T08:00:00Z", "Config": {"Image": one["image"], "Labels": labels},
                              "State": {"Status": one["status"], "ExitCode": one.get("code", 0), "StartedAt": "2026-11-20T08:00:00Z", **health}}))
elif args[0] == "images":
    for project, one in all:
        if "@" in one["image"]:
            name, _, digest = one["image"].partition("@")
            repository, _, tag = name.rpartition(":")
            print(repository, tag, digest, one["image_id"])
else:
    sys.exit("the stand-in knows no docker " + args[0])
'''


def report(service, at_ms, findings=(), days=61):
    return json.dumps(dict(url=f"https://{service[:12]}.example.com/", status=200, attempts=1, duration_ms=842, latency_ms=dice.randint(18, 90),
                           certificate=dict(subject=f"{service[:12]}.example.com", issuer="R11", days_left=days), assets=24, fetched=21,
                           findings=list(findings), omitted=0))


FINDING = dict(rule="asset_insecure", severity="error", message="The page requests http://cdn.example.com/app.css over http.", effect="blocked",
               fix="Write https:// in the link element.", url="http://cdn.example.com/app.css", element="link[href]", line=14, known=False)
NOTE = dict(rule="certificate_days", severity="warning", message="The certificate is valid for 9 days.", effect="nothing",
            fix="Look at why it was not renewed.", known=True)


def resolved(service, tag, extra=""):
    web = {"image": image(service, tag), "environment": {"LOG_LEVEL": "info", "SESSION_KEY": "hmac:3f9a1c" + extra}, "restart": "unless-stopped"}
    if extra:
        web["mem_limit"] = "512m"
    return json.dumps({"name": service, "services": {"web": web, "db": {"image": "docker.io/library/postgres:16"}}})


def fill(root):
    db = sqlite3.connect(f"{root}/data/tagalong.db")
    history(db, SERVICES)
    begun = dice.getstate()
    history(db, ELSEWHERE)
    # The host has the same record.
    dice.setstate(begun)
    there = sqlite3.connect(f"{root}/micro/data/tagalong.db")
    history(there, ELSEWHERE)
    there.commit()
    special(db)
    agents(db)
    db.commit()


def agents(db):
    for name, ago, revoked in [("edge-west", 4_200_000, None), ("attic", 40 * DAY, NOW - 12 * DAY)]:
        db.execute("INSERT INTO agents (name, machine, enrolled_ms, revoked_ms, seen_ms) VALUES (?,?,?,?,?)",
                   (name, random.Random(name).randbytes(16).hex(), NOW - 60 * DAY, revoked, NOW - ago))


def history(db, services):
    for service, about in services.items():
        busy = {"shop": 92, "accounts": 40, "billing": 30, "docs": 60}.get(service, 12)
        times = sorted(NOW - int(dice.random() ** 1.3 * 80 * DAY) - 3_600_000 for _ in range(busy))
        for number, at in enumerate(times):
            is_last = number == len(times) - 1
            tags = about["tags"]
            tag = tags[-1] if is_last else tags[number * len(tags) // len(times)]
            roll = dice.random()
            name = "live" if is_last or roll < 0.8 else dice.choice(["rolled_back", "rolled_back", "failed", "refused", "superseded", "cancelled"])
            one(db, service, tag, at, name, dice.choice(PEOPLE), number)
        looks(db, service, bad=service == "search")


def one(db, service, tag, at, name, actor, number, reason=None, findings=(), baseline=None, extra=""):
    id = ulid(at)
    steps = [("guards", 300), ("resolve", 700), ("preflight", 900), ("before_hook", dice.randint(2000, 9000)), ("pull", dice.randint(3000, 22000)),
             ("pin", 120), ("up", dice.randint(1500, 5000)), ("health", dice.randint(3000, 14000)), ("smoke", dice.randint(1500, 6000)), ("after_hook", 400)]
    if name == "rolled_back":
        steps = steps[:9] + [("undo_pin", 100), ("undo_up", 3100), ("undo_health", 5200), ("undo_smoke", 1800)]
    if name in ("failed", "refused"):
        steps = steps[:3]
    why = "The page requests one asset over http, which browsers do not load."
    outcome = {"live": dict(warnings=[]), "rolled_back": dict(why=why, to="v4.19.1", verified_before=True),
               "failed": dict(why="The registry does not know this tag."), "refused": dict(guard="late", why="A newer release is live."),
               "superseded": dict(by=ulid(at + 1000)), "cancelled": dict(by="key:ci-shop", changed=False, brought_back=False),
               "needs_operator": dict(why="A schema migration was begun and not ended; see the journal.")}[name]
    runs = name not in ("superseded", "cancelled")
    began = at + dice.randint(200, 2500)
    ended, lines = began, []
    for step, took in steps:
        lines.append((ended, step))
        ended += took
    ended = ended if runs else began + 4000
    commit = random.Random(f"{service}{number}").randbytes(20).hex()
    db.execute("INSERT INTO deployments (id, service, kind, state, outcome, outcome_name, tag, commit_id, git_ref, run_url, run_number, actor, reason,"
               " force, dry_run, caller, proof, last_position, created_ms, started_ms, ended_ms) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,0,0,?,?,?,?,?,?)",
               (id, service, "deploy", "done", json.dumps(dict(outcome=name, **outcome)), name, tag, commit, "refs/heads/main",
                f"https://github.com/acme/{service}/actions/runs/{8_000_000 + number}", number + 1, actor, reason, "key:acme-main", "oidc", len(lines), at,
                began if runs else None, ended))
    if not runs:
        return id
    live = name == "live"
    db.execute("INSERT INTO runs (deployment, run, service, host, state, step, outcome, images, verified, barrier, changed, ran_before, resolved,"
               " baseline, report, attempts, fence, started_ms, ended_ms, away) VALUES (?,1,?,'local','done',?,?,?,?,0,?,?,?,?,?,1,1,?,?,?)",
               (id, service, lines[-1][1], json.dumps(dict(outcome=name, **outcome)), json.dumps([image(service, tag)]), int(live),
                int(name in ("live", "rolled_back")), "v4.19.1", resolved(service, tag, extra), baseline,
                report(service, at, findings) if service not in ("metrics", "search", *ELSEWHERE) and name in ("live", "rolled_back") else None, began, ended,
                json.dumps(dict(requests=61, failed=2, away_ms=800, is_away=False)) if live else None))
    for seq, (when, step) in enumerate(lines, 1):
        db.execute("INSERT INTO lines VALUES (?,1,?,?,?,?,?,?)", (id, seq, seq, when, step, "step", f"{step} begins"))
    db.execute("INSERT INTO lines VALUES (?,1,?,?,?,?,?,?)", (id, len(lines) + 1, len(lines) + 1, ended, lines[-1][1], "outcome", name))
    return id


def looks(db, service, bad):
    for hour in range(168):
        at = (NOW // 3_600_000 - hour) * 3_600_000
        base = 40 + 18 * abs((hour % 24) - 12) // 4
        wrong = 3 if hour in (61, 62) and service == "shop" else 0
        db.execute("INSERT OR REPLACE INTO looks VALUES (?,3600000,?,60,?,0,60,?,?,200,?)",
                   (service, at, wrong, 60 * (base + dice.randint(0, 14)), base + 90, "asset_insecure" if wrong else ""))


def special(db):
    # The release before the live one had findings that are told apart, and its configuration differs.
    one(db, "shop", "v4.20.0", NOW - 900_000, "live", "ada", 900, "Prices of the new season", [NOTE], report("shop", NOW, [NOTE]), "77")
    one(db, "shop", "v4.21.0-rc1", NOW - 2_400_000, "rolled_back", "grace", 899, "Try the new style sheet", [FINDING, NOTE], report("shop", NOW, [NOTE]), "77")
    left = one(db, "accounts", "2026.11.21", NOW - 1_500_000, "needs_operator", "margaret", 901, "Accounts get a second address")
    db.execute("INSERT INTO holds (service, kind, deployment, since_ms) VALUES ('accounts', 'needs_operator', ?, ?)", (left, NOW - 1_400_000))
    db.execute("INSERT INTO deployments (id, service, kind, state, waits_for, tag, commit_id, git_ref, actor, reason, force, dry_run, caller, proof,"
               " last_position, created_ms, waits_since_ms, waits_why) VALUES (?,?,?,?,?,?,?,?,?,?,0,0,?,?,0,?,?,?)",
               (ulid(NOW - 240_000), "billing", "deploy", "waiting", "approval", "r314", "a1" * 20, "refs/heads/main", "ada",
                "Interest is rounded as the ledger does", "key:acme-main", "oidc", NOW - 240_000, NOW - 238_000, "It waits for an approval by linus."))
    for service, kind, fault, what, mend, ago, lasted in [
        ("docs", "certificate", "certificate", "The certificate of docs.example.com is valid for 6 days.", None, 7 * 3_600_000, None),
        ("shop", "page", "asset_insecure", "The page requests http://cdn.example.com/app.css over http.", "tagalong rollback shop", 62 * 3_600_000, 5_400_000),
    ]:
        db.execute("INSERT INTO incidents VALUES (?,?,?,?,?,?,?,0,?,?,?)", (ulid(NOW - ago), service, kind, fault, what, mend, 12, NOW - ago, NOW - 60_000,
                   NOW - ago + lasted if lasted else None))


{"make": make, "fill": fill}[sys.argv[1]](os.path.abspath(sys.argv[2]))
