//! Promises of discovery, kept on machines that are built in a directory.

use super::*;
use crate::machine::Holder;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use tempfile::TempDir;

/// A machine made of files.
struct Fake {
    root: TempDir,
}

impl Fake {
    fn new() -> Self {
        let fake = Self { root: tempfile::tempdir().unwrap() };
        fs::create_dir_all(fake.path("sys/block")).unwrap();
        fake
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A disk of `mib` MiB at a path below /sys/devices; the last part of the path is its name.
    fn disk(&self, path: &str, number: &str, mib: u64) -> String {
        let name = path.rsplit('/').next().unwrap();
        let at = format!("sys/devices/{path}");
        self.write(&format!("{at}/dev"), format!("{number}\n"));
        self.write(&format!("{at}/size"), format!("{}\n", mib * 2048));
        self.write(&format!("{at}/queue/logical_block_size"), "512\n");
        self.write(&format!("{at}/queue/physical_block_size"), "4096\n");
        self.write(&format!("{at}/ro"), "0\n");
        self.write(&format!("{at}/removable"), "0\n");
        self.write(&format!("dev/{}", name.replace('!', "/")), "");
        symlink(format!("../devices/{path}"), self.path(&format!("sys/block/{name}"))).unwrap();
        at
    }

    fn partition(&self, disk: &str, name: &str, number: &str) -> String {
        let at = format!("{disk}/{name}");
        self.write(&format!("{at}/partition"), "1\n");
        self.write(&format!("{at}/dev"), format!("{number}\n"));
        self.write(&format!("{at}/size"), "2048\n");
        self.write(&format!("dev/{name}"), "");
        at
    }

    fn disks(&self) -> Vec<MachineDisk> {
        disks_of(&Kernel::at(self.root.path())).unwrap()
    }

    fn only(&self) -> MachineDisk {
        let mut disks = self.disks();
        assert_eq!(disks.len(), 1, "{disks:?}");
        disks.remove(0)
    }
}

fn mount(device: &str, path: &str) -> Holder {
    Holder::Mount { device: device.to_owned(), path: path.to_owned() }
}

fn mapping(device: &str, name: &str) -> Holder {
    Holder::Mapping { device: device.to_owned(), name: name.to_owned() }
}

#[test]
fn an_nvme_disk_with_large_sectors_tells_who_it_is() {
    let fake = Fake::new();
    let at = fake.disk("pci0000:00/0000:00:1d.0/0000:3d:00.0/nvme/nvme0/nvme0n1", "259:0", 1024);
    fake.write(&format!("{at}/queue/logical_block_size"), "4096\n");
    fake.write(&format!("{at}/queue/discard_granularity"), "512\n");
    fake.write(&format!("{at}/queue/discard_max_bytes"), "2199023255040\n");
    fake.write(&format!("{at}/wwid"), "eui.0025388b710116a1\n");
    fake.write(&format!("{at}/device/model"), "Samsung SSD 970 EVO Plus 1TB            \n");
    fake.write(&format!("{at}/device/serial"), "S4EWNX0R123456      \n");
    let disk = fake.only();
    assert_eq!(disk.path, "/dev/nvme0n1");
    assert_eq!((disk.size_bytes, disk.logical_sector_bytes), (1 << 30, SectorSize::B4096));
    assert_eq!(disk.model.as_deref(), Some("Samsung SSD 970 EVO Plus 1TB"));
    assert_eq!(disk.serial.as_deref(), Some("S4EWNX0R123456"));
    assert_eq!(disk.wwn.as_deref(), Some("eui.0025388b710116a1"));
    assert_eq!(disk.transport.as_deref(), Some("nvme"));
    assert!(disk.can_discard && !disk.removable && !disk.read_only && !disk.boot_medium);
    assert_eq!(disk.holders, []);
}

#[test]
fn a_sata_disk_has_its_serial_number_in_a_page_of_vital_product_data() {
    let fake = Fake::new();
    let at = fake.disk("pci0000:00/0000:00:17.0/ata3/host2/target2:0:0/2:0:0:0/block/sda", "8:0", 64);
    fake.write(&format!("{at}/device/vpd_pg80"), b"\0\x80\0\x0c   WD-WX1234");
    fake.write(&format!("{at}/device/wwid"), "t10.ATA     WDC WD10EZEX\n");
    fake.write("run/udev/data/b8:0", "S:disk/by-id/x\nE:ID_WWN=0x50014ee2b\nE:ID_SERIAL_SHORT=other\n");
    fake.write(&format!("{at}/ro"), "1\n");
    let disk = fake.only();
    assert_eq!(disk.serial.as_deref(), Some("WD-WX1234"));
    assert_eq!(disk.wwn.as_deref(), Some("0x50014ee2b"));
    assert_eq!(disk.transport.as_deref(), Some("sata"));
    assert!(disk.read_only && !disk.can_discard);
    // A page whose length is a lie is no serial number.
    fake.write(&format!("{at}/device/vpd_pg80"), b"\0\x80\xff\xffWD");
    assert_eq!(fake.only().serial.as_deref(), Some("other"));
}

#[test]
fn the_way_a_disk_is_attached_is_the_bus_nearest_to_it() {
    for (path, number, transport, removable) in [
        ("pci0000:00/0000:00:02.0/virtio1/block/vda", "254:0", "virtio", false),
        ("pci0000:00/0000:00:14.0/usb2/2-1/2-1:1.0/host6/target6:0:0/6:0:0:0/block/sdb", "8:16", "usb", true),
        ("pci0000:00/0000:00:1a.0/mmc_host/mmc0/mmc0:0001/block/mmcblk0", "179:0", "mmc", false),
        ("platform/host3/session1/target3:0:0/3:0:0:1/block/sdc", "8:32", "iscsi", false),
        ("pci0/0000:03:00.0/host0/target0:2:0/0:2:0:0/block/sda", "8:0", "scsi", false),
    ] {
        let fake = Fake::new();
        fake.disk(path, number, 64);
        let disk = fake.only();
        assert_eq!(disk.transport.as_deref(), Some(transport), "{path}");
        assert_eq!(disk.removable, removable, "{path}");
    }
}

#[test]
fn what_is_no_disk_of_its_own_is_left_out() {
    let fake = Fake::new();
    for (minor, name) in
        ["loop0", "ram0", "zram0", "fd0", "sr0", "dm-0", "md127", "mmcblk0boot0", "mmcblk0rpmb"]
            .iter()
            .enumerate()
    {
        fake.disk(&format!("virtual/block/{name}"), &format!("7:{minor}"), 64);
    }
    fake.disk("virtual/block/nbd0", "43:0", 0);
    let path = fake.disk("virtual/nvme-subsystem/nvme-subsys0/nvme0c0n1", "259:9", 64);
    fake.write(&format!("{path}/hidden"), "1\n");
    assert_eq!(fake.disks(), []);
    fake.disk("virtual/block/nbd1", "43:16", 64);
    fake.disk("pci0/cciss0/block/cciss!c0d0", "104:0", 64);
    let found: Vec<String> = fake.disks().into_iter().map(|disk| disk.path).collect();
    assert_eq!(found, ["/dev/cciss/c0d0", "/dev/nbd1"]);
}

#[test]
fn mounts_and_swaps_are_found_by_number_whatever_they_are_called() {
    let fake = Fake::new();
    let at = fake.disk("pci0/ata1/host0/target0:0:0/0:0:0:0/block/sda", "8:0", 64);
    fake.partition(&at, "sda1", "8:1");
    fake.partition(&at, "sda2", "8:2");
    fake.partition(&at, "sda3", "8:3");
    fake.write(
        "proc/self/mountinfo",
        "24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n\
         25 24 8:11 / /other rw - ext4 /dev/sda1 rw\n\
         26 24 0:45 /@home /mnt/my\\040home rw - btrfs /dev/sda3 rw\n\
         27 24 0:5 / /proc rw - proc proc rw\n",
    );
    fake.write("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n/dev/sda2  partition\t1\t0\t-2\n");
    let disk = fake.only();
    let swap = Holder::Swap { device: "/dev/sda2".to_owned() };
    assert_eq!(disk.holders, [mount("/dev/sda1", "/"), swap, mount("/dev/sda3", "/mnt/my home")]);
    assert!(disk.boot_medium);
}

#[test]
fn what_stands_on_a_disk_is_followed_to_its_mounts() {
    let fake = Fake::new();
    let sda = fake.disk("pci0/ata1/host0/target0:0:0/0:0:0:0/block/sda", "8:0", 64);
    let part = fake.partition(&sda, "sda2", "8:2");
    let dm = fake.disk("virtual/block/dm-1", "253:1", 64);
    fake.write(&format!("{dm}/dm/name"), "vg-root\n");
    fake.write(&format!("{dm}/dm/uuid"), "LVM-abc\n");
    fs::create_dir_all(fake.path(&format!("{part}/holders"))).unwrap();
    symlink("../../dm-1", fake.path(&format!("{part}/holders/dm-1"))).unwrap();
    let other = fake.disk("virtual/block/loop4", "7:4", 64);
    fake.write(&format!("{other}/loop/backing_file"), "/dev/sda\n");
    fs::create_dir_all(fake.path("sys/fs/btrfs/5f3a/devices/sda2")).unwrap();
    fake.write(
        "proc/self/mountinfo",
        "24 1 253:1 / / rw - ext4 /dev/mapper/vg-root rw\n25 1 7:4 / /mnt rw - ext4 /dev/loop4 rw\n",
    );
    let disk = fake.only();
    assert_eq!(
        disk.holders,
        [
            mapping("/dev/sda", "loop4"),
            mount("/dev/loop4", "/mnt"),
            mapping("/dev/sda2", "the mounted btrfs 5f3a"),
            mapping("/dev/sda2", "dm-1 (vg-root)"),
            mount("/dev/dm-1", "/"),
        ]
    );
    assert!(disk.boot_medium);
}

#[test]
fn a_path_of_a_multipath_disk_says_so() {
    let fake = Fake::new();
    let at = fake.disk("pci0/host1/rport-1:0-0/target1:0:0/1:0:0:0/block/sdb", "8:16", 64);
    let dm = fake.disk("virtual/block/dm-0", "253:0", 64);
    fake.write(&format!("{dm}/dm/name"), "mpatha\n");
    fake.write(&format!("{dm}/dm/uuid"), "mpath-3600\n");
    fs::create_dir_all(fake.path(&format!("{at}/holders/dm-0"))).unwrap();
    let disk = fake.only();
    assert_eq!(disk.holders, [mapping("/dev/sdb", "dm-0 (multipath mpatha)")]);
    assert_eq!(disk.transport.as_deref(), Some("fc"));
}

#[test]
fn a_member_of_a_running_array_names_the_array_and_how_it_is_stopped() {
    let fake = Fake::new();
    let at = fake.disk("pci0/ata1/host0/target0:0:0/0:0:0:0/block/sda", "8:0", 64);
    let md = fake.disk("virtual/block/md0", "9:0", 64);
    fake.write(&format!("{md}/md/level"), "raid1\n");
    fs::create_dir_all(fake.path(&format!("{at}/holders/md0"))).unwrap();
    let name = "the raid1 array /dev/md0 (mdadm --stop /dev/md0 ends it)";
    assert_eq!(fake.only().holders, [mapping("/dev/sda", name)]);
}

#[test]
fn a_plain_file_is_a_disk_of_whole_sectors() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.img");
    fs::write(&path, vec![0; 10_000]).unwrap();
    let found = disk(&path, None).unwrap();
    assert_eq!((found.kind, found.size_bytes), (DiskKind::File, 9728));
    assert_eq!(disk(&path, Some(SectorSize::B4096)).unwrap().size_bytes, 8192);
    assert!(found.can_discard && !found.read_only && found.holders.is_empty());
    fs::write(&path, "").unwrap();
    assert!(disk(&path, None).unwrap_err().to_string().contains("truncate -s 20G"));
    assert!(disk(directory.path(), None).unwrap_err().to_string().contains("neither a block device"));
    assert!(disk("/dev/null", None).is_err());
    assert!(matches!(disk("/no/such", None), Err(Error::Io { .. })));
}
