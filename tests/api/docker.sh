#!/bin/sh
# A stand-in for the docker client, for tests of the HTTP contract: it says that a daemon is there and that nothing runs.
# It writes down how it was called, waits while a test holds the lock of the file `gate` in the stack's folder, and fails
# with the text of the file `fail` where there is one.
{
    printf '%s\n' "$@"
    echo --
    env
    echo ==
} >>calls
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
