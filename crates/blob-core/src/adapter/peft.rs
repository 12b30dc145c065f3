//! Adapters as Hugging Face PEFT's files, both ways, and the reference's checkpoints in.
//!
//! `adapter_config.json` is PEFT's own, with no foreign key; `adapter_model.safetensors` has PEFT's
//! names: `base_model.model.<layer>.lora_A.weight` (r, k) is the mean, `….lora_B.weight` (m, r),
//! and `….lora_A_rho` (r, k), `….lora_B_rho` (m, r), `….lora_A_scale` and `….lora_A_scale_rho` (r),
//! which PEFT ignores, as it does what `deviations` adds; `….lora_E_in`, `….lora_E_out` and their
//! `_bias` are a context's, and `peft_type` then is one that PEFT does not know. The reference
//! repeats the prefix `base_model.model.` and embeds the frozen head (`lm_head.base_layer.weight`),
//! which is left out with a notice. Layers have transformers' names; those of an adapter's own, an
//! encoder's head, are what PEFT calls `modules_to_save`, or the base layers of their low-rank
//! terms.

mod config;
mod curvature;
mod deviations;
mod head;
mod names;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use self::names::Names;
use self::values::checked_values;
use super::{
    Adapter, Factor, Gaussian, LoraConfig, LowRank, Module, OwnLayers, OwnValues, Posterior, Sigma,
    Site, TermShape,
};
use crate::backbone::BackboneConfig;
use crate::files::{atomic_write, read_tensors, safetensors_bytes};
use crate::other_file;
use crate::{Error, Result};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

const CONFIG: &str = "adapter_config.json";
const MODEL: &str = "adapter_model.safetensors";
const MEMBER: &str = "adapter_";
const PREFIX: &str = "base_model.model.";
/// ε that an adapter of a file would have started with; unused after the start.
const REFERENCE_EPS: f32 = 0.05;

/// An adapter of a folder, and what a reader should know about it.
#[derive(Debug)]
pub struct Loaded {
    /// The adapter.
    pub adapter: Adapter,
    /// Tensors that were left out, and assumptions that were made.
    pub notices: Vec<String>,
    /// Whether the head is not in the files, but that of the base.
    pub head_is_of_base: bool,
}

/// Where a member lies: the first in the adapter's folder, others below, as PEFT saves several
/// adapters of one model and the reference its ensembles.
fn folder_of(folder: &Path, member: usize) -> PathBuf {
    if member == 0 {
        return folder.to_path_buf();
    }
    folder.join(format!("{MEMBER}{member}"))
}

/// Writes both files into an existing folder, each whole or not at all; those of an ensemble's
/// other members into `adapter_1`, `adapter_2`, …, of which each is an adapter to PEFT.
///
/// # Errors
/// `BPEFT_IO`.
pub fn save(
    adapter: &Adapter,
    backbone: &BackboneConfig,
    folder: &Path,
    base_model: &str,
) -> Result<()> {
    let names = Names::new(adapter, backbone);
    for member in 0..adapter.parameters().members() {
        let folder = folder_of(folder, member);
        if member > 0 {
            fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        }
        let parameters = adapter.parameters();
        let mut tensors = BTreeMap::new();
        for parameter in parameters.layout().parameters() {
            let values = &parameters.member(member)[parameter.range.clone()];
            let shape = match parameter.factor {
                factor if factor.is_vector() => vec![values.len()],
                _ => parameter.shape.to_vec(),
            };
            let name = names.of(parameter.site, parameter.factor);
            tensors.insert(format!("{PREFIX}{name}"), (shape, values));
        }
        let mut beside = deviations::tensors(adapter, backbone, member);
        beside.extend(curvature::tensors(adapter, backbone));
        for (name, shape, values) in &beside {
            let name = format!("{PREFIX}{name}");
            tensors.insert(name, (shape.clone(), values.as_slice()));
        }
        let path = folder.join(MODEL);
        atomic_write(&path, &safetensors_bytes(&path, &tensors)?)?;
        config::write(&names.config(base_model), &folder.join(CONFIG))?;
    }
    Ok(())
}

/// A, B and ρ of a site, as far as they were found.
type Parts = BTreeMap<Factor, Vec<f32>>;

/// Reads a folder that we, PEFT or the reference wrote; `sigma` is how its ρ is meant.
///
/// # Errors
/// `BPEFT_IO` when a file is missing; `BPEFT_ADAPTER` when it is broken or does not fit the model,
/// or when the members of an ensemble differ in shape; `BPEFT_UNSUPPORTED` for PEFT features that
/// change the numbers.
pub fn load(folder: &Path, backbone: &BackboneConfig, sigma: Sigma) -> Result<Loaded> {
    let first = load_member(folder, backbone, sigma)?;
    let mut members = vec![first];
    for number in 1..=last_member(folder)? {
        let path = folder_of(folder, number);
        let broken = |reason: String| Error::Adapter {
            path: path.clone(),
            reason,
        };
        if !path.exists() {
            return Err(broken("this member of the ensemble must be there".into()));
        }
        let member = load_member(&path, backbone, sigma)?;
        if member.config != members[0].config {
            return Err(broken(format!(
                "the members of an ensemble must be alike, got {} after {}",
                described(&member.config),
                described(&members[0].config)
            )));
        }
        let columns = [&members[0], &member].map(|it| it.deviations.as_ref().map_or(0, Vec::len));
        if columns[0] != columns[1] {
            let rule = "the members of an ensemble must have as many deviations each";
            let [first, other] = columns;
            return Err(broken(format!("{rule}, got {other} after {first}")));
        }
        members.push(member);
    }
    let config = LoraConfig {
        members: members.len(),
        ..members[0].config.clone()
    };
    let own_layers = OwnLayers::of_head(config.head, backbone);
    let terms: Vec<_> = members
        .iter_mut()
        .map(|it| std::mem::take(&mut it.terms))
        .collect();
    let mut adapter = Adapter::from_parts(config, &terms, own_layers)?;
    for (number, member) in members.iter().enumerate() {
        adapter.set_own_layers(number, &member.own_layers);
    }
    if let Some(columns) = members[0].deviations.as_ref().map(Vec::len) {
        let all = members.iter_mut().filter_map(|it| it.deviations.take());
        adapter = adapter.with_deviations(columns, &all.flatten().collect::<Vec<_>>())?;
    }
    let found = std::mem::take(&mut members[0].curvature);
    let laplace = found.complete(adapter.parameters().layout(), backbone);
    let laplace = laplace.map_err(|reason| Error::Adapter {
        path: folder.join(MODEL),
        reason,
    })?;
    if let Some(laplace) = laplace {
        adapter = adapter.with_laplace(laplace)?;
    }
    Ok(Loaded {
        adapter,
        head_is_of_base: backbone.encoder.is_some()
            && members.iter().any(|it| it.own_layers.is_empty()),
        notices: members.into_iter().flat_map(|it| it.notices).collect(),
    })
}

/// What members have in common, in words.
fn described(config: &LoraConfig) -> String {
    let names = config.target_modules.iter().map(|module| module.name());
    let over = config.gaussian().map_or("no posterior".into(), |over| {
        format!("a posterior over {}", over.name())
    });
    format!(
        "rank {}, alpha {}, dropout {} on {} with {over}",
        config.rank,
        config.alpha,
        config.dropout,
        names.collect::<Vec<_>>().join(", ")
    )
}

/// The largest j of the folders `adapter_j`; 0 without any.
fn last_member(folder: &Path) -> Result<usize> {
    let entries = fs::read_dir(folder).map_err(Error::io(folder))?;
    let numbers = entries.filter_map(|entry| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        name.strip_prefix(MEMBER)?.parse().ok()
    });
    Ok(numbers.max().unwrap_or(0))
}

/// One pair of PEFT's files.
struct MemberFile {
    config: LoraConfig,
    terms: BTreeMap<Site, LowRank>,
    own_layers: OwnValues,
    /// Columns of a covariance of low rank.
    deviations: Option<Vec<Vec<f32>>>,
    /// Of Laplace's approximation, as it lies in the file.
    curvature: curvature::Found,
    notices: Vec<String>,
}

fn load_member(folder: &Path, backbone: &BackboneConfig, sigma: Sigma) -> Result<MemberFile> {
    let config = config::read(&folder.join(CONFIG), backbone)?;
    let path = folder.join(MODEL);
    let bytes = other_file::read(&path)?;
    let broken = |reason: String| Error::Adapter {
        path: path.clone(),
        reason,
    };
    let file = read_tensors(&bytes).map_err(broken)?;

    let tensors = tensors_of(&file).map_err(&broken)?;
    let (own_layers, head) = head::of_file(&tensors, backbone).map_err(&broken)?;
    let classes = head.map_or(backbone.classes(), |head| head.classes);
    let backbone = &backbone.with_classes(classes);
    let mut found: BTreeMap<Site, Parts> = BTreeMap::new();
    let mut columns = deviations::Found::default();
    let mut curvature = curvature::Found::default();
    let mut notices = Vec::new();
    for (bare, (name, view)) in &tensors {
        if names::own_part(bare, backbone).is_some() {
            continue;
        }
        if curvature::is_part(bare) {
            let inserted = curvature.insert(bare, view);
            inserted.map_err(|rule| broken(format!("tensor {name:?} must {rule}")))?;
            continue;
        }
        if bare.ends_with(".base_layer.weight") || bare.ends_with("embed_tokens.weight") {
            notices.push(format!(
                "{name} repeats a frozen weight of the base model and is left out"
            ));
            continue;
        }
        let column = deviations::part_of(bare);
        let (layer, part) = column.or_else(|| names::low_rank(bare)).ok_or_else(|| {
            broken(format!(
                "tensor {name:?} is none of lora_A, lora_B and what belongs to them"
            ))
        })?;
        let site = Site::parse(layer, backbone).ok_or_else(|| {
            broken(format!(
                "tensor {name:?} names a layer that the model does not have"
            ))
        })?;
        if column.is_some() {
            let inserted = columns.insert((site, part), view, (config.r, backbone));
            inserted.map_err(|rule| broken(format!("tensor {name:?} must {rule}")))?;
            continue;
        }
        let shape = shape_of(site, config.r, backbone).of(part);
        let shape = &shape[usize::from(part.is_vector())..];
        let values = checked_values(view, shape)
            .map_err(|rule| broken(format!("tensor {name:?} must {rule}")))?;
        let parts = found.entry(site).or_default();
        if parts.insert(part, values).is_some() {
            return Err(broken(format!(
                "tensor {name:?} must be there once, got its layer under two names"
            )));
        }
    }
    if found.is_empty() {
        return Err(broken(
            "the file must have at least one lora_A, got 0".into(),
        ));
    }
    let over = posterior_of(&found).map_err(&broken)?;
    if config.has_context() != (over == Some(Gaussian::Context)) {
        let rule = "peft_type must be C_LORA where there are lora_E tensors, and LORA elsewhere";
        return Err(broken(rule.into()));
    }
    let terms = complete(found, config.r, backbone).map_err(broken)?;
    let shapes = terms.iter().map(|(&site, term)| (site, term.shape()));
    let deviations = columns.complete(shapes.collect()).map_err(broken)?;
    let sigma = over.and_then(Gaussian::own_sigma).unwrap_or(sigma);
    let mut target_modules: Vec<Module> = terms.keys().map(|site| site.module).collect();
    target_modules.sort_unstable();
    target_modules.dedup();
    let config = LoraConfig {
        rank: config.r,
        alpha: config.lora_alpha,
        dropout: config.lora_dropout,
        target_modules,
        posterior: over.map(|over| Posterior {
            sigma,
            init_eps: REFERENCE_EPS,
            over,
        }),
        seed: 0,
        members: 1,
        head,
    };
    notices.sort();
    Ok(MemberFile {
        config,
        terms,
        own_layers,
        deviations,
        curvature,
        notices,
    })
}

/// A file's tensors, each with its whole name, by their names without the prefix: in order, so that
/// the same file is read and refused the same way each time.
type Tensors<'a> = BTreeMap<String, (String, TensorView<'a>)>;

/// The tensors of a file, or the rule that it breaks. The reference repeats the prefix.
fn tensors_of<'a>(file: &'a SafeTensors<'_>) -> std::result::Result<Tensors<'a>, String> {
    let mut all = Tensors::new();
    for (name, view) in file.tensors() {
        let bare = name.strip_prefix(PREFIX).unwrap_or(&name);
        let bare = bare.strip_prefix(PREFIX).unwrap_or(bare).to_owned();
        if let Some((other, _)) = all.get(&bare) {
            let (first, second) = (name.as_str().min(other), name.as_str().max(other));
            return Err(format!(
                "tensor {bare:?} must be there once, got {first:?} and {second:?}"
            ));
        }
        all.insert(bare, (name, view));
    }
    Ok(all)
}

fn shape_of(site: Site, rank: usize, backbone: &BackboneConfig) -> TermShape {
    let (outputs, inputs) = site.shape(backbone);
    TermShape {
        rank,
        inputs,
        outputs,
    }
}

/// What the tensors beside A and B make a posterior over, if there are any.
fn posterior_of(found: &BTreeMap<Site, Parts>) -> std::result::Result<Option<Gaussian>, String> {
    let is_beside = |factor: &Factor| !factor.is_low_rank();
    let factors = found.values().flat_map(BTreeMap::keys).copied();
    let factors: BTreeSet<_> = factors.filter(is_beside).collect();
    if factors.is_empty() {
        return Ok(None);
    }
    let is_its = |over: &Gaussian| factors.iter().eq(over.factors());
    let over = Gaussian::ALL.iter().copied().find(is_its);
    over.map(Some).ok_or_else(|| {
        let names: Vec<_> = factors.iter().map(|factor| factor.name()).collect();
        let names = names.join(" and ");
        format!("beside lora_A and lora_B there must be what one posterior has, got {names} alone")
    })
}

/// The terms, or the rule that the file breaks: A and B everywhere, the rest everywhere or nowhere.
fn complete(
    found: BTreeMap<Site, Parts>,
    rank: usize,
    backbone: &BackboneConfig,
) -> std::result::Result<BTreeMap<Site, LowRank>, String> {
    let beside = posterior_of(&found)?.map_or(&[][..], Gaussian::factors);
    let term = |(site, mut parts): (Site, Parts)| {
        let TermShape {
            rank,
            inputs,
            outputs,
        } = shape_of(site, rank, backbone);
        let (Some(a), Some(b)) = (parts.remove(&Factor::A), parts.remove(&Factor::B)) else {
            return Err(format!("{} must have both lora_A and lora_B", site.path()));
        };
        if let Some(missing) = beside.iter().find(|&factor| !parts.contains_key(factor)) {
            return Err(format!(
                "{} must have {} as the other layers do",
                site.path(),
                missing.name()
            ));
        }
        let term = LowRank {
            rank,
            inputs,
            outputs,
            a,
            b,
            rho: parts.remove(&Factor::Rho),
            rho_b: parts.remove(&Factor::RhoB),
            beside: parts,
        };
        Ok((site, term))
    };
    found.into_iter().map(term).collect()
}
