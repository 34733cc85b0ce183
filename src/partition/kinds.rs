//! Names and properties of partition types.
//!
//! Sources: UEFI 2.10 (5.2.2, 5.3.3), the Discoverable Partitions Specification, Microsoft's
//! `PARTITION_INFORMATION_GPT`, and the lists of gdisk and util-linux.

use crate::units::Guid;

/// What a type says about the fate of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Holds a file system that may change size.
    Elastic,
    /// Keeps its exact size.
    Fixed,
}

use Fate::{Elastic, Fixed};

/// The EFI system partition.
pub const EFI_SYSTEM: Guid = Guid::from_u128(0xC12A_7328_F81F_11D2_BA4B_00A0_C93E_C93B);
/// Where GRUB keeps its core image on a GPT disk of a BIOS machine.
pub const BIOS_BOOT: Guid = Guid::from_u128(0x2168_6148_6449_6E6F_744E_6565_6445_4649);
/// Microsoft reserved.
pub const MICROSOFT_RESERVED: Guid = Guid::from_u128(0xE3C9_E316_0B5C_4DB8_817D_F92D_F002_15AE);
/// Microsoft basic data.
pub const BASIC_DATA: Guid = Guid::from_u128(0xEBD0_A0A2_B9E5_4433_87C0_68B6_B726_99C7);
/// Windows recovery environment.
pub const WINDOWS_RECOVERY: Guid = Guid::from_u128(0xDE94_BBA4_06D1_4D40_A16A_BFD5_0179_D6AC);
/// Linux swap.
pub const LINUX_SWAP: Guid = Guid::from_u128(0x0657_FD6D_A4AB_43C4_84E5_0933_C84B_4F4F);
/// Linux swap in an MBR.
pub const LINUX_SWAP_CODE: u8 = 0x82;
/// What a disk gives to a storage pool of Windows.
pub const STORAGE_SPACES: Guid = Guid::from_u128(0xE75C_AF8F_F680_4CEE_AFA3_B001_E56E_FC2D);
/// The database of a dynamic disk of Windows.
pub const LDM_METADATA: Guid = Guid::from_u128(0x5808_C8AA_7E8F_42E0_85D2_E1E9_0434_CFB3);
/// The volumes of a dynamic disk of Windows.
pub const LDM_DATA: Guid = Guid::from_u128(0xAF9B_60A0_1431_4F62_BC68_3311_714A_69AD);
/// The same in an MBR.
pub const LDM_CODE: u8 = 0x42;

const GPT_TYPES: &[(Guid, &str, Fate)] = &[
    (EFI_SYSTEM, "EFI system", Fixed),
    (BIOS_BOOT, "BIOS boot", Fixed),
    (MICROSOFT_RESERVED, "Microsoft reserved", Fixed),
    (BASIC_DATA, "Microsoft basic data", Elastic),
    (WINDOWS_RECOVERY, "Windows recovery", Fixed),
    (LDM_METADATA, "Windows LDM metadata", Fixed),
    (LDM_DATA, "Windows LDM data", Fixed),
    (STORAGE_SPACES, "Windows storage spaces", Fixed),
    (Guid::from_u128(0x558D_43C5_A1AC_43C0_AAC8_D147_2B29_23D1), "Windows storage replica", Fixed),
    (Guid::from_u128(0x0FC6_3DAF_8483_4772_8E79_3D69_D847_7DE4), "Linux file system", Elastic),
    (LINUX_SWAP, "Linux swap", Fixed),
    (Guid::from_u128(0x4F68_BCE3_E8CD_4DB1_96E7_FBCA_F984_B709), "Linux root (x86-64)", Elastic),
    (Guid::from_u128(0x4447_9540_F297_41B2_9AF7_D131_D5F0_458A), "Linux root (x86)", Elastic),
    (Guid::from_u128(0xB921_B045_1DF0_41C3_AF44_4C6F_280D_3FAE), "Linux root (ARM64)", Elastic),
    (Guid::from_u128(0x69DA_D710_2CE4_4E3C_B16C_21A1_D49A_BED3), "Linux root (ARM)", Elastic),
    (Guid::from_u128(0x8484_680C_9521_48C6_9C11_B072_0656_F69E), "Linux /usr (x86-64)", Elastic),
    (Guid::from_u128(0x933A_C7E1_2EB4_4F13_B844_0E14_E2AE_F915), "Linux /home", Elastic),
    (Guid::from_u128(0x3B8F_8425_20E0_4F3B_907F_1A25_A76F_98E8), "Linux /srv", Elastic),
    (Guid::from_u128(0x4D21_B016_B534_45C2_A9FB_5C16_E091_FD2D), "Linux /var", Elastic),
    (Guid::from_u128(0x7EC6_F557_3BC5_4ACA_B293_16EF_5DF6_39D1), "Linux /var/tmp", Elastic),
    (Guid::from_u128(0xBC13_C2FF_59E6_4262_A352_B275_FD6F_7172), "Linux extended boot", Elastic),
    (Guid::from_u128(0x2C73_57ED_EBD2_46D9_AEC1_23D4_37EC_2BF5), "Linux root verity (x86-64)", Fixed),
    (Guid::from_u128(0x77FF_5F63_E7B6_4633_ACF4_1565_B864_C0E6), "Linux /usr verity (x86-64)", Fixed),
    (Guid::from_u128(0xE6D6_D379_F507_44C2_A23C_238F_2A3D_F928), "Linux LVM", Elastic),
    (Guid::from_u128(0xA19D_880F_05FC_4D3B_A006_743F_0F84_911E), "Linux RAID", Fixed),
    (Guid::from_u128(0xCA7D_7CCB_63ED_4C53_861C_1742_5360_59CC), "Linux LUKS", Fixed),
    (Guid::from_u128(0x7FFE_C5C9_2D00_49B7_8941_3EA1_0A55_86B7), "Linux dm-crypt", Fixed),
    (Guid::from_u128(0x8DA6_3339_0007_60C0_C436_083A_C823_0908), "Linux reserved", Fixed),
    (Guid::from_u128(0x9E1A_2D38_C612_4316_AA26_8B49_521E_5A8B), "PowerPC PReP boot", Fixed),
    (Guid::from_u128(0x4846_5300_0000_11AA_AA11_0030_6543_ECAC), "Apple HFS/HFS+", Fixed),
    (Guid::from_u128(0x7C34_57EF_0000_11AA_AA11_0030_6543_ECAC), "Apple APFS", Fixed),
    (Guid::from_u128(0x426F_6F74_0000_11AA_AA11_0030_6543_ECAC), "Apple boot", Fixed),
    (Guid::from_u128(0x5263_7672_7900_11AA_AA11_0030_6543_ECAC), "Apple Silicon recovery", Fixed),
    (Guid::from_u128(0x5374_6F72_6167_11AA_AA11_0030_6543_ECAC), "Apple Core Storage", Fixed),
    (Guid::from_u128(0xFE3A_2A5D_4F32_41A7_B725_ACCC_3285_A309), "ChromeOS kernel", Fixed),
    (Guid::from_u128(0x3CB8_E202_3B7E_47DD_8A3C_7FF2_A13C_FCEC), "ChromeOS root", Fixed),
    (Guid::from_u128(0x2E0A_753D_9E48_43B0_8337_B151_92CB_1B5E), "ChromeOS reserved", Fixed),
    (Guid::from_u128(0x024D_EE41_33E7_11D3_9D69_0008_C781_F39F), "MBR partition scheme", Fixed),
    (Guid::from_u128(0x516E_7CB4_6ECF_11D6_8FF8_0002_2D09_712B), "FreeBSD data", Fixed),
    (Guid::from_u128(0x83BD_6B9D_7F41_11DC_BE0B_0015_60B8_4F0F), "FreeBSD boot", Fixed),
    (Guid::from_u128(0x516E_7CB5_6ECF_11D6_8FF8_0002_2D09_712B), "FreeBSD swap", Fixed),
    (Guid::from_u128(0x516E_7CB6_6ECF_11D6_8FF8_0002_2D09_712B), "FreeBSD UFS", Fixed),
    (Guid::from_u128(0x516E_7CBA_6ECF_11D6_8FF8_0002_2D09_712B), "FreeBSD ZFS", Fixed),
    (Guid::from_u128(0x6A89_8CC3_1DD2_11B2_99A6_0800_2073_6631), "ZFS", Fixed),
    (Guid::from_u128(0xAA31_E02A_400F_11DB_9590_000C_2911_D1B8), "VMware VMFS", Fixed),
    (Guid::from_u128(0x9D27_5380_40AD_11DB_BF97_000C_2911_D1B8), "VMware vmkcore", Fixed),
    (Guid::from_u128(0x37AF_FC90_EF7D_4E96_91C3_2D7A_E055_B174), "IBM GPFS", Fixed),
    (Guid::from_u128(0xD3BF_E2DE_3DAF_11DF_BA40_E3A5_56D8_9593), "Intel fast flash", Fixed),
    (Guid::from_u128(0xBFBF_AFE7_A34F_448A_9A5B_6213_EB73_6C22), "Lenovo boot", Fixed),
];

const MBR_TYPES: &[(u8, &str, Fate)] = &[
    (0x01, "FAT12", Elastic),
    (0x04, "FAT16 below 32 MiB", Elastic),
    (0x05, "extended", Elastic),
    (0x06, "FAT16", Elastic),
    (0x07, "NTFS/exFAT/HPFS", Elastic),
    (0x0B, "FAT32", Elastic),
    (0x0C, "FAT32 (LBA)", Elastic),
    (0x0E, "FAT16 (LBA)", Elastic),
    (0x0F, "extended (LBA)", Elastic),
    (0x11, "hidden FAT12", Elastic),
    (0x12, "vendor diagnostics", Fixed),
    (0x14, "hidden FAT16 below 32 MiB", Elastic),
    (0x16, "hidden FAT16", Elastic),
    (0x17, "hidden NTFS/HPFS", Elastic),
    (0x1B, "hidden FAT32", Elastic),
    (0x1C, "hidden FAT32 (LBA)", Elastic),
    (0x1E, "hidden FAT16 (LBA)", Elastic),
    (0x27, "Windows recovery", Fixed),
    (0x39, "Plan 9", Fixed),
    (0x41, "PowerPC PReP boot", Fixed),
    (LDM_CODE, "Windows LDM", Fixed),
    (0x63, "GNU Hurd/UnixWare", Fixed),
    (LINUX_SWAP_CODE, "Linux swap", Fixed),
    (0x83, "Linux", Elastic),
    (0x84, "hibernation", Fixed),
    (0x85, "Linux extended", Elastic),
    (0x88, "Linux plain text", Fixed),
    (0x8E, "Linux LVM", Elastic),
    (0xA5, "FreeBSD", Fixed),
    (0xA6, "OpenBSD", Fixed),
    (0xA8, "Darwin UFS", Fixed),
    (0xA9, "NetBSD", Fixed),
    (0xAB, "Darwin boot", Fixed),
    (0xAF, "Apple HFS/HFS+", Fixed),
    (0xBE, "Solaris boot", Fixed),
    (0xBF, "Solaris", Fixed),
    (0xDA, "data without a file system", Fixed),
    (0xDE, "Dell utility", Fixed),
    (0xEA, "Linux extended boot", Elastic),
    (0xEB, "BeOS/Haiku", Fixed),
    (0xEE, "GPT protective", Fixed),
    (0xEF, "EFI system", Fixed),
    (0xFB, "VMware VMFS", Fixed),
    (0xFC, "VMware swap", Fixed),
    (0xFD, "Linux RAID", Fixed),
];

/// The type of a partition of either table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PartitionType {
    /// Of a GPT.
    Gpt(Guid),
    /// Of an MBR.
    Mbr(u8),
}

impl PartitionType {
    fn entry(self) -> Option<(&'static str, Fate)> {
        match self {
            Self::Gpt(guid) => {
                GPT_TYPES.iter().find(|(g, ..)| *g == guid).map(|(_, name, fate)| (*name, *fate))
            }
            Self::Mbr(code) => {
                MBR_TYPES.iter().find(|(c, ..)| *c == code).map(|(_, name, fate)| (*name, *fate))
            }
        }
    }

    /// The name that people use; `None` for a type that is not in the lists.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        self.entry().map(|(name, _)| name)
    }

    /// True where a partition of this type keeps its exact size, whatever is in it. A type that is not in the
    /// lists is not fixed by type; what it holds decides.
    #[must_use]
    pub fn is_fixed_by_type(self) -> bool {
        matches!(self.entry(), Some((_, Fixed)))
    }

    /// True for the partition that holds a boot loader's image without a file system, so that nothing
    /// recognises it and yet it must be captured.
    #[must_use]
    pub fn is_bios_boot(self) -> bool {
        self == Self::Gpt(BIOS_BOOT)
    }

    /// True for an EFI system partition.
    #[must_use]
    pub fn is_efi_system(self) -> bool {
        matches!(self, Self::Gpt(EFI_SYSTEM) | Self::Mbr(0xEF))
    }

    /// True for the container of logical partitions.
    #[must_use]
    pub fn is_extended(self) -> bool {
        matches!(self, Self::Mbr(code) if is_extended(code))
    }
}

impl std::fmt::Display for PartitionType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.name(), self) {
            (Some(name), _) => f.write_str(name),
            (None, Self::Gpt(guid)) => write!(f, "{guid}"),
            (None, Self::Mbr(code)) => write!(f, "type {code:02x}"),
        }
    }
}

/// True for the MBR types of an extended partition, the container of logical ones: 05, 0F and 85.
#[must_use]
pub const fn is_extended(type_code: u8) -> bool {
    matches!(type_code, 0x05 | 0x0F | 0x85)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_keep_its_size_does() {
        for guid in [EFI_SYSTEM, BIOS_BOOT, MICROSOFT_RESERVED, WINDOWS_RECOVERY, LINUX_SWAP] {
            assert!(PartitionType::Gpt(guid).is_fixed_by_type(), "{guid}");
        }
        assert!(!PartitionType::Gpt(BASIC_DATA).is_fixed_by_type());
        assert!(!PartitionType::Gpt(Guid::from_u128(1)).is_fixed_by_type());
        assert!([0x27, 0x82, 0xEF].into_iter().all(|code| PartitionType::Mbr(code).is_fixed_by_type()));
        assert!([0x07, 0x83, 0x8E].into_iter().all(|code| !PartitionType::Mbr(code).is_fixed_by_type()));
        assert!(PartitionType::Gpt(BIOS_BOOT).is_bios_boot());
        assert_eq!(PartitionType::Gpt(BIOS_BOOT).to_string(), "BIOS boot");
        assert_eq!(PartitionType::Mbr(0x99).to_string(), "type 99");
    }

    #[test]
    fn no_type_is_listed_twice() {
        let guids: std::collections::BTreeSet<_> = GPT_TYPES.iter().map(|(guid, ..)| guid).collect();
        assert_eq!(guids.len(), GPT_TYPES.len());
        assert!(MBR_TYPES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
