# Everything here works on a bare Debian 12 as root; elsewhere it says what is missing.
# Programs and caches of the tests go to ~/.cache/tagalong-rig ($TAGALONG_RIG), not into the clone.

.PHONY: help demo demo-down demo-data test bench load storm fuzz lint dist own-host

help:
	@echo "make demo        the story on this machine: a site behind TLS, two releases, a bad one, its undoing"
	@echo "make demo-down   takes the demo down and leaves nothing of it"
	@echo "make demo-data   reloads of data: two pods, a push, a conflict, a pod that was away; leaves nothing"
	@echo "make test        every test, on a real Docker, a real registry and a real proxy"
	@echo "make lint        formatting, clippy, docs, dependencies, workflows, shell scripts, Dockerfile"
	@echo "make bench       how quick it is, beside its peers, in one run"
	@echo "make load        a store of a million deployments on both databases: pages, start, idle time, orders during the sweep"
	@echo "make storm       kills, stops, full disks and meddling hands on a Docker of its own; ROUNDS=500 SEED=7 for hours"
	@echo "make dist        a Debian package and a static binary, in target/dist"
	@echo "make own-host    the README's steps for your own host, and the recipes, on a clean machine with systemd"
	@echo "make fuzz        ten minutes of hostile input for each parser of pages"

demo:
	@tests/demo/demo.sh up

demo-down:
	@tests/demo/demo.sh down

demo-data:
	@tests/demo/data.sh
	@tests/demo/readme.sh

test:
	@tests/rig/test.sh

lint:
	@tests/rig/lint.sh

bench:
	@tests/rig/bench.sh

load:
	@tests/rig/load.sh

storm:
	@tests/rig/storm.sh

fuzz:
	@tests/rig/fuzz.sh

dist:
	@tests/rig/dist.sh

own-host:
	@tests/demo/own-host.sh
