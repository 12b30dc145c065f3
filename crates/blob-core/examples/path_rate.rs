//! How near each path of this machine comes to its limit: one JSON object per line, of one core.
//!
//! `cargo run --example path_rate`: a register-only loop of the instructions that a path multiplies
//! with, its tiles alone, and whole products from four-bit weights with the staging of their
//! operands and the decoding of the weight; shapes are SmolLM2-135M's. The three are measured one
//! right after another, again and again, and each is the best of its runs.
#![expect(clippy::print_stdout, reason = "the example's output")]

use std::time::{Duration, Instant};

use blob_core::kernels::cpu::gemm::{Direction, Epilogue, FrozenMatrix, Precision, tile_rate};
use blob_core::kernels::cpu::isa::Isa;
use blob_core::kernels::cpu::peak;
use blob_core::quantization::Quantization;
use blob_core::weights::{HostTensor, StoredMatrix};

/// (m, k, n) of y (m, n) = x (m, k) · Wᵀ: gate and up, down, q and o, k and v.
const SHAPES: [[usize; 3]; 4] = [
    [512, 576, 1536],
    [512, 1536, 576],
    [512, 576, 576],
    [512, 576, 192],
];
const ROUNDS: usize = 3;
/// How long a product is measured in a round.
const BUDGET: Duration = Duration::from_millis(200);

/// Of a thread of the pool.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Result<()> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    for path in Isa::ALL.into_iter().filter(|path| path.is_available()) {
        for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
            let lines = pool.install(|| measure(path, precision))?;
            for line in lines {
                println!("{line}");
            }
        }
    }
    Ok(())
}

fn measure(path: Isa, precision: Precision) -> Result<Vec<serde_json::Value>> {
    let (mut peak, mut shapes) = (None::<f64>, [[0.0_f64; 2]; SHAPES.len()]);
    for _ in 0..ROUNDS {
        for (shape, rates) in SHAPES.iter().zip(&mut shapes) {
            let alone = peak::of_instructions(path, precision)?;
            peak = alone.map(|alone| peak.map_or(alone, |peak| peak.max(alone)));
            let tiles = tile_rate(path, precision, Direction::Forward, *shape)?;
            let product = product_rate(path, precision, *shape)?;
            *rates = [rates[0].max(tiles), rates[1].max(product)];
        }
    }
    let round = |rate: f64| (rate / 1e8).round() / 10.0;
    let lines = SHAPES.iter().zip(shapes).map(|(shape, [tiles, product])| {
        serde_json::json!({
            "path": path.name(),
            "precision": precision.name(),
            "shape": shape,
            "peak_gflops": peak.map(round),
            "tile_gflops": round(tiles),
            "product_gflops": round(product),
        })
    });
    Ok(lines.collect())
}

/// Operations per second of a forward product, staging and decoding included.
fn product_rate(path: Isa, precision: Precision, [m, k, n]: [usize; 3]) -> Result<f64> {
    let weight = HostTensor {
        shape: vec![n, k],
        data: ramp(n * k, 104_729),
    };
    let stored = Quantization::Q4K.quantize(StoredMatrix::from_tensor(&weight)?)?;
    let weight = FrozenMatrix::new(stored, precision)?;
    let (x, mut y) = (ramp(m * k, 7919), vec![0.0; m * n]);
    let (begin, mut best) = (Instant::now(), f64::MAX);
    while begin.elapsed() < BUDGET {
        let start = Instant::now();
        let staged = weight.stage_for(path, Direction::Forward, &x, m)?;
        weight.multiply(Direction::Forward, &staged, &mut y, &Epilogue::NONE)?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok((2 * m * k * n) as f64 / best)
}

/// Values in [−1, 1) without a pattern that a product would notice.
fn ramp(length: usize, stride: usize) -> Vec<f32> {
    (0..length)
        .map(|i| (i * stride % 1000) as f32 / 500.0 - 1.0)
        .collect()
}
