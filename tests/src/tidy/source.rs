//! Rust source, apart: its code without comments, strings and tests, and its strings. A rule about code must not stumble
//! over a comment that explains it.

/// A source file, taken apart. Line numbers count from 1.
#[derive(Debug, Default)]
pub struct Source {
    /// The code of each line outside of `#[cfg(test)]` items; comments are gone and strings are empty.
    pub code: Vec<String>,
    /// String literals outside of tests: the line that each begins on, and what is between its quotes.
    pub strings: Vec<(usize, String)>,
}

impl Source {
    /// Takes a file apart.
    pub fn read(text: &str) -> Self {
        let mut reader = Reader { rest: text.chars().collect(), at: 0, line: 0, out: Self::default() };
        reader.out.code.push(String::new());
        // Every step takes at least one character, so this ends.
        while reader.at < reader.rest.len() {
            reader.step();
        }
        let tests = tests(&reader.out.code);
        for (line, code) in reader.out.code.iter_mut().enumerate() {
            if tests.get(line).copied().unwrap_or(false) {
                code.clear();
            }
        }
        reader.out.strings.retain(|&(line, _)| !tests.get(line - 1).copied().unwrap_or(false));
        reader.out
    }

    /// Lines, counted from 1, whose code has that word or path: `axum`, `std::time`. Part of a longer word does not count.
    pub fn naming<'a>(&'a self, name: &'a str) -> impl Iterator<Item = usize> + 'a {
        let lines = self.code.iter().enumerate();
        lines.filter(move |(_, code)| names(code, name)).map(|(line, _)| line + 1)
    }
}

/// Whether that word or path stands in the code by itself.
pub fn names(code: &str, name: &str) -> bool {
    let part = |character: char| character.is_alphanumeric() || character == '_';
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + name.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

struct Reader {
    rest: Vec<char>,
    at: usize,
    line: usize,
    out: Source,
}

impl Reader {
    fn peek(&self, ahead: usize) -> char {
        self.rest.get(self.at + ahead).copied().unwrap_or('\0')
    }

    /// Takes one character, into the code if it belongs there.
    fn take(&mut self, is_code: bool) -> char {
        let character = self.peek(0);
        self.at += 1;
        if character == '\n' {
            self.line += 1;
            self.out.code.push(String::new());
        } else if is_code {
            self.out.code[self.line].push(character);
        }
        character
    }

    fn step(&mut self) {
        let within_word = self.at > 0 && (self.rest[self.at - 1].is_alphanumeric() || self.rest[self.at - 1] == '_');
        match (self.peek(0), self.peek(1)) {
            ('/', '/') => self.until_line_end(),
            ('/', '*') => self.block_comment(),
            ('"', _) => self.string(),
            ('r', '"' | '#') if !within_word && self.raw_hashes(1).is_some() => self.raw_string(1),
            ('b' | 'c', 'r') if !within_word && self.raw_hashes(2).is_some() => self.raw_string(2),
            ('\'', _) => self.character(),
            _ => {
                self.take(true);
            }
        }
    }

    fn until_line_end(&mut self) {
        while self.at < self.rest.len() && self.peek(0) != '\n' {
            self.take(false);
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        while self.at < self.rest.len() {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {
                    self.take(false);
                    continue;
                }
            }
            self.take(false);
            self.take(false);
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        let begins = self.line + 1;
        let mut inside = String::new();
        self.take(true);
        while self.at < self.rest.len() {
            match self.peek(0) {
                '"' => {
                    self.take(true);
                    break;
                }
                '\\' => {
                    self.take(false);
                    // A line break that is escaped continues the string without the next line's indent.
                    if self.take(false) == '\n' {
                        while self.peek(0) == ' ' {
                            self.take(false);
                        }
                    }
                }
                _ => inside.push(self.take(false)),
            }
        }
        self.out.strings.push((begins, inside));
    }

    /// How many `#` stand before the quote, if it is a raw string; `r#type` is not.
    fn raw_hashes(&self, prefix: usize) -> Option<usize> {
        let rest = self.rest.get(self.at + prefix..).unwrap_or_default();
        let hashes = rest.iter().take_while(|&&character| character == '#').count();
        (self.peek(prefix + hashes) == '"').then_some(hashes)
    }

    fn raw_string(&mut self, prefix: usize) {
        let hashes = self.raw_hashes(prefix).unwrap_or(0);
        let begins = self.line + 1;
        let mut inside = String::new();
        for _ in 0..=prefix + hashes {
            self.take(false);
        }
        while self.at < self.rest.len() {
            if self.peek(0) == '"' && (1..=hashes).all(|ahead| self.peek(ahead) == '#') {
                for _ in 0..=hashes {
                    self.take(false);
                }
                break;
            }
            inside.push(self.take(false));
        }
        self.out.strings.push((begins, inside));
    }

    /// `'x'` and `'\n'` are characters; `'a` is a lifetime, whose quote alone is taken.
    fn character(&mut self) {
        if self.peek(1) == '\\' {
            self.take(false);
            self.take(false);
            self.take(false);
            while self.at < self.rest.len() && self.take(false) != '\'' {}
        } else if self.peek(2) == '\'' {
            for _ in 0..3 {
                self.take(false);
            }
        } else {
            self.take(true);
        }
    }
}

/// For each line whether it belongs to an item under `#[cfg(test)]`, by its braces.
fn tests(code: &[String]) -> Vec<bool> {
    let mut depth: Option<i64> = None;
    let mark = |line: &String| {
        if depth.is_none() && line.contains("#[cfg(test)]") {
            depth = Some(0);
        }
        let Some(open) = &mut depth else { return false };
        let mut ended = false;
        for character in line.chars() {
            match character {
                '{' => *open += 1,
                '}' => *open -= 1,
                _ => {}
            }
            ended |= *open == 0 && matches!(character, '}' | ';');
        }
        if ended {
            depth = None;
        }
        true
    };
    code.iter().map(mark).collect()
}
