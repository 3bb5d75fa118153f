#!/bin/sh
# A stand-in for the docker client, for tests of the HTTP contract: it says that a daemon is there and that nothing runs.
# It writes down how it was called, waits while a test holds the lock of the file `gate` in the stack's folder, and fails
# with the text of the file `fail` where there is one.
# Who listens is not called for a stack, and a daemon that never goes away lets it: whoever listens ends this.
if [ "$1" = events ]; then
    exec sleep 3600
fi
# A daemon that takes calls and answers none of them.
if [ -n "${DOCKER_CONFIG:-}" ] && [ -e "$DOCKER_CONFIG/hang" ]; then
    exec sleep 60
fi
# In one write, since several are called at a time.
call=$(printf '%s\n' "$@" -- && env && echo '==')
printf '%s\n' "$call" >>calls
case $1 in
    info)
        flock -s gate true
        if [ -e fail ]; then
            cat fail >&2
            exit 1
        fi
        echo '{"ServerVersion":"27.0.0","OSType":"linux","Architecture":"x86_64","Driver":"overlay2","DockerRootDir":"/"}'
        ;;
    ps) ;;
    *)
        echo "the stand-in knows no docker $1" >&2
        exit 1
        ;;
esac
