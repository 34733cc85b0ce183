//! Parts of a set that are there more than once, as where a copy of a disk stands beside it: how sentences name them.

/// Names of what is there, by the part of the set that it is, in the order in which they were found.
pub(super) struct Copies<'a, K>(Vec<(K, Vec<&'a str>)>);

impl<'a, K: PartialEq> FromIterator<(K, &'a str)> for Copies<'a, K> {
    fn from_iter<I: IntoIterator<Item = (K, &'a str)>>(found: I) -> Self {
        let mut parts: Vec<(K, Vec<&'a str>)> = Vec::new();
        for (part, name) in found {
            match parts.iter_mut().find(|(other, _)| *other == part) {
                Some((_, names)) => names.push(name),
                None => parts.push((part, vec![name])),
            }
        }
        Self(parts)
    }
}

impl<K> Copies<'_, K> {
    /// How many different parts are there.
    pub(super) const fn parts(&self) -> usize {
        self.0.len()
    }

    /// Each part that is there more than once: `d1-disk and d3-disk`.
    pub(super) fn twins(&self) -> Vec<String> {
        let twins = self.0.iter().filter(|(_, names)| names.len() > 1);
        twins.map(|(_, names)| names.join(" and ")).collect()
    }

    /// Every part once, with what could stand for it: `d1-disk (or d3-disk) and d2-disk`.
    pub(super) fn one_of_each(&self) -> String {
        let one = |(_, names): &(K, Vec<&str>)| match names.split_first() {
            Some((first, others)) if !others.is_empty() => format!("{first} (or {})", others.join(" or ")),
            _ => names.concat(),
        };
        self.0.iter().map(one).collect::<Vec<_>>().join(" and ")
    }
}
