//! Names of GPUs: a catalogue of known ones, and the `--gpus` grammar.

mod catalogue;
mod declaration;

use crate::nearest::nearest;

pub use declaration::{GpuParseError, MAX_COUNT, MAX_GROUPS, MAX_NAME_CHARS, parse_gpus};

/// Equal GPUs of one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// Canonical name, as `NVIDIA GeForce RTX 4090`; as written where the catalogue has no such GPU.
    pub model: String,
    /// How many, 1 to [`MAX_COUNT`].
    pub count: u32,
    /// Memory of each in GiB; absent where it is not known (Apple: memory is shared with the processor).
    pub vram_gib: Option<u32>,
}

/// What the catalogue says about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Canonical {
    /// A known GPU.
    Known(KnownGpu),
    /// Not in the catalogue.
    Unknown {
        /// The name that was probably meant.
        nearest: Option<&'static str>,
    },
}

/// A GPU of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownGpu {
    /// Canonical name, as `NVIDIA GeForce RTX 4090`.
    pub model: &'static str,
    /// The same without maker and family, as `RTX 4090`.
    pub short_name: &'static str,
    /// Memory sizes it was sold with in GiB, ascending; empty where it shares the processor's memory.
    pub vram_gib: &'static [u32],
    /// The memory size that the name stated, in GiB (`A100 80GB`).
    pub stated_vram_gib: Option<u32>,
}

impl KnownGpu {
    /// Memory in GiB: as stated, else the smallest size that this GPU was sold with.
    pub fn vram(&self) -> Option<u32> {
        self.stated_vram_gib
            .or_else(|| self.vram_gib.first().copied())
    }
}

/// Looks a name up. Case, spaces, punctuation, the maker and the family do not matter: `rtx4090`, `RTX 4090` and
/// `NVIDIA GeForce RTX 4090` are one.
pub fn canonical(name: &str) -> Canonical {
    let (key, stated_vram_gib) = catalogue::key(name);
    match catalogue::find(&key) {
        Some(entry) => Canonical::Known(KnownGpu {
            model: entry.model,
            short_name: catalogue::short_name(entry.model),
            vram_gib: entry.vram_gib,
            stated_vram_gib,
        }),
        None => Canonical::Unknown {
            nearest: nearest_model(&key),
        },
    }
}

/// The name without maker and family, as `RTX 4090`; unchanged where it is not a canonical name.
pub fn short_name(model: &str) -> &str {
    catalogue::short_name(model)
}

fn nearest_model(key: &str) -> Option<&'static str> {
    let keys: Vec<(String, &'static str)> = catalogue::models()
        .map(|model| (catalogue::key(model).0, model))
        .collect();
    let found = nearest(key, keys.iter().map(|(key, _)| key.as_str()))?;
    keys.iter()
        .find(|(key, _)| key == found)
        .map(|(_, model)| *model)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str) -> KnownGpu {
        match canonical(name) {
            Canonical::Known(gpu) => gpu,
            Canonical::Unknown { nearest } => panic!("{name} is not known, nearest {nearest:?}"),
        }
    }

    #[test]
    fn one_gpu_has_many_spellings() {
        for (spelling, model) in [
            ("rtx4090", "NVIDIA GeForce RTX 4090"),
            ("RTX 4090", "NVIDIA GeForce RTX 4090"),
            ("nvidia geforce rtx-4090", "NVIDIA GeForce RTX 4090"),
            ("NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 4090"),
            ("4090", "NVIDIA GeForce RTX 4090"),
            (
                "NVIDIA GeForce RTX 4090 Laptop GPU",
                "NVIDIA GeForce RTX 4090 Laptop",
            ),
            ("RTX 4070 Ti SUPER", "NVIDIA GeForce RTX 4070 Ti SUPER"),
            ("4070ti super", "NVIDIA GeForce RTX 4070 Ti SUPER"),
            ("NVIDIA A100-SXM4-80GB", "NVIDIA A100"),
            ("NVIDIA A100 80GB PCIe", "NVIDIA A100"),
            ("NVIDIA H100 80GB HBM3", "NVIDIA H100"),
            ("NVIDIA H100 NVL", "NVIDIA H100 NVL"),
            ("Tesla T4", "NVIDIA T4"),
            ("Tesla V100-SXM2-16GB", "NVIDIA V100"),
            ("NVIDIA RTX A6000", "NVIDIA RTX A6000"),
            ("A6000", "NVIDIA RTX A6000"),
            ("NVIDIA RTX 6000 Ada Generation", "NVIDIA RTX 6000 Ada"),
            (
                "NVIDIA RTX PRO 6000 Blackwell Workstation Edition",
                "NVIDIA RTX PRO 6000 Blackwell",
            ),
            ("RTX PRO 6000", "NVIDIA RTX PRO 6000 Blackwell"),
            ("7900 xtx", "AMD Radeon RX 7900 XTX"),
            ("AMD Radeon RX 7900 XTX", "AMD Radeon RX 7900 XTX"),
            ("MI300X", "AMD Instinct MI300X"),
            ("AMD Instinct MI300X OAM", "AMD Instinct MI300X"),
            ("m3 max", "Apple M3 Max"),
            ("Apple M2", "Apple M2"),
            ("Intel(R) Arc(TM) A770 Graphics", "Intel Arc A770"),
            ("arc b580", "Intel Arc B580"),
        ] {
            assert_eq!(known(spelling).model, model, "{spelling}");
        }
    }

    #[test]
    fn memory_is_read_from_the_name() {
        assert_eq!(known("NVIDIA A100-SXM4-80GB").vram(), Some(80));
        assert_eq!(known("A100 40 GB").vram(), Some(40));
        assert_eq!(
            known("A100").vram(),
            Some(40),
            "the smallest, unless stated"
        );
        assert_eq!(known("RTX 4090").vram(), Some(24));
        assert_eq!(known("Apple M3 Max").vram(), None);
        assert_eq!(known("Apple M3 Max 64 GB").vram(), Some(64));
    }

    #[test]
    fn strangers_get_the_nearest_name() {
        assert_eq!(
            canonical("RTX 4900"),
            Canonical::Unknown {
                nearest: Some("NVIDIA GeForce RTX 4090")
            }
        );
        assert_eq!(
            canonical("Voodoo Banshee"),
            Canonical::Unknown { nearest: None }
        );
        assert_eq!(canonical(""), Canonical::Unknown { nearest: None });
        assert_eq!(canonical("RTX"), canonical("rtx"));
    }

    #[test]
    fn short_names_drop_maker_and_family() {
        for (model, short) in [
            ("NVIDIA GeForce RTX 4090", "RTX 4090"),
            ("NVIDIA H100", "H100"),
            ("AMD Radeon RX 7900 XTX", "RX 7900 XTX"),
            ("AMD Instinct MI300X", "MI300X"),
            ("Intel Arc A770", "Arc A770"),
            ("Apple M3 Max", "Apple M3 Max"),
            ("Something else", "Something else"),
        ] {
            assert_eq!(short_name(model), short);
        }
    }

    #[test]
    fn the_catalogue_is_consistent() {
        for model in catalogue::models() {
            let gpu = known(model);
            assert_eq!(gpu.model, model, "each canonical name finds itself");
            assert_eq!(known(gpu.short_name).model, model, "so does its short name");
            assert!(gpu.vram_gib.is_sorted(), "{model}");
            assert!(model.chars().count() <= MAX_NAME_CHARS, "{model}");
        }
    }
}
