//! Lines of bounded length from any reader, without copying them.

use std::io::{self, Read};

/// How much is read at once, in bytes.
const CHUNK: usize = 256 * 1024;

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// It was longer than allowed; what it said is gone.
    TooLong,
}

/// Splits what a reader gives into lines. Takes a fixed amount of memory, whatever comes.
#[derive(Debug)]
pub struct Lines<R> {
    reader: R,
    longest: usize,
    buffer: Box<[u8]>,
    /// What of the buffer is filled and not yet handed out.
    start: usize,
    end: usize,
    at_end: bool,
}

impl<R: Read> Lines<R> {
    /// Lines of at most `longest` bytes, their ends not counted.
    pub fn new(reader: R, longest: usize) -> Self {
        let buffer = vec![0; CHUNK.max(2 * longest)].into_boxed_slice();
        Self { reader, longest, buffer, start: 0, end: 0, at_end: false }
    }

    /// Whether the next line can be had without reading.
    pub fn is_buffered(&self) -> bool {
        memchr::memchr(b'\n', &self.buffer[self.start..self.end]).is_some()
    }

    /// The next line; none at the end. A last line may lack its line feed. A carriage return before it is left to the
    /// caller: it is white space in JSON.
    ///
    /// # Errors
    /// What the reader gives. What was read of a line before that is lost.
    pub fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        let mut searched = 0;
        let mut too_long = false;
        loop {
            let filled = &self.buffer[self.start..self.end];
            if let Some(at) = memchr::memchr(b'\n', &filled[searched..]) {
                let line = self.start..self.start + searched + at;
                self.start = line.end + 1;
                return Ok(Some(self.line(line, too_long)));
            }
            searched = filled.len();
            if searched > self.longest {
                // Whatever follows, up to the line feed, belongs to a line that is not wanted.
                too_long = true;
                self.start = self.end;
                searched = 0;
            }
            if self.at_end {
                let line = self.start..self.end;
                self.start = self.end;
                return Ok(if line.is_empty() && !too_long { None } else { Some(self.line(line, too_long)) });
            }
            self.fill()?;
        }
    }

    fn line(&self, line: std::ops::Range<usize>, too_long: bool) -> Line<'_> {
        if too_long || line.len() > self.longest { Line::TooLong } else { Line::Whole(&self.buffer[line]) }
    }

    /// Reads at least one byte more, or finds the end. There is room: at most `longest` bytes are kept, which is at most
    /// half of the buffer.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        loop {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.at_end = true,
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives its bytes in small pieces.
    struct Slowly<'a>(&'a [u8], usize);

    impl Read for Slowly<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let mut piece = &self.0[..self.1.min(self.0.len())];
            let read = piece.read(buffer)?;
            self.0 = &self.0[read..];
            Ok(read)
        }
    }

    fn lines(bytes: &[u8], longest: usize, piece: usize) -> Vec<Option<Vec<u8>>> {
        let mut lines = Lines::new(Slowly(bytes, piece), longest);
        let mut found = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            found.push(match line {
                Line::Whole(line) => Some(line.to_vec()),
                Line::TooLong => None,
            });
        }
        found
    }

    #[test]
    fn a_last_line_may_lack_its_line_feed() {
        assert_eq!(lines(b"a\n\nb", 9, 2), [Some(b"a".to_vec()), Some(vec![]), Some(b"b".to_vec())]);
        assert_eq!(lines(b"a\n", 9, 1), [Some(b"a".to_vec())]);
        assert!(lines(b"", 9, 1).is_empty());
    }

    #[test]
    fn a_line_without_end_takes_no_more_memory() {
        let mut lines = Lines::new(io::repeat(b'x').take(50_000_000), 100);
        assert_eq!(lines.next_line().unwrap(), Some(Line::TooLong));
        assert_eq!(lines.next_line().unwrap(), None);
        assert_eq!(lines.buffer.len(), CHUNK);
    }

    proptest! {
        #[test]
        fn lines_are_those_of_a_split(bytes in prop::collection::vec(prop::sample::select(b"ab\n".to_vec()), 0..200), piece in 1_usize..20) {
            let text = String::from_utf8(bytes).unwrap();
            let wanted: Vec<_> =
                text.lines().map(|line| (line.len() <= 5).then(|| line.as_bytes().to_vec())).collect();
            prop_assert_eq!(lines(text.as_bytes(), 5, piece), wanted);
        }
    }
}
