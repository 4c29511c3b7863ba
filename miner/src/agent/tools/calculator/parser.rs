//! Reads an expression and computes it on the way.

use aitbc_common::nearest::nearest;

use super::super::{Stop, ToolError};
use super::number::{Failure, Number};

/// Deepest nesting of parentheses, signs and exponents.
const MAX_DEPTH: usize = 64;

const FUNCTIONS: [&str; 9] = [
    "abs", "min", "max", "sum", "mod", "round", "floor", "ceil", "sqrt",
];

/// The value of an expression.
pub(super) fn evaluate(expression: &str, stop: &Stop) -> Result<Number, ToolError> {
    let characters: Vec<char> = expression.chars().collect();
    let mut parser = Parser {
        characters: &characters,
        at: 0,
        depth: 0,
        stop,
    };
    let value = parser.sum()?;
    match parser.peek() {
        None => Ok(value),
        Some(',') => Err(parser.mistake(
            "a comma; numbers are written without thousands separators, with a point before decimals",
        )),
        Some(c) if c.is_ascii_digit() || c.is_alphabetic() || c == '(' => {
            Err(parser.mistake("an operator is missing before this"))
        }
        Some(c) => Err(parser.mistake(&format!("{c:?} does not belong here"))),
    }
}

struct Parser<'a> {
    characters: &'a [char],
    at: usize,
    depth: usize,
    stop: &'a Stop,
}

impl Parser<'_> {
    fn sum(&mut self) -> Result<Number, ToolError> {
        self.nested(|parser| {
            let mut value = parser.product()?;
            loop {
                let operator = match parser.peek() {
                    Some('+') => Number::add,
                    Some('-' | '−' | '–') => Number::subtract,
                    _ => return Ok(value),
                };
                parser.at += 1;
                let right = parser.product()?;
                value = parser.computed(operator(&value, &right))?;
            }
        })
    }

    fn product(&mut self) -> Result<Number, ToolError> {
        let mut value = self.signed()?;
        loop {
            let operator = match self.peek() {
                Some('*' | '×' | '·') => Number::multiply,
                Some('/' | '÷') => Number::divide,
                _ => return Ok(value),
            };
            self.at += 1;
            let right = self.signed()?;
            value = self.computed(operator(&value, &right))?;
        }
    }

    /// A sign binds weaker than a power: -2^2 is -4.
    fn signed(&mut self) -> Result<Number, ToolError> {
        match self.peek() {
            Some('-' | '−' | '–') => {
                self.at += 1;
                Ok(self.nested(Self::signed)?.negate())
            }
            Some('+') => {
                self.at += 1;
                self.nested(Self::signed)
            }
            _ => self.power(),
        }
    }

    fn power(&mut self) -> Result<Number, ToolError> {
        let base = self.with_percent()?;
        let sign = match (self.peek(), self.characters.get(self.at + 1)) {
            (Some('^'), _) => 1,
            (Some('*'), Some('*')) => 2,
            _ => return Ok(base),
        };
        self.at += sign;
        let exponent = self.nested(Self::signed)?;
        self.computed(base.power(&exponent))
    }

    fn with_percent(&mut self) -> Result<Number, ToolError> {
        let mut value = self.primary()?;
        while self.peek() == Some('%') {
            self.at += 1;
            if self
                .peek()
                .is_some_and(|c| c.is_alphanumeric() || c == '(' || c == '.')
            {
                return Err(self.mistake("% means percent; for a remainder there is mod(x, y)"));
            }
            value = self.computed(value.percent())?;
        }
        Ok(value)
    }

    fn primary(&mut self) -> Result<Number, ToolError> {
        match self.peek() {
            Some('(') => {
                self.at += 1;
                let value = self.sum()?;
                self.expect(')')?;
                Ok(value)
            }
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(),
            Some(c) if c.is_alphabetic() => self.function(),
            Some(c) => Err(self.mistake(&format!("a number is missing before {c:?}"))),
            None => Err(self.mistake("a number is missing")),
        }
    }

    fn number(&mut self) -> Result<Number, ToolError> {
        let start = self.at;
        let mut end = start;
        while let Some(c) = self.characters.get(end) {
            let after_exponent = end > start && matches!(self.characters[end - 1], 'e' | 'E');
            let belongs = c.is_ascii_alphanumeric()
                || matches!(c, '.' | '_')
                || (after_exponent && matches!(c, '+' | '-'));
            if !belongs {
                break;
            }
            end += 1;
        }
        let text: String = self.characters[start..end].iter().collect();
        match Number::read(&text) {
            Some(number) => {
                let number = self.computed(number)?;
                self.at = end;
                Ok(number)
            }
            None => Err(self.mistake(&format!("{text:?} is no number"))),
        }
    }

    fn function(&mut self) -> Result<Number, ToolError> {
        let start = self.at;
        let name: String = self.characters[start..]
            .iter()
            .take_while(|c| c.is_alphanumeric() || **c == '_')
            .collect();
        let lower = name.to_lowercase();
        if !FUNCTIONS.contains(&lower.as_str()) {
            let hint = match nearest(&name, FUNCTIONS) {
                Some(nearest) => format!("did you mean {nearest:?}?"),
                None => format!("the functions are: {}", FUNCTIONS.join(", ")),
            };
            return Err(self.mistake(&format!("{name:?} is unknown; {hint}")));
        }
        self.at += name.chars().count();
        self.expect('(')?;
        let mut arguments = vec![self.sum()?];
        while self.peek() == Some(',') {
            self.at += 1;
            arguments.push(self.sum()?);
        }
        self.expect(')')?;
        self.stop.check()?;
        match apply(&lower, &arguments) {
            Some(value) => self.computed(value),
            None => {
                self.at = start;
                Err(self.mistake(&format!("{name} takes another number of values")))
            }
        }
    }

    fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, ToolError>,
    ) -> Result<T, ToolError> {
        if self.depth == MAX_DEPTH {
            return Err(self.mistake("nested too deep: at most 64 levels"));
        }
        self.depth += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    /// The next character that is no blank, without taking it.
    fn peek(&mut self) -> Option<char> {
        while self.characters.get(self.at)?.is_whitespace() {
            self.at += 1;
        }
        self.characters.get(self.at).copied()
    }

    fn expect(&mut self, expected: char) -> Result<(), ToolError> {
        if self.peek() != Some(expected) {
            return Err(self.mistake(&format!("{expected:?} is missing")));
        }
        self.at += 1;
        Ok(())
    }

    fn computed(&self, value: Result<Number, Failure>) -> Result<Number, ToolError> {
        self.stop.check()?;
        value.map_err(ToolError::Failed)
    }

    fn mistake(&self, what: &str) -> ToolError {
        ToolError::failed(format!("at character {}: {what}", self.at + 1))
    }
}

/// `None` if the function takes another number of arguments.
fn apply(name: &str, arguments: &[Number]) -> Option<Result<Number, Failure>> {
    let value = match (name, arguments) {
        ("abs", [x]) => Ok(x.absolute()),
        ("floor", [x]) => Ok(x.floor()),
        ("ceil", [x]) => Ok(x.ceiling()),
        ("sqrt", [x]) => x.square_root(),
        ("mod", [x, y]) => x.modulo(y),
        ("round", [x, places]) => x.round(places),
        ("round", [x]) => x.round(&x.subtract(x).ok()?),
        ("min", [first, rest @ ..]) => Ok(best(first, rest, Number::is_less)),
        ("max", [first, rest @ ..]) => Ok(best(first, rest, |a, b| b.is_less(a))),
        ("sum", [first, rest @ ..]) => rest.iter().try_fold(first.clone(), |sum, x| sum.add(x)),
        _ => return None,
    };
    Some(value)
}

fn best(first: &Number, rest: &[Number], better: impl Fn(&Number, &Number) -> bool) -> Number {
    rest.iter()
        .fold(first, |best, x| if better(x, best) { x } else { best })
        .clone()
}
