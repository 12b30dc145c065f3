//! Saved training states: the adapter, the optimizers' moments and the update counter.
//!
//! `state.safetensors` holds `<site>.{lora_A,lora_B,lora_A_rho}` and
//! `<site>.{lora_A,lora_B}.{first,second}`, all f32; `trainer.json` the update counter and the settings.
//! Schedules, the KL cycle and the noise are functions of the counter, so nothing else is state.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use crate::adapter::Adapter;
use crate::train::{TrainConfig, Trainer};
use crate::{Error, Result};

const FORMAT: u32 = 1;
const STATE: &str = "state.safetensors";
const TRAINER: &str = "trainer.json";
/// More updates than a run can do; keeps the arithmetic on a broken file's counter in range.
const MOST_STEPS: u64 = 1 << 48;

/// Writes `bytes` whole or not at all: under a temporary name, synced, then renamed.
///
/// # Errors
/// `BPEFT_IO`; an earlier file of that name is then intact.
pub fn atomic_write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".partial");
    let partial = path.with_file_name(name);
    let write = || {
        let mut file = File::create(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&partial, path)?;
        match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
            _ => Ok(()),
        }
    };
    write().map_err(|source| {
        // Best effort: the error that matters is the first one.
        let _ = fs::remove_file(&partial);
        Error::Io {
            path: path.to_path_buf(),
            source,
        }
    })
}

/// Named f32 tensors as the bytes of a safetensors file, in order of their names.
pub(crate) fn safetensors_bytes(
    path: &Path,
    tensors: &BTreeMap<String, (Vec<usize>, &[f32])>,
) -> Result<Vec<u8>> {
    let raw: Vec<(&String, &Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (shape, values))| {
            (
                name,
                shape,
                values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            )
        })
        .collect();
    let failed = |error: safetensors::SafeTensorError| Error::Checkpoint {
        path: path.to_path_buf(),
        reason: error.to_string(),
    };
    let views = raw
        .iter()
        .map(|(name, shape, bytes)| {
            Ok((*name, TensorView::new(Dtype::F32, (*shape).clone(), bytes)?))
        })
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(failed)?;
    safetensors::serialize(views, None).map_err(failed)
}

/// The values of an f32 tensor.
pub(crate) fn f32_values(view: &TensorView) -> Option<Vec<f32>> {
    (view.dtype() == Dtype::F32).then(|| {
        view.data()
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            .collect()
    })
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrainerFile {
    format: u32,
    step: u64,
    train: TrainConfig,
    adapter: crate::adapter::LoraConfig,
}

impl Trainer {
    /// Writes the state into an existing folder; each file whole or not at all.
    ///
    /// # Errors
    /// `BPEFT_IO`.
    pub fn save(&mut self, adapter: &Adapter, folder: &Path) -> Result<()> {
        let file = TrainerFile {
            format: FORMAT,
            step: self.step_count(),
            train: self.config().clone(),
            adapter: adapter.config().clone(),
        };
        let moments = self.method_mut().moments();
        let mut tensors = BTreeMap::new();
        for (site, term) in adapter.terms() {
            let path = site.path();
            let (r, k, m) = (term.rank, term.inputs, term.outputs);
            tensors.insert(format!("{path}.lora_A"), (vec![r, k], term.a.as_slice()));
            tensors.insert(format!("{path}.lora_B"), (vec![m, r], term.b.as_slice()));
            if let Some(rho) = &term.rho {
                tensors.insert(format!("{path}.lora_A_rho"), (vec![r, k], rho.as_slice()));
            }
        }
        for (name, moments) in &moments {
            tensors.insert(
                format!("{name}.first"),
                (vec![moments.first.len()], &moments.first),
            );
            tensors.insert(
                format!("{name}.second"),
                (vec![moments.second.len()], &moments.second),
            );
        }
        let path = folder.join(STATE);
        atomic_write(&path, &safetensors_bytes(&path, &tensors)?)?;
        let path = folder.join(TRAINER);
        let json = serde_json::to_vec_pretty(&file).map_err(|error| Error::Checkpoint {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        atomic_write(&path, &json)
    }

    /// Reads a state that was saved with the same settings; on an error nothing is changed.
    ///
    /// # Errors
    /// `BPEFT_IO`, or `BPEFT_CHECKPOINT` naming the setting or tensor that does not fit.
    pub fn load(&mut self, adapter: &mut Adapter, folder: &Path) -> Result<()> {
        let path = folder.join(TRAINER);
        let text = fs::read(&path).map_err(Error::io(&path))?;
        let broken = |path: &Path, reason: String| Error::Checkpoint {
            path: path.to_path_buf(),
            reason,
        };
        let file: TrainerFile =
            serde_json::from_slice(&text).map_err(|error| broken(&path, error.to_string()))?;
        if file.format != FORMAT {
            return Err(broken(
                &path,
                format!("format must be {FORMAT}, got {}", file.format),
            ));
        }
        if file.step > MOST_STEPS {
            return Err(broken(
                &path,
                format!("step must be at most {MOST_STEPS}, got {}", file.step),
            ));
        }
        if file.train != *self.config() || file.adapter != *adapter.config() {
            return Err(broken(
                &path,
                "the settings of the saved run differ from this run's".into(),
            ));
        }
        let path = folder.join(STATE);
        let bytes = fs::read(&path).map_err(Error::io(&path))?;
        let tensors =
            SafeTensors::deserialize(&bytes).map_err(|error| broken(&path, error.to_string()))?;
        let read = |name: &str, shape: &[usize]| -> Result<Vec<f32>> {
            let view = tensors.tensor(name).ok();
            match view.as_ref().and_then(f32_values) {
                Some(values) if view.as_ref().is_some_and(|view| view.shape() == shape) => {
                    Ok(values)
                }
                Some(_) => Err(broken(
                    &path,
                    format!(
                        "{name} must have shape {shape:?}, got {:?}",
                        view.map(|view| view.shape().to_vec()).unwrap_or_default()
                    ),
                )),
                None => Err(broken(&path, format!("{name} must be there as f32"))),
            }
        };
        let mut restored = adapter.clone();
        for (site, term) in restored.terms_mut() {
            let site = site.path();
            let (of_a, of_b) = ([term.rank, term.inputs], [term.outputs, term.rank]);
            term.a = read(&format!("{site}.lora_A"), &of_a)?;
            term.b = read(&format!("{site}.lora_B"), &of_b)?;
            if let Some(rho) = &mut term.rho {
                *rho = read(&format!("{site}.lora_A_rho"), &of_a)?;
            }
        }
        let mut moments = self.method_mut().moments();
        let values = moments
            .iter()
            .map(|(name, moments)| {
                let shape = [moments.first.len()];
                Ok((
                    read(&format!("{name}.first"), &shape)?,
                    read(&format!("{name}.second"), &shape)?,
                ))
            })
            .collect::<Result<Vec<_>>>()?;
        for ((_, moments), (first, second)) in moments.iter_mut().zip(values) {
            moments.first = first;
            moments.second = second;
        }
        *adapter = restored;
        self.set_step(file.step);
        Ok(())
    }
}
