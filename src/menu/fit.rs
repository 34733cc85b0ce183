//! Which image fits on which disk, as far as the server says it: the plan has the last word.

use super::state::{DiskPurpose, DiskView, State};
use crate::protocol::{Operation, ProfileChoice};

impl State {
    /// The smallest disks that an image fits on with a profile, or with the one that counts where none is named.
    #[must_use]
    pub fn smallest(&self, image: &str, profile: Option<&str>) -> &[u64] {
        let profile = self.profile(image, profile);
        profile.map(|profile| profile.minimum_disk_bytes.as_slice()).unwrap_or_default()
    }

    /// A profile of an image; the first where none is named.
    pub(super) fn profile(&self, image: &str, profile: Option<&str>) -> Option<&ProfileChoice> {
        let image = self.images.iter().find(|candidate| candidate.name == image)?;
        image.profiles.iter().find(|candidate| profile.is_none_or(|profile| candidate.name == profile))
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
