//! Philox4x32-10, the counter-based generator of Salmon et al., "Parallel random numbers: as easy
//! as 1, 2, 3" (SC 2011): ten rounds of two 32×32→64-bit products.

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const KEY_STEPS: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// The four words of `counter` under `key`.
#[inline]
pub fn philox4x32_10(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    lanes(counter.map(|word| [word]), key).map(|[word]| word)
}

/// The four words of each lane's counter; word by word.
#[inline(always)]
pub(crate) fn lanes<const N: usize>(
    mut counter: [[u32; N]; 4],
    mut key: [u32; 2],
) -> [[u32; N]; 4] {
    for round in 0..10 {
        if round > 0 {
            key[0] = key[0].wrapping_add(KEY_STEPS[0]);
            key[1] = key[1].wrapping_add(KEY_STEPS[1]);
        }
        let [w0, w1, w2, w3] = &mut counter;
        for (((w0, w1), w2), w3) in w0.iter_mut().zip(w1).zip(w2).zip(w3) {
            let first = u64::from(MULTIPLIERS[0]) * u64::from(*w0);
            let second = u64::from(MULTIPLIERS[1]) * u64::from(*w2);
            *w0 = (second >> 32) as u32 ^ *w1 ^ key[0];
            *w1 = second as u32;
            *w2 = (first >> 32) as u32 ^ *w3 ^ key[1];
            *w3 = first as u32;
        }
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    /// kat_vectors of Random123, lines `philox4x32 10`.
    const KNOWN: [([u32; 4], [u32; 2], [u32; 4]); 3] = [
        (
            [0; 4],
            [0; 2],
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8],
        ),
        (
            [u32::MAX; 4],
            [u32::MAX; 2],
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd],
        ),
        (
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
            [0xa409_3822, 0x299f_31d0],
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
        ),
    ];

    #[test]
    fn agrees_with_the_authors_known_answers_alone_and_in_lanes() {
        for (counter, key, expected) in KNOWN {
            assert_eq!(philox4x32_10(counter, key), expected);
            let beside = counter.map(|word| [word, 7, word]);
            let found = lanes(beside, key);
            assert_eq!(found.map(|[first, _, _]| first), expected);
            assert_eq!(found.map(|[_, _, third]| third), expected);
        }
    }
}
