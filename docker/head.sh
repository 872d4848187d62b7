#!/bin/bash
# Usage: head.sh RAY SERVE, two command lines: `ray start --head ... --block`, `stn-cluster serve ...`.
#
# The head is both of them in one container. The service talks to Ray through the sockets in
# /tmp/ray, and at the end there is an order: first the service, which has what runs checkpointed,
# then Ray, which that needs. If either dies the container ends, and whoever started it starts it
# anew: queue and store are on volumes, and the service goes on from them.
set -u

ray=
serve=
told=
end() { # with exit code $1; Ray too, if it runs
    trap '' TERM INT
    [ -n "$ray" ] && kill -TERM "$ray" 2>/dev/null && wait "$ray"
    exit "$1"
}
# At any moment: a service that has just been started, and isn't known yet, is told below.
trap 'told=1; [ -n "$serve" ] && kill -TERM "$serve" 2>/dev/null' TERM INT

ulimit -n 65536 2>/dev/null # Ray has many sockets open; if that isn't allowed, what there is will do

# The service's secrets are of no use to Ray, nor to the code that Ray runs. And when Ray is told to
# end there is nothing left that it should wait for.
env -u STN_CLUSTER_TOKEN -u STN_CLUSTER_NOTIFY_SECRET RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0 bash -c "exec $1" &
ray=$!

export RAY_ADDRESS=${RAY_ADDRESS:-127.0.0.1:6379} # not a Ray that left its traces in /tmp/ray
until ray health-check >/dev/null 2>&1; do
    [ -n "$told" ] && end 143
    kill -0 "$ray" 2>/dev/null || end 1
    sleep 1
done
[ -n "$told" ] && end 143

bash -c "exec $2" &
serve=$!
[ -n "$told" ] && kill -TERM "$serve" 2>/dev/null
wait -n "$ray" "$serve" # one of them has ended, or a signal has come
if ! kill -0 "$ray" 2>/dev/null; then
    echo "head.sh: Ray has ended, and the coordinator with it" >&2
    exit 1 # nothing is left that the service could save
fi
while kill -0 "$serve" 2>/dev/null; do
    wait "$serve" # again after each signal
done
wait "$serve"
end $?
