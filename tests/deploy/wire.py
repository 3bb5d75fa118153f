#!/usr/bin/env -S python3 -IS
"""A line on which everything can happen: passes frames between its standard streams and a program, as ssh would.

    wire.py DIR PROGRAM ARG…

DIR/wire/up.KIND and DIR/wire/down.KIND say what happens to a frame of that kind from the agent (up) or to it (down):
    cut        the frame is lost, and the line ends
    half       half of the frame arrives, and the line ends
    garbage    what arrives is no frame
    drop       the frame is lost, and the line goes on
    twice      it arrives twice
    late       it arrives behind the next one
    hold       it waits until the file is gone
    edit JSON  its fields are replaced by those; null: the field is missing
    (DIR/wire/say: these lines are said to the control plane besides, once)
The first six happen once: the file is gone then. Whatever happened is written down as DIR/met/DIRECTION.KIND.
DIR/wire/dark: no byte passes, not even signs of life, and nobody is told. DIR/wire/slow: "BYTES_PER_S DELAY_S".
DIR/wire/clock: so many ms are added to every time that the agent tells, and to no duration.
"""
import json, os, pathlib, subprocess, sys, threading, time

root = pathlib.Path(sys.argv[1])
program = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def end():
    program.kill()
    os._exit(255)


def said(name):
    try:
        return (root / "wire" / name).read_text()
    except OSError:
        return ""


def met(point):
    (root / "met" / point).write_text("")


def once(point):
    (root / "wire" / point).unlink(missing_ok=True)
    met(point)


def shifted(value, by):
    if isinstance(value, dict):
        return {key: one + by if key.endswith("_ms") and isinstance(one, int) and one > 10**12 else shifted(one, by) for key, one in value.items()}
    return [shifted(one, by) for one in value] if isinstance(value, list) else value


def passes(source, sink, direction):
    waiting = []

    def send(line):
        while said("dark"):
            time.sleep(0.02)
        if slow := said("slow"):
            rate, delay = map(float, slow.split())
            # The delay is the line's, and holds up nothing behind it.
            time.sleep(len(line) / rate)
            threading.Timer(delay, put, [line]).start() if delay else put(line)
        else:
            put(line)

    def put(line):
        try:
            sink.write(line)
            sink.flush()
        except OSError:
            end()

    for line in source:
        if line == b"\n":
            send(line)
            continue
        frame = json.loads(line)
        point = f"{direction}.{frame['kind']}"
        what = said(point)
        if (by := said("clock")) and direction == "up":
            line = json.dumps(shifted(frame, int(by))).encode() + b"\n"
        if what == "cut":
            once(point)
            end()
        elif what == "half":
            once(point)
            put(line[: len(line) // 2])
            time.sleep(0.05)
            end()
        elif what == "garbage":
            once(point)
            put(b'{"kind": \xff]\n')
        elif what == "drop":
            once(point)
        elif what == "twice":
            once(point)
            send(line + line)
        elif what == "late":
            once(point)
            waiting.append(line)
        else:
            if what == "hold":
                met(point)
                while said(point) == "hold":
                    time.sleep(0.01)
            if what.startswith("edit "):
                met(point)
                frame = {key: value for key, value in (frame | json.loads(what[5:])).items() if value is not None}
                line = json.dumps(frame).encode() + b"\n"
            send(line)
            for late in waiting:
                send(late)
            waiting.clear()
    end()


def besides():
    while True:
        if lines := said("say"):
            (root / "wire" / "say").unlink()
            # In one piece, so that it stands between two frames.
            sys.stdout.buffer.raw.write(lines.encode())
        time.sleep(0.02)


threading.Thread(target=besides, daemon=True).start()
threading.Thread(target=passes, args=(program.stdout, sys.stdout.buffer, "up"), daemon=True).start()
passes(sys.stdin.buffer, program.stdin, "down")
