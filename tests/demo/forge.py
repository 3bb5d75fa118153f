#!/usr/bin/env python3
"""A forge as far as a job's token goes: its description, its key set, and the address where a job asks for a token.

forge.py FOLDER: writes its key and then its port there and serves on loopback until it is ended. Tokens are signed by openssl, for one job
of acme/web on main.
"""

import base64
import http.server
import json
import pathlib
import subprocess
import sys
import time
import urllib.parse

folder = pathlib.Path(sys.argv[1])
key = folder / "forge.key"


def openssl(*args: str, given: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *args], input=given, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout


def text(given: bytes) -> str:
    return base64.urlsafe_b64encode(given).rstrip(b"=").decode()


def token(issuer: str, audience: str) -> str:
    now = int(time.time())
    claims = {
        "iss": issuer, "aud": audience, "sub": "repo:acme/web:ref:refs/heads/main", "jti": str(time.time_ns()),
        "iat": now, "nbf": now - 5, "exp": now + 300, "event_name": "workflow_dispatch", "ref": "refs/heads/main", "ref_type": "branch",
        "repository": "acme/web", "repository_owner": "acme", "run_id": "90001", "run_number": run, "run_attempt": "1",
        "sha": "1f0c9e2a7d4105b3c8e6f9012345678901234567", "actor": "mona", "workflow": "deploy.yml",
    }
    header = {"alg": "RS256", "kid": "one", "typ": "JWT"}
    message = ".".join(text(json.dumps(part).encode()) for part in (header, claims))
    return message + "." + text(openssl("dgst", "-sha256", "-sign", str(key), given=message.encode()))


class Forge(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        at = urllib.parse.urlsplit(self.path)
        issuer = f"http://127.0.0.1:{self.server.server_port}/api/actions"
        status, answer = 200, {}
        if at.path.endswith("/.well-known/openid-configuration"):
            answer = {"issuer": issuer, "jwks_uri": f"{issuer}/.well-known/keys"}
        elif at.path.endswith("/.well-known/keys"):
            answer = {"keys": [{"kty": "RSA", "kid": "one", "use": "sig", "alg": "RS256", "e": "AQAB", "n": modulus}]}
        elif at.path == "/idtoken" and self.headers["Authorization"] == "bearer of-this-job":
            answer = {"value": token(issuer, urllib.parse.parse_qs(at.query)["audience"][0])}
        else:
            status = 401
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


# One run, newer than those that a key has ordered for, whose number is the time.
run = str(int(time.time()) + 3600)
openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(key))
modulus = text(bytes.fromhex(openssl("rsa", "-in", str(key), "-modulus", "-noout").decode().strip().split("=")[1]))
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Forge)
(folder / "forge.port").write_text(str(server.server_port))
server.serve_forever()
