//! The partition types that tell the planner something.

use crate::units::Guid;

/// What a partition type says, where it says that the size matters to somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Special {
    EfiSystem,
    MicrosoftReserved,
    WindowsRecovery,
    BiosBoot,
    PowerPcBoot,
    Swap,
    AppleBoot,
    LogicalDiskManager,
    StorageSpaces,
    ChromeOs,
    Diagnostic,
}

/// Type GUIDs: UEFI 2.10 table 5-7, Microsoft's `PARTITION_INFORMATION_GPT`, the UAPI group's Discoverable
/// Partitions Specification, and the vendors' own.
const GPT_TYPES: &[(u128, Special)] = &[
    (0xC12A_7328_F81F_11D2_BA4B_00A0_C93E_C93B, Special::EfiSystem),
    (0xE3C9_E316_0B5C_4DB8_817D_F92D_F002_15AE, Special::MicrosoftReserved),
    (0xDE94_BBA4_06D1_4D40_A16A_BFD5_0179_D6AC, Special::WindowsRecovery),
    (0x2168_6148_6449_6E6F_744E_6565_6445_4649, Special::BiosBoot),
    (0x9E1A_2D38_C612_4316_AA26_8B49_521E_5A8B, Special::PowerPcBoot),
    (0x0657_FD6D_A4AB_43C4_84E5_0933_C84B_4F4F, Special::Swap),
    (0x426F_6F74_0000_11AA_AA11_0030_6543_ECAC, Special::AppleBoot),
    (0x5808_C8AA_7E8F_42E0_85D2_E1E9_0434_CFB3, Special::LogicalDiskManager),
    (0xAF9B_60A0_1431_4F62_BC68_3311_714A_69AD, Special::LogicalDiskManager),
    (0xE75C_AF8F_F680_4CEE_AFA3_B001_E56E_FC2D, Special::StorageSpaces),
    (0xFE3A_2A5D_4F32_41A7_B725_ACCC_3285_A309, Special::ChromeOs),
    (0x3CB8_E202_3B7E_47DD_8A3C_7FF2_A13C_FCEC, Special::ChromeOs),
];

impl Special {
    pub(super) fn of_gpt(type_guid: Guid) -> Option<Self> {
        GPT_TYPES.iter().find(|(guid, _)| Guid::from_u128(*guid) == type_guid).map(|(_, special)| *special)
    }

    pub(super) const fn of_mbr(type_code: u8) -> Option<Self> {
        match type_code {
            0x12 => Some(Self::Diagnostic),
            0x27 => Some(Self::WindowsRecovery),
            0x41 => Some(Self::PowerPcBoot),
            0x42 => Some(Self::LogicalDiskManager),
            0x82 => Some(Self::Swap),
            0xEF => Some(Self::EfiSystem),
            _ => None,
        }
    }

    /// With its article, as the end of a sentence.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::EfiSystem => "an EFI system partition",
            Self::MicrosoftReserved => "a Microsoft reserved partition",
            Self::WindowsRecovery => "a Windows recovery partition",
            Self::BiosBoot => "a BIOS boot partition",
            Self::PowerPcBoot => "a PowerPC boot partition",
            Self::Swap => "a swap partition",
            Self::AppleBoot => "an Apple boot partition",
            Self::LogicalDiskManager => "part of a Windows dynamic disk",
            Self::StorageSpaces => "part of a Windows storage pool",
            Self::ChromeOs => "a ChromeOS system partition",
            Self::Diagnostic => "a maker's diagnostic partition",
        }
    }
}
