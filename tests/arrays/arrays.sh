# Makes arrays of the members /dev/vda to /dev/vdd and keeps copies of them on /dev/vde. tests/arrays/make runs it in a virtual
# machine.
export MDADM_NO_UDEV=1 MDADM_NO_SYSTEMCTL=1 IMSM_NO_PLATFORM=1 IMSM_DEVNAME_AS_SERIAL=1
mkdir -p /run/mdadm
for driver in crc32c_generic ext4 raid0 raid1 raid10 raid456; do modprobe $driver || exit 1; done
slot=0
# keep NAME MEMBER...: copies members as they stand on their disks now.
keep() {
  local name=$1 member
  shift
  for member; do
    blockdev --flushbufs $member
    dd if=$member of=/dev/vde bs=1M seek=$((slot * 16)) conv=notrunc 2>/dev/null
    echo "KEPT $name $slot"
    slot=$((slot + 1))
  done
}
blank() { for member; do dd if=/dev/zero of=$member bs=1M 2>/dev/null; blockdev --flushbufs $member; done; }
# create DISKS LEVEL VERSION MORE...: an array of the first disks.
create() {
  local disks=$1 level=$2 version=$3
  shift 3
  members=$(echo /dev/vda /dev/vdb /dev/vdc /dev/vdd | cut -d ' ' -f 1-$disks)
  blank /dev/vda /dev/vdb /dev/vdc /dev/vdd
  mdadm --create /dev/md0 --run -e $version -l $level -n $disks --homehost=any "$@" $members || exit 1
}
whole() { while grep -q -E 'resync|recover|reshape' /proc/mdstat; do sleep 0.1; done; sleep 1; }
stop() { sleep 1; mdadm --stop /dev/md0; }
slowly() { echo 1 >/proc/sys/dev/raid/speed_limit_min; echo 1 >/proc/sys/dev/raid/speed_limit_max; }
quickly() { echo 200000 >/proc/sys/dev/raid/speed_limit_max; echo 1000 >/proc/sys/dev/raid/speed_limit_min; }
# Files, of which some are gone again.
fill() {
  /sbin/mke2fs -q -t ext4 -b 1024 -L inside /dev/md0
  mount -t ext4 /dev/md0 /mnt || exit 1
  mkdir -p /mnt/tree/with/folders
  for n in $(seq 1 120); do seq $n $((n * 37 % 900 + n)) >/mnt/tree/file$n; done
  seq 1 60000 >/mnt/tree/with/large
  sync
  for n in $(seq 1 3 120); do rm /mnt/tree/file$n; done
  sync
  echo
  echo "SUMS $1"
  (cd /mnt && find . -type f | sort | xargs sha256sum)
  echo END
  umount /mnt
}

for version in 0.90 1.0 1.1 1.2; do
  case $version in
    0.90) create 2 1 $version --bitmap=internal ;;
    1.2) create 2 1 $version --bitmap=internal --name=lab ;;
    *) create 2 1 $version --bitmap=none --name=lab ;;
  esac
  whole
  fill clean-$version
  stop
  keep clean-$version /dev/vda /dev/vdb
done

# As a power cut would leave it.
mdadm --assemble /dev/md0 --run /dev/vda /dev/vdb
echo 100 >/sys/block/md0/md/safe_mode_delay
mount -t ext4 /dev/md0 /mnt
seq 1 10000 >/mnt/more
sync
keep dirty-1.2 /dev/vda /dev/vdb
umount /mnt
echo 0.2 >/sys/block/md0/md/safe_mode_delay
sleep 2
# One member fails, and the other one goes on.
mdadm /dev/md0 --fail /dev/vdb
mdadm /dev/md0 --remove /dev/vdb
mount -t ext4 /dev/md0 /mnt
seq 1 5000 >/mnt/later
umount /mnt
stop
keep degraded-1.2 /dev/vda /dev/vdb

slowly
for version in 0.90 1.2; do
  create 2 1 $version --bitmap=none
  sleep 1
  stop
  keep resync-$version /dev/vda
done
create 2 1 1.2 --bitmap=none --assume-clean
mdadm /dev/md0 --fail /dev/vdb
mdadm /dev/md0 --remove /dev/vdb
mdadm --zero-superblock /dev/vdb
mdadm /dev/md0 --add /dev/vdb
sleep 1
stop
keep recovering-1.2 /dev/vdb
quickly
create 2 1 1.2 --bitmap=none --assume-clean
mdadm /dev/md0 --add-spare /dev/vdc
sleep 1
stop
keep spare-1.2 /dev/vdc

for level in 0 4 5 6 10; do
  create 4 $level 1.2
  whole
  stop
  keep level-$level /dev/vda
done
create 3 5 1.2 --bitmap=none
whole
mdadm /dev/md0 --add /dev/vdd
slowly
mdadm --grow /dev/md0 -n 4
sleep 1
keep reshape-5 /dev/vda
echo frozen >/sys/block/md0/md/sync_action
mdadm --stop /dev/md0
quickly

# The formats of firmware, as mdadm writes them.
blank /dev/vda /dev/vdb
mdadm --create /dev/md127 --run -e imsm -n 2 /dev/vda /dev/vdb
mdadm --create /dev/md0 --run -l 1 -n 2 -z 8M /dev/md127
whole
stop
mdadm --stop /dev/md127
keep imsm /dev/vda
mdadm --create /dev/md127 --run -e ddf -n 2 /dev/vdf /dev/vdg
mdadm --create /dev/md0 --run -l 1 -n 2 -z 8M /dev/md127
whole
stop
mdadm --stop /dev/md127

# Members that tests put file systems into.
mdadm --create /dev/md0 --run -e 1.2 -l 1 -n 2 --bitmap=internal --assume-clean --homehost=any --name=large /dev/vdh missing
stop
mdadm --create /dev/md0 --run -e 1.0 -l 1 -n 2 --bitmap=internal --assume-clean --homehost=any --name=large /dev/vdi missing
stop
echo DONE
