"""Mail servers for a test: aiosmtpd as Debian has it, on three ports of this host.

    smtp.py CERTIFICATE KEY USER PASSWORD

The first line that it writes has the ports: "plain" offers no encryption, but takes logins; "starttls" wants it before anything else; "tls"
begins with it. Both want a login. Each mail, and each try to log in, is a line of JSON.
"""

import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

certificate, key, user, password = sys.argv[1:]


def say(**what):
    print(json.dumps(what), flush=True)


class Desk:
    def __init__(self, name):
        self.name = name

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        lines = envelope.content.split(b"\r\n")
        say(
            server=self.name,
            encrypted=session.ssl is not None or self.name == "tls",
            logged_in=bool(session.authenticated),
            sender=envelope.mail_from,
            receivers=envelope.rcpt_tos,
            head=[[name, str(value)] for name, value in mail.items()],
            defects=[str(defect) for defect in mail.defects],
            longest=max(len(line) for line in lines),
            bare=any(b"\r" in line or b"\n" in line for line in lines),
            text=mail.get_content(),
        )
        if "spam" in mail["subject"]:
            return "554 5.7.1 This is taken for spam"
        return "250 2.0.0 Ok: queued as 4711"


def authenticator(name):
    def judge(server, session, envelope, mechanism, data):
        good = data.login == user.encode() and data.password == password.encode()
        say(server=name, login=data.login.decode(), good=good)
        return AuthResult(success=good, handled=False)

    return judge


async def main():
    loop = asyncio.get_running_loop()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    plans = {
        "plain": (None, {"auth_require_tls": False}),
        "starttls": (None, {"tls_context": context, "require_starttls": True, "auth_required": True}),
        "tls": (context, {"auth_require_tls": False, "auth_required": True}),
    }
    ports = {}
    for name, (over, options) in plans.items():
        def make(name=name, options=options):
            return SMTP(Desk(name), hostname="mail.example.test", authenticator=authenticator(name), **options)

        server = await loop.create_server(make, "127.0.0.1", 0, ssl=over)
        ports[name] = server.sockets[0].getsockname()[1]
    say(**ports)
    # Whoever started this has gone away when there is nothing more to read.
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
