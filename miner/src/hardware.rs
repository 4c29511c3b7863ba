//! What this machine is made of, and whether a declaration of GPUs agrees with it.

use std::fmt;

use aitbc_common::gpus::{Canonical, Gpu, canonical, normalise};
use nvml_wrapper::Nvml;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};
use thiserror::Error;

/// The warning of a declaration that nothing on this machine supports.
pub const GPU_NOT_DETECTED: &str = "GPU_NOT_DETECTED";

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;

/// What was found on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hardware {
    /// Equal GPUs are one entry; empty where no driver reports any.
    pub gpus: Vec<Gpu>,
    /// Name of the processor; empty where it is not known.
    pub cpu: String,
    /// Logical processors that this process may use, at least 1.
    pub cores: u32,
    /// Main memory in GiB, rounded.
    pub memory_gib: u32,
}

/// Where a GPU entry comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GpuSource {
    /// Its driver reported it.
    Detected,
    /// The operator says so; nothing was detected.
    Declared,
}

impl GpuSource {
    /// The word that users see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Detected => "detected",
            Self::Declared => "declared",
        }
    }
}

/// A GPU entry as it is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredGpu {
    /// Model, number and memory.
    pub gpu: Gpu,
    /// Detected or declared.
    pub source: GpuSource,
}

/// The GPUs to register, after a declaration was compared with the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciled {
    /// What to register.
    pub gpus: Vec<RegisteredGpu>,
    /// Warnings in UPPER_SNAKE, as [`GPU_NOT_DETECTED`].
    pub warnings: Vec<&'static str>,
}

/// A declaration that detected hardware contradicts.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{declared} declared, but this machine has {detected}")]
pub struct Contradiction {
    /// What was declared and is not there.
    pub declared: String,
    /// What is there.
    pub detected: String,
}

impl Contradiction {
    /// What to do about it.
    pub fn hint(&self) -> String {
        format!(
            "leave --gpus out to register what is there, or declare no more than {}",
            self.detected
        )
    }
}

/// Looks at this machine: GPUs through NVIDIA's management library where there is one, Apple's by the processor's name,
/// processor and memory through the operating system. Never fails: what cannot be found out is left out.
pub fn detect() -> Hardware {
    let system = System::new_with_specifics(
        RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing())
            .with_memory(MemoryRefreshKind::nothing().with_ram()),
    );
    let cpu = system
        .cpus()
        .first()
        .map(|cpu| cpu.brand().trim().to_owned())
        .unwrap_or_default();
    let mut gpus = nvidia_gpus().unwrap_or_default();
    gpus.extend(integrated_gpu(&cpu));
    Hardware {
        gpus,
        cores: std::thread::available_parallelism()
            .map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX)),
        memory_gib: rounded_gib(system.total_memory()),
        cpu,
    }
}

/// Apple's GPU is part of the processor and has its name.
fn integrated_gpu(cpu: &str) -> Option<Gpu> {
    let name = normalise(cpu).ok()?;
    cpu.starts_with("Apple M").then_some(Gpu {
        model: name.model,
        count: 1,
        vram_gib: None,
    })
}

fn nvidia_gpus() -> Option<Vec<Gpu>> {
    let nvml = Nvml::init().ok()?;
    let count = nvml.device_count().ok()?;
    let devices = (0..count).filter_map(|index| {
        let device = nvml.device_by_index(index).ok()?;
        // A device that shares the processor's memory reports none of its own.
        Some((
            device.name().ok()?,
            device.memory_info().ok().map(|memory| memory.total),
        ))
    });
    Some(group(devices))
}

fn group(devices: impl IntoIterator<Item = (String, Option<u64>)>) -> Vec<Gpu> {
    let mut gpus: Vec<Gpu> = Vec::new();
    for (name, memory) in devices {
        let (model, sizes) = match canonical(&name) {
            Canonical::Known(known) => (known.model.to_owned(), known.vram_gib),
            Canonical::Unknown { .. } => (name, &[][..]),
        };
        let vram_gib = memory.map(|bytes| advertised_gib(bytes, sizes));
        match gpus
            .iter_mut()
            .find(|gpu| gpu.model == model && gpu.vram_gib == vram_gib)
        {
            Some(gpu) => gpu.count += 1,
            None => gpus.push(Gpu {
                model,
                count: 1,
                vram_gib,
            }),
        }
    }
    gpus
}

/// Drivers report a little less than a GPU is sold with (error correction, reserved memory): within a tenth, the
/// catalogue's size is the right one.
fn advertised_gib(bytes: u64, sizes: &[u32]) -> u32 {
    let within_a_tenth = |size: &&u32| {
        let sold = u64::from(**size) * GIB;
        bytes <= sold + sold / 20 && bytes >= sold - sold / 10
    };
    sizes
        .iter()
        .find(within_a_tenth)
        .copied()
        .unwrap_or_else(|| rounded_gib(bytes))
}

fn rounded_gib(bytes: u64) -> u32 {
    u32::try_from(bytes.saturating_add(GIB / 2) / GIB).unwrap_or(u32::MAX)
}

/// Compares what the operator declares with what was detected.
///
/// Nothing declared: what was detected. Nothing detected: what was declared, with a warning. Both: each declared entry must
/// be there in at least that number (a part of the machine may be offered) and, where the model is sold with several
/// memory sizes, with at least that memory.
pub fn reconcile(declared: &[Gpu], hardware: &Hardware) -> Result<Reconciled, Contradiction> {
    let registered = |gpu: &Gpu, source| RegisteredGpu {
        gpu: gpu.clone(),
        source,
    };
    if declared.is_empty() {
        let gpus = hardware
            .gpus
            .iter()
            .map(|gpu| registered(gpu, GpuSource::Detected))
            .collect();
        return Ok(Reconciled {
            gpus,
            warnings: Vec::new(),
        });
    }
    if hardware.gpus.is_empty() {
        let gpus = declared
            .iter()
            .map(|gpu| registered(gpu, GpuSource::Declared))
            .collect();
        return Ok(Reconciled {
            gpus,
            warnings: vec![GPU_NOT_DETECTED],
        });
    }
    let mut left = hardware.gpus.clone();
    let mut gpus = Vec::new();
    for wanted in declared {
        let found = left.iter_mut().find(|there| {
            there.model == wanted.model
                && there.count >= wanted.count
                && wanted
                    .vram_gib
                    .is_none_or(|gib| there.vram_gib.is_none_or(|has| has >= gib))
        });
        let Some(there) = found else {
            return Err(Contradiction {
                declared: describe(wanted),
                detected: list(&hardware.gpus),
            });
        };
        there.count -= wanted.count;
        let gpu = Gpu {
            count: wanted.count,
            ..there.clone()
        };
        gpus.push(RegisteredGpu {
            gpu,
            source: GpuSource::Detected,
        });
    }
    Ok(Reconciled {
        gpus,
        warnings: Vec::new(),
    })
}

fn list(gpus: &[Gpu]) -> String {
    gpus.iter().map(describe).collect::<Vec<_>>().join(", ")
}

fn describe(gpu: &Gpu) -> String {
    match gpu.vram_gib {
        Some(gib) if !gpu.model.ends_with("GB") => {
            format!("{}x {} with {gib} GiB", gpu.count, gpu.model)
        }
        _ => format!("{}x {}", gpu.count, gpu.model),
    }
}

impl fmt::Display for Hardware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gpus = if self.gpus.is_empty() {
            "no GPU".to_owned()
        } else {
            list(&self.gpus)
        };
        let cpu = if self.cpu.is_empty() {
            "unknown processor"
        } else {
            &self.cpu
        };
        write!(
            f,
            "{gpus}; {cpu}, {} cores, {} GiB memory",
            self.cores, self.memory_gib
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(gpus: Vec<Gpu>) -> Hardware {
        Hardware {
            gpus,
            cpu: "Test CPU".to_owned(),
            cores: 8,
            memory_gib: 32,
        }
    }

    fn gpu(model: &str, count: u32, vram_gib: u32) -> Gpu {
        Gpu {
            model: model.to_owned(),
            count,
            vram_gib: Some(vram_gib),
        }
    }

    const RTX: &str = "NVIDIA GeForce RTX 4090";
    const A100: &str = "NVIDIA A100";

    #[test]
    fn this_machine_has_a_processor_and_memory() {
        let hardware = detect();
        assert!(hardware.cores >= 1);
        assert!(!hardware.to_string().is_empty());
    }

    #[test]
    fn equal_devices_are_one_entry() {
        let device = |name: &str, mib: u64| (name.to_owned(), Some(mib * MIB));
        let found = group([
            device("NVIDIA GeForce RTX 4090", 24_564),
            device("NVIDIA A100-SXM4-80GB", 81_920),
            device("NVIDIA GeForce RTX 4090", 24_564),
            device("Tesla T4", 15_360),
            device("NVIDIA L4", 23_034),
            device("NVIDIA Something New", 50_000),
            ("NVIDIA GB10".to_owned(), None),
        ]);
        assert_eq!(
            found,
            [
                gpu(RTX, 2, 24),
                gpu(A100, 1, 80),
                gpu("NVIDIA T4", 1, 16),
                gpu("NVIDIA L4", 1, 24),
                gpu("NVIDIA Something New", 1, 49),
                Gpu {
                    model: "NVIDIA GB10".to_owned(),
                    count: 1,
                    vram_gib: None
                },
            ]
        );
    }

    #[test]
    fn apple_names_its_gpu_like_its_processor() {
        assert_eq!(
            integrated_gpu("Apple M3 Max").map(|gpu| gpu.model),
            Some("Apple M3 Max".to_owned())
        );
        assert_eq!(
            integrated_gpu("Apple M99 Ultra").map(|gpu| gpu.model),
            Some("Apple M99 Ultra".to_owned()),
            "newer than the catalogue"
        );
        assert_eq!(
            integrated_gpu("Apple processor"),
            None,
            "a virtual machine's"
        );
        assert_eq!(integrated_gpu("AMD EPYC 7B13"), None);
        assert_eq!(integrated_gpu(""), None);
    }

    #[test]
    fn nothing_detected_makes_it_declared() {
        let reconciled = reconcile(&[gpu(RTX, 1, 24)], &machine(vec![])).expect("no contradiction");
        assert_eq!(reconciled.gpus[0].source, GpuSource::Declared);
        assert_eq!(reconciled.warnings, [GPU_NOT_DETECTED]);
        let nothing = reconcile(&[], &machine(vec![])).expect("no contradiction");
        assert!(nothing.gpus.is_empty() && nothing.warnings.is_empty());
    }

    #[test]
    fn a_part_of_the_machine_may_be_offered() {
        let there = machine(vec![gpu(RTX, 2, 24), gpu(A100, 1, 80)]);
        let all = reconcile(&[], &there).expect("no declaration");
        assert_eq!(all.gpus.len(), 2);
        let part = reconcile(&[gpu(RTX, 1, 24)], &there).expect("one of two");
        assert_eq!(
            part.gpus,
            [RegisteredGpu {
                gpu: gpu(RTX, 1, 24),
                source: GpuSource::Detected
            }]
        );
        let detected_memory = reconcile(&[gpu(A100, 1, 40)], &there).expect("it has more");
        assert_eq!(detected_memory.gpus[0].gpu.vram_gib, Some(80));
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let there = machine(vec![gpu(RTX, 2, 24), gpu(A100, 1, 40)]);
        for wrong in [
            vec![gpu("NVIDIA H100", 1, 80)],
            vec![gpu(RTX, 3, 24)],
            vec![gpu(RTX, 1, 24), gpu(RTX, 2, 24)],
            vec![gpu(A100, 1, 80)],
        ] {
            let error = reconcile(&wrong, &there).expect_err("contradiction");
            assert!(
                error
                    .to_string()
                    .contains("2x NVIDIA GeForce RTX 4090 with 24 GiB"),
                "{error}"
            );
            assert!(error.hint().contains("--gpus"));
        }
    }
}
