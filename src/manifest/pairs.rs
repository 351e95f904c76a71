//! Two sequences of objects walked side by side: one comparison a step, where a
//! map would be asked again and again.

use std::{cmp::Ordering, iter::Peekable};

use super::ObjectId;

/// Something that is of one object.
pub trait OfObject {
    /// The object.
    fn object(&self) -> &ObjectId;
}

impl OfObject for &std::sync::Arc<super::Manifest> {
    fn object(&self) -> &ObjectId {
        &self.id
    }
}

impl<T> OfObject for (&ObjectId, T) {
    fn object(&self) -> &ObjectId {
        self.0
    }
}

/// What two sequences have of one object: of the first, of the second, or both.
pub type Pair<L, R> = (Option<L>, Option<R>);

/// Walks two sequences that are sorted by identity, and gives each object once,
/// in that order.
pub fn pairs<L: OfObject, R: OfObject>(
    left: impl IntoIterator<Item = L>,
    right: impl IntoIterator<Item = R>,
) -> impl Iterator<Item = Pair<L, R>> {
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    std::iter::from_fn(move || {
        let (from_left, from_right) = match order(&mut left, &mut right)? {
            Ordering::Less => (true, false),
            Ordering::Equal => (true, true),
            Ordering::Greater => (false, true),
        };
        Some((left.next_if(|_| from_left), right.next_if(|_| from_right)))
    })
}

/// Which of the two has the next object; none at the end of both.
fn order<L: OfObject, R: OfObject>(
    left: &mut Peekable<impl Iterator<Item = L>>,
    right: &mut Peekable<impl Iterator<Item = R>>,
) -> Option<Ordering> {
    match (left.peek(), right.peek()) {
        (Some(left), Some(right)) => Some(left.object().cmp(right.object())),
        (Some(_), None) => Some(Ordering::Less),
        (None, Some(_)) => Some(Ordering::Greater),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::{super::GroupKind, *};

    fn id(number: u8) -> ObjectId {
        ObjectId::new(GroupKind::new("", "ConfigMap"), Some("team-a".to_owned()), format!("c{number:03}"))
    }

    proptest! {
        #[test]
        fn each_object_comes_once_with_what_both_sides_have(left: BTreeSet<u8>, right: BTreeSet<u8>) {
            let map = |numbers: &BTreeSet<u8>| numbers.iter().map(|number| (id(*number), *number)).collect::<BTreeMap<_, _>>();
            let (one, other) = (map(&left), map(&right));
            let walked: Vec<(Option<u8>, Option<u8>)> =
                pairs(&one, &other).map(|(one, other)| (one.map(|(_, number)| *number), other.map(|(_, number)| *number))).collect();
            let expected: Vec<_> = left.union(&right).map(|number| (left.get(number).copied(), right.get(number).copied())).collect();
            prop_assert_eq!(walked, expected);
        }
    }
}
