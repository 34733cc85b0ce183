# Ages the file system on /dev/vda; KIND is its driver, END how it is left. tests/aged/make runs it in a virtual machine.
[ "$KIND" = hfsplus ] && modprobe nls_utf8
options=defaults
if [ "$KIND" = apfs ]; then
  modprobe crc32c_generic
  options=readwrite
  # The driver takes blocks of its own for every transaction and soon has none left.
  sync() { :; }
fi
modprobe "$KIND"
mount -t "$KIND" -o "$options" /dev/vda /mnt || exit 1
cd /mnt
mkdir -p tree/with/folders
for n in $(seq 1 120); do seq $n $((n * 37 % 900 + n)) >tree/file$n; done
seq 1 60000 >tree/with/large
seq 500000 560000 >gone
sync
for n in $(seq 1 3 120); do rm tree/file$n; done
rm gone
sync
# Files that grow by turns take pieces of the gaps.
for n in $(seq 1 25); do
  seq $((n * 1000)) $((n * 1000 + 400)) >>tree/with/first
  seq $((n * 2000)) $((n * 2000 + 500)) >>tree/with/folders/second
  [ $((n % 5)) = 0 ] && sync
done
ln tree/file2 tree/with/linked
seq 7 | dd of=sparse bs=1024 seek=300 2>/dev/null
sync
if [ "$KIND" = nilfs2 ] && [ "$END" = clean ]; then
  # The cleaner wants a message queue and a semaphore.
  mkdir -p /dev/mqueue /dev/shm
  mount -t mqueue mqueue /dev/mqueue
  mount -t tmpfs tmpfs /dev/shm
  for n in 1 2 3 4 5 6; do seq $n 200000 >churn; sync; rm churn; sync; done
  cat >/etc/nilfs_cleanerd.conf <<'CONF'
protection_period 0
min_clean_segments 100%
max_clean_segments 100%
clean_check_interval 1
nsegments_per_clean 4
mc_nsegments_per_clean 4
cleaning_interval 0.1
mc_cleaning_interval 0.1
retry_interval 1
min_reclaimable_blocks 1
mc_min_reclaimable_blocks 1
use_mmap
log_priority info
CONF
  nilfs_cleanerd -c /etc/nilfs_cleanerd.conf /dev/vda /mnt
  sleep 10
  killall nilfs_cleanerd
  sleep 1
  seq 1 90000 >after
  sync
fi
if [ "$END" = crash ]; then
  seq 900000 910000 >tree/unfinished
  rm tree/file5
  sync
  seq 910000 910500 >>tree/unfinished
  dd if=/dev/zero of=tree/synced bs=4096 count=3 conv=fsync 2>/dev/null
  printf '\nAGED\n'
  echo o >/proc/sysrq-trigger
  sleep 60
fi
cd /
umount /mnt
mount -t "$KIND" -o ro /dev/vda /mnt || exit 1
printf '\nSUMS\n'
(cd /mnt && find . -type f ! -path './.*' | sort | xargs sha256sum)
echo END
[ "$KIND" = nilfs2 ] && { echo LSSU; lssu -a /dev/vda; echo END; }
umount /mnt
printf '\nAGED\n'
