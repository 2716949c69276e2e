#!/bin/sh
# Runs systemd as process 1 of namespaces and a cgroup of its own until standard input ends, which it does with
# whoever started this, in whatever way that ends: then all of it is ended, and what was made is removed.
#
#   host.sh CGROUP DIRECTORY WORDS...
#     CGROUP     of version 2, which is made
#     DIRECTORY  empty; it is removed
#     WORDS      for inside.sh, beside DIRECTORY
#
# Prints "pid NUMBER", that of process 1 as it is seen here, and "over" when it has ended.
set -eu
# Deno kills what it has started when it ends, however: this that is killed leaves all to a child, which sees the end
# of standard input.
if [ "$1" != keep ]; then
  exec 3<&0
  sh "$0" keep "$@" <&3 3<&- &
  exec 3<&-
  wait $!
  exit
fi
shift
here=${0%/*}
cgroup=$1
directory=$2
shift 2
trap '' INT HUP TERM # of a terminal, which whoever started this hears too

remove_cgroup() {
  find "$cgroup" -depth -type d -exec rmdir {} +
}

if ! mkdir "$cgroup"; then
  rmdir "$directory"
  exit 1
fi
if ! [ -e "$cgroup/cgroup.kill" ]; then
  echo "a cgroup cannot be ended as a whole (Linux 5.14)" >&2
  rmdir "$cgroup" "$directory"
  exit 1
fi
{
  {
    echo 0 > "$cgroup/cgroup.procs" &&
      unshare --mount --propagation private --pid --fork --kill-child --uts --ipc --cgroup \
        sh "$here/inside.sh" "$directory" "$@"
  } || true
  echo over
} < /dev/null &

cat > /dev/null
exec > /dev/null 2>&1 # nobody may read any more: a word would end this by a signal
# Busy as long as a process of it is there.
until remove_cgroup; do
  echo 1 > "$cgroup/cgroup.kill" || true
  sleep 0.02
done
wait
rmdir "$directory"
