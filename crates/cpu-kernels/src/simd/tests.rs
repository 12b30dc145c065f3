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

/// Operations on the lanes of two vectors, each exact or rounded once.
struct Lanes<'a> {
    a: &'a [f32; WIDTH],
    b: &'a [f32; WIDTH],
    bits: u16,
}

impl Kernel for Lanes<'_> {
    type Output = Vec<u32>;

    #[inline(always)]
    fn run<L: Level>(self) -> Self::Output {
        let (a, b) = (L::load(self.a), L::load(self.b));
        let bytes = self.a.map(|value| value.to_bits().to_le_bytes()[2]);
        let vectors = [
            L::flip(a, self.bits),
            L::clear(a, self.bits),
            L::add(a, b),
            L::multiply(a, b),
            L::scale(1.3, a),
            L::larger(a, b),
            L::smaller(a, b),
            L::reciprocal(a),
            L::bytes(bytes),
            L::signed_bytes(bytes),
        ];
        let mut lanes = Vec::new();
        for vector in vectors {
            let mut values = [0.0; WIDTH];
            L::store(vector, &mut values);
            lanes.extend(values.map(f32::to_bits));
        }
        lanes.extend([L::sum(a), L::largest(b)].map(f32::to_bits));
        lanes
    }
}

#[test]
fn lanes_have_the_same_bits_on_every_path() {
    let a: [f32; WIDTH] = std::array::from_fn(|i| (i as f32 - 6.5) * 1.271e-3);
    let mut b: [f32; WIDTH] = std::array::from_fn(|i| (5.0 - i as f32) * 1.7e-3);
    (b[3], b[11]) = (f32::NAN, f32::NEG_INFINITY);
    for bits in [0x0000, 0x8001, 0x5a3c, 0xffff] {
        let all = |path| {
            let (a, b) = (&a, &b);
            run_on(path, Lanes { a, b, bits })
        };
        let expected = all(Available::PORTABLE);
        for lane in 0..WIDTH {
            let is_set = bits >> lane & 1 == 1;
            let flipped = if is_set { -a[lane] } else { a[lane] };
            let cleared = if is_set { 0.0 } else { a[lane] };
            assert_eq!(expected[lane], flipped.to_bits());
            assert_eq!(expected[WIDTH + lane], cleared.to_bits());
        }
        for path in Available::all() {
            assert_eq!(all(path), expected, "{path:?}");
        }
    }
}

/// a·2ⁿ for one n.
struct Powers<'a>(&'a [f32; WIDTH], f32);

impl Kernel for Powers<'_> {
    type Output = [f32; WIDTH];

    #[inline(always)]
    fn run<L: Level>(self) -> Self::Output {
        let mut values = [0.0; WIDTH];
        L::store(
            L::times_power(L::load(self.0), L::splat(self.1)),
            &mut values,
        );
        values
    }
}

#[test]
fn powers_of_two_are_rounded_once_on_every_path() {
    let a: [f32; WIDTH] = std::array::from_fn(|i| 0.53 + 0.0917 * i as f32);
    for n in -151..130 {
        let expected = a.map(|a| (f64::from(a) * f64::from(n).exp2()) as f32);
        for path in Available::all() {
            let found = run_on(path, Powers(&a, n as f32));
            assert_eq!(found, expected, "2^{n} on {path:?}");
        }
    }
}

/// Looks numbers up, rounds them to integers, and shuffles them.
struct LookUps<'a> {
    table: &'a [f32; WIDTH],
    indices: &'a [u8; 2 * WIDTH],
}

/// What [`LookUps`] gives.
#[derive(PartialEq, Debug)]
struct Found {
    floats: [u32; 2 * WIDTH],
    rounded: [u32; 2 * WIDTH],
    pairs: [u32; WIDTH],
    quads: [u32; WIDTH / 2],
    wide: [u32; WIDTH],
    levels: ([u32; WIDTH], [u32; WIDTH]),
    interleaved: [[u32; WIDTH]; 2],
    transposed: [[u32; WIDTH]; WIDTH],
}

impl Kernel for LookUps<'_> {
    type Output = Found;
    const ROUNDS: bool = true;

    #[inline(always)]
    fn run<L: Level>(self) -> Self::Output {
        let table = L::load(self.table);
        let pairs = L::bf16_pairs_of(table, self.indices);
        let shifted = pairs.map(|word| word.rotate_left(5));
        // Levels up to ±127 and the ties between them.
        let values: [f32; 4 * WIDTH] = std::array::from_fn(|i| i as f32 * 4.0 - 126.5);
        Found {
            floats: L::floats_of(table, self.indices),
            rounded: L::rounded_floats_of(table, self.indices),
            pairs,
            quads: L::int8_quads_of(table, 9.0, self.indices),
            wide: L::int16_pairs_of(table, 9.0, self.indices),
            levels: (
                L::int8_quads(&values, 1.0),
                L::int16_pairs(values.as_chunks().0.first().expect("two halves"), 1.0),
            ),
            interleaved: L::interleave(&pairs, &shifted),
            transposed: L::transpose(&std::array::from_fn(|row| {
                std::array::from_fn(|column| (WIDTH * row + column) as u32)
            })),
        }
    }
}

#[test]
fn values_are_found_and_shuffled_alike_on_every_path() {
    let table: [f32; WIDTH] = std::array::from_fn(|i| (i as f32 - 7.3) * 1.37);
    let indices: [u8; 2 * WIDTH] = std::array::from_fn(|i| (i * 7 % 16) as u8);
    let (table, indices) = (&table, &indices);
    let expected = run_on(Available::PORTABLE, LookUps { table, indices });
    let Found {
        pairs,
        quads,
        interleaved,
        ..
    } = &expected;
    let value = |at: usize| table[usize::from(indices[at])];
    assert_eq!(expected.floats[9], value(9).to_bits());
    assert_eq!(expected.rounded[9], bf16_bits(value(9)));
    assert_eq!(pairs[3] << 16, bf16_bits(value(6)));
    assert_eq!(pairs[3] & 0xffff_0000, bf16_bits(value(7)));
    let level = |at: usize| (9.0 * value(at)).round_ties_even();
    assert_eq!((quads[5] >> 24) as i8, level(23) as i8);
    assert_eq!((expected.wide[5] >> 16) as i16, level(11) as i16);
    assert_eq!(expected.levels.0[0].to_le_bytes()[0].cast_signed(), -126);
    assert_eq!(expected.levels.1[0] as i16, -126);
    assert_eq!(interleaved[1][9] & 0xffff, pairs[12] >> 16);
    assert_eq!(interleaved[1][9] >> 16, pairs[12].rotate_left(5) >> 16);
    assert_eq!(expected.transposed[3][14], 14 * 16 + 3);
    for path in Available::all() {
        let found = run_on(path, LookUps { table, indices });
        assert_eq!(found, expected, "{path:?}");
    }
}
