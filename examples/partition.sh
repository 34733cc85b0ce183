#!/bin/sh
# An example of a script that partitions:
#
#     remint plan lab --from /srv/images --size 500GB --layout script --script examples/partition.sh
#
# A GPT in which every partition keeps its number, type, GUID and size, but for the last one, which ends where the last
# tenth of the disk begins. That tenth is a partition for data.
set -eu

sgdisk --clear --disk-guid="$(sed -n 's/.*"disk_guid": "\(.*\)".*/\1/p' "$REMINT_SCHEMA")" "$REMINT_DISK"
last=$(tail -n 1 "$REMINT_PARTITIONS" | cut -d ' ' -f 1)
while read -r volume number size least type guid content; do
  end="+$(((size + 1023) / 1024))K"
  if [ "$volume" = "$last" ]; then
    end=$((REMINT_SECTORS / 10 * 9))
  fi
  echo "$volume ($content, at least $least bytes) is partition $number"
  sgdisk --new="$number:0:$end" --typecode="$number:$type" --partition-guid="$number:$guid" "$REMINT_DISK"
done < "$REMINT_PARTITIONS"
sgdisk --largest-new=0 --change-name=0:data "$REMINT_DISK"
