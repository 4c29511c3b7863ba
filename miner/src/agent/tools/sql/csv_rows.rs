//! Rows of a CSV file.

use csv::{ReaderBuilder, StringRecord};
use std::borrow::Cow;

use super::table::Cell;

/// A CSV file with a header.
pub(super) struct CsvRows<'a> {
    bytes: &'a [u8],
    delimiter: u8,
    pub names: Vec<String>,
}

impl<'a> CsvRows<'a> {
    pub fn read(bytes: &'a [u8]) -> Result<Self, String> {
        if let Err(error) = std::str::from_utf8(bytes) {
            let before = &bytes[..error.valid_up_to()];
            let line = 1 + before.iter().filter(|b| **b == b'\n').count();
            return Err(format!(
                "it is not UTF-8 text (line {line}); save it as UTF-8"
            ));
        }
        let delimiter = delimiter(bytes);
        let mut reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .flexible(true)
            .from_reader(bytes);
        let header = reader.headers().map_err(|error| error.to_string())?;
        let names: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
        if names.iter().all(String::is_empty) {
            return Err("it is empty; the first row names the columns".to_owned());
        }
        Ok(Self {
            bytes,
            delimiter,
            names,
        })
    }

    /// Hands over each row, as many cells as there are columns, and whether fields were left over.
    pub fn each(
        &self,
        mut row: impl FnMut(&[Cell<'_>], bool) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut reader = ReaderBuilder::new()
            .delimiter(self.delimiter)
            .flexible(true)
            .from_reader(self.bytes);
        let mut record = StringRecord::new();
        while reader
            .read_record(&mut record)
            .map_err(|error| error.to_string())?
        {
            let field = |index| match record.get(index) {
                None | Some("") => Cell::Null,
                Some(text) => Cell::Plain(Cow::Borrowed(text)),
            };
            let cells: Vec<Cell<'_>> = (0..self.names.len()).map(field).collect();
            let left_over = record
                .iter()
                .skip(self.names.len())
                .any(|text| !text.is_empty());
            row(&cells, left_over)?;
        }
        Ok(())
    }
}

/// Comma, semicolon or tab: what the first line has most of.
fn delimiter(bytes: &[u8]) -> u8 {
    let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
    let count = |delimiter: u8| {
        let (mut quoted, mut count) = (false, 0_usize);
        for byte in line {
            quoted ^= *byte == b'"';
            count += usize::from(!quoted && *byte == delimiter);
        }
        count
    };
    // The last of equals wins: a comma.
    [b'\t', b';', b',']
        .into_iter()
        .max_by_key(|delimiter| count(*delimiter))
        .unwrap_or(b',')
}
