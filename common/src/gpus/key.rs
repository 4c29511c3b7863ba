//! What two spellings of one GPU have in common.

use super::catalogue::Vendor;

/// Makers and families at the beginning of a name, which spellings leave out at will.
const MAKERS: [(&str, Vendor); 9] = [
    ("nvidia", Vendor::Nvidia),
    ("tesla", Vendor::Nvidia),
    ("quadro", Vendor::Nvidia),
    ("geforce", Vendor::Nvidia),
    ("amd", Vendor::Amd),
    ("radeon", Vendor::Amd),
    ("instinct", Vendor::Amd),
    ("intel", Vendor::Intel),
    ("apple", Vendor::Apple),
];

/// What is left of `(R)` and `(TM)`.
const MARKS: [&str; 2] = ["r", "tm"];

/// Words about the memory.
const MEMORY: [&str; 11] = [
    "hbm2", "hbm2e", "hbm3", "hbm3e", "hbm4", "gddr5", "gddr6", "gddr6x", "gddr7", "vram", "memory",
];

/// Words that name a form factor or nothing.
const NOISE: [&str; 13] = [
    "gpu",
    "graphics",
    "pcie",
    "sxm",
    "sxm2",
    "sxm3",
    "sxm4",
    "sxm5",
    "sxm6",
    "oam",
    "generation",
    "workstation",
    "edition",
];

/// Families that a bare number may belong to (`4090`, `7900 XTX`), and Arc.
const FAMILIES: [&str; 4] = ["rtx", "rx", "gtx", "arc"];

/// A name without case, spaces, punctuation and makers, in three degrees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keys {
    /// All words.
    pub(super) whole: String,
    /// Without those about the memory.
    pub(super) sized: String,
    /// Without noise, too.
    pub(super) bare: String,
    /// The memory that the name states, in GiB; not above what fits.
    pub(super) stated_vram_gib: Option<u32>,
    /// Whose GPU the name says it is, by its first word.
    vendor: Option<Vendor>,
}

impl Keys {
    pub(super) fn of(name: &str) -> Self {
        let lower = name.to_lowercase();
        let words: Vec<&str> = lower
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty() && !MARKS.contains(word))
            .collect();
        let (mut whole, mut sized, mut bare) = (String::new(), String::new(), String::new());
        let mut stated_vram_gib = None;
        let mut index = 0;
        while let Some(word) = words.get(index) {
            let next = words.get(index + 1).copied();
            whole.push_str(word);
            if let Some(size) = memory_size(word) {
                stated_vram_gib = Some(size);
            } else if let (Ok(size), Some(unit @ ("gb" | "gib"))) = (word.parse(), next) {
                whole.push_str(unit);
                stated_vram_gib = Some(size);
                index += 1;
            } else if !MEMORY.contains(word) {
                sized.push_str(word);
                if !NOISE.contains(word) {
                    bare.push_str(word);
                }
            }
            index += 1;
        }
        let (whole, vendor) = without_makers(&whole);
        Self {
            whole: whole.to_owned(),
            sized: without_makers(&sized).0.to_owned(),
            bare: without_makers(&bare).0.to_owned(),
            stated_vram_gib,
            vendor,
        }
    }

    /// Whether the name may be one of that vendor's: it says so, or nothing.
    pub(super) fn is_of(&self, vendor: Vendor) -> bool {
        self.vendor.is_none_or(|named| named == vendor)
    }
}

fn memory_size(word: &str) -> Option<u32> {
    ["gib", "gb", "g"]
        .iter()
        .find_map(|unit| word.strip_suffix(unit))?
        .parse()
        .ok()
}

fn without_makers(key: &str) -> (&str, Option<Vendor>) {
    let (mut rest, mut vendor) = (key, None);
    while let Some((shorter, of)) = MAKERS
        .iter()
        .find_map(|(maker, of)| Some((rest.strip_prefix(maker)?, *of)))
    {
        rest = shorter;
        vendor = vendor.or(Some(of));
    }
    (rest, vendor)
}

/// The key without its family: `4090` of `rtx4090`.
pub(super) fn without_family(key: &str) -> Option<&str> {
    FAMILIES
        .iter()
        .find_map(|family| key.strip_prefix(family))
        .filter(|rest| !rest.is_empty())
}
