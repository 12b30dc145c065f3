//! Saved training states: the adapter, the optimizers' moments and the update counter.
//!
//! `state.safetensors` holds all parameters, `<site>.lora_A` and so on, and the method's
//! statistics, such as `<site>.{lora_A,lora_B}.{first,second}`, all f32; of several members each
//! under `members.<j>.`. `trainer.json` holds the update counter and the settings. Schedules, the
//! KL cycle and the noise are functions of the counter, so nothing else is state.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::adapter::{Adapter, Layout, Parameter};
use crate::files::{atomic_write, f32_values, read_tensors, safetensors_bytes};
use crate::train::{TrainConfig, Trainer};
use crate::{Error, Result};

const FORMAT: u32 = 3;
const STATE: &str = "state.safetensors";
const TRAINER: &str = "trainer.json";
/// More updates than a run can do; keeps the arithmetic on a broken file's counter in range.
const MOST_STEPS: u64 = 1 << 48;

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
    /// `BPEFT_IO`, or `BPEFT_DEVICE` when a GPU took the state with it.
    pub fn save(&mut self, adapter: &Adapter, folder: &Path) -> Result<()> {
        let file = TrainerFile {
            format: FORMAT,
            step: self.step_count(),
            train: self.config().clone(),
            adapter: adapter.config().clone(),
        };
        let parameters = adapter.parameters();
        let layout = parameters.layout();
        let statistics = self.method_mut().statistics();
        parameters.fetch()?;
        for statistic in &statistics {
            statistic.values.fetch()?;
        }
        let mut tensors = BTreeMap::new();
        for member in 0..parameters.members() {
            let values = parameters.member(member);
            for parameter in layout.parameters() {
                let name = name_of(parameter, member, parameters.members());
                let values = &values[parameter.range.clone()];
                tensors.insert(name, (parameter.shape.to_vec(), values));
            }
            for statistic in &statistics {
                let values = statistic.values.host();
                let covered = values.len() / parameters.members();
                let values = &values[member * covered..(member + 1) * covered];
                for parameter in covered_by(layout, covered) {
                    let name = name_of(parameter, member, parameters.members());
                    let values = &values[parameter.range.clone()];
                    let name = format!("{name}.{}", statistic.name);
                    tensors.insert(name, (vec![values.len()], values));
                }
            }
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
        let tensors = read_tensors(&bytes).map_err(|reason| broken(&path, reason))?;
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
        let members = restored.parameters().members();
        let layout = restored.parameters().layout().clone();
        let mut statistics = self.method_mut().statistics();
        let mut values: Vec<Vec<f32>> = vec![Vec::new(); statistics.len()];
        for member in 0..members {
            for parameter in layout.parameters() {
                let name = name_of(parameter, member, members);
                let values = read(&name, &parameter.shape)?;
                let to = restored.parameters_mut().member_mut(member);
                to[parameter.range.clone()].copy_from_slice(&values);
            }
            for (statistic, values) in statistics.iter().zip(&mut values) {
                let covered = statistic.values.len() / members;
                for parameter in covered_by(&layout, covered) {
                    let name = name_of(parameter, member, members);
                    let name = format!("{name}.{}", statistic.name);
                    values.extend(read(&name, &[parameter.range.len()])?);
                }
            }
        }
        for (statistic, values) in statistics.iter_mut().zip(values) {
            *statistic.values = values.into();
        }
        *adapter = restored;
        self.set_step(file.step);
        Ok(())
    }
}

/// What a parameter is called in a saved state.
fn name_of(parameter: &Parameter, member: usize, members: usize) -> String {
    let name = format!("{}.{}", parameter.site.path(), parameter.factor.name());
    if members == 1 {
        return name;
    }
    format!("members.{member}.{name}")
}

/// The parameters of which `covered` values hold something.
fn covered_by(layout: &Layout, covered: usize) -> impl Iterator<Item = &Parameter> {
    let parameters = layout.parameters().iter();
    parameters.take_while(move |parameter| parameter.range.end <= covered)
}
