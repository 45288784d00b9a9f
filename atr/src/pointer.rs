//! Steps of JSON pointers (RFC 6901).

/// A key as a step of a pointer.
pub(crate) fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// The key that a step of a pointer stands for.
pub(crate) fn unescaped(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_comes_back_from_its_step(key in "[a-z~/01]{0,12}") {
            let step = escaped(&key);
            prop_assert!(!step.contains('/'));
            prop_assert_eq!(unescaped(&step), key);
        }
    }
}
