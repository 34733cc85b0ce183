# What tests/aged/make and tests/arrays/make share: a virtual machine with Debian's kernel. For "." in bash, with $boot, $work,
# ${drivers[@]} and ${programs[@]} set.

# An initramfs of busybox, the drivers, and programs of this machine with their libraries.
initramfs() {
  local root=$work/root version driver module program library
  version=$(ls "$boot/modules/lib/modules")
  mkdir -p "$root"/{bin,sbin,dev,proc,sys,mnt,tmp,etc} "$root/lib/modules/$version"
  for driver in "${drivers[@]}"; do
    modprobe --dirname "$boot/modules" --set-version "$version" --show-depends "$driver" 2>/dev/null |
      awk '$1 == "insmod" { print $2 }'
  done | sort -u >"$work/drivers"
  while read -r module; do
    local inside=${module##*"/lib/modules/$version/"}
    mkdir -p "$root/lib/modules/$version/$(dirname "$inside")"
    xz --decompress --stdout "$module" >"$root/lib/modules/$version/${inside%.xz}"
  done <"$work/drivers"
  cp "$boot/modules/lib/modules/$version"/modules.{builtin,order} "$root/lib/modules/$version/"
  depmod --basedir "$root" "$version" 2>/dev/null
  cp "$(scripts/debs busybox-static)/bin/busybox" "$root/bin/"
  for program in "${programs[@]}"; do
    cp -L "$(command -v "$program")" "$root/sbin/"
    for library in $(ldd "$(command -v "$program")" | grep -o '/[^ ]*'); do
      mkdir -p "$root/$(dirname "$library")"
      cp -L "$library" "$root/$library"
    done
  done
  install -m 755 tests/aged/init "$root/init"
  cp "$1" "$root/job"
  (cd "$root" && find . | cpio --quiet -o -H newc | gzip -1) >"$work/initrd"
}

# machine JOB FILE...: runs a script where the files are /dev/vda, /dev/vdb, ...; prints its console.
machine() {
  local drives=() file
  initramfs "$1"
  shift
  for file; do drives+=(-drive "file=$file,format=raw,if=virtio,cache=unsafe"); done
  timeout 300 qemu-system-x86_64 -accel tcg -cpu max -m 768 -nographic -no-reboot -net none -kernel "$boot/vmlinuz" \
    -initrd "$work/initrd" -append "console=ttyS0 quiet panic=-1" "${drives[@]}" </dev/null | tr -d '\r'
}
