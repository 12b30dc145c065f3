//! The low-rank term of a layer and its adjoint; equations in `low_rank.cu`.

use std::ops::Range;

use cudarc::driver::{CudaSlice, CudaView, DeviceRepr, LaunchConfig, PushKernelArg};

use super::pointwise::{NOTHING, a_thread_per};
use super::{Array, Gpu, Sums};
use crate::Result;

const FILE: &str = "low_rank";

/// Columns of a block of `low_rank_a`.
const COLUMNS: usize = 128;

/// Where one member's factors lie: their first values among all parameters and gradients.
#[derive(Clone, Copy)]
pub struct Factors {
    /// A, (r, k)
    pub a: usize,
    /// B, (m, r)
    pub b: usize,
    /// ρ, (r, k), where A is Gaussian.
    pub rho: Option<usize>,
}

/// Who the rows of the input are, (n) each.
pub struct Identities {
    positions: CudaSlice<u32>,
    rows: CudaSlice<u32>,
}

impl Identities {
    /// Copies of positions in prompts, and of what prompts are called.
    ///
    /// # Errors
    /// `BPEFT_OUT_OF_MEMORY`, `BPEFT_DEVICE`; the same of all functions here.
    pub fn new(gpu: Gpu, positions: &[u32], rows: &[u32]) -> Result<Self> {
        let (positions, rows) = (gpu.upload(positions)?, gpu.upload(rows)?);
        Ok(Self { positions, rows })
    }
}

/// Where a group's noise comes from: words of its stream and of who asks.
#[derive(Clone, Copy)]
pub struct Noise {
    /// The stream.
    pub key: [u32; 2],
    /// Who asks for E.
    pub gaussian: u32,
    /// Who asks for the signs of inputs.
    pub inputs: u32,
    /// Who asks for the signs of ranks.
    pub ranks: u32,
    /// Whether there are signs.
    pub has_signs: bool,
    /// The sign of E.
    pub sign: f32,
    /// σ = ln(1 + e^ρ), or ρ².
    pub is_softplus: bool,
}

/// Rows that see one member's factors under one draw.
pub struct Group {
    /// Which rows.
    pub rows: Range<usize>,
    /// Whose factors.
    pub member: usize,
    /// `None`: the mean.
    pub noise: Option<Noise>,
}

/// One term: its members, rows and sizes.
pub struct Term<'a> {
    /// The GPU.
    pub gpu: Gpu,
    /// All parameters of the adapter.
    pub parameters: &'a Array,
    /// By member.
    pub members: &'a [Factors],
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
}

/// As kernels take it; `uint2` lies at multiples of eight bytes.
#[repr(C, align(8))]
#[derive(Clone, Copy, Default)]
struct Signs {
    key: [u32; 2],
    inputs: u32,
    ranks: u32,
    are_there: u32,
}

#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Key([u32; 2]);

// SAFETY: plain words, laid out as in low_rank.cu and noise.cu.
unsafe impl DeviceRepr for Signs {}
// SAFETY: the same.
unsafe impl DeviceRepr for Key {}

/// What a group's kernels need beside matrices.
struct Drawn {
    signs: Signs,
    /// σ ∘ E, (r, k)
    perturbation: Option<CudaSlice<f32>>,
}

impl Term<'_> {
    /// Adds s·h·Bᵀ to y (n, m), of x (n, k).
    ///
    /// # Errors
    /// As [`Identities::new`].
    pub(crate) fn add(&self, x: &Array, y: &mut CudaSlice<f32>) -> Result<()> {
        let (gpu, r, (m, _)) = (self.gpu, self.rank, self.shape);
        for group in self.groups {
            let drawn = self.draw(group)?;
            let h = self.down(group, &drawn, x)?;
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
        mut dx: Option<&mut CudaSlice<f32>>,
        sums: &mut Sums,
    ) -> Result<()> {
        for group in self.groups {
            let drawn = self.draw(group)?;
            let h = self.down(group, &drawn, x)?;
            let p = self.back(group, dy)?;
            self.factor_b(group, (dy, &h), sums)?;
            self.factor_a(group, &drawn, (x, &p), sums)?;
            if let Some(dx) = dx.as_deref_mut() {
                self.input(group, &drawn, &p, dx)?;
            }
        }
        Ok(())
    }

    /// A, B or ρ of a member, from its first value on.
    fn factor(&self, from: usize, len: usize) -> CudaView<'_, f32> {
        self.parameters.values().slice(from..from + len)
    }

    fn a(&self, group: &Group) -> CudaView<'_, f32> {
        self.factor(self.members[group.member].a, self.rank * self.shape.1)
    }

    fn b(&self, group: &Group) -> CudaView<'_, f32> {
        self.factor(self.members[group.member].b, self.rank * self.shape.0)
    }

    fn draw(&self, group: &Group) -> Result<Drawn> {
        let mut drawn = Drawn {
            signs: Signs::default(),
            perturbation: None,
        };
        let Some((noise, rho)) = self.gaussian(group) else {
            return Ok(drawn);
        };
        drawn.signs = Signs {
            key: noise.key,
            inputs: noise.inputs,
            ranks: noise.ranks,
            are_there: u32::from(noise.has_signs),
        };
        let (gpu, count) = (self.gpu, self.rank * self.shape.1);
        let (is_softplus, key) = (u32::from(noise.is_softplus), Key(noise.key));
        let mut values = gpu.empty(count)?;
        let kernel = gpu.kernel("noise", "perturbation")?;
        let mut call = gpu.call(&kernel);
        call.arg(&rho).arg(&mut values).arg(&count);
        call.arg(&is_softplus).arg(&key);
        call.arg(&noise.gaussian).arg(&noise.sign);
        gpu.run(call, a_thread_per(count))?;
        drawn.perturbation = Some(values);
        Ok(drawn)
    }

    /// The noise of a group whose A is Gaussian, and its ρ.
    fn gaussian(&self, group: &Group) -> Option<(Noise, CudaView<'_, f32>)> {
        let rho = self.members[group.member].rho?;
        Some((group.noise?, self.factor(rho, self.rank * self.shape.1)))
    }

    /// h, (rows, r).
    fn down(&self, group: &Group, drawn: &Drawn, x: &Array) -> Result<CudaSlice<f32>> {
        let (gpu, r, (_, k)) = (self.gpu, self.rank, self.shape);
        let (rows, sizes) = (group.rows.clone(), [k, r].map(|size| size as u32));
        let mut h = gpu.empty(rows.len() * r)?;
        let x = x.values().slice(rows.start * k..rows.end * k);
        let positions = self.identities.positions.slice(rows.clone());
        let identities = self.identities.rows.slice(rows.clone());
        let kernel = gpu.kernel(FILE, "low_rank_down_f32")?;
        let a = self.a(group);
        let mut call = gpu.call(&kernel);
        call.arg(&x).arg(&a);
        match &drawn.perturbation {
            Some(values) => call.arg(values),
            None => call.arg(&NOTHING),
        };
        call.arg(&positions).arg(&identities).arg(&mut h);
        call.arg(&sizes[0]).arg(&sizes[1]).arg(&drawn.signs);
        gpu.run(call, blocks((rows.len(), 1)))?;
        Ok(h)
    }

    /// p, (rows, r).
    fn back(&self, group: &Group, dy: &Array) -> Result<CudaSlice<f32>> {
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
        Ok(p)
    }

    fn factor_b(
        &self,
        group: &Group,
        (dy, h): (&Array, &CudaSlice<f32>),
        sums: &mut Sums,
    ) -> Result<()> {
        let (gpu, r, (m, _)) = (self.gpu, self.rank, self.shape);
        let sizes = [group.rows.len(), m, r].map(|size| size as u32);
        let dy = dy.values().slice(group.rows.start * m..group.rows.end * m);
        let kernel = gpu.kernel(FILE, "low_rank_b_f32")?;
        let mut call = gpu.call(&kernel);
        let db = sums.address(self.members[group.member].b);
        call.arg(&dy).arg(h).arg(&db);
        call.arg(&sizes[0]).arg(&sizes[1]).arg(&sizes[2]);
        call.arg(&self.scaling);
        gpu.run(call, a_thread_per(m * r))
    }

    fn factor_a(
        &self,
        group: &Group,
        drawn: &Drawn,
        (x, p): (&Array, &CudaSlice<f32>),
        sums: &mut Sums,
    ) -> Result<()> {
        let (gpu, r, (_, k)) = (self.gpu, self.rank, self.shape);
        let rows = group.rows.clone();
        let sizes = [rows.len(), k, r].map(|size| size as u32);
        let x = x.values().slice(rows.start * k..rows.end * k);
        let positions = self.identities.positions.slice(rows.clone());
        let identities = self.identities.rows.slice(rows);
        let gaussian = self.gaussian(group);
        let noise = gaussian.as_ref().map(|(noise, _)| noise);
        let (asker, sign) = noise.map_or((0, 1.0), |noise| (noise.gaussian, noise.sign));
        let is_softplus = u32::from(noise.is_some_and(|noise| noise.is_softplus));
        let factors = self.members[group.member];
        let (da, d_rho) = (
            sums.address(factors.a),
            factors.rho.map(|rho| sums.address(rho)),
        );
        let kernel = gpu.kernel(FILE, "low_rank_a_f32")?;
        let mut call = gpu.call(&kernel);
        call.arg(&x).arg(p);
        match &gaussian {
            Some((_, rho)) => call.arg(rho),
            None => call.arg(&NOTHING),
        };
        call.arg(&positions).arg(&identities);
        call.arg(&da).arg(d_rho.as_ref().unwrap_or(&NOTHING));
        call.arg(&sizes[0]).arg(&sizes[1]).arg(&sizes[2]);
        call.arg(&is_softplus).arg(&asker).arg(&sign);
        call.arg(&drawn.signs);
        gpu.run(call, blocks((k.div_ceil(COLUMNS), r)))
    }

    fn input(
        &self,
        group: &Group,
        drawn: &Drawn,
        p: &CudaSlice<f32>,
        dx: &mut CudaSlice<f32>,
    ) -> Result<()> {
        let (gpu, r, (_, k)) = (self.gpu, self.rank, self.shape);
        let rows = group.rows.clone();
        let sizes = [rows.len(), k, r].map(|size| size as u32);
        let mut dx = dx.slice_mut(rows.start * k..rows.end * k);
        let positions = self.identities.positions.slice(rows.clone());
        let identities = self.identities.rows.slice(rows.clone());
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
        call.arg(&drawn.signs);
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
