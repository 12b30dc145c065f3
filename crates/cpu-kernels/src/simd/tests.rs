use super::*;
use crate::isa::Available;

/// Rounds pairs within one list and between two lists, and widens halves.
struct Conversions<'a> {
    values: &'a [f32; 2 * WIDTH],
    halves: &'a [u16],
}

impl Kernel for Conversions<'_> {
    type Output = ([u32; WIDTH], [u32; WIDTH], Vec<u32>);
    const ROUNDS: bool = true;

    #[inline(always)]
    fn run<L: Level>(self) -> Self::Output {
        let (halves, _) = self.values.as_chunks();
        let widened = self.halves.iter().map(|bits| L::half(*bits).to_bits());
        (
            L::bf16_pairs(self.values),
            L::bf16_columns(&halves[0], &halves[1]),
            widened.collect(),
        )
    }
}

#[test]
fn conversions_have_the_same_bits_on_every_path() {
    // Ties to even in both directions, infinities, a carry into the exponent, overflow, a NaN whose
    // payload is low.
    let special = [
        0x3f80_8000,
        0x3f81_8000,
        0x3f80_8001,
        0x3f80_7fff,
        0xbf80_8000,
        0x7f80_0000,
        0xff80_0000,
        0x3fff_ffff,
        0x7f7f_ffff,
        0x7f80_0001,
        0x8000_0000,
    ];
    let values: [f32; 32] = std::array::from_fn(|i| match special.get(i) {
        Some(bits) => f32::from_bits(*bits),
        None => (i as f32 - 20.5) * 0.371,
    });
    // All but signaling NaNs, which the hardware makes quiet.
    let halves: Vec<u16> = (0..=u16::MAX)
        .filter(|bits| !(0x7c01..0x7e00).contains(&(bits & 0x7fff)))
        .collect();
    let all = |path| {
        run_on(
            path,
            Conversions {
                values: &values,
                halves: &halves,
            },
        )
    };
    let expected = all(Available::PORTABLE);
    assert_eq!(expected.0[0], 0x3f82_3f80, "ties go to even");
    assert_eq!(
        expected.0[4], 0x7fc0_7f80,
        "overflow is infinite, NaN stays NaN"
    );
    for path in Available::all() {
        assert!(all(path) == expected, "{path:?}");
    }
}

/// Looks numbers up and shuffles them.
struct LookUps<'a> {
    table: &'a [f32; WIDTH],
    indices: &'a [u8; 2 * WIDTH],
}

impl Kernel for LookUps<'_> {
    type Output = ([u32; WIDTH], [u32; WIDTH / 2], [[u32; WIDTH]; 2]);
    const ROUNDS: bool = true;

    #[inline(always)]
    fn run<L: Level>(self) -> Self::Output {
        let table = L::load(self.table);
        let pairs = L::bf16_pairs_of(table, self.indices);
        let quads = L::int8_quads_of(table, 9.0, self.indices);
        let shifted = pairs.map(|word| word.rotate_left(5));
        (pairs, quads, L::interleave(&pairs, &shifted))
    }
}

#[test]
fn values_are_found_and_shuffled_alike_on_every_path() {
    let table: [f32; WIDTH] = std::array::from_fn(|i| (i as f32 - 7.3) * 1.37);
    let indices: [u8; 2 * WIDTH] = std::array::from_fn(|i| (i * 7 % 16) as u8);
    let (table, indices) = (&table, &indices);
    let (pairs, quads, shuffled) = run_on(Available::PORTABLE, LookUps { table, indices });
    let value = |at: usize| table[usize::from(indices[at])];
    assert_eq!(pairs[3] << 16, bf16_bits(value(6)));
    assert_eq!(pairs[3] & 0xffff_0000, bf16_bits(value(7)));
    assert_eq!(
        (quads[5] >> 24) as i8,
        (9.0 * value(23)).round_ties_even() as i8
    );
    assert_eq!(shuffled[1][9] & 0xffff, pairs[12] >> 16);
    assert_eq!(shuffled[1][9] >> 16, pairs[12].rotate_left(5) >> 16);
    for path in Available::all() {
        let all = run_on(path, LookUps { table, indices });
        assert_eq!(all, (pairs, quads, shuffled), "{path:?}");
    }
}
