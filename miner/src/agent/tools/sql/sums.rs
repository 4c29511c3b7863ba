//! SUM, TOTAL and AVG that are exact on decimals, in place of SQLite's.

use rusqlite::functions::{Aggregate, Context, FunctionFlags, WindowAggregate};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Error, Result};

use super::decimal::Decimal;

/// What is asked of the values.
#[derive(Debug, Clone, Copy)]
enum Ask {
    Sum,
    Total,
    Average,
}

/// The values so far.
#[derive(Debug, Default)]
struct Values {
    sum: Decimal,
    count: i64,
    reals: i64,
}

/// Replaces the functions of a connection.
pub(super) fn replace(connection: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    for (name, ask) in [
        ("sum", Ask::Sum),
        ("total", Ask::Total),
        ("avg", Ask::Average),
    ] {
        connection.create_window_function(name, 1, flags, ask)?;
    }
    Ok(())
}

/// A value that counts, and whether it is no integer.
fn number(context: &Context<'_>) -> Result<Option<(Decimal, bool)>> {
    let failed = |text: String| Error::UserFunctionError(text.into());
    let text = match context.get_raw(0) {
        ValueRef::Null => return Ok(None),
        ValueRef::Integer(value) => value.to_string(),
        ValueRef::Real(value) => format!("{value:e}"),
        ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).trim().to_owned(),
        ValueRef::Blob(_) => return Err(failed("a blob cannot be added up".to_owned())),
    };
    let value = Decimal::read(&text).ok_or_else(|| {
        let text: String = text.chars().take(50).collect();
        failed(format!("{text:?} is no number; leave it out with WHERE"))
    })?;
    let whole =
        matches!(context.get_raw(0), ValueRef::Integer(_)) || !text.contains(['.', 'e', 'E']);
    Ok(Some((value, !whole)))
}

impl Aggregate<Values, Value> for Ask {
    fn init(&self, _: &mut Context<'_>) -> Result<Values> {
        Ok(Values::default())
    }

    fn step(&self, context: &mut Context<'_>, values: &mut Values) -> Result<()> {
        if let Some((value, real)) = number(context)? {
            values.sum.add(&value);
            values.count += 1;
            values.reals += i64::from(real);
        }
        Ok(())
    }

    fn finalize(&self, _: &mut Context<'_>, values: Option<Values>) -> Result<Value> {
        self.of(values.as_ref())
    }
}

impl WindowAggregate<Values, Value> for Ask {
    fn value(&self, values: Option<&mut Values>) -> Result<Value> {
        self.of(values.as_deref())
    }

    fn inverse(&self, context: &mut Context<'_>, values: &mut Values) -> Result<()> {
        if let Some((value, real)) = number(context)? {
            values.sum.subtract(&value);
            values.count -= 1;
            values.reals -= i64::from(real);
        }
        Ok(())
    }
}

impl Ask {
    fn of(self, values: Option<&Values>) -> Result<Value> {
        let some = values.filter(|values| values.count > 0);
        Ok(match (self, some) {
            (Self::Total, None) => Value::Real(0.0),
            (_, None) => Value::Null,
            (Self::Sum, Some(values)) if values.reals == 0 => {
                let sum = values.sum.to_integer().ok_or_else(|| {
                    Error::UserFunctionError("the sum of integers is too large; try TOTAL".into())
                })?;
                Value::Integer(sum)
            }
            (Self::Sum | Self::Total, Some(values)) => Value::Real(values.sum.to_real()),
            (Self::Average, Some(values)) => Value::Real(values.sum.divided(values.count)),
        })
    }
}
