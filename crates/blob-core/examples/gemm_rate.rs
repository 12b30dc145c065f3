//! Rates of the product with frozen weights, one JSON object per line: the best of many runs,
//! operand staging and decoding of the weight included.
//!
//! `cargo run --example gemm_rate -- [threads] [all] [nf4]`: the shapes of SmolLM2-135M and one
//! large one, whose rate stands for what the machine can do; `all`: on every path that this machine
//! has; `nf4`: weights stored in four bits, not in `f32`.
#![expect(clippy::print_stdout, reason = "the example's output")]

use std::time::{Duration, Instant};

use blob_core::kernels::cpu as kernels;
use blob_core::kernels::cpu::gemm::{Direction, Epilogue, FrozenMatrix, Precision};
use blob_core::kernels::cpu::isa::{self, Isa};
use blob_core::quantization::Quantization;
use blob_core::weights::{HostTensor, StoredMatrix};

/// (m, k, n) of y (m, n) = x (m, k) · Wᵀ
const SHAPES: [(usize, usize, usize); 7] = [
    (1536, 2048, 2048),
    (512, 576, 1536),
    (512, 1536, 576),
    (512, 576, 576),
    (512, 576, 192),
    (128, 576, 1536),
    (1, 576, 1536),
];
/// How long each number is measured.
const BUDGET: Duration = Duration::from_millis(400);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let threads = arguments.first().map_or(Ok(2), |text| text.parse())?;
    let [all, nf4] = ["all", "nf4"].map(|flag| arguments.iter().any(|text| text == flag));
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()?;
    let is_wanted = |path: &Isa| path.is_available() && (all || *path == isa::current());
    for path in Isa::ALL.into_iter().filter(is_wanted) {
        for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
            for (m, k, n) in SHAPES {
                let weight = HostTensor {
                    shape: vec![n, k],
                    data: ramp(n * k, 104_729),
                };
                let mut stored = StoredMatrix::from_tensor(&weight)?;
                if nf4 {
                    stored = Quantization::Nf4.quantize(stored)?;
                }
                let kind = stored.type_name();
                let weight = FrozenMatrix::new(stored, precision)?;
                for (direction, depth, cols) in
                    [(Direction::Forward, k, n), (Direction::Backward, n, k)]
                {
                    let (x, mut y) = (ramp(m * depth, 7919), vec![0.0; m * cols]);
                    let mut multiply = || {
                        let staged = weight.stage_for(path, direction, &x, m)?;
                        weight.multiply(direction, &staged, &mut y, &Epilogue::NONE)
                    };
                    let best = pool.install(|| best_seconds(&mut multiply))?;
                    let line = serde_json::json!({
                        "path": path.name(),
                        "stored": kind,
                        "precision": precision.name(),
                        "direction": format!("{direction:?}").to_lowercase(),
                        "shape": [m, depth, cols],
                        "threads": threads,
                        "gflops": (2.0 * (m * k * n) as f64 / best / 1e9).round(),
                    });
                    println!("{line}");
                }
            }
        }
    }
    Ok(())
}

fn best_seconds(run: &mut (impl FnMut() -> kernels::Result<()> + Send)) -> kernels::Result<f64> {
    let (begin, mut best) = (Instant::now(), f64::MAX);
    while begin.elapsed() < BUDGET {
        let start = Instant::now();
        run()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}

/// Values in [−1, 1) without a pattern that a product would notice.
fn ramp(length: usize, stride: usize) -> Vec<f32> {
    (0..length)
        .map(|i| (i * stride % 1000) as f32 / 500.0 - 1.0)
        .collect()
}
