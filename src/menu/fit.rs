//! Which image fits on which disk, as far as the server says it: the plan has the last word.

use super::state::{DiskPurpose, DiskView, State};
use crate::protocol::Operation;

impl State {
    /// The smallest disks that an image fits on with a profile, or with the one that counts where none is named.
    #[must_use]
    pub fn smallest(&self, image: &str, profile: Option<&str>) -> &[u64] {
        let image = self.images.iter().find(|candidate| candidate.name == image);
        let profiles = image.map(|image| image.profiles.as_slice()).unwrap_or_default();
        let named = profiles.iter().find(|candidate| profile.is_none_or(|profile| candidate.name == profile));
        named.map(|profile| profile.minimum_disk_bytes.as_slice()).unwrap_or_default()
    }

    /// True for a disk that no disk of the image fits on that is to be deployed.
    #[must_use]
    pub fn is_too_small(&self, disk: &DiskView, purpose: &DiskPurpose) -> bool {
        let DiskPurpose::Image { operation: Operation::Deploy, image, profile, .. } = purpose else {
            return false;
        };
        let smallest = self.smallest(image, profile.as_deref()).iter().min();
        smallest.is_some_and(|smallest| disk.size_bytes < *smallest)
    }
}
