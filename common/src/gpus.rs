//! Names of GPUs: a catalogue of known ones, how names are read, and the `--gpus` grammar.
//!
//! The catalogue is `common/data/gpus.csv`: one line for each model and memory size, with its source.

mod catalogue;
mod declaration;
mod key;
#[cfg(test)]
mod tests;

use thiserror::Error;

use crate::limits::MAX_VRAM_GIB;
use catalogue::CATALOGUE;

pub use declaration::{GpuParseError, MAX_COUNT, MAX_GROUPS, parse_gpus};

/// Most characters of a GPU's name.
pub const MAX_NAME_CHARS: usize = 64;

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
        /// The memory size that the name stated, in GiB, 1 to [`MAX_VRAM_GIB`].
        stated_vram_gib: Option<u32>,
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
    /// Memory in GiB: as stated, else (or where it was never sold with that) the smallest size it was sold with.
    pub fn vram(&self) -> Option<u32> {
        self.stated_vram_gib
            .filter(|_| self.unsold_vram_gib().is_none())
            .or_else(|| self.vram_gib.first().copied())
    }

    /// The stated memory size in GiB, if this GPU was never sold with it. Where it shares the processor's memory that is only
    /// known of sizes outside 1 to [`MAX_VRAM_GIB`].
    pub fn unsold_vram_gib(&self) -> Option<u32> {
        let sold = |gib: &u32| match self.vram_gib {
            [] => is_size(gib),
            sizes => sizes.contains(gib),
        };
        self.stated_vram_gib.filter(|gib| !sold(gib))
    }
}

/// A name that may be registered and listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuName {
    /// Canonical name of a known GPU; the name as written, without outer spaces, of any other. At most [`MAX_NAME_CHARS`]
    /// characters, none of them a control character.
    pub model: String,
    /// What the catalogue says about it.
    pub canonical: Canonical,
}

impl GpuName {
    /// What to tell whoever wrote a name that is not known; nothing for a known one.
    pub fn warning(&self) -> Option<String> {
        let Canonical::Unknown { nearest, .. } = self.canonical else {
            return None;
        };
        let model = &self.model;
        let meant = nearest.map_or_else(String::new, |near| format!("; did you mean {near}?"));
        Some(format!("no GPU called {model:?} is known{meant}"))
    }
}

/// Why a text is no GPU's name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GpuNameError {
    /// Nothing but spaces.
    #[error("the name of the GPU is missing")]
    Empty,
    /// More than [`MAX_NAME_CHARS`] characters.
    #[error("the name has {0} characters, at most {MAX_NAME_CHARS} are allowed")]
    TooLong(usize),
    /// A control character.
    #[error("the name has the control character {found:?}")]
    Control {
        /// The character.
        found: char,
        /// Where it stands in the name without outer spaces, in bytes from 0.
        offset: usize,
    },
}

impl GpuNameError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        "write for example: RTX 4090, A100 80GB or M3 Max"
    }
}

/// Reads a name: the canonical one of a known GPU, any other as it is. Reading the result again changes nothing.
///
/// # Errors
/// An empty name, one of more than [`MAX_NAME_CHARS`] characters and one with a control character.
pub fn normalise(name: &str) -> Result<GpuName, GpuNameError> {
    let name = name.trim();
    if name.is_empty() {
        return Err(GpuNameError::Empty);
    }
    if let Some((offset, found)) = name.char_indices().find(|(_, c)| c.is_control()) {
        return Err(GpuNameError::Control { found, offset });
    }
    let length = name.chars().count();
    if length > MAX_NAME_CHARS {
        return Err(GpuNameError::TooLong(length));
    }
    let canonical = canonical(name);
    let model = match &canonical {
        Canonical::Known(known) => known.model.to_owned(),
        Canonical::Unknown { .. } => name.to_owned(),
    };
    Ok(GpuName { model, canonical })
}

/// Looks a name up. Case, spaces, punctuation, the maker and the family do not matter: `rtx4090`, `RTX 4090` and
/// `NVIDIA GeForce RTX 4090` are one; `RTX 4090 Laptop GPU` is another.
pub fn canonical(name: &str) -> Canonical {
    let found = CATALOGUE.find(name);
    let stated_vram_gib = found.stated_vram_gib;
    match found.entry {
        Some(entry) => Canonical::Known(KnownGpu {
            model: &entry.model,
            short_name: short_name(&entry.model),
            vram_gib: &entry.vram_gib,
            stated_vram_gib,
        }),
        None => Canonical::Unknown {
            nearest: CATALOGUE.nearest(&found),
            stated_vram_gib: stated_vram_gib.filter(is_size),
        },
    }
}

fn is_size(vram_gib: &u32) -> bool {
    (1..=MAX_VRAM_GIB).contains(vram_gib)
}

/// Memory of a known GPU in GiB (2^30 bytes; what vendors call GB): as the name states it (`A100 80GB`), else the smallest
/// size it was sold with. None for an unknown name and for a GPU that shares the processor's memory.
pub fn vram_gib(name: &str) -> Option<u32> {
    match canonical(name) {
        Canonical::Known(known) => known.vram(),
        Canonical::Unknown { .. } => None,
    }
}

/// Bandwidth of a known GPU's memory in GB/s (10^9 bytes a second), rounded down: of the version with `vram_gib` GiB, or with
/// what the name states; the least of all versions where there is no such one. None where the catalogue has no figure.
pub fn bandwidth(name: &str, vram_gib: Option<u32>) -> Option<u32> {
    let found = CATALOGUE.find(name);
    found.entry?.bandwidth(vram_gib.or(found.stated_vram_gib))
}

/// The name without maker and family, as `RTX 4090`; unchanged where it is not a canonical name.
pub fn short_name(model: &str) -> &str {
    [
        "NVIDIA GeForce ",
        "NVIDIA ",
        "AMD Radeon ",
        "AMD Instinct ",
        "Intel ",
    ]
    .iter()
    .find_map(|prefix| model.strip_prefix(prefix))
    .unwrap_or(model)
}
