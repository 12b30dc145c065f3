//! Class logits under a soft cap (Gemma 2, arXiv:2408.00118 §2).
//!
//! ```text
//! y = a·tanh(z/a)        dz = dy·(1 − (y/a)²)
//! ```
//!
//! Logits are numbers of the host: plain loops. Shapes: (L).

/// y of z.
pub fn forward(cap: f32, logits: &[f32]) -> Vec<f32> {
    logits.iter().map(|z| cap * (z / cap).tanh()).collect()
}

/// dz of y and dy; both have one length.
pub fn backward(cap: f32, y: &[f32], dy: &[f32]) -> Vec<f32> {
    let slope = |y: f32| 1.0 - (y / cap) * (y / cap);
    y.iter().zip(dy).map(|(&y, dy)| dy * slope(y)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAP: f32 = 1.5;

    #[test]
    fn it_is_the_identity_near_zero_and_never_exceeds_the_cap() {
        let y = forward(CAP, &[1e-4, -1e-4, 40.0, -1e6]);
        assert!((y[0] - 1e-4).abs() < 1e-10 && y[1] == -y[0]);
        assert_eq!(y[2..], [CAP, -CAP]);
    }

    #[test]
    fn its_gradient_is_that_of_finite_differences() {
        let z = [-3.0, -0.7, 0.0, 0.4, 2.0];
        let dy = [0.3, -1.0, 2.0, 0.5, -0.2];
        let dz = backward(CAP, &forward(CAP, &z), &dy);
        let exact = |z: f64| f64::from(CAP) * (z / f64::from(CAP)).tanh();
        for ((z, dy), dz) in z.into_iter().zip(dy).zip(dz) {
            let z = f64::from(z);
            let slope = (exact(z + 1e-5) - exact(z - 1e-5)) / 2e-5;
            assert!((f64::from(dz) - f64::from(dy) * slope).abs() < 1e-6, "{z}");
        }
    }
}
