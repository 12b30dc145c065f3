//! What a fresh adapter begins with.

use blob_core::adapter::{Adapter, Module};

use crate::support::small_model::{config, lora};

/// Values of `values` where 0 is the least and 1 the greatest that can be drawn.
fn in_unit(values: &[f32], (low, high): (f32, f32)) -> Vec<f32> {
    values.iter().map(|x| (x - low) / (high - low)).collect()
}

/// Share of the places at which two draws are the same.
fn alike(one: &[f32], other: &[f32]) -> f32 {
    let same = |(one, other): (&f32, &f32)| (one - other).abs() < 1e-3;
    one.iter().zip(other).filter(|pair| same(*pair)).count() as f32 / one.len() as f32
}

#[test]
fn every_site_begins_with_draws_of_its_own_and_sigma_with_others_than_the_mean() {
    let adapter = Adapter::new(lora(&Module::ALL), &config()).unwrap();
    let eps = 0.05_f32;
    let mut draws = Vec::new();
    for (site, term) in adapter.terms(0) {
        let bound = 1.0 / (term.inputs as f32).sqrt();
        draws.push((site, "A", in_unit(&term.a, (-bound, bound))));
        let rho = in_unit(&term.rho.unwrap(), (eps / 2.0_f32.sqrt(), eps));
        draws.push((site, "rho", rho));
    }
    for (site, part, draw) in &draws {
        let inside = draw.iter().all(|u| (-1e-3..=1.001).contains(u));
        assert!(inside, "{part} of {}", site.path());
    }
    for (at, (site, part, draw)) in draws.iter().enumerate() {
        for (other_site, other_part, other) in &draws[..at] {
            let share = alike(draw, other);
            let [site, other_site] = [site.path(), other_site.path()];
            assert!(
                share < 0.2,
                "{part} of {site} is {other_part} of {other_site}: {share}"
            );
        }
    }
}
