//! The partitions of a table as a firmware names them.

use super::{HardDrive, PartitionId};
use crate::schema::{GptPartition, MbrPartition, MbrRole, Table};

/// Every partition of a table; none of an MBR without a signature, which no path can name.
#[must_use]
pub fn hard_drives(table: &Table) -> Vec<HardDrive> {
    match table {
        Table::Gpt(gpt) => gpt.partitions.iter().map(of_gpt).collect(),
        Table::Mbr(mbr) if mbr.disk_signature != 0 => {
            let volumes = mbr.partitions.iter().filter(|entry| entry.role != MbrRole::Extended);
            volumes.map(|entry| of_mbr(mbr.disk_signature, entry)).collect()
        }
        Table::Mbr(_) | Table::None => Vec::new(),
    }
}

const fn of_gpt(entry: &GptPartition) -> HardDrive {
    HardDrive {
        partition_number: entry.number,
        partition_start: entry.first_lba.0,
        partition_size: entry.last_lba.0.saturating_sub(entry.first_lba.0).saturating_add(1),
        id: PartitionId::Gpt { guid: entry.partition_guid },
    }
}

const fn of_mbr(signature: u32, entry: &MbrPartition) -> HardDrive {
    HardDrive {
        partition_number: entry.number,
        partition_start: entry.first_lba.0,
        partition_size: entry.sectors,
        id: PartitionId::Mbr { signature, number: entry.number },
    }
}
