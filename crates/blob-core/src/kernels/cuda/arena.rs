//! Which memory is given to whom: first fit in slabs of the driver's, by the host alone.
//!
//! A step makes and drops some thousand arrays, the same ones in the same order as the step before.
//! The driver is asked for slabs, seldom; an array gets the first free range that holds it, by the
//! order of slabs and addresses (Knuth, The Art of Computer Programming, vol. 1, §2.5). So the
//! same requests in the same order, from the same state, get the same addresses. A range is free as
//! soon as its array is dropped: one stream orders all work, so that whoever gets it next writes
//! behind those who read.

use std::collections::BTreeMap;

/// What arrays begin at: kernels read up to 16 bytes at once, cuBLAS likes 256.
const ALIGNMENT: usize = 256;

/// The slabs, and what is free in them.
#[derive(Debug, Default)]
pub(super) struct Arena {
    slabs: Vec<Slab>,
    /// Bytes that arrays have.
    used: usize,
}

#[derive(Debug)]
struct Slab {
    address: u64,
    len: usize,
    /// Free ranges: offsets and lengths. None touches another.
    free: BTreeMap<usize, usize>,
}

/// So many bytes as a range has.
pub(super) fn rounded(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGNMENT)
}

impl Arena {
    /// An address of so many bytes, where a slab holds them.
    pub(super) fn take(&mut self, bytes: usize) -> Option<u64> {
        let bytes = rounded(bytes);
        let address = self.slabs.iter_mut().find_map(|slab| slab.take(bytes))?;
        self.used += bytes;
        Some(address)
    }

    /// Takes over a slab of the driver's.
    pub(super) fn add(&mut self, address: u64, len: usize) {
        let free = BTreeMap::from([(0, len)]);
        self.slabs.push(Slab { address, len, free });
    }

    /// Frees what [`Self::take`] gave.
    pub(super) fn give_back(&mut self, address: u64, bytes: usize) {
        let bytes = rounded(bytes);
        let slab = self.slabs.iter_mut().find(|slab| slab.holds(address));
        if let Some(slab) = slab {
            slab.give_back((address - slab.address) as usize, bytes);
            self.used -= bytes;
        }
    }

    /// Bytes that arrays have.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Bytes of its slabs that no array has.
    pub(super) fn free(&self) -> usize {
        let all: usize = self.slabs.iter().map(|slab| slab.len).sum();
        all - self.used
    }

    /// Parts with the slabs of which nothing is used.
    pub(super) fn unused(&mut self) -> Vec<u64> {
        let is_unused = |slab: &mut Slab| slab.free.get(&0) == Some(&slab.len);
        let unused = self.slabs.extract_if(.., is_unused);
        unused.map(|slab| slab.address).collect()
    }
}

impl Slab {
    fn holds(&self, address: u64) -> bool {
        (self.address..self.address + self.len as u64).contains(&address)
    }

    fn take(&mut self, bytes: usize) -> Option<u64> {
        let mut ranges = self.free.iter();
        let (&offset, &len) = ranges.find(|(_, len)| **len >= bytes)?;
        self.free.remove(&offset);
        if len > bytes {
            self.free.insert(offset + bytes, len - bytes);
        }
        Some(self.address + offset as u64)
    }

    fn give_back(&mut self, offset: usize, bytes: usize) {
        let (mut from, mut to) = (offset, offset + bytes);
        if let Some((&before, &len)) = self.free.range(..offset).next_back()
            && before + len == from
        {
            self.free.remove(&before);
            from = before;
        }
        if let Some(len) = self.free.remove(&to) {
            to += len;
        }
        self.free.insert(from, to - from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLAB: usize = 64 * ALIGNMENT;

    fn arena() -> Arena {
        let mut arena = Arena::default();
        arena.add(1 << 20, SLAB);
        arena.add(1 << 30, SLAB);
        arena
    }

    /// Takes and gives back, as a step does; the addresses.
    fn step(arena: &mut Arena) -> Vec<u64> {
        let mut addresses = Vec::new();
        let mut kept = Vec::new();
        for size in [1, 5000, 300, 9000, 256, 700] {
            let address = arena.take(size).unwrap();
            addresses.push(address);
            if size % 2 == 0 {
                arena.give_back(address, size);
            } else {
                kept.push((address, size));
            }
        }
        for (address, size) in kept {
            arena.give_back(address, size);
        }
        addresses
    }

    #[test]
    fn the_same_requests_get_the_same_addresses() {
        let mut arena = arena();
        let first = step(&mut arena);
        assert_eq!(step(&mut arena), first);
        assert_eq!(arena.used(), 0);
    }

    #[test]
    fn ranges_are_apart_aligned_and_within_their_slab() {
        let mut arena = arena();
        let sizes = [1, 256, 257, 4000, 6000, 8000, 8100];
        let mut ranges: Vec<_> = sizes
            .map(|size| (arena.take(size).unwrap(), size as u64))
            .to_vec();
        ranges.sort_unstable();
        for pair in ranges.windows(2) {
            assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{pair:?}");
        }
        let slabs = [1u64 << 20, 1 << 30].map(|from| from..from + SLAB as u64);
        for (address, size) in ranges {
            assert_eq!(address % ALIGNMENT as u64, 0);
            let holds = |slab: &std::ops::Range<u64>| {
                slab.contains(&address) && slab.contains(&(address + size - 1))
            };
            assert!(slabs.iter().any(holds), "{address}");
        }
    }

    #[test]
    fn what_is_free_again_joins_its_neighbours() {
        let mut arena = arena();
        let third = SLAB / 4;
        let parts: Vec<_> = (0..4).map(|_| arena.take(third).unwrap()).collect();
        for at in [0, 2, 1, 3] {
            arena.give_back(parts[at], third);
        }
        assert_eq!(arena.take(SLAB), Some(1 << 20));
        assert_eq!(arena.take(SLAB + 1), None);
    }

    #[test]
    fn a_block_that_nobody_uses_goes_and_others_stay() {
        let mut arena = arena();
        let address = arena.take(10).unwrap();
        assert_eq!(arena.unused(), [1 << 30]);
        arena.give_back(address, 10);
        assert_eq!(arena.unused(), [1 << 20]);
        assert_eq!(arena.take(10), None);
    }
}
