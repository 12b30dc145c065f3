//! The low-rank term of a layer and its adjoint; equations in `low_rank.cu`.

mod contextual;
mod rows;

use cudarc::driver::{DeviceRepr, LaunchConfig};

use super::memory::{Memory, View};
use super::pointwise::{NOTHING, a_thread_per};
use super::{Array, Gpu};
use crate::Result;

pub use rows::{
    Dropout, Epsilon, FactorPlaces, Group, Identities, NetworkPlaces, Noise, Signs, Whose,
};

const FILE: &str = "low_rank";

/// Columns of a block of `low_rank_a`.
const COLUMNS: usize = 128;

/// One term: its members, rows and sizes.
pub struct Term<'a> {
    /// The GPU.
    pub gpu: Gpu,
    /// All parameters of the adapter.
    pub parameters: &'a Array,
    /// By member.
    pub members: &'a [FactorPlaces],
    /// Of the rows.
    pub identities: &'a Identities,
    /// Of the rows, in order.
    pub groups: &'a [Group],
    /// r
    pub rank: usize,
    /// (m, k)
    pub shape: (usize, usize),
    /// s
    pub scaling: f32,
    /// 2w/D, w and c of the divergence of a context in the gradients; 0 without it.
    pub context_kl: [f32; 3],
}

/// A group's draw as kernels take it.
#[repr(C)]
#[derive(Clone, Copy)]
struct DrawArguments {
    /// Where the key lies.
    key: u64,
    inputs: u32,
    ranks: u32,
    signs: u32,
    mean_dropout: u32,
    noise_dropout: u32,
    dropout: f32,
}

// SAFETY: plain words, laid out as in low_rank.cu.
unsafe impl DeviceRepr for DrawArguments {}

/// What a group's kernels need beside matrices.
pub(super) struct Drawn {
    draw: DrawArguments,
    /// σ ∘ E, (r, k)
    perturbation: Option<Memory<f32>>,
    /// The group's rows of x under the mask of the mean, and of the noise where there is any.
    dropped: Option<(Memory<f32>, Option<Memory<f32>>)>,
}

/// h of a group's rows, (rows, r).
pub(super) struct Hidden {
    pub(super) h: Memory<f32>,
    /// What the network of a context made it of.
    before: Option<(NetworkPlaces, Memory<f32>)>,
}

impl Term<'_> {
    /// Adds s·h·Bᵀ to y (n, m), of x (n, k).
    ///
    /// # Errors
    /// As [`Identities::new`].
    pub(crate) fn add(&self, x: &Array, y: &mut Memory<f32>) -> Result<()> {
        let (gpu, r, (m, _)) = (self.gpu, self.rank, self.shape);
        for group in self.groups {
            let drawn = self.draw(group, x)?;
            let Hidden { h, .. } = self.down(group, &drawn, x)?;
            let count = group.rows.len() * m;
            let sizes = [group.rows.len(), m, r].map(|size| size as u32);
            let mut y = y.slice_mut(group.rows.start * m..group.rows.end * m);
            let kernel = gpu.kernel(FILE, "low_rank_up_f32")?;
            let mut call = gpu.call(&kernel);
            let b = self.b(group);
            call.arg(&h).arg(&b).arg(&mut y);
            call.arg(&sizes[0]).arg(&sizes[1]).arg(&sizes[2]);
            call.arg(&self.scaling);
            gpu.run(call, a_thread_per(count))?;
        }
        Ok(())
    }

    /// Adds the gradients of the factors to `sums`, of x (n, k) and dy (n, m), and to dL/dx (n, k).
    ///
    /// # Errors
    /// As [`Identities::new`].
    pub(crate) fn backward(
        &self,
        (x, dy): (&Array, &Array),
        mut dx: Option<&mut Memory<f32>>,
        sums: &mut Array,
    ) -> Result<()> {
        for group in self.groups {
            let drawn = self.draw(group, x)?;
            let hidden = self.down(group, &drawn, x)?;
            let p = self.back(group, dy)?;
            self.factor_b(group, (dy, &hidden.h), sums)?;
            let kept = (&drawn, &hidden);
            self.down_backward(group, kept, (x, &p), dx.as_deref_mut(), sums)?;
        }
        Ok(())
    }

    /// The adjoint of h, from p (rows, r): adds the gradients of A, ρ and a context's network, and
    /// to dL/dx (n, k).
    pub(super) fn down_backward(
        &self,
        group: &Group,
        (drawn, hidden): (&Drawn, &Hidden),
        (x, p): (&Array, &Memory<f32>),
        dx: Option<&mut Memory<f32>>,
        sums: &mut Array,
    ) -> Result<()> {
        let of_z = match &hidden.before {
            Some((network, z)) => Some(self.contextual_backward(group, *network, (z, p), sums)?),
            None => None,
        };
        let p = of_z.as_ref().unwrap_or(p);
        self.factor_a(group, drawn, (x, p), sums)?;
        match dx {
            Some(dx) => self.input(group, drawn, p, dx),
            None => Ok(()),
        }
    }

    /// A, B or ρ of a member, from its first value on.
    fn factor(&self, from: usize, len: usize) -> View<'_, f32> {
        self.parameters.values().slice(from..from + len)
    }

    fn a(&self, group: &Group) -> View<'_, f32> {
        self.factor(self.members[group.member].a, self.rank * self.shape.1)
    }

    pub(super) fn b(&self, group: &Group) -> View<'_, f32> {
        self.factor(self.members[group.member].b, self.rank * self.shape.0)
    }

    /// The group's draw, for x (n, k).
    pub(super) fn draw(&self, group: &Group, x: &Array) -> Result<Drawn> {
        let gaussian = self.gaussian(group);
        let noise = gaussian.as_ref().map(|(noise, _)| noise);
        let signs = noise.map_or(Signs::Absent, |noise| noise.signs);
        let tags = |of: fn(&Noise) -> u32| noise.map_or(0, of);
        let dropout = group.dropout;
        let draw = DrawArguments {
            key: self.identities.key(group).address,
            inputs: tags(|noise| noise.inputs),
            ranks: tags(|noise| noise.ranks),
            signs: signs as u32,
            mean_dropout: dropout.map_or(0, |it| it.mean),
            noise_dropout: dropout.map_or(0, |it| it.noise),
            dropout: dropout.map_or(0.0, |it| it.probability),
        };
        let perturbation = gaussian
            .as_ref()
            .map(|(noise, rho)| self.perturbation(group, noise, rho));
        let dropped = dropout.map(|it| {
            let of = |tag| self.dropped(group, (it.probability, tag), x);
            let noise = gaussian.is_some().then(|| of(it.noise));
            Ok::<_, crate::Error>((of(it.mean)?, noise.transpose()?))
        });
        Ok(Drawn {
            draw,
            perturbation: perturbation.transpose()?,
            dropped: dropped.transpose()?,
        })
    }

    /// σ ∘ E, (r, k).
    fn perturbation(
        &self,
        group: &Group,
        noise: &Noise,
        rho: &View<'_, f32>,
    ) -> Result<Memory<f32>> {
        let (gpu, count) = (self.gpu, self.rank * self.shape.1);
        let (is_softplus, key) = (u32::from(noise.is_softplus), self.identities.key(group));
        let mut values = gpu.empty(count)?;
        let kernel = gpu.kernel("noise", "perturbation")?;
        let mut call = gpu.call(&kernel);
        call.arg(rho).arg(&mut values).arg(&count);
        call.arg(&is_softplus).arg(&key);
        call.arg(&noise.gaussian).arg(&noise.sign);
        gpu.run(call, a_thread_per(count))?;
        Ok(values.written())
    }

    /// The group's rows of x under the mask of a tag, (rows, k).
    fn dropped(
        &self,
        group: &Group,
        (probability, tag): (f32, u32),
        x: &Array,
    ) -> Result<Memory<f32>> {
        let (gpu, (_, k), n) = (self.gpu, self.shape, group.rows.len());
        let (sizes, key) = ([n, k].map(|size| size as u32), self.identities.key(group));
        let mut out = gpu.empty(n * k)?;
        let x = x.values().slice(group.rows.start * k..group.rows.end * k);
        let [positions, identities] = self.identities.of(group);
        let kernel = gpu.kernel(FILE, "low_rank_drop_f32")?;
        let mut call = gpu.call(&kernel);
        call.arg(&x).arg(&positions).arg(&identities).arg(&mut out);
        call.arg(&sizes[0]).arg(&sizes[1]).arg(&probability);
        call.arg(&key).arg(&tag);
        gpu.run(call, a_thread_per(n * k.div_ceil(8)))?;
        Ok(out.written())
    }

    /// The group's rows of x as both products read them.
    fn inputs<'v>(&self, group: &Group, drawn: &'v Drawn, x: &'v Array) -> [View<'v, f32>; 2] {
        let (_, k) = self.shape;
        match &drawn.dropped {
            Some((mean, noise)) => [mean, noise.as_ref().unwrap_or(mean)].map(|it| it.slice(..)),
            None => [(); 2].map(|()| {
                let rows = &group.rows;
                x.values().slice(rows.start * k..rows.end * k)
            }),
        }
    }

    /// The noise of a group whose A is Gaussian, and its ρ.
    fn gaussian(&self, group: &Group) -> Option<(Noise, View<'_, f32>)> {
        let rho = self.members[group.member].rho?;
        Some((group.noise?, self.factor(rho, self.rank * self.shape.1)))
    }

    /// h of x.
    pub(super) fn down(&self, group: &Group, drawn: &Drawn, x: &Array) -> Result<Hidden> {
        let h = self.projected(group, drawn, x)?;
        Ok(match self.members[group.member].network {
            Some(network) => Hidden {
                h: self.contextual(group, network, &h)?,
                before: Some((network, h)),
            },
            None => Hidden { h, before: None },
        })
    }

    /// h before a context, (rows, r).
    fn projected(&self, group: &Group, drawn: &Drawn, x: &Array) -> Result<Memory<f32>> {
        let (gpu, r, (_, k)) = (self.gpu, self.rank, self.shape);
        let (rows, sizes) = (group.rows.clone(), [k, r].map(|size| size as u32));
        let mut h = gpu.empty(rows.len() * r)?;
        let [x, noisy] = self.inputs(group, drawn, x);
        let [positions, identities] = self.identities.of(group);
        let kernel = gpu.kernel(FILE, "low_rank_down_f32")?;
        let a = self.a(group);
        let mut call = gpu.call(&kernel);
        call.arg(&x).arg(&noisy).arg(&a);
        match &drawn.perturbation {
            Some(values) => call.arg(values),
            None => call.arg(&NOTHING),
        };
        call.arg(&positions).arg(&identities).arg(&mut h);
        call.arg(&sizes[0]).arg(&sizes[1]).arg(&drawn.draw);
        gpu.run(call, blocks((rows.len(), 1)))?;
        Ok(h.written())
    }

    /// p, (rows, r).
    fn back(&self, group: &Group, dy: &Array) -> Result<Memory<f32>> {
        let (gpu, r, (m, _)) = (self.gpu, self.rank, self.shape);
        let (rows, sizes) = (group.rows.clone(), [m, r].map(|size| size as u32));
        let mut p = gpu.empty(rows.len() * r)?;
        let dy = dy.values().slice(rows.start * m..rows.end * m);
        let kernel = gpu.kernel(FILE, "low_rank_back_f32")?;
        let b = self.b(group);
        let mut call = gpu.call(&kernel);
        call.arg(&dy).arg(&b);
        call.arg(&mut p).arg(&sizes[0]).arg(&sizes[1]);
        call.arg(&self.scaling);
        gpu.run(call, blocks((rows.len(), 1)))?;
        Ok(p.written())
    }

    fn factor_b(
        &self,
        group: &Group,
        (dy, h): (&Array, &Memory<f32>),
        sums: &mut Array,
    ) -> Result<()> {
        let (gpu, r, (m, _)) = (self.gpu, self.rank, self.shape);
        let sizes = [group.rows.len(), m, r].map(|size| size as u32);
        let dy = dy.values().slice(group.rows.start * m..group.rows.end * m);
        let kernel = gpu.kernel(FILE, "low_rank_b_f32")?;
        let mut call = gpu.call(&kernel);
        let db = sums.address_mut(self.members[group.member].b)?;
        call.arg(&dy).arg(h).arg(&db);
        call.arg(&sizes[0]).arg(&sizes[1]).arg(&sizes[2]);
        call.arg(&self.scaling);
        gpu.run(call, a_thread_per(m * r))
    }

    fn factor_a(
        &self,
        group: &Group,
        drawn: &Drawn,
        (x, p): (&Array, &Memory<f32>),
        sums: &mut Array,
    ) -> Result<()> {
        let (gpu, r, (_, k)) = (self.gpu, self.rank, self.shape);
        let sizes = [group.rows.len(), k, r].map(|size| size as u32);
        let [x, noisy] = self.inputs(group, drawn, x);
        let [positions, identities] = self.identities.of(group);
        let gaussian = self.gaussian(group);
        let noise = gaussian.as_ref().map(|(noise, _)| noise);
        let (tag, sign) = noise.map_or((0, 1.0), |noise| (noise.gaussian, noise.sign));
        let is_softplus = u32::from(noise.is_some_and(|noise| noise.is_softplus));
        let factors = self.members[group.member];
        let da = sums.address_mut(factors.a)?;
        let d_rho = factors.rho.map(|rho| sums.address_mut(rho)).transpose()?;
        let kernel = gpu.kernel(FILE, "low_rank_a_f32")?;
        let mut call = gpu.call(&kernel);
        call.arg(&x).arg(&noisy).arg(p);
        match &gaussian {
            Some((_, rho)) => call.arg(rho),
            None => call.arg(&NOTHING),
        };
        call.arg(&positions).arg(&identities);
        call.arg(&da).arg(d_rho.as_ref().unwrap_or(&NOTHING));
        call.arg(&sizes[0]).arg(&sizes[1]).arg(&sizes[2]);
        call.arg(&is_softplus).arg(&tag).arg(&sign);
        call.arg(&drawn.draw);
        gpu.run(call, blocks((k.div_ceil(COLUMNS), r)))
    }

    fn input(
        &self,
        group: &Group,
        drawn: &Drawn,
        p: &Memory<f32>,
        dx: &mut Memory<f32>,
    ) -> Result<()> {
        let (gpu, r, (_, k)) = (self.gpu, self.rank, self.shape);
        let rows = group.rows.clone();
        let sizes = [rows.len(), k, r].map(|size| size as u32);
        let mut dx = dx.slice_mut(rows.start * k..rows.end * k);
        let [positions, identities] = self.identities.of(group);
        let kernel = gpu.kernel(FILE, "low_rank_input_f32")?;
        let a = self.a(group);
        let mut call = gpu.call(&kernel);
        call.arg(p).arg(&a);
        match &drawn.perturbation {
            Some(values) => call.arg(values),
            None => call.arg(&NOTHING),
        };
        call.arg(&positions).arg(&identities).arg(&mut dx);
        call.arg(&sizes[0]).arg(&sizes[1]).arg(&sizes[2]);
        call.arg(&drawn.draw);
        gpu.run(call, a_thread_per(rows.len() * k))
    }
}

/// Blocks of 128 threads.
fn blocks((x, y): (usize, usize)) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (x as u32, y as u32, 1),
        block_dim: (COLUMNS as u32, 1, 1),
        shared_mem_bytes: 0,
    }
}
