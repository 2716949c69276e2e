#!/bin/sh
# Makes a root of a tree and becomes its systemd, as process 1 of namespaces that are new. The tree is not written
# to: it is the lower layer of an overlay, whose upper one is in memory and goes with the namespaces.
#
#   inside.sh DIRECTORY TREE DENO NPM MASKED...
#     DIRECTORY  where to mount
#     DENO       which becomes /usr/local/bin/deno
#     NPM        packages of Deno's cache, which become those of the user postcopy
#     MASKED     units that are not to be
set -eu
directory=$1
tree=$2
deno=$3
npm=$4
shift 4

# The mounted /proc is that of the outer namespace still. The shell reads by itself, and stays this process.
read -r pid _ < /proc/self/stat

mount -t tmpfs tmpfs "$directory"
mkdir "$directory/upper" "$directory/work" "$directory/root"
cd "$tree" # whose name may have characters that mean something among the options
mount -t overlay -o "lowerdir=.,upperdir=$directory/upper,workdir=$directory/work" overlay "$directory/root"
cd "$directory/root"

mount -t proc proc proc
# What systemd sets at a start is set for the whole machine.
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
# Devices of its own: systemd makes links among them. It finds no kernel log to write to.
mount -t tmpfs -o mode=755 tmpfs dev
for name in null zero full random urandom tty; do
  touch "dev/$name"
  mount --bind "/dev/$name" "dev/$name"
done
touch dev/console
mount --bind /dev/null dev/console
for link in fd:fd stdin:fd/0 stdout:fd/1 stderr:fd/2; do
  ln -s "/proc/self/${link#*:}" "dev/${link%%:*}"
done
mkdir dev/pts
mount -t devpts -o ptmxmode=666,mode=620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx # which PrivateDevices= looks for

mkdir -p usr/local/bin var/lib/postcopy/.cache/deno/npm
touch usr/local/bin/deno
mount --bind "$deno" usr/local/bin/deno
mount --bind "$npm" var/lib/postcopy/.cache/deno/npm
mount -o remount,bind,ro var/lib/postcopy/.cache/deno/npm

# One that is there already: else this were a first start, which asks questions.
tr -d - < /proc/sys/kernel/random/uuid > etc/machine-id
for unit; do
  ln -sf /dev/null "etc/systemd/system/$unit"
done

pivot_root . mnt
cd /
umount -l /mnt
echo "pid $pid"
exec env -i container=postcopy PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin \
  /usr/lib/systemd/systemd --unit=multi-user.target < /dev/null > /dev/null 2>&1
