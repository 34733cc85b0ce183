//! Which of the firmware's boot entries starts the disk of this machine, from what `efibootmgr -v` prints.

/// The number of the entry to boot next: the first, in the firmware's own order, that names one of `partitions`
/// (partition GUIDs, lower-case) and did not start this run.
pub(super) fn entry_of_disk(listing: &str, partitions: &[String]) -> Option<String> {
    let field = |name: &str| listing.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::trim);
    let current = field("BootCurrent:").unwrap_or_default();
    let order = field("BootOrder:").unwrap_or_default();
    let entries: Vec<(&str, &str)> = listing.lines().filter_map(entry).collect();
    let starts_disk = |number: &&str| {
        *number != current
            && entries.iter().any(|(known, text)| {
                let text = text.to_lowercase();
                known == number && partitions.iter().any(|partition| text.contains(partition.as_str()))
            })
    };
    order.split(',').map(str::trim).find(starts_disk).map(str::to_owned)
}

/// `Boot0001* debian HD(1,GPT,...)`: the star says that the entry is active.
fn entry(line: &str) -> Option<(&str, &str)> {
    let rest = line.trim().strip_prefix("Boot")?;
    let (number, text) = rest.split_at_checked(4)?;
    let text = text.strip_prefix('*')?;
    (number.bytes().all(|byte| byte.is_ascii_hexdigit()) && text.contains("HD(")).then_some((number, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "BootCurrent: 0003\nTimeout: 0 seconds\nBootOrder: 0003,0005,0000,0001,0002\n\
        Boot0000  old\tHD(1,GPT,6e3a5a4c-0000-4000-8000-000000000001,0x800,0x100000)/File(\\EFI\\x)\n\
        Boot0001* debian\tHD(1,GPT,6E3A5A4C-0000-4000-8000-000000000001,0x800,0x100000)/File(\\EFI\\debian\\shimx64.efi)\n\
        Boot0002* gone\tHD(1,GPT,6e3a5a4c-0000-4000-8000-000000000009,0x800,0x100000)/File(\\EFI\\x)\n\
        Boot0003* UEFI PXEv4\tPciRoot(0x0)/Pci(0x3,0x0)/MAC(525400123456,1)/IPv4(0.0.0.0)\n\
        Boot0005* UiApp\tFvVol(7cb8bdc9)/FvFile(462caa21)\n";

    #[test]
    fn the_first_active_entry_of_a_disk_that_is_there() {
        let here = ["6e3a5a4c-0000-4000-8000-000000000001".to_owned()];
        assert_eq!(entry_of_disk(LISTING, &here).as_deref(), Some("0001"));
        assert_eq!(entry_of_disk(LISTING, &[]), None);
        assert_eq!(entry_of_disk("", &here), None);
        assert_eq!(entry_of_disk("Boot\u{e9}\u{e9}* HD(\nBootOrder: 0001", &here), None);
    }
}
