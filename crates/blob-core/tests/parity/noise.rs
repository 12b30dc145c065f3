use blob_core::adapter::Sigma;
use blob_core::noise::{DropRate, NoiseKey, Phase, Purpose, Stream, TokenId, philox4x32_10};
use serde_json::Value;

use crate::support::golden::{assert_near, document, field};

fn key(case: &Value, purpose: Purpose) -> NoiseKey {
    let sample = case["sample"].as_u64().unwrap_or(0) as u32;
    NoiseKey {
        slot: field(case, "slot"),
        purpose,
        sample,
    }
}

/// The stream of the noise golden's draws; its seed and step need more than 32 bits.
fn golden_stream() -> Stream {
    Stream::new(
        0xfedc_ba98_7654_3210,
        5_000_000_000,
        Phase::Training { micro_batch: 3 },
    )
}

#[test]
fn philox_streams_and_draws_are_numpys_words() {
    let golden = document("noise.json");
    for case in golden["philox"].as_array().unwrap() {
        let words: [u32; 4] = field(case, "words");
        assert_eq!(
            philox4x32_10(field(case, "counter"), field(case, "key")),
            words
        );
    }
    // A stream's key shows in its draws: those of the golden's key are pinned below.
    let draw = &golden["draws"][0];
    let blocks: Vec<[u32; 4]> = field(draw, "words");
    let key = key(draw, Purpose::NoiseDropout);
    for (block, expected) in (0..).zip(blocks) {
        let (position, row) = (field(draw, "position"), field(draw, "row"));
        assert_eq!(golden_stream().words(block, position, row, key), expected);
    }
    for case in golden["stream_keys"].as_array().unwrap() {
        let micro_batch = field(case, "micro_batch");
        let phase = match field::<u32>(case, "phase") {
            0 => Phase::Training { micro_batch },
            1 => Phase::Evaluation,
            _ => Phase::Initialisation,
        };
        let stream = Stream::new(field(case, "seed"), field(case, "step"), phase);
        let by_key = philox4x32_10([1, 2, 3, 4 * 16], field(case, "key"));
        let key = NoiseKey {
            slot: 4,
            purpose: Purpose::Gaussian,
            sample: 0,
        };
        assert_eq!(stream.words(1, 2, 3, key), by_key, "{case}");
    }
}

#[test]
fn normals_uniforms_signs_and_masks_are_numpys() {
    let golden = document("noise.json");
    let stream = golden_stream();
    for case in golden["gaussian"].as_array().unwrap() {
        let expected: Vec<f32> = field(case, "values");
        let mut normals = vec![0.0; expected.len()];
        stream.fill_normal(&mut normals, key(case, Purpose::Gaussian));
        assert_near("gaussian", &normals, &expected, 1e-5);
    }
    for case in golden["signs"].as_array().unwrap() {
        let purpose = match field::<u32>(case, "purpose") {
            1 => Purpose::InputSigns,
            _ => Purpose::RankSigns,
        };
        let mut bits = vec![0; field(case, "count")];
        let (position, row) = (field(case, "position"), field(case, "row"));
        stream.fill_sign_bits(&mut bits, position, row, key(case, purpose));
        let negative: Vec<usize> = (0..bits.len()).filter(|&i| bits[i] != 0).collect();
        assert_eq!(negative, field::<Vec<usize>>(case, "negative"));
        assert!(bits.iter().all(|bit| matches!(bit, 0 | 0x8000_0000)));
    }
    for case in golden["dropped"].as_array().unwrap() {
        let purpose = match field::<u32>(case, "purpose") {
            3 => Purpose::MeanDropout,
            _ => Purpose::NoiseDropout,
        };
        let rate = DropRate::of(field(case, "p")).unwrap();
        let mut factors = vec![0.0; field(case, "count")];
        let who = TokenId {
            row: field(case, "row"),
            position: field(case, "position"),
        };
        stream.fill_dropout(&mut factors, rate, who, key(case, purpose));
        let dropped: Vec<usize> = (0..factors.len()).filter(|&i| factors[i] == 0.0).collect();
        assert_eq!(dropped, field::<Vec<usize>>(case, "dropped"));
    }
    let case = &golden["initial_a"];
    let bound = 1.0 / field::<f32>(case, "k").sqrt();
    let mut uniforms = vec![0.0; field::<Vec<f32>>(case, "values").len()];
    stream.fill_uniform(&mut uniforms, -bound..bound, key(case, Purpose::InitialA));
    assert_near(
        "initial A",
        &uniforms,
        &field::<Vec<f32>>(case, "values"),
        1e-6,
    );
    for (case, sigma) in golden["initial_rho"]
        .as_array()
        .unwrap()
        .iter()
        .zip([Sigma::Square, Sigma::Softplus])
    {
        let interval = sigma.initial(field(case, "eps"));
        stream.fill_uniform(&mut uniforms, interval, key(case, Purpose::InitialRho));
        assert_near(
            "initial rho",
            &uniforms,
            &field::<Vec<f32>>(case, "values"),
            1e-6,
        );
    }
}

/// Box and Muller's formula in f64, over the ends of what one task fills.
#[test]
fn normals_are_those_of_their_blocks_however_many_there_are() {
    let stream = golden_stream();
    let key = NoiseKey {
        slot: 21,
        purpose: Purpose::GaussianB,
        sample: 5,
    };
    let mut normals = vec![0.0; 3 * 2048 + 6];
    stream.fill_normal(&mut normals, key);
    for (block, four) in (0..).zip(normals.chunks(4)) {
        let uniforms = stream.words(block, 0, 0, key);
        let uniforms = uniforms.map(|word| (f64::from(word >> 9) + 0.5) / f64::from(1 << 23));
        let pair = |at: usize| {
            let radius = (-2.0 * uniforms[at].ln()).sqrt();
            let (sin, cos) = (std::f64::consts::TAU * uniforms[at + 1]).sin_cos();
            [radius * cos, radius * sin]
        };
        for (got, expected) in four.iter().zip([pair(0), pair(2)].concat()) {
            assert!((f64::from(*got) - expected).abs() < 1e-5, "block {block}");
        }
    }
}
