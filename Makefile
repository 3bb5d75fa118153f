# Everything here works on a bare Debian 12 as root; on other systems it says what is missing.
# The tests keep programs and caches in ~/.cache/tagalong-rig ($TAGALONG_RIG), outside the clone.

.PHONY: help demo demo-down demo-data demo-fleet test bench load storm fuzz lint dist first-day own-host

help:
	@echo "make demo        shows everything on this machine: a site behind TLS, two releases, a broken one, its rollback"
	@echo "make demo-down   removes the demo completely"
	@echo "make demo-data   shows reloads of data: two pods, a push, a conflict, a pod that was away; removes it all at the end"
	@echo "make demo-fleet  shows a control plane and three hosts: agents, a host behind a bastion, a rollout that is undone, a line that is cut, a reboot"
	@echo "make test        runs every test with a real Docker, a real registry and a real proxy"
	@echo "make lint        checks formatting, clippy, docs, dependencies, workflows, shell scripts, Dockerfile"
	@echo "make bench       measures tagalong beside comparable programs, in one run"
	@echo "make load        measures a store with a million deployments on both databases: pages, start, idle time, orders while old deployments are deleted"
	@echo "make storm       kills, stops, fills disks and edits files by hand at random, on a Docker of its own; ROUNDS=500 SEED=7 runs for hours"
	@echo "make dist        builds a Debian package and a static binary in target/dist"
	@echo "make first-day   runs the README's five minutes on a clean machine with systemd, to the first deployment from CI, and says how long it took"
	@echo "make own-host    runs the README's steps for your own host, and the recipes, on a clean machine with systemd"
	@echo "make fuzz        feeds hostile input to each parser of pages, ten minutes each"

demo:
	@tests/demo/demo.sh up

demo-down:
	@tests/demo/demo.sh down

demo-data:
	@tests/demo/data.sh
	@tests/demo/readme.sh

demo-fleet:
	@tests/demo/fleet.sh

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

first-day:
	@tests/demo/own-host.sh first

own-host:
	@tests/demo/own-host.sh
