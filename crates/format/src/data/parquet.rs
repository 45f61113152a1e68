//! Parquet through its record reader, without Arrow: one row at a time, a row group's pages as they come.

use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use base64::Engine;
use parquet::data_type::Decimal;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, List, Map as FieldMap, Row as Record};
use serde_json::{Map, Number, Value};

use super::{DataError, Row};

pub(super) fn open(path: &Path) -> Result<(ParquetRows, u64), DataError> {
    let file = File::open(path).map_err(|source| DataError::read(path, source))?;
    let mut rows = ParquetRows { path: path.to_owned(), rows: None, next_row: 0 };
    let opened = guard(|| {
        let reader = SerializedFileReader::new(file)?;
        let count = reader.metadata().file_metadata().num_rows();
        Ok((reader, count))
    });
    let (reader, count) = opened.map_err(|message| rows.broken(message))?;
    let iterator =
        guard(|| Ok(RowIter::from_file_into(Box::new(reader)))).map_err(|message| rows.broken(message))?;
    rows.rows = Some(iterator);
    Ok((rows, u64::try_from(count).unwrap_or(0)))
}

pub(super) struct ParquetRows {
    path: PathBuf,
    rows: Option<RowIter<'static>>,
    next_row: u64,
}

impl ParquetRows {
    fn broken(&self, message: String) -> DataError {
        DataError::BrokenRow { path: self.path.clone(), row: self.next_row + 1, message }
    }
}

/// The library asserts where a hostile file contradicts itself; that must cost a message, not the process.
fn guard<T>(work: impl FnOnce() -> parquet::errors::Result<T>) -> Result<T, String> {
    match std::panic::catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| format!("not readable as Parquet: {error}")),
        Err(_) => Err("the Parquet file contradicts itself".to_owned()),
    }
}

impl Iterator for ParquetRows {
    type Item = Result<Row, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rows = self.rows.as_mut()?;
        // Turning a date into text can panic as well, where the date is far off.
        match guard(|| Ok(rows.next().transpose()?.map(|record| columns(&record)))) {
            Ok(None) => None,
            Ok(Some(values)) => {
                let line_number = self.next_row;
                self.next_row += 1;
                Some(Ok(Row { line_number, values }))
            }
            Err(message) => {
                self.rows = None;
                Some(Err(self.broken(message)))
            }
        }
    }
}

fn columns(record: &Record) -> Map<String, Value> {
    record.get_column_iter().map(|(name, field)| (name.clone(), value_of(field))).collect()
}

fn float(float: f64) -> Value {
    // JSON has no NaN; a missing number in pandas is one.
    Number::from_f64(float).map_or(Value::Null, Value::Number)
}

fn value_of(field: &Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(flag) => Value::Bool(*flag),
        Field::Byte(number) => Value::from(*number),
        Field::Short(number) => Value::from(*number),
        Field::Int(number) => Value::from(*number),
        Field::Long(number) => Value::from(*number),
        Field::UByte(number) => Value::from(*number),
        Field::UShort(number) => Value::from(*number),
        Field::UInt(number) => Value::from(*number),
        Field::ULong(number) => Value::from(*number),
        Field::Float16(number) => float(number.to_f64()),
        // Through text, so that 0.1 stays 0.1 and does not become 0.10000000149011612.
        Field::Float(number) => number.to_string().parse().map_or(Value::Null, float),
        Field::Double(number) => float(*number),
        Field::Decimal(decimal) => Value::String(decimal_text(decimal)),
        Field::Str(text) => Value::String(text.clone()),
        Field::Bytes(bytes) => match bytes.as_utf8() {
            Ok(text) => Value::String(text.to_owned()),
            Err(_) => Value::String(base64::engine::general_purpose::STANDARD.encode(bytes.data())),
        },
        Field::Group(record) => Value::Object(columns(record)),
        Field::ListInternal(list) => list_value(list),
        Field::MapInternal(map) => map_value(map),
        // Dates and times: the library's own text, such as `2026-04-20 12:00:00.000 +00:00`.
        other => Value::String(other.to_string()),
    }
}

fn list_value(list: &List) -> Value {
    Value::Array(list.elements().iter().map(value_of).collect())
}

fn map_value(map: &FieldMap) -> Value {
    let entries = map.entries().iter().map(|(key, value)| {
        let key = match value_of(key) {
            Value::String(text) => text,
            other => other.to_string(),
        };
        (key, value_of(value))
    });
    Value::Object(entries.collect())
}

fn decimal_text(decimal: &Decimal) -> String {
    Field::Decimal(decimal.clone()).to_string()
}
