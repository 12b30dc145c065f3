//! AdamW in f64, as the equations of methods ask for it.

use crate::equations::{Given, POINT};

/// Moments of each member.
#[derive(Default)]
pub struct AdamW([Vec<[f64; 2]>; 2]);

impl AdamW {
    /// Moves the first values, as many as there are gradients; clips and gives the norm of the
    /// points, which alone decay.
    pub fn update(&mut self, values: &mut [f64], gradient: &[f64], given: &Given<'_>) -> f64 {
        let points = given.layout.point_len();
        let norm = gradient[..points].iter().map(|g| g * g).sum::<f64>().sqrt();
        let scale = (POINT.max_grad_norm / (norm + 1e-6)).min(1.0);
        let (lr, t) = (POINT.lr * given.factor, given.t as i32);
        let moments = &mut self.0[given.member];
        moments.resize(gradient.len(), [0.0; 2]);
        for (i, (g, [first, second])) in gradient.iter().zip(moments).enumerate() {
            let g = scale * g;
            *first = 0.9 * *first + 0.1 * g;
            *second = 0.999 * *second + 0.001 * g * g;
            let decay = if i < points { POINT.weight_decay } else { 0.0 };
            let mean = *first / (1.0 - 0.9_f64.powi(t));
            let root = (*second / (1.0 - 0.999_f64.powi(t))).sqrt();
            values[i] = values[i] * (1.0 - lr * decay) - lr * mean / (root + POINT.adam_epsilon);
        }
        norm
    }
}
