//! The matrix between a term's factors that a network makes of each row; equations in
//! `contextual.cu`.

use cudarc::driver::{DeviceRepr, LaunchConfig};

use super::{Group, NetworkPlaces, Term};
use crate::Result;
use crate::adapter::CONTEXT_WIDTH;
use crate::kernels::cuda::Array;
use crate::kernels::cuda::memory::{Memory, View};
use crate::kernels::cuda::pointwise::a_thread_per;

const FILE: &str = "contextual";

/// Rows of a block, its warps, and columns of E of a warp in the backward pass.
const ROWS: usize = 32;
const WARPS: usize = 8;
const COLUMNS: usize = 4;

/// Where ε comes from, as kernels take it.
#[repr(C)]
#[derive(Clone, Copy)]
struct NoiseArguments {
    /// Where the key lies.
    key: u64,
    tag: u32,
    whose: u32,
    sign: f32,
    /// Leaves no gap behind it: 0.
    unused: u32,
}

// SAFETY: plain words, laid out as in contextual.cu.
unsafe impl DeviceRepr for NoiseArguments {}

impl Term<'_> {
    /// h (rows, r) of z.
    pub(super) fn contextual(
        &self,
        group: &Group,
        places: NetworkPlaces,
        z: &Memory<f32>,
    ) -> Result<Memory<f32>> {
        let [w1, b1, w2, b2] = self.network(places);
        let (gpu, sizes, noise) = (self.gpu, self.sizes(group), self.epsilon(group));
        let [positions, identities] = self.identities.of(group);
        let mut h = gpu.empty(z.len())?;
        let kernel = gpu.kernel(FILE, "contextual_forward")?;
        let mut call = gpu.call(&kernel);
        call.arg(z).arg(&w1).arg(&b1).arg(&w2).arg(&b2);
        call.arg(&positions).arg(&identities).arg(&mut h);
        call.arg(&sizes[0]).arg(&sizes[1]).arg(&noise);
        gpu.run(call, blocks(group, self.rank.div_ceil(WARPS)))?;
        Ok(h.written())
    }

    /// dL/dz (rows, r) of z and dL/dh; adds the gradients of the network.
    pub(super) fn contextual_backward(
        &self,
        group: &Group,
        places: NetworkPlaces,
        (z, dh): (&Memory<f32>, &Memory<f32>),
        sums: &mut Array,
    ) -> Result<Memory<f32>> {
        let (gpu, n, r) = (self.gpu, group.rows.len(), self.rank);
        let outputs = 2 * r * r;
        let [w1, b1, w2, b2] = self.network(places);
        let (sizes, noise) = (self.sizes(group), self.epsilon(group));
        let [positions, identities] = self.identities.of(group);
        let kl = gpu.words(&self.context_kl.map(f32::to_bits))?;
        let (mut u, mut dmade) = (gpu.empty(n * CONTEXT_WIDTH)?, gpu.empty(n * outputs)?);
        let mut dz = gpu.empty(n * r)?;
        let kernel = gpu.kernel(FILE, "contextual_entries")?;
        let mut call = gpu.call(&kernel);
        call.arg(z).arg(dh).arg(&w1).arg(&b1).arg(&w2).arg(&b2);
        call.arg(&positions).arg(&identities).arg(&*kl);
        call.arg(&mut u).arg(&mut dmade).arg(&mut dz);
        call.arg(&sizes[0]).arg(&sizes[1]).arg(&noise);
        gpu.run(call, blocks(group, r.div_ceil(WARPS * COLUMNS)))?;
        let (u, dmade, mut dz) = (u.written(), dmade.written(), dz.written());

        let mut du = gpu.empty(n * CONTEXT_WIDTH)?;
        let kernel = gpu.kernel(FILE, "contextual_hidden")?;
        let mut call = gpu.call(&kernel);
        call.arg(&u).arg(&dmade).arg(&w1).arg(&w2);
        call.arg(&mut du).arg(&mut dz);
        call.arg(&sizes[0]).arg(&sizes[1]);
        gpu.run(call, blocks(group, 1))?;
        let du = du.written();

        let [w1, b1, w2, b2] = places;
        self.layer((&dmade, &u), [w2, b2], [n, outputs, CONTEXT_WIDTH], sums)?;
        self.layer((&du, z), [w1, b1], [n, CONTEXT_WIDTH, r], sums)?;
        Ok(dz)
    }

    /// Adds the gradients of a layer of the network.
    fn layer(
        &self,
        (dy, x): (&Memory<f32>, &Memory<f32>),
        [weight, bias]: [usize; 2],
        [n, outputs, inputs]: [usize; 3],
        sums: &mut Array,
    ) -> Result<()> {
        let (gpu, sizes) = (self.gpu, [n, outputs, inputs].map(|size| size as u32));
        let (dw, db) = (sums.address_mut(weight)?, sums.address_mut(bias)?);
        let kernel = gpu.kernel(FILE, "contextual_layer")?;
        let mut call = gpu.call(&kernel);
        call.arg(dy).arg(x).arg(&dw).arg(&db);
        call.arg(&sizes[0]).arg(&sizes[1]).arg(&sizes[2]);
        gpu.run(call, a_thread_per(outputs * (inputs + 1)))
    }

    /// W₁ (H, r), b₁ (H), W₂ (2r², H) and b₂ (2r²).
    fn network(&self, [w1, b1, w2, b2]: NetworkPlaces) -> [View<'_, f32>; 4] {
        let (outputs, h) = (2 * self.rank * self.rank, CONTEXT_WIDTH);
        let of = [
            (w1, h * self.rank),
            (b1, h),
            (w2, outputs * h),
            (b2, outputs),
        ];
        of.map(|(from, len)| self.factor(from, len))
    }

    /// n and r.
    fn sizes(&self, group: &Group) -> [u32; 2] {
        [group.rows.len(), self.rank].map(|size| size as u32)
    }

    fn epsilon(&self, group: &Group) -> NoiseArguments {
        let epsilon = group.epsilon;
        NoiseArguments {
            key: self.identities.key(group).address,
            tag: epsilon.map_or(0, |it| it.tag),
            whose: epsilon.map_or(0, |it| it.whose as u32),
            sign: epsilon.map_or(1.0, |it| it.sign),
            unused: 0,
        }
    }
}

/// Blocks for a group's rows, `columns` for each.
fn blocks(group: &Group, columns: usize) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (group.rows.len().div_ceil(ROWS) as u32, columns as u32, 1),
        block_dim: ((32 * WARPS) as u32, 1, 1),
        shared_mem_bytes: 0,
    }
}
