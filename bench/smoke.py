#!/usr/bin/env python3
"""The smoke check against lychee, a link checker, in turn, on the same pages from the same server.

    bench/smoke.py TAGALONG [ROUNDS]

An nginx of its own serves, on free ports of loopback, a page of 10,000 assets with all their files and a page of 5 MB, over http,
over https with HTTP/1.1 and over https with HTTP/2; the certificate comes from an authority made for the run.

extraction   the page is fetched and taken apart: `lychee --dump`, and `tagalong smoke` without asking for the assets
full check   every asset is asked for: tagalong as it is set by default, lychee without its limits per host
browser      a small page with `--browser`

Before it is measured each program must find what it should; what it finds is printed. A time is the median of all rounds, from
the start of a program to its end; a peak is the most memory that it held in any round.
"""
import json, os, pathlib, re, resource, shutil, signal, socket, ssl, statistics, subprocess, sys, tempfile, time, urllib.request

tagalong = os.path.abspath(sys.argv[1])
rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 20
work = pathlib.Path(tempfile.mkdtemp(prefix="tagalong-bench-"))
site = work / "site"
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
wanted = 10_000
# Told so, lychee looks at scripts and preloads too; a server of one's own may be asked as quickly as it answers (32 at a time were
# the quickest); links within the page are nobody's assets.
lychee_finds = ["--no-progress", "--include-verbatim"]
lychee_checks = ["--max-concurrency", "32", "--host-concurrency", "32", "--host-request-interval", "0ms", "--max-retries", "0", "--exclude", "#"]
filler = "the quick onyx goblin jumps over a lazy dwarf while sphinxes of black quartz judge every vow that was made in the harbour"


def group(n):
    """Twenty assets of a page and their files, about a kilobyte."""
    head = [
        f'<link rel="stylesheet" href="/a/{n}-0.css">',
        f'<link rel="stylesheet" href="/a/{n}-1.css" media="screen">',
        f'<link rel="stylesheet" href="a/{n}-2.css">',
        f'<link rel="icon" href="/a/{n}-3.png" sizes="32x32">',
        f'<link rel="preload" as="font" href="/a/{n}-4.woff2" crossorigin>',
        f'<script src="/a/{n}-5.js" defer></script>',
        f'<script src="/a/{n}-6.js" async></script>',
        f'<script src="a/{n}-7.js"></script>',
        f'<script type="module" src="/a/{n}-8.js"></script>',
    ]
    body = [
        f'<img src="/a/{n}-9.png" alt="">',
        f'<img class="wide" src="/a/{n}-10.png" alt="" loading="lazy">',
        f'<p><img src="a/{n}-11.jpg" alt="">text',
        f'<p class="note"><img src="/a/{n}-12.svg" alt=""></p>',
        f'<img srcset="/a/{n}-13.png 480w, /a/{n}-14.png 960w" alt="">',
        f'<picture><source srcset="/a/{n}-15.webp" media="(prefers-color-scheme: dark)"><img src="/a/{n}-16.png" alt=""></picture>',
        f'<div style="background: url(/a/{n}-17.png) no-repeat">block</div>',
        f'<video src="/a/{n}-18.mp4" poster="/a/{n}-19.jpg"></video>',
    ]
    return head, body


def write_site():
    """Pages and files; nothing in them differs from run to run."""
    (site / "a").mkdir(parents=True)
    heads, bodies = zip(*map(group, range(wanted // 20)))
    page = "<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n<title>Ten thousand</title>\n"
    page += "\n".join("\n".join(head) for head in heads) + "\n</head>\n<body>\n" + "\n".join("\n".join(body) for body in bodies)
    page += "\n</body>\n</html>\n"
    (site / "assets.html").write_text(page)
    starts = {"css": b".a{color:#123}\n", "js": b"var a=1;\n", "svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>', "png": b"\x89PNG\r\n\x1a\n"}
    starts |= {"jpg": b"\xff\xd8\xff\xe0", "webp": b"RIFF\0\0\0\0WEBP", "woff2": b"wOF2", "mp4": b"\0\0\0\x18ftypmp42"}
    names = re.findall(r"\ba/(\d+-\d+\.\w+)", page)
    assert len(names) == len(set(names)) == wanted, len(names)
    for name in names:
        start = starts[name.rsplit(".")[-1]]
        (site / "a" / name).write_bytes(start + b" " * (400 - len(start)))
    with open(site / "large.html", "w") as out:
        size, n = out.write("<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n<title>Large</title>\n</head>\n<body>\n"), 0
        while size < 5_000_000:
            n += 1
            size += out.write(f'<section id="s{n}" class="part p{n % 7}">\n<h2>Part {n}</h2>\n<p>{filler}, <b>{filler}</b> &amp; {filler}.</p>\n')
            size += out.write(f'<img src="/a/0-9.png?{n}" alt="picture {n}">\n<p class="note">{filler}: <a href="#s{n}">{n}</a>.</p>\n')
            size += out.write("<table><tr><td>1<td>2<td>3<tr><td>4<td>5<td>6</table>\n")
            size += out.write(f'<ul>\n<li><i>{filler}</i>\n<li data-n="{n}">{filler}\n</ul>\n</section>\n')
        out.write("</body>\n</html>\n")
    (site / "small.html").write_text('<!doctype html>\n<title>Small</title>\n<link rel="stylesheet" href="/a/0-0.css">\n<h1>Small</h1>\n<img src="/a/0-12.svg" alt="">\n')
    return n


def write_certificate():
    """A certificate authority of this run, and what it says of 127.0.0.1."""
    (work / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl = lambda *args: subprocess.run(["openssl", *map(str, args)], cwd=work, check=True, **quiet)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "30", "-subj", "/CN=tagalong bench")
    openssl("req", *key, "-keyout", "site.key", "-out", "site.csr", "-subj", "/CN=127.0.0.1")
    openssl("x509", "-req", "-in", "site.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30", "-extfile", "names", "-out", "site.pem")
    # Both programs read the roots of this host at every start, and find this run's among them.
    hosts = ssl.get_default_verify_paths().cafile
    (work / "roots.pem").write_bytes((pathlib.Path(hosts).read_bytes() if hosts else b"") + (work / "ca.pem").read_bytes())


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def serve():
    """nginx as Debian sets it, less its log; returns the process and the addresses."""
    plain, one, two = free_ports(3)
    tls = f"ssl_certificate {work}/site.pem; ssl_certificate_key {work}/site.key;"
    temp = "".join(f"{kind}_temp_path {work}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    user = "user root;" if os.geteuid() == 0 else ""
    (work / "nginx.conf").write_text(
        f"daemon off; {user} worker_processes auto; pid {work}/pid; error_log {work}/error.log;\nevents {{ worker_connections 768; }}\n"
        f"http {{ include /etc/nginx/mime.types; access_log off; sendfile on; tcp_nopush on; {temp}\nroot {site};\n"
        f"server {{ listen 127.0.0.1:{plain}; }}\n"
        f"server {{ listen 127.0.0.1:{one} ssl; {tls} }}\nserver {{ listen 127.0.0.1:{two} ssl http2; {tls} }}\n}}\n"
    )
    server = subprocess.Popen(["nginx", "-p", work, "-e", work / "error.log", "-c", work / "nginx.conf"], **quiet)
    where = {"http": f"http://127.0.0.1:{plain}", "https, HTTP/1.1": f"https://127.0.0.1:{one}", "https, HTTP/2": f"https://127.0.0.1:{two}"}
    trust = ssl.create_default_context(cafile=work / "ca.pem")
    until = time.monotonic() + 30
    for address in where.values():
        while True:
            try:
                urllib.request.urlopen(f"{address}/small.html", timeout=5, context=trust if address.startswith("https") else None).close()
                break
            except OSError as error:
                if server.poll() is not None or time.monotonic() > until:
                    sys.exit(f"nginx does not answer at {address}: {error}\n{(work / 'error.log').read_text()}")
                time.sleep(0.02)
    return server, where


def run(command):
    """Seconds by the clock and of the processor, and the peak of its memory in MiB."""
    began = time.monotonic()
    child = subprocess.Popen(command, env=env, **quiet)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    took = time.monotonic() - began
    if child.returncode:
        sys.exit(f"exit code {child.returncode}: {' '.join(command)}")
    return took, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def measure(commands, rounds):
    """Each of the commands in turn, so that what slows the machine slows all of them. A first round warms up."""
    seen = {name: [] for name in commands}
    for round_ in range(rounds + 1):
        for name, command in commands.items():
            one = run(command)
            if round_:
                seen[name].append(one)
        print(f"\r{round_}/{rounds} ", end="", file=sys.stderr)
    print("\r", end="", file=sys.stderr)
    median = lambda all_, of: statistics.median(one[of] for one in all_)
    return {name: (median(all_, 0), median(all_, 1), max(one[2] for one in all_)) for name, all_ in seen.items()}


def output(command):
    ran = subprocess.run(command, env=env, capture_output=True, text=True)
    if ran.returncode:
        sys.exit(f"exit code {ran.returncode}: {' '.join(command)}\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    return ran.stdout


missed = []


def hold(title, name, figure, limit, unit=""):
    """Prints a figure beside its limit."""
    if figure > limit:
        missed.append(f"{title}: {name}")
    print(f"  {name:28} {figure:8.2f} {unit:4} (limit {limit:g})")


def compare(title, commands, found, rounds):
    """Prints one comparison: what both find, both times and their ratio, both peaks."""
    seen = measure(commands, rounds)
    (our_time, our_work, our_peak), (their_time, their_work, their_peak) = seen["tagalong"], seen["lychee"]
    print(title)
    print(f"  {'assets, tagalong / lychee':28} {found[0]:>8} / {found[1]}")
    print(f"  {'median, tagalong / lychee':28} {our_time * 1000:8.1f} / {their_time * 1000:.1f} ms")
    print(f"  {'processor, the same':28} {our_work * 1000:8.1f} / {their_work * 1000:.1f} ms")
    hold(title, "ratio", our_time / their_time, 1.0)
    print(f"  {'peak, lychee':28} {their_peak:8.2f} MiB")
    hold(title, "peak", our_peak, 50, "MiB")


def extraction(where, page, expected):
    url = f"{where['http']}/{page}"
    commands = {"tagalong": [tagalong, "smoke", "--samples", "1", "--no-fetch-assets", url], "lychee": ["lychee", *lychee_finds, "--dump", url]}
    found = json.loads(output([*commands["tagalong"], "--format", "json"]))["assets"]
    assert found == expected, (found, expected)
    theirs = set(re.findall(r"/a/\S+", output(commands["lychee"])))
    # A few hundredths of a second are measured more often than seconds.
    compare(f"extraction, {page}", commands, (found, len(theirs)), 3 * rounds)


def full_check(how, address, page, expected):
    url = f"{address}/{page}"
    commands = {"tagalong": [tagalong, "smoke", url], "lychee": ["lychee", *lychee_finds, *lychee_checks, url]}
    report = json.loads(output([*commands["tagalong"], "--format", "json"]))
    assert report["fetched"] == expected, report
    theirs = re.search(r"(\d+) OK", output(commands["lychee"]))[1]
    compare(f"full check, {page}, {how}", commands, (report["fetched"], theirs), rounds)


def browser(where):
    command = [tagalong, "smoke", "--ca-file", str(work / "ca.pem"), "--browser", f"{where['https, HTTP/2']}/small.html"]
    took, _, _ = measure({"tagalong": command}, rounds)["tagalong"]
    print("browser, small page")
    hold("browser", "median", took, 2.0, "s")


env = {name: value for name, value in os.environ.items() if name != "SSL_CERT_DIR"} | {"SSL_CERT_FILE": str(work / "roots.pem")}
server = None
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
try:
    large = write_site()
    write_certificate()
    server, where = serve()
    print(f"rounds {rounds} · {output(['lychee', '--version']).strip()} · assets.html {(site / 'assets.html').stat().st_size // 1000} kB")
    extraction(where, "assets.html", wanted)
    extraction(where, "large.html", large)
    for how, address in where.items():
        full_check(how, address, "assets.html", wanted)
        full_check(how, address, "large.html", large)
    browser(where)
    # A program that is started shares this one's memory for a moment: no peak reads lower than that.
    print(f"least peak that can be seen: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.1f} MiB")
    print("every limit holds" if not missed else f"A LIMIT IS MISSED: {'; '.join(missed)}")
    sys.exit(1 if missed else 0)
finally:
    if server:
        server.terminate()
        server.wait()
    shutil.rmtree(work)
