//! What other devices have to reproduce bit for bit, as text: the engine's noise, and ggml's blocks
//! as candle decodes them. `UPDATE_GOLDENS=1` writes the files again.
#![expect(clippy::unwrap_used, reason = "test code")]

use std::fmt::Write;
use std::path::PathBuf;

use blob_core::noise::{DropRate, NoiseKey, Phase, Purpose, Stream, TokenId, philox4x32_10};
use candle_core::Device;
use candle_core::quantized::GgmlDType;
use candle_core::quantized::ggml_file::qtensor_from_ggml;

/// Compares a text with its file, or writes it.
fn hold(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../test/fixtures/cuda")
        .join(name);
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    assert!(kept == text, "{name} is not what the engine computes now");
}

fn hex(words: impl IntoIterator<Item = u32>) -> String {
    let words: Vec<String> = words.into_iter().map(|w| format!("{w:08x}")).collect();
    words.join(" ")
}

/// The key of a stream, by the specification of the noise.
fn key_of(seed: u64, step: u64, phase: u32) -> [u32; 2] {
    let counter = [step as u32, (step >> 32) as u32, phase, 0];
    let words = philox4x32_10(counter, [seed as u32, (seed >> 32) as u32]);
    [words[0], words[1]]
}

#[test]
fn noise() {
    let (seed, step) = (0x1234_5678_9abc_def0, 7);
    let stream = Stream::new(seed, step, Phase::Training { micro_batch: 0 });
    let stream_key = key_of(seed, step, 0);
    let key = |purpose| NoiseKey {
        slot: 11,
        purpose,
        sample: 3,
    };
    let word = |purpose: Purpose| (11 * 16 + purpose as u32) | (3 << 16);
    assert_eq!(
        stream.words(5, 6, 7, key(Purpose::InputSigns)),
        philox4x32_10([5, 6, 7, word(Purpose::InputSigns)], stream_key)
    );
    let mut text = String::new();
    writeln!(text, "key {}", hex(stream_key)).unwrap();
    let mut normals = [0.0f32; 1003];
    stream.fill_normal(&mut normals, key(Purpose::Gaussian));
    let bits = normals.map(f32::to_bits);
    writeln!(text, "normal {}", hex([word(Purpose::Gaussian)])).unwrap();
    writeln!(text, "{}", hex(bits)).unwrap();
    for (position, row) in [(0, 0), (9, 4_000_000_000)] {
        let mut words = [0; 7];
        stream.fill_sign_words(&mut words, position, row, key(Purpose::InputSigns));
        let who = [word(Purpose::InputSigns), position, row];
        writeln!(text, "signs {}\n{}", hex(who), hex(words)).unwrap();
    }
    let mut factors = [0.0f32; 37];
    let rate = DropRate::of(0.1).unwrap();
    let token = TokenId {
        row: 4,
        position: 9,
    };
    stream.fill_dropout(&mut factors, rate, token, key(Purpose::MeanDropout));
    let who = [word(Purpose::MeanDropout), 9, 4];
    let bits = factors.map(f32::to_bits);
    writeln!(text, "dropout {}\n{}", hex(who), hex(bits)).unwrap();
    let mut normals = [0.0f32; 25];
    stream.fill_normal_of_token(&mut normals, token, key(Purpose::Context));
    let who = [word(Purpose::Context), 9, 4];
    let bits = normals.map(f32::to_bits);
    writeln!(text, "token {}\n{}", hex(who), hex(bits)).unwrap();
    hold("noise.txt", &text);
}

#[test]
fn blocks() {
    use GgmlDType::{Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
    // The type, and where its half-precision numbers are.
    let types: [(&str, GgmlDType, &[usize]); 10] = [
        ("q4_0", Q4_0, &[0]),
        ("q4_1", Q4_1, &[0, 2]),
        ("q5_0", Q5_0, &[0]),
        ("q5_1", Q5_1, &[0, 2]),
        ("q8_0", Q8_0, &[0]),
        ("q2_k", Q2K, &[80, 82]),
        ("q3_k", Q3K, &[108]),
        ("q4_k", Q4K, &[0, 2]),
        ("q5_k", Q5K, &[0, 2]),
        ("q6_k", Q6K, &[208]),
    ];
    let mut text = String::new();
    for (kind, (name, dtype, halves)) in types.into_iter().enumerate() {
        let (size, values) = (dtype.type_size(), dtype.block_size());
        let mut bytes: Vec<u8> = (0..2 * size as u32)
            .map(|i| philox4x32_10([i, kind as u32, 0, 0], [1, 2])[0] as u8)
            .collect();
        for (block, half) in [0x2e66_u16, 0x3555].into_iter().enumerate() {
            for (place, &at) in halves.iter().enumerate() {
                let at = block * size + at;
                let half = half + 37 * place as u16;
                bytes[at..at + 2].copy_from_slice(&half.to_le_bytes());
            }
        }
        let tensor = qtensor_from_ggml(dtype, &bytes, vec![2, values], &Device::Cpu).unwrap();
        let tensor = tensor.dequantize(&Device::Cpu).unwrap();
        let decoded: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
        write!(text, "{name} ").unwrap();
        for byte in bytes {
            write!(text, "{byte:02x}").unwrap();
        }
        text.push('\n');
        writeln!(text, "{}", hex(decoded.iter().map(|v| v.to_bits()))).unwrap();
    }
    hold("blocks.txt", &text);
}
