//! Mapping pairs: which clusters of the volume hold which clusters of a stream.
//!
//! A run is a header byte, whose low half is the number of bytes of the length and whose high half that of
//! the offset from the previous run's cluster; then both, signed and little endian. No offset means a hole.
//! A zero header ends the list.

/// Clusters of a stream that are contiguous on the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// First cluster in the stream.
    pub(super) vcn: u64,
    /// First cluster on the volume; `None` for a hole.
    pub(super) lcn: Option<u64>,
    /// Number of clusters, never zero.
    pub(super) clusters: u64,
}

impl Run {
    /// First cluster of the stream behind the run.
    pub(super) fn end_vcn(&self) -> u64 {
        self.vcn.saturating_add(self.clusters)
    }
}

/// Decodes mapping pairs; the error is the fact that contradicts the format. Every run that is not a hole
/// lies within `cluster_count`.
pub(super) fn decode(pairs: &[u8], lowest_vcn: u64, cluster_count: u64) -> Result<Vec<Run>, String> {
    let mut runs = Vec::new();
    let mut rest = pairs;
    let mut vcn = lowest_vcn;
    let mut previous_lcn = 0i64;
    loop {
        let (&header, behind) = rest.split_first().ok_or("its list of runs does not end")?;
        if header == 0 {
            return Ok(runs);
        }
        let (length, behind) = take_signed(behind, header & 0x0F)?;
        let (offset, behind) = take_signed(behind, header >> 4)?;
        rest = behind;
        let clusters = length
            .and_then(|length| u64::try_from(length).ok())
            .filter(|clusters| *clusters > 0)
            .ok_or_else(|| format!("its run at cluster {vcn} has no length"))?;
        let lcn = match offset {
            None => None,
            Some(offset) => {
                previous_lcn = previous_lcn.checked_add(offset).ok_or("its runs lie outside the volume")?;
                let lcn = u64::try_from(previous_lcn)
                    .ok()
                    .filter(|lcn| lcn.checked_add(clusters).is_some_and(|end| end <= cluster_count))
                    .ok_or_else(|| {
                        format!("its run of {clusters} clusters at {previous_lcn} lies outside the {cluster_count} clusters")
                    })?;
                Some(lcn)
            }
        };
        runs.push(Run { vcn, lcn, clusters });
        vcn = vcn
            .checked_add(clusters)
            .filter(|vcn| i64::try_from(*vcn).is_ok())
            .ok_or("its runs are longer than 2^63 clusters")?;
    }
}

/// A signed number of `length` bytes; `None` where it has no bytes.
fn take_signed(bytes: &[u8], length: u8) -> Result<(Option<i64>, &[u8]), String> {
    let (number, rest) = bytes
        .split_at_checked(usize::from(length))
        .filter(|_| length <= 8)
        .ok_or_else(|| format!("a number of {length} bytes in its list of runs"))?;
    let Some(high) = number.last() else { return Ok((None, rest)) };
    let mut value = if high & 0x80 == 0 { [0x00; 8] } else { [0xFF; 8] };
    for (to, from) in value.iter_mut().zip(number) {
        *to = *from;
    }
    Ok((Some(i64::from_le_bytes(value)), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn runs_go_forward_backward_and_over_holes() {
        let pairs =
            [0x21, 0x10, 0x00, 0x01, 0x11, 0x02, 0xF0, 0x01, 0x05, 0x31, 0x01, 0x00, 0x00, 0x01, 0x00];
        assert_eq!(
            decode(&pairs, 3, 1 << 20).unwrap(),
            [
                Run { vcn: 3, lcn: Some(0x100), clusters: 16 },
                Run { vcn: 19, lcn: Some(0xF0), clusters: 2 },
                Run { vcn: 21, lcn: None, clusters: 5 },
                Run { vcn: 26, lcn: Some(0x100F0), clusters: 1 },
            ]
        );
    }

    #[test]
    fn runs_outside_the_volume_are_refused() {
        assert!(decode(&[0x11, 0x04, 0x0D, 0], 0, 16).is_err());
        assert!(decode(&[0x11, 0x04, 0x0C, 0], 0, 16).is_ok());
        assert!(decode(&[0x11, 0x01, 0xFF, 0], 0, 16).is_err(), "before the start");
        assert!(decode(&[0x11, 0x00, 0x01, 0], 0, 16).is_err(), "no length");
        assert!(decode(&[0x11, 0x01], 0, 16).is_err(), "no end");
        assert!(decode(&[0x19, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0, 16).is_err(), "nine bytes");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(pairs in proptest::collection::vec(any::<u8>(), 0..64), vcn: u64, count: u64) {
            for run in decode(&pairs, vcn, count).unwrap_or_default() {
                prop_assert!(run.lcn.is_none_or(|lcn| lcn + run.clusters <= count));
            }
        }
    }
}
