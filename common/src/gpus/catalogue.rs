//! The catalogue itself, and how names are compared.

/// One GPU model.
pub(super) struct Entry {
    pub(super) model: &'static str,
    pub(super) vram_gib: &'static [u32],
    aliases: &'static [&'static str],
}

const fn entry(model: &'static str, vram_gib: &'static [u32]) -> Entry {
    Entry {
        model,
        vram_gib,
        aliases: &[],
    }
}

const fn also(
    model: &'static str,
    vram_gib: &'static [u32],
    aliases: &'static [&'static str],
) -> Entry {
    Entry {
        model,
        vram_gib,
        aliases,
    }
}

/// Sizes ascend. Aliases are written as [`key`] gives them; the bare number of a GeForce or Radeon needs none.
static CATALOGUE: &[Entry] = &[
    entry("NVIDIA GeForce GTX 1080 Ti", &[11]),
    entry("NVIDIA GeForce GTX 1650", &[4]),
    entry("NVIDIA GeForce GTX 1660", &[6]),
    entry("NVIDIA GeForce GTX 1660 SUPER", &[6]),
    entry("NVIDIA GeForce GTX 1660 Ti", &[6]),
    entry("NVIDIA GeForce RTX 2060", &[6, 12]),
    entry("NVIDIA GeForce RTX 2060 SUPER", &[8]),
    entry("NVIDIA GeForce RTX 2070", &[8]),
    entry("NVIDIA GeForce RTX 2070 SUPER", &[8]),
    entry("NVIDIA GeForce RTX 2080", &[8]),
    entry("NVIDIA GeForce RTX 2080 SUPER", &[8]),
    entry("NVIDIA GeForce RTX 2080 Ti", &[11]),
    entry("NVIDIA GeForce RTX 3050", &[6, 8]),
    entry("NVIDIA GeForce RTX 3060", &[8, 12]),
    entry("NVIDIA GeForce RTX 3060 Ti", &[8]),
    entry("NVIDIA GeForce RTX 3070", &[8]),
    entry("NVIDIA GeForce RTX 3070 Ti", &[8]),
    entry("NVIDIA GeForce RTX 3080", &[10, 12]),
    entry("NVIDIA GeForce RTX 3080 Ti", &[12]),
    entry("NVIDIA GeForce RTX 3090", &[24]),
    entry("NVIDIA GeForce RTX 3090 Ti", &[24]),
    entry("NVIDIA GeForce RTX 4060", &[8]),
    entry("NVIDIA GeForce RTX 4060 Ti", &[8, 16]),
    entry("NVIDIA GeForce RTX 4070", &[12]),
    entry("NVIDIA GeForce RTX 4070 SUPER", &[12]),
    entry("NVIDIA GeForce RTX 4070 Ti", &[12]),
    entry("NVIDIA GeForce RTX 4070 Ti SUPER", &[16]),
    entry("NVIDIA GeForce RTX 4080", &[16]),
    entry("NVIDIA GeForce RTX 4080 SUPER", &[16]),
    entry("NVIDIA GeForce RTX 4090", &[24]),
    entry("NVIDIA GeForce RTX 4090 D", &[24, 48]),
    entry("NVIDIA GeForce RTX 5050", &[8]),
    entry("NVIDIA GeForce RTX 5060", &[8]),
    entry("NVIDIA GeForce RTX 5060 Ti", &[8, 16]),
    entry("NVIDIA GeForce RTX 5070", &[12]),
    entry("NVIDIA GeForce RTX 5070 Ti", &[16]),
    entry("NVIDIA GeForce RTX 5080", &[16]),
    entry("NVIDIA GeForce RTX 5090", &[32]),
    entry("NVIDIA GeForce RTX 5090 D", &[24, 32]),
    entry("NVIDIA GeForce RTX 3050 Laptop", &[4, 6]),
    entry("NVIDIA GeForce RTX 3060 Laptop", &[6]),
    entry("NVIDIA GeForce RTX 3070 Laptop", &[8]),
    entry("NVIDIA GeForce RTX 3070 Ti Laptop", &[8]),
    entry("NVIDIA GeForce RTX 3080 Laptop", &[8, 16]),
    entry("NVIDIA GeForce RTX 3080 Ti Laptop", &[16]),
    entry("NVIDIA GeForce RTX 4050 Laptop", &[6]),
    entry("NVIDIA GeForce RTX 4060 Laptop", &[8]),
    entry("NVIDIA GeForce RTX 4070 Laptop", &[8]),
    entry("NVIDIA GeForce RTX 4080 Laptop", &[12]),
    entry("NVIDIA GeForce RTX 4090 Laptop", &[16]),
    entry("NVIDIA GeForce RTX 5050 Laptop", &[8]),
    entry("NVIDIA GeForce RTX 5060 Laptop", &[8]),
    entry("NVIDIA GeForce RTX 5070 Laptop", &[8]),
    entry("NVIDIA GeForce RTX 5070 Ti Laptop", &[12]),
    entry("NVIDIA GeForce RTX 5080 Laptop", &[16]),
    entry("NVIDIA GeForce RTX 5090 Laptop", &[24]),
    entry("NVIDIA TITAN RTX", &[24]),
    entry("NVIDIA TITAN V", &[12]),
    also("NVIDIA RTX A2000", &[6, 12], &["a2000"]),
    also("NVIDIA RTX A4000", &[16], &["a4000"]),
    also("NVIDIA RTX A4500", &[20], &["a4500"]),
    also("NVIDIA RTX A5000", &[24], &["a5000"]),
    also("NVIDIA RTX A5500", &[24], &["a5500"]),
    also("NVIDIA RTX A6000", &[48], &["a6000"]),
    also("NVIDIA Quadro RTX 4000", &[8], &["rtx4000"]),
    also("NVIDIA Quadro RTX 5000", &[16], &["rtx5000"]),
    also("NVIDIA Quadro RTX 6000", &[24], &["rtx6000"]),
    also("NVIDIA Quadro RTX 8000", &[48], &["rtx8000"]),
    also("NVIDIA RTX 2000 Ada", &[16], &["2000ada"]),
    also("NVIDIA RTX 4000 Ada", &[20], &["4000ada"]),
    also("NVIDIA RTX 4500 Ada", &[24], &["4500ada"]),
    also("NVIDIA RTX 5000 Ada", &[32], &["5000ada"]),
    also("NVIDIA RTX 5880 Ada", &[48], &["5880ada"]),
    also("NVIDIA RTX 6000 Ada", &[48], &["6000ada"]),
    also("NVIDIA RTX PRO 2000 Blackwell", &[16], &["rtxpro2000"]),
    also("NVIDIA RTX PRO 4000 Blackwell", &[24], &["rtxpro4000"]),
    also("NVIDIA RTX PRO 4500 Blackwell", &[32], &["rtxpro4500"]),
    also("NVIDIA RTX PRO 5000 Blackwell", &[48, 72], &["rtxpro5000"]),
    also("NVIDIA RTX PRO 6000 Blackwell", &[96], &["rtxpro6000"]),
    entry("NVIDIA P40", &[24]),
    entry("NVIDIA P100", &[12, 16]),
    entry("NVIDIA T4", &[16]),
    entry("NVIDIA V100", &[16, 32]),
    entry("NVIDIA A2", &[16]),
    entry("NVIDIA A10", &[24]),
    entry("NVIDIA A10G", &[24]),
    entry("NVIDIA A16", &[16]),
    entry("NVIDIA A30", &[24]),
    entry("NVIDIA A40", &[48]),
    entry("NVIDIA A100", &[40, 80]),
    entry("NVIDIA A800", &[40, 80]),
    entry("NVIDIA L4", &[24]),
    entry("NVIDIA L20", &[48]),
    entry("NVIDIA L40", &[48]),
    entry("NVIDIA L40S", &[48]),
    entry("NVIDIA H20", &[96, 141]),
    entry("NVIDIA H100", &[80, 96]),
    entry("NVIDIA H100 NVL", &[94]),
    entry("NVIDIA H200", &[141]),
    entry("NVIDIA H200 NVL", &[141]),
    entry("NVIDIA H800", &[80]),
    entry("NVIDIA GH200", &[96, 144]),
    entry("NVIDIA B100", &[192]),
    also("NVIDIA B200", &[180, 192], &["gb200"]),
    also("NVIDIA B300", &[270, 288], &["gb300"]),
    also("NVIDIA GB10", &[], &["dgxspark"]),
    entry("AMD Radeon RX 6600", &[8]),
    entry("AMD Radeon RX 6600 XT", &[8]),
    entry("AMD Radeon RX 6650 XT", &[8]),
    entry("AMD Radeon RX 6700 XT", &[12]),
    entry("AMD Radeon RX 6750 XT", &[12]),
    entry("AMD Radeon RX 6800", &[16]),
    entry("AMD Radeon RX 6800 XT", &[16]),
    entry("AMD Radeon RX 6900 XT", &[16]),
    entry("AMD Radeon RX 6950 XT", &[16]),
    entry("AMD Radeon RX 7600", &[8]),
    entry("AMD Radeon RX 7600 XT", &[16]),
    entry("AMD Radeon RX 7700 XT", &[12]),
    entry("AMD Radeon RX 7800 XT", &[16]),
    entry("AMD Radeon RX 7900 GRE", &[16]),
    entry("AMD Radeon RX 7900 XT", &[20]),
    entry("AMD Radeon RX 7900 XTX", &[24]),
    entry("AMD Radeon RX 9060 XT", &[8, 16]),
    entry("AMD Radeon RX 9070", &[16]),
    entry("AMD Radeon RX 9070 XT", &[16]),
    entry("AMD Radeon PRO W6800", &[32]),
    entry("AMD Radeon PRO W7800", &[32, 48]),
    entry("AMD Radeon PRO W7900", &[48]),
    entry("AMD Radeon AI PRO R9700", &[32]),
    entry("AMD Instinct MI50", &[16, 32]),
    entry("AMD Instinct MI60", &[32]),
    entry("AMD Instinct MI100", &[32]),
    entry("AMD Instinct MI210", &[64]),
    entry("AMD Instinct MI250", &[128]),
    entry("AMD Instinct MI250X", &[128]),
    entry("AMD Instinct MI300A", &[128]),
    entry("AMD Instinct MI300X", &[192]),
    entry("AMD Instinct MI325X", &[256]),
    entry("AMD Instinct MI350X", &[288]),
    entry("AMD Instinct MI355X", &[288]),
    entry("Apple M1", &[]),
    entry("Apple M1 Pro", &[]),
    entry("Apple M1 Max", &[]),
    entry("Apple M1 Ultra", &[]),
    entry("Apple M2", &[]),
    entry("Apple M2 Pro", &[]),
    entry("Apple M2 Max", &[]),
    entry("Apple M2 Ultra", &[]),
    entry("Apple M3", &[]),
    entry("Apple M3 Pro", &[]),
    entry("Apple M3 Max", &[]),
    entry("Apple M3 Ultra", &[]),
    entry("Apple M4", &[]),
    entry("Apple M4 Pro", &[]),
    entry("Apple M4 Max", &[]),
    entry("Apple M5", &[]),
    entry("Intel Arc A310", &[4]),
    entry("Intel Arc A380", &[6]),
    entry("Intel Arc A580", &[8]),
    entry("Intel Arc A750", &[8]),
    entry("Intel Arc A770", &[8, 16]),
    entry("Intel Arc B570", &[10]),
    entry("Intel Arc B580", &[12]),
    entry("Intel Arc Pro B50", &[16]),
    entry("Intel Arc Pro B60", &[24]),
];

/// Makers and families at the beginning of a name.
const MAKERS: [&str; 9] = [
    "nvidia", "amd", "intel", "apple", "tesla", "quadro", "geforce", "radeon", "instinct",
];

/// Words that name a form factor, a memory type or nothing.
const NOISE: [&str; 20] = [
    "gpu",
    "graphics",
    "r",
    "tm",
    "pcie",
    "sxm",
    "sxm2",
    "sxm3",
    "sxm4",
    "sxm5",
    "sxm6",
    "hbm2",
    "hbm2e",
    "hbm3",
    "hbm3e",
    "oam",
    "generation",
    "workstation",
    "server",
    "edition",
];

/// The families that a bare number may belong to (`4090`, `7900 XTX`), and Arc.
const IMPLIED: [&str; 4] = ["rtx", "rx", "gtx", "arc"];

/// What two spellings of one GPU have in common, and the memory in GiB that the name states.
pub(super) fn key(name: &str) -> (String, Option<u32>) {
    let lower = name.to_lowercase();
    let words: Vec<&str> = lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    let mut key = String::new();
    let mut memory = None;
    let mut index = 0;
    while index < words.len() {
        let word = words[index];
        let next = words.get(index + 1).copied();
        if let Some(size) = memory_size(word) {
            memory = Some(size);
        } else if let (Ok(size), Some("gb" | "gib")) = (word.parse::<u32>(), next) {
            memory = Some(size);
            index += 1;
        } else if !NOISE.contains(&word) {
            key.push_str(word);
        }
        index += 1;
    }
    let mut rest = key.as_str();
    while let Some(shorter) = MAKERS.iter().find_map(|maker| rest.strip_prefix(maker)) {
        rest = shorter;
    }
    (rest.to_owned(), memory)
}

fn memory_size(word: &str) -> Option<u32> {
    let digits = word
        .strip_suffix("gib")
        .or_else(|| word.strip_suffix("gb"))
        .or_else(|| word.strip_suffix('g'))?;
    digits.parse().ok()
}

/// The entry that a [`key`] belongs to.
pub(super) fn find(wanted: &str) -> Option<&'static Entry> {
    if wanted.is_empty() {
        return None;
    }
    let matches = |entry: &&Entry| key(entry.model).0 == wanted || entry.aliases.contains(&wanted);
    CATALOGUE.iter().find(matches).or_else(|| {
        IMPLIED.iter().find_map(|family| {
            let full = format!("{family}{wanted}");
            CATALOGUE.iter().find(|entry| key(entry.model).0 == full)
        })
    })
}

/// All canonical names.
pub(super) fn models() -> impl Iterator<Item = &'static str> {
    CATALOGUE.iter().map(|entry| entry.model)
}

/// The name without maker and family.
pub(super) fn short_name(model: &str) -> &str {
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
