//! Rows of a JSON file: an array of objects, or one object a line.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use super::table::Cell;

/// Most columns of a table.
pub(super) const MAX_COLUMNS: usize = 500;

/// A JSON file whose objects are rows.
pub(super) struct JsonRows<'a> {
    bytes: &'a [u8],
    pub names: Vec<String>,
    places: BTreeMap<String, usize>,
}

impl<'a> JsonRows<'a> {
    /// Reads it once for its columns: all keys that there are, in the order of their first appearance.
    pub fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut rows = Self {
            bytes,
            names: Vec::new(),
            places: BTreeMap::new(),
        };
        let (mut names, mut places) = (Vec::new(), BTreeMap::new());
        rows.objects(&mut |members| {
            for (name, _) in members {
                if !places.contains_key(name.as_ref()) {
                    if names.len() == MAX_COLUMNS {
                        return Err(format!("it has more than {MAX_COLUMNS} columns"));
                    }
                    places.insert(name.clone().into_owned(), names.len());
                    names.push(name.clone().into_owned());
                }
            }
            Ok(())
        })?;
        if names.is_empty() {
            return Err("it has no rows, which are objects".to_owned());
        }
        (rows.names, rows.places) = (names, places);
        Ok(rows)
    }

    /// Hands over each row.
    pub fn each(
        &self,
        mut row: impl FnMut(&[Cell<'_>], bool) -> Result<(), String>,
    ) -> Result<(), String> {
        self.objects(&mut |members| {
            let mut cells = vec![Cell::Null; self.names.len()];
            for (name, value) in members {
                if let Some(place) = self.places.get(name.as_ref()) {
                    cells[*place] = cell(value)?;
                }
            }
            row(&cells, false)
        })
    }

    fn objects(&self, row: OnMembers<'_>) -> Result<(), String> {
        let first = self.bytes.iter().find(|b| !b.is_ascii_whitespace());
        let mut document = serde_json::Deserializer::from_slice(self.bytes);
        let read = if first == Some(&b'[') {
            document
                .deserialize_seq(Rows(row))
                .and_then(|()| document.end())
        } else {
            loop {
                match document.end() {
                    Ok(()) => break Ok(()),
                    Err(_) => match Members(row).deserialize(&mut document) {
                        Ok(()) => {}
                        Err(error) => break Err(error),
                    },
                }
            }
        };
        read.map_err(|error| format!("it is no array of objects nor one object a line: {error}"))
    }
}

/// Numbers as they are written; what is nested as JSON text, which SQLite's JSON functions read.
fn cell(value: &RawValue) -> Result<Cell<'_>, String> {
    let text = value.get();
    Ok(match text.as_bytes().first() {
        Some(b'n') => Cell::Null,
        Some(b't') => Cell::Boolean(true),
        Some(b'f') => Cell::Boolean(false),
        Some(b'"') => {
            let text = serde_json::from_str::<String>(text).map_err(|e| e.to_string())?;
            Cell::Text(Cow::Owned(text))
        }
        Some(b'{' | b'[') => Cell::Text(Cow::Borrowed(text)),
        _ => Cell::Plain(Cow::Borrowed(text)),
    })
}

type OnMembers<'f> = &'f mut dyn FnMut(&[(Cow<'_, str>, &RawValue)]) -> Result<(), String>;

struct Rows<'f>(OnMembers<'f>);

impl<'de> Visitor<'de> for Rows<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while rows.next_element_seed(Members(self.0))?.is_some() {}
        Ok(())
    }
}

struct Members<'f>(OnMembers<'f>);

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut members: Vec<(Cow<'_, str>, &'de RawValue)> = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            members.push((Cow::Owned(name), map.next_value()?));
        }
        (self.0)(&members).map_err(A::Error::custom)
    }
}
