#!/bin/bash
# The first process of a Pi that tests deploy to, called in namespaces of its own (see pi.py).
#
#     boot.sh PI UID
#
# PI holds home/, var/, etc/ and tools/. The Pi sees these and this machine's /usr, read-only, and
# nothing else of this machine. Then the user's service manager runs, as the user.
set -euo pipefail
pi=$1 uid=$2 root=$1/root

# Nothing that is mounted from here on is seen outside.
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$root"
mkdir -p "$root"/{usr,etc,home/pi,var,opt/pi,proc,sys,tmp,old,dev/pts,dev/shm}
mkdir -p "$root"/run/{sshd,user/"$uid"}
for link in bin lib lib64 sbin; do
    ln -s "usr/$link" "$root/$link"
done
bind() {  # HERE, ON THE PI, OPTIONS
    mount --bind "$1" "$root/$2"
    mount -o "remount,bind,$3" "$root/$2"
}
bind /usr usr ro
bind "$pi/etc" etc ro
bind "$pi/tools" opt/pi ro
bind "$pi/home" home/pi rw,nosuid,nodev
bind "$pi/var" var rw,nosuid,nodev
for device in null zero full random urandom tty; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
chown "$uid:$uid" "$root/run/user/$uid"
chmod 700 "$root/run/user/$uid"
cd "$root"
pivot_root . old
umount -l /old
rmdir /old

hostname pi
ip link set lo up
env -i HOME=/home/pi USER=pi LANG=C.UTF-8 PATH=/opt/pi/bin:/usr/bin:/bin \
    XDG_RUNTIME_DIR="/run/user/$uid" PYTHONPATH=/opt/pi \
    setpriv --reuid "$uid" --regid "$uid" --clear-groups --no-new-privs \
    python3 -m tests.deploy.supervisor &
# Orphans of every process end here; without the service manager the Pi is off.
wait $!
