//! Short samples side by side in one row.

use std::collections::BTreeSet;
use std::sync::Arc;

/// What is packed, and into what.
#[derive(Debug, Clone)]
pub struct Packing {
    /// Tokens of each sample.
    pub lengths: Arc<[u32]>,
    /// Tokens that a row has room for; a longer sample has a row of its own.
    pub context: u32,
}

/// Puts samples in rows and `order` in the order of the rows; gives one past each row's last sample in it.
///
/// Each sample, in the order that they come in, goes to the row with the least room that is enough for it, the earliest of equal ones,
/// or begins a new row (best fit). Samples of a row stay in that order, and rows come as they were begun.
pub(super) fn pack(order: &mut [u32], packing: &Packing) -> Vec<u32> {
    let mut rows: Vec<Vec<u32>> = Vec::new();
    // Rooms of the rows that have some, each with its row.
    let mut rooms: BTreeSet<(u32, u32)> = BTreeSet::new();
    for &sample in order.iter() {
        let length = packing.lengths.get(sample as usize).copied().unwrap_or(0);
        let place = rooms.range((length, 0)..).next().copied();
        let (room, row) = match place {
            Some(place) => {
                rooms.remove(&place);
                rows[place.1 as usize].push(sample);
                place
            }
            None => {
                rows.push(vec![sample]);
                (packing.context, rows.len() as u32 - 1)
            }
        };
        if room > length {
            rooms.insert((room - length, row));
        }
    }
    let mut ends = Vec::with_capacity(rows.len());
    let mut end = 0;
    for row in rows {
        order[end..end + row.len()].copy_from_slice(&row);
        end += row.len();
        ends.push(end as u32);
    }
    ends
}
