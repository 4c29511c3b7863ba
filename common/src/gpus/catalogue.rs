//! The known GPUs: the rows of `common/data/gpus.csv`, and finding one by its name.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Place;
use std::sync::LazyLock;

use serde::Deserialize;

use super::MAX_NAME_CHARS;
use super::key::{Keys, without_family};
use crate::limits::MAX_VRAM_GIB;
use crate::nearest::nearest;

const TEXT: &str = include_str!("../../data/gpus.csv");

/// GB/s that some GPU's memory may have: from below the slowest to far above the fastest that is sold.
const BANDWIDTHS: std::ops::RangeInclusive<u32> = 20..=100_000;

pub(super) static CATALOGUE: LazyLock<Catalogue> =
    LazyLock::new(|| Catalogue::parse(TEXT).expect("a test reads the same file"));

/// Who makes a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vendor {
    Nvidia,
    Amd,
    Intel,
    Apple,
}

impl Vendor {
    /// Of a canonical name, which begins with it.
    fn of(model: &str) -> Option<Self> {
        match model.split(' ').next()? {
            "NVIDIA" => Some(Self::Nvidia),
            "AMD" => Some(Self::Amd),
            "Intel" => Some(Self::Intel),
            "Apple" => Some(Self::Apple),
            _ => None,
        }
    }
}

/// A line of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    vram_gib: Option<u32>,
    bandwidth_gb_s: Option<u32>,
    aliases: String,
    source: String,
}

impl Row {
    fn aliases(&self) -> impl Iterator<Item = &str> {
        self.aliases.split(';').filter(|alias| !alias.is_empty())
    }

    /// What is wrong with it by itself.
    fn problem(&self) -> Option<&'static str> {
        let names = || std::iter::once(self.name.as_str()).chain(self.aliases());
        if Vendor::of(&self.name).is_none() {
            return Some("does not begin with NVIDIA, AMD, Intel or Apple");
        }
        if names().any(|name| name.trim() != name || name.chars().count() > MAX_NAME_CHARS) {
            return Some("has a name with outer spaces or of more than 64 characters");
        }
        if names().any(|name| Keys::of(name).whole.is_empty()) {
            return Some("has a name of a maker only");
        }
        if !self
            .vram_gib
            .is_none_or(|gib| (1..=MAX_VRAM_GIB).contains(&gib))
        {
            return Some("has a vram_gib out of bounds");
        }
        if !self
            .bandwidth_gb_s
            .is_none_or(|gb_s| BANDWIDTHS.contains(&gb_s))
        {
            return Some("has a bandwidth_gb_s out of bounds");
        }
        if !self.source.starts_with("https://") {
            return Some("has no source (https://…)");
        }
        None
    }
}

/// One GPU model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) model: String,
    vendor: Vendor,
    /// Sizes in GiB that it was sold with, ascending; empty where it shares the processor's memory.
    pub(super) vram_gib: Vec<u32>,
    /// GB/s of each size, or the one of shared memory.
    bandwidths: Vec<Option<u32>>,
}

impl Entry {
    /// In GB/s, of the version with that much memory; the least of all where there is none.
    pub(super) fn bandwidth(&self, vram_gib: Option<u32>) -> Option<u32> {
        let version = self.vram_gib.iter().position(|gib| Some(*gib) == vram_gib);
        match version {
            Some(version) => self.bandwidths.get(version).copied().flatten(),
            None => self.bandwidths.iter().flatten().min().copied(),
        }
    }
}

/// What a name says.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) entry: Option<&'a Entry>,
    /// The memory that the name states beside the model, in GiB.
    pub(super) stated_vram_gib: Option<u32>,
    keys: Keys,
}

#[derive(Debug)]
pub(super) struct Catalogue {
    pub(super) entries: Vec<Entry>,
    /// From a key to the place of its entry.
    index: BTreeMap<String, usize>,
}

impl Catalogue {
    /// Reads the file's text and checks it.
    fn parse(text: &str) -> Result<Self, String> {
        let rows: Vec<Row> = csv::ReaderBuilder::new()
            .comment(Some(b'#'))
            .from_reader(text.as_bytes())
            .into_deserialize()
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())?;
        for row in &rows {
            if let Some(problem) = row.problem() {
                return Err(format!("{} {problem}", row.name));
            }
        }
        for pair in rows.windows(2) {
            let (before, after) = (&pair[0], &pair[1]);
            if (&before.name, before.vram_gib) >= (&after.name, after.vram_gib) {
                return Err(format!("{} stands before {}", before.name, after.name));
            }
            if before.name == after.name && before.vram_gib.is_none() {
                return Err(format!("{} shares memory and has its own", after.name));
            }
        }
        let mut entries: Vec<Entry> = Vec::new();
        for row in &rows {
            if entries.last().is_none_or(|entry| entry.model != row.name) {
                entries.push(Entry {
                    model: row.name.clone(),
                    vendor: Vendor::of(&row.name).ok_or("no vendor")?,
                    vram_gib: Vec::new(),
                    bandwidths: Vec::new(),
                });
            }
            if let Some(entry) = entries.last_mut() {
                entry.vram_gib.extend(row.vram_gib);
                entry.bandwidths.push(row.bandwidth_gb_s);
            }
        }
        let index = index(&rows, &entries)?;
        Ok(Self { entries, index })
    }

    /// Looks a name up.
    pub(super) fn find(&self, name: &str) -> Found<'_> {
        let keys = Keys::of(name);
        let get = |key: &String| {
            let entry = self.entries.get(*self.index.get(key)?)?;
            keys.is_of(entry.vendor).then_some(entry)
        };
        let whole = get(&keys.whole);
        Found {
            entry: whole
                .or_else(|| get(&keys.sized))
                .or_else(|| get(&keys.bare)),
            // A size that is part of a known name is none of the GPU's memory: a GH200 480GB has 96.
            stated_vram_gib: keys.stated_vram_gib.filter(|_| whole.is_none()),
            keys,
        }
    }

    /// The model that was probably meant by a name that is not there.
    pub(super) fn nearest(&self, found: &Found<'_>) -> Option<&str> {
        let of_vendor = |entry: &Entry| found.keys.is_of(entry.vendor);
        let candidates = self
            .index
            .iter()
            .filter(|(_, place)| self.entries.get(**place).is_some_and(of_vendor));
        let key = nearest(&found.keys.bare, candidates.map(|(key, _)| key.as_str()))?;
        let entry = self.entries.get(*self.index.get(key)?)?;
        Some(&entry.model)
    }
}

/// Every key of every name: all its words first, then, where they are free, without family and noise.
fn index(rows: &[Row], entries: &[Entry]) -> Result<BTreeMap<String, usize>, String> {
    let mut index: BTreeMap<String, usize> = BTreeMap::new();
    let names: Vec<(usize, Keys, &str)> = entries
        .iter()
        .enumerate()
        .flat_map(|(place, entry)| {
            let aliases = rows
                .iter()
                .filter(|row| row.name == entry.model)
                .flat_map(Row::aliases);
            std::iter::once(entry.model.as_str())
                .chain(aliases)
                .map(move |name| (place, Keys::of(name), name))
        })
        .collect();
    let clash = |name: &str, other: usize, key: &str| {
        let other = entries.get(other).map_or("", |entry| &entry.model);
        format!("{name} and a name of {other} are both read as {key}")
    };
    for (place, keys, name) in &names {
        if let Some(other) = index.insert(keys.whole.clone(), *place) {
            return Err(clash(name, other, &keys.whole));
        }
    }
    let whole = index.clone();
    for (place, keys, name) in &names {
        for key in [without_family(&keys.whole), Some(keys.bare.as_str())] {
            let Some(key) = key.filter(|key| !key.is_empty() && !whole.contains_key(*key)) else {
                continue;
            };
            match index.entry(key.to_owned()) {
                Place::Vacant(vacant) => {
                    vacant.insert(*place);
                }
                Place::Occupied(taken) if taken.get() == place => {}
                Place::Occupied(taken) => return Err(clash(name, *taken.get(), key)),
            }
        }
    }
    Ok(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "# a comment\nname,vram_gib,bandwidth_gb_s,aliases,source\n";

    fn parse(lines: &str) -> Result<Catalogue, String> {
        Catalogue::parse(&format!("{HEAD}{lines}"))
    }

    #[test]
    fn the_file_is_sound() {
        let catalogue = Catalogue::parse(TEXT).expect("common/data/gpus.csv");
        for entry in &catalogue.entries {
            let model = &entry.model;
            for name in [model, super::super::short_name(model)] {
                assert_eq!(catalogue.find(name).entry, Some(entry), "{name}");
            }
            assert!(entry.vram_gib.is_sorted_by(|a, b| a < b), "{model}");
        }
        for vendor in [Vendor::Nvidia, Vendor::Amd, Vendor::Intel, Vendor::Apple] {
            let count = catalogue
                .entries
                .iter()
                .filter(|entry| entry.vendor == vendor)
                .count();
            assert!(count >= 10, "{vendor:?}: {count}");
        }
    }

    #[test]
    fn every_alias_is_one_model() {
        let catalogue = Catalogue::parse(TEXT).expect("common/data/gpus.csv");
        let rows: Vec<Row> = csv::ReaderBuilder::new()
            .comment(Some(b'#'))
            .from_reader(TEXT.as_bytes())
            .into_deserialize()
            .collect::<Result<_, _>>()
            .expect("common/data/gpus.csv");
        assert_eq!(
            rows.len(),
            catalogue
                .entries
                .iter()
                .map(|entry| entry.bandwidths.len())
                .sum::<usize>()
        );
        for row in &rows {
            for alias in row.aliases() {
                let found = catalogue.find(alias);
                assert_eq!(
                    found.entry.map(|entry| &entry.model),
                    Some(&row.name),
                    "{alias}"
                );
            }
        }
    }

    #[test]
    fn a_faulty_file_is_refused() {
        let sound =
            "AMD Radeon X,8,100,Y;Z 9GB,https://a.example\nAMD Radeon X,16,,,https://a.example\n";
        assert_eq!(parse(sound).map(|catalogue| catalogue.entries.len()), Ok(1));
        for (lines, problem) in [
            ("Matrox X,8,100,,https://a.example\n", "does not begin with"),
            ("AMD X ,8,100,,https://a.example\n", "outer spaces"),
            ("AMD X,8,100,Y; Z,https://a.example\n", "outer spaces"),
            ("AMD Radeon,8,100,,https://a.example\n", "a maker only"),
            ("AMD X,0,100,,https://a.example\n", "vram_gib out of bounds"),
            (
                "AMD X,5000,100,,https://a.example\n",
                "vram_gib out of bounds",
            ),
            (
                "AMD X,8,2,,https://a.example\n",
                "bandwidth_gb_s out of bounds",
            ),
            (
                "AMD X,8,100000000,,https://a.example\n",
                "bandwidth_gb_s out of bounds",
            ),
            ("AMD X,8,1.5,,https://a.example\n", "invalid digit"),
            ("AMD X,8,100,\n", "fields"),
            ("AMD X,8,100,,\n", "no source"),
            (
                "AMD X,8,,,https://a.example\nAMD X,8,,,https://a.example\n",
                "stands before",
            ),
            (
                "AMD Y,8,,,https://a.example\nAMD X,8,,,https://a.example\n",
                "stands before",
            ),
            (
                "AMD X,,,,https://a.example\nAMD X,8,,,https://a.example\n",
                "shares memory",
            ),
            (
                "AMD Radeon X,8,,,https://a.example\nAMD X,8,,,https://a.example\n",
                "both read as x",
            ),
            (
                "AMD X,8,,,https://a.example\nNVIDIA X,8,,,https://a.example\n",
                "both read as",
            ),
            (
                "AMD X,8,,Y,https://a.example\nAMD Z,8,,y,https://a.example\n",
                "both read as",
            ),
            (
                "AMD RX 9,8,,,https://a.example\nIntel Arc 9,8,,,https://a.example\n",
                "both read as 9",
            ),
        ] {
            let error = parse(lines).expect_err(lines);
            assert!(error.contains(problem), "{lines}: {error}");
        }
    }
}
