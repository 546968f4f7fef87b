//! Reading one table of the file, and remembering all that is wrong with it.
//!
//! serde stops at the first error; an operator wants to see all of them at once.
//! So the tables are read key by key: each key that the code knows is asked for,
//! what was never asked for is unknown, and every complaint has its span.

use std::ops::Range;
use std::ops::RangeInclusive;
use std::str::FromStr;

use toml::Spanned;
use toml::de::DeTable;
use toml::de::DeValue;

use super::problem::Problem;

/// A table of the file while it is being read.
pub(super) struct Section<'a> {
    /// What a person calls it: "[umem]", "[[listen]]", "the file".
    title: &'static str,
    table: &'a DeTable<'a>,
    span: Range<usize>,
    asked: Vec<&'static str>,
    problems: &'a mut Vec<Problem>,
}

type Value<'a> = &'a Spanned<DeValue<'a>>;

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "numbers from 0 to 1, in thousandths"
)]
impl<'a> Section<'a> {
    pub(super) fn new(
        title: &'static str,
        table: &'a DeTable<'a>,
        span: Range<usize>,
        problems: &'a mut Vec<Problem>,
    ) -> Section<'a> {
        Section {
            title,
            table,
            span,
            asked: Vec::new(),
            problems,
        }
    }

    /// Whether `key` stands in the file.
    pub(super) fn says(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The value of `key`, where it stands in the file.
    fn value(&mut self, key: &'static str) -> Option<Value<'a>> {
        self.asked.push(key);
        self.table.get(key)
    }

    fn wrong(&mut self, value: Value<'_>, message: String, expected: &str) {
        self.problems.push(Problem::new(
            value.span(),
            message,
            format!("expected {expected}"),
        ));
    }

    fn wrong_type(&mut self, key: &str, value: Value<'_>, expected: &str) {
        let found = match value.get_ref().type_str() {
            "string" => "text",
            "array" => "a list",
            "integer" => "a number",
            "float" => "a fraction",
            "boolean" => "true or false",
            "datetime" => "a date",
            "table" => "a table",
            other => other,
        };
        self.wrong(value, format!("`{key}` cannot be {found}"), expected);
    }

    /// Complains that `key` is missing, unless it is there (and wrong).
    fn missing(&mut self, key: &str, expected: &str) {
        if !self.table.contains_key(key) {
            let message = format!("{} has no `{key}`", self.title);
            self.problems.push(Problem::new(
                self.span.clone(),
                message,
                format!("add `{key}`: {expected}"),
            ));
        }
    }

    /// A whole number within `allowed`, or `default`.
    pub(super) fn integer(
        &mut self,
        key: &'static str,
        allowed: RangeInclusive<u32>,
        default: u32,
    ) -> Spanned<u32> {
        let Some(value) = self.value(key) else {
            return Spanned::new(self.span.clone(), default);
        };
        let expected = format!(
            "a whole number from {} to {}",
            allowed.start(),
            allowed.end()
        );
        let number = match whole_number(value) {
            None => {
                self.wrong_type(key, value, &expected);
                default
            }
            Some(number) => match u32::try_from(number).ok().filter(|n| allowed.contains(n)) {
                Some(number) => number,
                None => {
                    self.wrong(value, format!("`{key}` is out of range"), &expected);
                    default
                }
            },
        };
        Spanned::new(value.span(), number)
    }

    /// A list of whole numbers, each up to `max`.
    pub(super) fn integers(
        &mut self,
        key: &'static str,
        max: u16,
    ) -> Option<Spanned<Vec<Spanned<u16>>>> {
        let expected = format!("a list of whole numbers from 0 to {max}");
        let list = self.list(key, &expected)?;
        let mut numbers = Vec::new();
        for item in list.get_ref() {
            let number = whole_number(item).and_then(|number| u16::try_from(number).ok());
            match number.filter(|&number| number <= max) {
                Some(number) => numbers.push(Spanned::new(item.span(), number)),
                None => self.wrong(item, format!("`{key}` holds something else"), &expected),
            }
        }
        // A list that could only be read in part says nothing about its length.
        (numbers.len() == list.get_ref().len()).then(|| Spanned::new(list.span(), numbers))
    }

    /// A whole number within `allowed`, or a list of up to `max` of them: what stands there,
    /// if all of it can be read.
    pub(super) fn one_or_more(
        &mut self,
        key: &'static str,
        allowed: &RangeInclusive<u16>,
        max: usize,
    ) -> Option<Spanned<Vec<u16>>> {
        let value = self.value(key)?;
        let (first, last) = (allowed.start(), allowed.end());
        let expected = format!("a whole number from {first} to {last}, or a list of up to {max}");
        let items = match value.get_ref().as_array() {
            Some(list) => list.iter().collect(),
            None => vec![value],
        };
        let fits = |item: &Value<'_>| {
            let number = u16::try_from(whole_number(item)?).ok();
            number.filter(|number| allowed.contains(number))
        };
        let numbers: Option<Vec<u16>> = items.iter().map(fits).collect();
        match numbers {
            Some(numbers) if (1..=max).contains(&numbers.len()) => {
                Some(Spanned::new(value.span(), numbers))
            }
            _ => {
                self.wrong(value, format!("`{key}` cannot be that"), &expected);
                None
            }
        }
    }

    fn list(&mut self, key: &'static str, expected: &str) -> Option<Spanned<Vec<Value<'a>>>> {
        let value = self.value(key)?;
        match value.get_ref().as_array() {
            Some(list) => Some(Spanned::new(value.span(), list.iter().collect())),
            None => {
                self.wrong_type(key, value, expected);
                None
            }
        }
    }

    /// One of a few words, or `default`.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&str, T)],
        default: T,
    ) -> Spanned<T> {
        let Some(value) = self.value(key) else {
            return Spanned::new(self.span.clone(), default);
        };
        let all: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let expected = either(&all);
        let Some(text) = value.get_ref().as_str() else {
            self.wrong_type(key, value, &expected);
            return Spanned::new(value.span(), default);
        };
        let choice = match words.iter().find(|(word, _)| *word == text) {
            Some((_, choice)) => *choice,
            None => {
                let help = match nearest(text, &all) {
                    Some(near) => format!("{expected}; did you mean \"{near}\"?"),
                    None => expected,
                };
                self.wrong(value, format!("`{key}` cannot be \"{text}\""), &help);
                default
            }
        };
        Spanned::new(value.span(), choice)
    }

    /// Text that `T` can read, where the key stands in the file.
    pub(super) fn parsed<T: FromStr>(
        &mut self,
        key: &'static str,
        expected: &str,
    ) -> Option<Spanned<T>> {
        let value = self.value(key)?;
        self.read(key, value, expected)
    }

    fn read<T: FromStr>(
        &mut self,
        key: &str,
        value: Value<'_>,
        expected: &str,
    ) -> Option<Spanned<T>> {
        let Some(text) = value.get_ref().as_str() else {
            self.wrong_type(key, value, expected);
            return None;
        };
        match text.parse() {
            Ok(parsed) => Some(Spanned::new(value.span(), parsed)),
            Err(_) => {
                self.wrong(value, format!("`{key}` cannot be \"{text}\""), expected);
                None
            }
        }
    }

    /// The same, where the key must stand there.
    pub(super) fn required<T: FromStr>(
        &mut self,
        key: &'static str,
        expected: &str,
    ) -> Option<Spanned<T>> {
        let parsed = self.parsed(key, expected);
        if parsed.is_none() {
            self.missing(key, expected);
        }
        parsed
    }

    /// A list of texts that `T` can read; it must stand there and not be empty.
    pub(super) fn required_list<T: FromStr>(
        &mut self,
        key: &'static str,
        expected: &str,
    ) -> Vec<Spanned<T>> {
        let expected_list = format!("a list of {expected}");
        let Some(list) = self.list(key, &expected_list) else {
            self.missing(key, &expected_list);
            return Vec::new();
        };
        if list.get_ref().is_empty() {
            let message = format!("`{key}` is empty");
            self.problems.push(Problem::new(
                list.span(),
                message,
                format!("expected {expected_list}"),
            ));
        }
        list.get_ref()
            .iter()
            .filter_map(|item| self.read(key, item, expected))
            .collect()
    }

    /// A text that `T` can read, or a list of them that is not empty; none where the key does
    /// not stand there.
    pub(super) fn one_or_list<T: FromStr>(
        &mut self,
        key: &'static str,
        expected: &str,
    ) -> Vec<Spanned<T>> {
        let expected = format!("{expected}, or a list of such");
        let items = self.one_or_more_items(key, &expected);
        items
            .into_iter()
            .filter_map(|item| self.read(key, item, &expected))
            .collect()
    }

    /// The value of `key`, or each of the list that stands there. An empty list is wrong.
    fn one_or_more_items(&mut self, key: &'static str, expected: &str) -> Vec<Value<'a>> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        match value.get_ref().as_array() {
            Some(list) if list.is_empty() => {
                self.wrong(value, format!("`{key}` is empty"), expected);
                Vec::new()
            }
            Some(list) => list.iter().collect(),
            None => vec![value],
        }
    }

    /// A text that `T` can read, or a list of such texts and of tables `{ .. }` that `read`
    /// reads; it must stand there.
    pub(super) fn texts_or_tables<T: FromStr, R>(
        &mut self,
        key: &'static str,
        title: &'static str,
        expected: &str,
        of_text: impl Fn(Spanned<T>) -> R,
        mut read: impl FnMut(&mut Section<'_>) -> Option<R>,
    ) -> Vec<R> {
        let mut found = Vec::new();
        for item in self.one_or_more_items(key, expected) {
            if let Some(table) = item.get_ref().as_table() {
                let mut section = Section::new(title, table, item.span(), self.problems);
                found.extend(read(&mut section));
                section.finish();
            } else {
                found.extend(self.read(key, item, expected).map(&of_text));
            }
        }
        if found.is_empty() {
            self.missing(key, expected);
        }
        found
    }

    /// A number from 0 to 1, in thousandths, or `default`.
    pub(super) fn thousandths(&mut self, key: &'static str, default: u16) -> u16 {
        let expected = "a number from 0 to 1, as in 0.5";
        let Some(value) = self.value(key) else {
            return default;
        };
        let number = match value.get_ref() {
            DeValue::Float(float) => float.as_str().parse::<f64>().ok(),
            DeValue::Integer(_) => whole_number(value).map(|number| number as f64),
            _ => {
                self.wrong_type(key, value, expected);
                return default;
            }
        };
        match number.filter(|number| (0.0..=1.0).contains(number)) {
            Some(number) => (number * 1000.0).round() as u16,
            None => {
                self.wrong(value, format!("`{key}` is out of range"), expected);
                default
            }
        }
    }

    /// `true` or `false`; false where the key does not stand there.
    pub(super) fn flag(&mut self, key: &'static str) -> bool {
        let Some(value) = self.value(key) else {
            return false;
        };
        value.get_ref().as_bool().unwrap_or_else(|| {
            self.wrong_type(key, value, "true or false");
            false
        })
    }

    /// `true`, `false` or a text that `T` can read; false where the key does not stand there.
    pub(super) fn flag_or<T: FromStr>(
        &mut self,
        key: &'static str,
        expected: &str,
    ) -> (bool, Option<Spanned<T>>) {
        let Some(value) = self.value(key) else {
            return (false, None);
        };
        match value.get_ref().as_bool() {
            Some(flag) => (flag, None),
            None => (false, self.read(key, value, expected)),
        }
    }

    /// The one table `[key]`, or `None`.
    pub(super) fn table(&mut self, key: &'static str, title: &'static str) -> Option<Section<'_>> {
        let value = self.value(key)?;
        match value.get_ref().as_table() {
            Some(table) => Some(Section::new(title, table, value.span(), self.problems)),
            None => {
                self.wrong_type(key, value, &format!("a table: {title}"));
                None
            }
        }
    }

    /// Every table `[[key]]`, each read by `read` in the order of the file.
    pub(super) fn tables(
        &mut self,
        key: &'static str,
        title: &'static str,
        mut read: impl FnMut(&mut Section<'_>),
    ) {
        let expected = format!("tables: {title}");
        let Some(list) = self.list(key, &expected) else {
            return;
        };
        for item in list.get_ref() {
            match item.get_ref().as_table() {
                Some(table) => {
                    let mut section = Section::new(title, table, item.span(), self.problems);
                    read(&mut section);
                    section.finish();
                }
                None => self.wrong_type(key, item, &expected),
            }
        }
    }

    /// Where the table begins, for what concerns all of it.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Refuses every key that no one asked for.
    pub(super) fn finish(self) {
        for (key, value) in self.table {
            let name = key.get_ref().as_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let what = match value.get_ref().is_table() || is_tables(value.get_ref()) {
                true => "table",
                false => "key",
            };
            let help = match nearest(name, &self.asked) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("{} takes {}", self.title, self.asked.join(", ")),
            };
            let message = format!("unknown {what} `{name}` in {}", self.title);
            self.problems.push(Problem::new(key.span(), message, help));
        }
    }
}

fn is_tables(value: &DeValue<'_>) -> bool {
    value
        .as_array()
        .is_some_and(|list| list.iter().any(|item| item.get_ref().is_table()))
}

fn whole_number(value: Value<'_>) -> Option<i64> {
    let number = value.get_ref().as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// "a", "b" or "c".
fn either(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// The word that `wrong` was probably meant to be.
pub(crate) fn nearest<'w>(wrong: &str, words: &[&'w str]) -> Option<&'w str> {
    let far = (wrong.chars().count() / 3).max(1);
    words
        .iter()
        .map(|word| (strsim::damerau_levenshtein(wrong, word), *word))
        .filter(|(distance, _)| *distance <= far)
        .min()
        .map(|(_, word)| word)
}
