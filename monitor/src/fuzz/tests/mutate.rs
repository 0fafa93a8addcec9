//! Inputs made of others: the same ones at each run.

use std::ops::Range;

/// The longest that is made, bytes.
const LONGEST: usize = 32 << 10;

/// What numbers are replaced by.
const EXTREMES: [&str; 12] = [
    "0",
    "-1",
    "1",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999",
    "0x7fffffff",
    "1e999",
    "nan",
];

/// Changes the inputs of a corpus.
pub struct Mutator<'a> {
    corpus: &'a [Vec<u8>],
    state: u64,
}

impl<'a> Mutator<'a> {
    /// Another sequence for each name.
    pub fn new(name: &str, corpus: &'a [Vec<u8>]) -> Self {
        let seed = crc32fast::hash(name.as_bytes());
        Self {
            corpus,
            state: u64::from(seed) | 1 << 40,
        }
    }

    /// The next input, of one to four changes.
    pub fn next(&mut self) -> Vec<u8> {
        let mut input = self.one();
        for _ in 0..=self.below(4) {
            self.change(&mut input);
            input.truncate(LONGEST);
        }
        input
    }

    fn one(&mut self) -> Vec<u8> {
        let at = self.below(self.corpus.len());
        self.corpus.get(at).cloned().unwrap_or_default()
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        match self.below(11) {
            0 => self.flip(input),
            1 => self.byte(input),
            2 => drop(input.drain(self.range(input.len()))),
            3 => self.double(input),
            4 => self.swap_lines(input),
            5 | 6 => self.number(input),
            7 => self.splice(input),
            9 => self.binary(input),
            8 => input.truncate(self.below(input.len() + 1)),
            _ => self.word(input),
        }
    }

    fn flip(&mut self, input: &mut [u8]) {
        let at = self.below(input.len());
        let bit = self.below(8);
        if let Some(byte) = input.get_mut(at) {
            *byte ^= 1 << bit;
        }
    }

    fn byte(&mut self, input: &mut [u8]) {
        let to = [0, b'\n', b' ', b':', b'/', 0x7f, 0x80, 0xff][self.below(8)];
        let at = self.below(input.len());
        if let Some(byte) = input.get_mut(at) {
            *byte = to;
        }
    }

    fn double(&mut self, input: &mut Vec<u8>) {
        let range = self.range(input.len());
        let piece = input[range.clone()].to_vec();
        input.splice(range.end..range.end, piece);
    }

    fn swap_lines(&mut self, input: &mut Vec<u8>) {
        let mut lines: Vec<_> = input
            .split(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        let (one, other) = (self.below(lines.len()), self.below(lines.len()));
        lines.swap(one, other);
        *input = lines.join(&b'\n');
    }

    /// Another number for one that is there.
    fn number(&mut self, input: &mut Vec<u8>) {
        let numbers = runs(input);
        let Some(range) = numbers.get(self.below(numbers.len())) else {
            return self.flip(input);
        };
        let extreme = EXTREMES[self.below(EXTREMES.len())];
        input.splice(range.clone(), extreme.bytes());
    }

    /// The least or the most that one to eight bytes can say.
    fn binary(&mut self, input: &mut [u8]) {
        let width = 1 << self.below(4);
        let (first, rest) = [(0, 0), (0xff, 0xff), (0x7f, 0xff), (0x80, 0)][self.below(4)];
        let at = self.below(input.len());
        let bytes = input.iter_mut().skip(at).take(width);
        for (n, byte) in bytes.enumerate() {
            *byte = if n == 0 { first } else { rest };
        }
    }

    /// The beginning of one and the end of another.
    fn splice(&mut self, input: &mut Vec<u8>) {
        let other = self.one();
        input.truncate(self.below(input.len() + 1));
        let from = self.below(other.len() + 1);
        input.extend_from_slice(&other[from..]);
    }

    /// A piece of another one somewhere in this one.
    fn word(&mut self, input: &mut Vec<u8>) {
        let other = self.one();
        let piece = other[self.range(other.len())].to_vec();
        let at = self.below(input.len() + 1);
        input.splice(at..at, piece);
    }

    /// A piece, mostly a short one.
    fn range(&mut self, length: usize) -> Range<usize> {
        let from = self.below(length + 1);
        let most = [8, 80, length][self.below(3)].min(length - from);
        from..from + self.below(most + 1)
    }

    fn below(&mut self, end: usize) -> usize {
        // xorshift64, Marsaglia 2003.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state >> 11).unwrap() % end.max(1)
    }
}

/// Where the numbers are.
fn runs(input: &[u8]) -> Vec<Range<usize>> {
    let mut all: Vec<Range<usize>> = Vec::new();
    for (at, _) in input
        .iter()
        .enumerate()
        .filter(|(_, byte)| byte.is_ascii_digit())
    {
        match all.last_mut() {
            Some(last) if last.end == at => last.end = at + 1,
            _ => all.push(at..at + 1),
        }
    }
    all
}
