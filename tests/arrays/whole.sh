# Makes arrays of every level and layout of the members /dev/vda to /dev/vde, fills them, and keeps all their members on /dev/vdf.
# tests/arrays/make runs it in a virtual machine.
export MDADM_NO_UDEV=1 MDADM_NO_SYSTEMCTL=1
mkdir -p /run/mdadm
for driver in crc32c_generic ext4 raid0 raid10 raid456; do modprobe $driver || exit 1; done
slot=0
all=$(echo /dev/vda /dev/vdb /dev/vdc /dev/vdd /dev/vde)
whole() { while grep -q -E 'resync|recover|reshape' /proc/mdstat; do sleep 0.1; done; sleep 1; }
# Leaves room in the second zone of a RAID 0 only, where its two layouts differ: fills all with files that tell their names, and removes some
# of those that are found there.
pad() {
  local number=0 at
  while number=$((number + 1)) && yes $number 2>/dev/null | head -c 65536 >/mnt/pad$number; do :; done 2>/dev/null
  sync
  blockdev --flushbufs /dev/md0
  for at in $(seq 22016 512 30000); do
    number=$(dd if=/dev/md0 bs=1k skip=$at count=1 2>/dev/null | sed -n 2p)
    rm -f /mnt/pad$number
  done
  sync
}
fill() {
  /sbin/mke2fs -q -t ext4 -b 1024 -L inside /dev/md0
  mount -t ext4 /dev/md0 /mnt || exit 1
  [ ${1#whole-0} = $1 ] || pad
  mkdir -p /mnt/tree/with/folders
  for n in $(seq 1 45); do seq $n $((n * 37 % 500 + n)) >/mnt/tree/file$n; done
  seq 1 20000 >/mnt/tree/with/large
  sync
  rm -f /mnt/pad*
  for n in $(seq 1 3 45); do rm /mnt/tree/file$n; done
  sync
  echo
  echo "SUMS $1"
  (cd /mnt && find . -type f | sort | xargs sha256sum)
  echo END
  umount /mnt
}
# array NAME DISKS LEVEL VERSION MORE...: one of the first disks; MEMBERS where each is to say where its data begin.
array() {
  local name=$1 disks=$2 level=$3 version=$4 members member
  shift 4
  for member in $all; do dd if=/dev/zero of=$member bs=1M 2>/dev/null; blockdev --flushbufs $member; done
  members=${MEMBERS:-$(echo $all | cut -d ' ' -f 1-$disks)}
  [ $version = 0.90 ] || set -- --name=lab "$@"
  mdadm --create /dev/md0 --run --quiet -e $version -l $level -n $disks --homehost=any "$@" $members ||
    { echo "NOT MADE $name"; return; }
  whole
  fill $name
  sleep 1
  mdadm --stop /dev/md0
  for member in $(echo $all | cut -d ' ' -f 1-$disks); do
    blockdev --flushbufs $member
    dd if=$member of=/dev/vdf bs=1M seek=$((slot * 16)) conv=notrunc 2>/dev/null
    echo "KEPT $name $slot"
    slot=$((slot + 1))
  done
}
chunk='--chunk=64'
array whole-4 3 4 1.2 $chunk
array whole-5-ls 3 5 1.2 $chunk --layout=left-symmetric --bitmap=internal
array whole-5-la 4 5 1.1 $chunk --layout=left-asymmetric
array whole-5-rs 5 5 1.0 $chunk --layout=right-symmetric
array whole-5-ra 3 5 1.2 --chunk=4 --layout=right-asymmetric
array whole-5-first 3 5 1.2 $chunk --layout=parity-first
array whole-6-ls 5 6 1.2 $chunk --layout=left-symmetric
array whole-6-ra 4 6 1.2 $chunk --layout=right-asymmetric
array whole-6-ls6 5 6 1.2 $chunk --layout=left-symmetric-6
array whole-5-090 3 5 0.90 $chunk
array whole-10-n2 3 10 1.2 $chunk --layout=n2
array whole-10-f2 4 10 1.2 $chunk --layout=f2
array whole-10-o2 3 10 1.2 $chunk --layout=o2
# The zone over all three has an odd number of chunks, the next one two members.
MEMBERS='/dev/vda:1M /dev/vdb:9280K /dev/vdc:4M'
array whole-0-original 3 0 1.2 $chunk --data-offset=variable --layout=original
array whole-0-alternate 3 0 1.2 $chunk --data-offset=variable --layout=alternate
MEMBERS=
echo DONE
