//! Merkle trees against published vectors and against the definition itself.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]
#![expect(clippy::indexing_slicing, reason = "a test may fail loudly")]

use agent_primitives::Digest;
use emk::merkle::{Accumulator, Blake3, ProofError, Tree, TreeHash, verify_consistency, verify_inclusion};
use proptest::prelude::*;
use sha2::Digest as _;

/// The hash of RFC 6962, with which the published vectors were made.
struct Sha256;

impl Sha256 {
    fn of(parts: &[&[u8]]) -> Digest {
        let mut hasher = sha2::Sha256::new();
        parts.iter().for_each(|part| hasher.update(part));
        Digest::from_bytes(hasher.finalize().into())
    }
}

impl TreeHash for Sha256 {
    fn empty() -> Digest {
        Self::of(&[])
    }

    fn leaf(data: &[u8]) -> Digest {
        Self::of(&[&[0], data])
    }

    fn node(left: &Digest, right: &Digest) -> Digest {
        Self::of(&[&[1], left.as_bytes(), right.as_bytes()])
    }
}

/// The eight leaves of the reference implementation of Certificate Transparency.
const LEAVES: [&[u8]; 8] = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    b"\x50\x51\x52\x53\x54\x55\x56\x57",
    b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
];

/// Its roots of the first none, one, two … of them.
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

/// Index, size, path.
const INCLUSION: [(u64, u64, &[&str]); 5] = [
    (0, 1, &[]),
    (
        0,
        8,
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        &[
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (2, 3, &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        1,
        5,
        &[
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
];

/// Old size, new size, path.
const CONSISTENCY: [(u64, u64, &[&str]); 4] = [
    (1, 1, &[]),
    (
        1,
        8,
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        &[
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        &[
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
];

fn digest(hex: &str) -> Digest {
    hex.parse().unwrap()
}

fn digests(path: &[&str]) -> Vec<Digest> {
    path.iter().copied().map(digest).collect()
}

fn published() -> Tree<Sha256> {
    let mut tree = Tree::new();
    LEAVES.iter().for_each(|leaf| tree.push(leaf));
    tree
}

#[test]
fn published_roots() {
    let mut growing = Accumulator::<Sha256>::new();
    for (size, root) in ROOTS.into_iter().enumerate() {
        assert_eq!(growing.root(), digest(root), "{size} leaves, accumulated");
        assert_eq!(published().root(size as u64), Some(digest(root)), "{size} leaves");
        LEAVES.get(size).into_iter().for_each(|leaf| growing.push(leaf));
    }
}

#[test]
fn published_inclusion_proofs() {
    for (index, size, path) in INCLUSION {
        let path = digests(path);
        assert_eq!(published().inclusion(index, size).as_ref(), Some(&path), "{index} of {size}");
        let leaf = LEAVES[usize::try_from(index).unwrap()];
        let root = digest(ROOTS[usize::try_from(size).unwrap()]);
        assert_eq!(verify_inclusion::<Sha256>(leaf, index, size, &path, &root), Ok(()), "{index} of {size}");
    }
}

#[test]
fn published_consistency_proofs() {
    for (old, new, path) in CONSISTENCY {
        let path = digests(path);
        assert_eq!(published().consistency(old, new).as_ref(), Some(&path), "{old} to {new}");
        let root = |size: u64| digest(ROOTS[usize::try_from(size).unwrap()]);
        let shown = verify_consistency::<Sha256>((old, &root(old)), (new, &root(new)), &path);
        assert_eq!(shown, Ok(()), "{old} to {new}");
    }
}

/// RFC 9162, section 2.1, word for word.
mod naive {
    use super::{Digest, TreeHash};

    fn split(len: usize) -> usize {
        let mut half = 1;
        while half * 2 < len {
            half *= 2;
        }
        half
    }

    pub(super) fn root<H: TreeHash>(leaves: &[Vec<u8>]) -> Digest {
        match leaves {
            [] => H::empty(),
            [leaf] => H::leaf(leaf),
            _ => {
                let (left, right) = leaves.split_at(split(leaves.len()));
                H::node(&root::<H>(left), &root::<H>(right))
            }
        }
    }

    pub(super) fn path<H: TreeHash>(index: usize, leaves: &[Vec<u8>]) -> Vec<Digest> {
        if leaves.len() == 1 {
            return Vec::new();
        }
        let half = split(leaves.len());
        let (left, right) = leaves.split_at(half);
        let (mut path, sibling) = if index < half {
            (path::<H>(index, left), root::<H>(right))
        } else {
            (path::<H>(index - half, right), root::<H>(left))
        };
        path.push(sibling);
        path
    }

    pub(super) fn consistency<H: TreeHash>(old: usize, leaves: &[Vec<u8>], whole: bool) -> Vec<Digest> {
        if old == leaves.len() {
            return if whole { Vec::new() } else { vec![root::<H>(leaves)] };
        }
        let half = split(leaves.len());
        let (left, right) = leaves.split_at(half);
        let (mut path, sibling) = if old <= half {
            (consistency::<H>(old, left, whole), root::<H>(right))
        } else {
            (consistency::<H>(old - half, right, false), root::<H>(left))
        };
        path.push(sibling);
        path
    }
}

fn grown(leaves: &[Vec<u8>]) -> Tree {
    let mut tree = Tree::new();
    leaves.iter().for_each(|leaf| tree.push(leaf));
    tree
}

fn leaves(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| number.to_le_bytes().to_vec()).collect()
}

#[test]
fn every_tree_up_to_a_size_is_that_of_the_definition() {
    let all = leaves(70);
    let tree = grown(&all);
    let mut growing = Accumulator::<Blake3>::new();
    for size in 0..=all.len() {
        let root = naive::root::<Blake3>(&all[..size]);
        assert_eq!((tree.root(size as u64), growing.root()), (Some(root), root), "{size}");
        let resumed = Accumulator::<Blake3>::resume(size as u64, growing.peaks().to_vec()).unwrap();
        assert_eq!(resumed.root(), root);
        for index in 0..size {
            let path = tree.inclusion(index as u64, size as u64).unwrap();
            assert_eq!(path, naive::path::<Blake3>(index, &all[..size]), "{index} of {size}");
            let shown = verify_inclusion::<Blake3>(&all[index], index as u64, size as u64, &path, &root);
            assert_eq!(shown, Ok(()));
        }
        for old in 0..=size {
            let path = tree.consistency(old as u64, size as u64).unwrap();
            if old != 0 {
                assert_eq!(path, naive::consistency::<Blake3>(old, &all[..size], true), "{old} to {size}");
            }
            let before = tree.root(old as u64).unwrap();
            let shown = verify_consistency::<Blake3>((old as u64, &before), (size as u64, &root), &path);
            assert_eq!(shown, Ok(()), "{old} to {size}");
        }
        all.get(size).into_iter().for_each(|leaf| growing.push(leaf));
    }
}

#[test]
fn what_is_not_in_the_tree_has_no_proof() {
    let tree = grown(&leaves(5));
    assert_eq!((tree.inclusion(5, 5), tree.inclusion(0, 6), tree.inclusion(0, 0)), (None, None, None));
    assert_eq!((tree.consistency(4, 3), tree.consistency(1, 6), tree.root(6)), (None, None, None));
    assert!(Accumulator::<Blake3>::resume(5, vec![Digest::ZERO]).is_none());
    let long = vec![Digest::ZERO; emk::merkle::MAX_PATH + 1];
    let refused = verify_inclusion::<Blake3>(b"x", 0, u64::MAX, &long, &Digest::ZERO);
    assert_eq!(refused, Err(ProofError::WrongLength));
}

/// What someone may change about a path.
#[derive(Clone, Debug)]
enum Forgery {
    Flip { at: usize, byte: usize, bit: u32 },
    Remove(usize),
    Repeat(usize),
    Swap(usize, usize),
    Append([u8; 32]),
    Truncate(usize),
}

impl Forgery {
    fn apply(&self, path: &mut Vec<Digest>) {
        let len = path.len().max(1);
        match *self {
            Self::Append(bytes) => path.push(Digest::from_bytes(bytes)),
            _ if path.is_empty() => {}
            Self::Flip { at, byte, bit } => {
                let mut bytes = *path[at % len].as_bytes();
                bytes[byte % 32] ^= 1 << (bit % 8);
                path[at % len] = Digest::from_bytes(bytes);
            }
            Self::Remove(at) => drop(path.remove(at % len)),
            Self::Repeat(at) => path.insert(at % len, path[at % len]),
            Self::Swap(a, b) => path.swap(a % len, b % len),
            Self::Truncate(keep) => path.truncate(keep % len),
        }
    }
}

fn forgery() -> impl Strategy<Value = Forgery> {
    let at = || 0usize..100;
    prop_oneof![
        (at(), at(), any::<u32>()).prop_map(|(at, byte, bit)| Forgery::Flip { at, byte, bit }),
        at().prop_map(Forgery::Remove),
        at().prop_map(Forgery::Repeat),
        (at(), at()).prop_map(|(a, b)| Forgery::Swap(a, b)),
        any::<[u8; 32]>().prop_map(Forgery::Append),
        at().prop_map(Forgery::Truncate),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_changed_inclusion_proof_proves_nothing(size in 1usize..400, index in 0usize..400, forgery in forgery()) {
        let (all, index) = (leaves(size), index % size);
        let tree = grown(&all);
        let (root, at, of) = (tree.root(size as u64).unwrap(), index as u64, size as u64);
        let path = tree.inclusion(at, of).unwrap();
        prop_assert_eq!(verify_inclusion::<Blake3>(&all[index], at, of, &path, &root), Ok(()));
        let mut forged = path.clone();
        forgery.apply(&mut forged);
        let shown = verify_inclusion::<Blake3>(&all[index], at, of, &forged, &root).is_ok();
        prop_assert_eq!(shown, forged == path);
        prop_assert!(verify_inclusion::<Blake3>(b"another leaf", at, of, &path, &root).is_err());
        for elsewhere in [at + 1, at ^ 1, at / 2] {
            prop_assert_eq!(verify_inclusion::<Blake3>(&all[index], elsewhere, of, &path, &root).is_ok(), elsewhere == at);
        }
    }

    #[test]
    fn a_changed_consistency_proof_proves_nothing(new in 1usize..400, old in 0usize..400, forgery in forgery()) {
        let old = old % (new + 1);
        let tree = grown(&leaves(new));
        let (old, new) = (old as u64, new as u64);
        let (before, after) = (tree.root(old).unwrap(), tree.root(new).unwrap());
        let path = tree.consistency(old, new).unwrap();
        let shown = |before: &Digest, after: &Digest, path: &[Digest]| verify_consistency::<Blake3>((old, before), (new, after), path).is_ok();
        prop_assert!(shown(&before, &after, &path));
        let mut forged = path.clone();
        forgery.apply(&mut forged);
        prop_assert_eq!(shown(&before, &after, &forged), forged == path);
        let other = Digest::of("agent-os test v1", b"another root");
        prop_assert!(!shown(&other, &after, &path));
        // Of the empty tree every tree is a continuation.
        prop_assert!(old == 0 || !shown(&before, &other, &path));
    }
}
