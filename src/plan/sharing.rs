//! Share an amount in proportion to weights, nobody below their minimum.
//!
//! Invariants: the shares add up to the amount; no share is below its minimum; where no minimum binds,
//! every share is its exact proportion rounded up or down to a whole unit. The order of the claims has no
//! influence: ties in rounding are decided by the claims' keys.

/// One party among those who share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    /// What tells it from the others; decides ties in rounding.
    pub(super) key: u32,
    /// Its weight; zero counts as one.
    pub(super) weight: u64,
    /// The least it takes.
    pub(super) minimum: u64,
}

impl Claim {
    fn weight(self) -> u128 {
        u128::from(self.weight.max(1))
    }
}

/// Shares `total` units; one share for each claim, in the order of the claims. `None` where the minimums
/// add up to more, and where nobody is there to share.
pub(super) fn share(total: u64, claims: &[Claim]) -> Option<Vec<u64>> {
    if claims.is_empty() {
        return None;
    }
    let total = u128::from(total);
    // Clamping one claim to its minimum only makes less of what is left for the others, so a clamp that
    // binds once binds for good: each round clamps at least one claim, and the end does not depend on order.
    let mut clamped = vec![false; claims.len()];
    let (rest, weights) = loop {
        let kept = claims.iter().zip(&clamped).filter(|(_, clamped)| **clamped);
        let taken: u128 = kept.map(|(claim, _)| u128::from(claim.minimum)).sum();
        let rest = total.checked_sub(taken)?;
        let free = claims.iter().zip(&clamped).filter(|(_, clamped)| !**clamped);
        let weights: u128 = free.map(|(claim, _)| claim.weight()).sum();
        let mut changed = false;
        for (claim, clamped) in claims.iter().zip(&mut clamped) {
            let below =
                rest.saturating_mul(claim.weight()) < u128::from(claim.minimum).saturating_mul(weights);
            if !*clamped && below {
                *clamped = true;
                changed = true;
            }
        }
        if !changed {
            break (rest, weights);
        }
    };
    round(rest, weights, claims, &clamped)
}

/// Whole units by the largest remainder.
fn round(rest: u128, weights: u128, claims: &[Claim], clamped: &[bool]) -> Option<Vec<u64>> {
    let mut shares = Vec::with_capacity(claims.len());
    let mut remainders = Vec::new();
    let mut given: u128 = 0;
    for (index, (claim, clamped)) in claims.iter().zip(clamped).enumerate() {
        if *clamped {
            shares.push(claim.minimum);
            continue;
        }
        let product = rest.saturating_mul(claim.weight());
        let (whole, remainder) = (product.checked_div(weights)?, product.checked_rem(weights)?);
        given = given.saturating_add(whole);
        shares.push(u64::try_from(whole).ok()?);
        remainders.push((std::cmp::Reverse(remainder), claim.key, index));
    }
    if remainders.is_empty() {
        // Everybody at the minimum, and nothing is left: more would have left somebody unclamped.
        return (rest == 0).then_some(shares);
    }
    remainders.sort_unstable();
    let left = usize::try_from(rest.checked_sub(given)?).ok()?;
    for (_, _, index) in remainders.into_iter().take(left) {
        let share = shares.get_mut(index)?;
        *share = share.checked_add(1)?;
    }
    Some(shares)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claims(of: &[(u64, u64)]) -> Vec<Claim> {
        (0..).zip(of).map(|(key, &(weight, minimum))| Claim { key, weight, minimum }).collect()
    }

    #[test]
    fn surplus_is_shared_in_proportion_not_equally() {
        assert_eq!(share(920, &claims(&[(60, 60), (20, 20)])), Some(vec![690, 230]));
    }

    #[test]
    fn shares_are_balanced_again_after_a_clamp() {
        // FOG's failure: C needs 63, D needs 105 of 400 million sectors; shares of 320 and 80.
        assert_eq!(share(400, &claims(&[(320, 63), (80, 105)])), Some(vec![295, 105]));
        // Clamping the third drives the second below its own minimum.
        assert_eq!(share(100, &claims(&[(50, 10), (40, 37), (10, 20)])), Some(vec![43, 37, 20]));
    }

    #[test]
    fn the_minimums_are_the_limit() {
        assert_eq!(share(30, &claims(&[(1, 10), (5, 20)])), Some(vec![10, 20]));
        assert_eq!(share(29, &claims(&[(1, 10), (5, 20)])), None);
        assert_eq!(share(29, &[]), None);
    }

    proptest! {
        #[test]
        fn shares_add_up_hold_their_minimums_and_ignore_order(
            of in proptest::collection::vec((0u64..1 << 50, 0u64..1 << 20), 1..12),
            more in 0u64..1 << 24,
            turn in 0usize..12,
        ) {
            let mut claims = claims(&of);
            let total = of.iter().map(|(_, minimum)| minimum).sum::<u64>() + more;
            let shares = share(total, &claims).unwrap();
            prop_assert_eq!(shares.iter().sum::<u64>(), total);
            prop_assert!(shares.iter().zip(&claims).all(|(share, claim)| *share >= claim.minimum));
            let mut pairs: Vec<(u32, u64)> = claims.iter().map(|c| c.key).zip(shares).collect();
            let turn = turn % claims.len();
            claims.rotate_left(turn);
            claims.reverse();
            let again = share(total, &claims).unwrap();
            let mut turned: Vec<(u32, u64)> = claims.iter().map(|c| c.key).zip(again).collect();
            pairs.sort_unstable();
            turned.sort_unstable();
            prop_assert_eq!(pairs, turned);
        }
    }
}
