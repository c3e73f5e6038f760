//! Free blocks, by size and then address: what best fit looks through.

/// Sizes are multiples of this.
const GRAIN: u64 = 512;
/// Largest block of the small pool, a whole segment, in grains.
const SMALL_CLASSES: usize = (2 << 20) / GRAIN as usize;

/// A block's address and its place in the allocator.
pub(super) type Place = (i64, u32);

/// The free blocks of a pool.
#[derive(Clone, Debug)]
pub(super) enum Free {
    /// The small pool's: many blocks of few sizes. One list a size, and a bit for each that is not empty.
    Small {
        /// By size in grains.
        classes: Vec<Vec<Place>>,
        /// A bit a class.
        filled: Box<[u64; SMALL_CLASSES / 64 + 1]>,
    },
    /// The large pool's: few blocks of any size.
    Large(Vec<(u64, Place)>),
}

impl Free {
    /// None.
    pub(super) fn new(small: bool) -> Self {
        if small {
            Self::Small { classes: vec![Vec::new(); SMALL_CLASSES + 1], filled: Box::new([0; SMALL_CLASSES / 64 + 1]) }
        } else {
            Self::Large(Vec::new())
        }
    }

    /// Takes the smallest block of at least `size`; of several the one with the lowest address.
    pub(super) fn best_fit(&mut self, size: u64) -> Option<u32> {
        match self {
            Self::Small { classes, filled } => {
                let class = next(filled.as_slice(), (size / GRAIN) as usize)?;
                // The lowest address stands last.
                let place = classes[class].pop()?;
                if classes[class].is_empty() {
                    filled[class / 64] &= !(1 << (class % 64));
                }
                Some(place.1)
            }
            Self::Large(blocks) => {
                let at = blocks.partition_point(|block| block.0 < size);
                (at < blocks.len()).then(|| blocks.remove(at).1.1)
            }
        }
    }

    /// Adds a block.
    pub(super) fn insert(&mut self, size: u64, place: Place) {
        match self {
            Self::Small { classes, filled } => {
                let class = (size / GRAIN) as usize;
                let places = &mut classes[class];
                let at = places.partition_point(|other| *other > place);
                places.insert(at, place);
                filled[class / 64] |= 1 << (class % 64);
            }
            Self::Large(blocks) => {
                let at = blocks.partition_point(|block| *block < (size, place));
                blocks.insert(at, (size, place));
            }
        }
    }

    /// Takes a block that is there.
    pub(super) fn remove(&mut self, size: u64, place: Place) {
        match self {
            Self::Small { classes, filled } => {
                let class = (size / GRAIN) as usize;
                let places = &mut classes[class];
                let at = places.partition_point(|other| *other > place);
                places.remove(at);
                if places.is_empty() {
                    filled[class / 64] &= !(1 << (class % 64));
                }
            }
            Self::Large(blocks) => {
                let at = blocks.partition_point(|block| *block < (size, place));
                blocks.remove(at);
            }
        }
    }

    /// All blocks with their sizes.
    pub(super) fn blocks(&self) -> Vec<(u64, Place)> {
        match self {
            Self::Small { classes, .. } => {
                let sized = classes.iter().enumerate();
                sized
                    .flat_map(|(class, places)| places.iter().map(move |&place| (class as u64 * GRAIN, place)))
                    .collect()
            }
            Self::Large(blocks) => blocks.clone(),
        }
    }
}

/// The first class from `from` on whose bit is set.
fn next(filled: &[u64], from: usize) -> Option<usize> {
    let mut word = from / 64;
    let mut bits = *filled.get(word)? & (u64::MAX << (from % 64));
    while bits == 0 {
        word += 1;
        bits = *filled.get(word)?;
    }
    Some(word * 64 + bits.trailing_zeros() as usize)
}
