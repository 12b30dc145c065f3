//! What an observer is shown against what a backward pass adds up.

use std::collections::BTreeMap;

use blob_core::Result;
use blob_core::adapter::{Factor, Module, Site};
use blob_core::observer::{Observer, OutputGradient, Seen};
use blob_core::ops::Precision;

use crate::support::golden::assert_close;
use crate::support::small_model::{backbone, batch_of, config, normals, prompts};
use crate::{matrices, mean_pass, observed, point, vector};

/// Sums dL/dA and dL/dB of the rows.
#[derive(Default)]
struct Sums(BTreeMap<(Site, Factor), Vec<f32>>);

impl Observer for Sums {
    fn see(&mut self, seen: &Seen<'_>) -> Result<()> {
        let (factors, scaling) = seen.term.unwrap();
        let OutputGradient::Rows(dy) = seen.dy else {
            return Ok(());
        };
        let (k, r, m) = (
            factors.shape.inputs,
            factors.shape.rank,
            factors.shape.outputs,
        );
        let mut of_a = vec![0.0; r * k];
        let mut of_b = vec![0.0; m * r];
        for (x, dy) in seen.x.chunks_exact(k).zip(dy.chunks_exact(m)) {
            for j in 0..r {
                let h: f32 = (0..k).map(|i| x[i] * factors.a[j * k + i]).sum();
                let p: f32 = (0..m).map(|o| dy[o] * factors.b[o * r + j]).sum();
                for i in 0..k {
                    of_a[j * k + i] += scaling * p * x[i];
                }
                for o in 0..m {
                    of_b[o * r + j] += scaling * dy[o] * h;
                }
            }
        }
        assert_eq!(seen.segments.last().unwrap().end * k, seen.x.len());
        self.0.insert((seen.site, Factor::A), of_a);
        self.0.insert((seen.site, Factor::B), of_b);
        Ok(())
    }
}

#[test]
fn an_observer_sees_the_rows_that_gradients_are_sums_of() {
    let modules = Module::ALL
        .into_iter()
        .filter(|it| !it.is_of_head())
        .collect::<Vec<_>>();
    for precision in [Precision::F32, Precision::Bf16] {
        let (model, adapter) = (backbone(&config(), precision), point(&modules, &config()));
        let batch = batch_of(&prompts());
        let dlogits = normals(3, batch.answers().len());
        let of = (&batch, [dlogits.clone()]);
        let (_, sums) = observed(&model, &adapter, (of.0, &of.1), Sums::default());
        let pass = mean_pass(&batch);
        let kept = model
            .forward(&batch, &pass, Some(&adapter), true)
            .unwrap()
            .1;
        let mut expected = adapter.parameters().zeros_like();
        model
            .backward(
                kept.unwrap(),
                &vector(dlogits),
                &pass,
                &adapter,
                &mut expected,
            )
            .unwrap();
        let sums = sums.lock().unwrap();
        for (site, factor, _) in matrices(&adapter) {
            let name = format!("{} {factor:?}", site.path());
            let range = adapter.parameters().layout().range(site, factor).unwrap();
            assert_close(
                &name,
                &sums.0[&(site, factor)],
                &expected.member(0)[range],
                1e-4,
            );
        }
    }
}
