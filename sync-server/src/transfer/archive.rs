//! The container: a POSIX tar archive under zstd. What it is written and read with is small, since libraries for tar read any
//! length of names and headers into memory before they say what they have found.

use std::io::{self, Read, Write};

use aws_lc_rs::digest::{Context, SHA256};
use sync_core::id::Hash;

const BLOCK: usize = 512;
/// A path has a part before a slash and one behind it, as POSIX bounds them.
const FOLDER_BYTES_MAX: usize = 155;
const NAME_BYTES_MAX: usize = 100;
const LEVEL: i32 = 3;
/// What a file may ask for to be unpacked: 8 MiB. The level above takes 2.
const WINDOW_LOG_MAX: u32 = 23;

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Writes one.
pub(super) struct Writer<W: Write> {
    out: zstd::stream::write::Encoder<'static, W>,
    digest: Context,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(out: W) -> io::Result<Self> {
        let mut out = zstd::stream::write::Encoder::new(out, LEVEL)?;
        out.include_checksum(true)?;
        Ok(Self { out, digest: Context::new(&SHA256) })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.out.write_all(bytes)
    }

    /// Adds a file.
    pub(super) fn add(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.write(&header(path, bytes.len() as u64)?)?;
        self.write(bytes)?;
        self.write(&[0; BLOCK][..padding(bytes.len() as u64)])
    }

    /// SHA-256 of what was written.
    pub(super) fn digest(&self) -> Hash {
        finished(&self.digest)
    }

    /// Ends it, and gives back where it went.
    pub(super) fn end(mut self) -> io::Result<W> {
        self.write(&[0; 2 * BLOCK])?;
        self.out.finish()
    }
}

fn finished(digest: &Context) -> Hash {
    let mut hash = Hash([0; 32]);
    hash.0.copy_from_slice(digest.clone().finish().as_ref());
    hash
}

/// What fills the last block of so many bytes.
fn padding(length: u64) -> usize {
    (BLOCK - (length % BLOCK as u64) as usize) % BLOCK
}

fn header(path: &str, length: u64) -> io::Result<[u8; BLOCK]> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    if folder.len() > FOLDER_BYTES_MAX || name.len() > NAME_BYTES_MAX || name.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a path that does not fit"));
    }
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{length:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(156, b"0");
    put(257, b"ustar\x0000");
    put(345, folder.as_bytes());
    let sum = checksum(&block);
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(block)
}

/// The sum of the header's bytes, its own place counting as spaces.
fn checksum(block: &[u8; BLOCK]) -> u32 {
    let own = |at: &usize| (148..156).contains(at);
    block.iter().enumerate().map(|(at, byte)| if own(&at) { u32::from(b' ') } else { u32::from(*byte) }).sum()
}

/// A file in the archive that is being read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) path: String,
    pub(super) length: u64,
}

/// Reads one.
pub(super) struct Reader<R: Read> {
    input: zstd::stream::read::Decoder<'static, io::BufReader<R>>,
    digest: Context,
    /// What is left of the file that was found last, with its padding.
    left: (u64, usize),
}

impl<R: Read> Reader<R> {
    pub(super) fn new(input: R) -> io::Result<Self> {
        let mut input = zstd::stream::read::Decoder::new(input)?;
        input.window_log_max(WINDOW_LOG_MAX)?;
        Ok(Self { input, digest: Context::new(&SHA256), left: (0, 0) })
    }

    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.input.read_exact(bytes)?;
        self.digest.update(bytes);
        Ok(())
    }

    /// SHA-256 of what was read.
    pub(super) fn digest(&self) -> Hash {
        finished(&self.digest)
    }

    /// The next file; `None` at the end, behind which there is nothing. The one before is to be read or passed over.
    pub(super) fn next(&mut self) -> io::Result<Option<Found>> {
        let mut block = [0; BLOCK];
        self.fill(&mut block)?;
        if block == [0; BLOCK] {
            self.fill(&mut block)?;
            let mut behind = [0; 1];
            if block != [0; BLOCK] || self.input.read(&mut behind)? > 0 {
                return Err(damaged("something stands behind the archive's end"));
            }
            return Ok(None);
        }
        let sum = octal(&block[148..156]).ok_or_else(|| damaged("a header without a sum"))?;
        if sum != u64::from(checksum(&block)) {
            return Err(damaged("a header that its sum does not fit"));
        }
        let text = |from: usize, to: usize| {
            let field = &block[from..to];
            let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
            std::str::from_utf8(&field[..end]).map_err(|_| damaged("a name that is no text"))
        };
        let (name, folder) = (text(0, 100)?, text(345, 500)?);
        let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        let length = octal(&block[124..136]).ok_or_else(|| damaged("a header without a length"))?;
        // Exactly what is written: no links, folders, or names of another form.
        if header(&path, length).ok().as_ref() != Some(&block) {
            return Err(damaged("a header of another form"));
        }
        self.left = (length, padding(length));
        Ok(Some(Found { path, length }))
    }

    /// What is in the file that was found last, which has no more than so many bytes.
    pub(super) fn take(&mut self, bytes_max: u64) -> io::Result<Vec<u8>> {
        let (length, padding) = std::mem::take(&mut self.left);
        if length > bytes_max {
            return Err(damaged("a file that is longer than it may be"));
        }
        let mut bytes = Vec::new();
        // Memory is taken as bytes come in, not as a header says that they will.
        (&mut self.input).take(length).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.digest.update(&bytes);
        let mut rest = [0; BLOCK];
        self.fill(&mut rest[..padding])?;
        Ok(bytes)
    }

    /// Passes over the file that was found last, which has no more than so many bytes.
    pub(super) fn skip(&mut self, bytes_max: u64) -> io::Result<()> {
        let (length, padding) = std::mem::take(&mut self.left);
        if length > bytes_max {
            return Err(damaged("a file that is longer than it may be"));
        }
        let (mut left, mut some) = (length + padding as u64, [0; 8 * BLOCK]);
        while left > 0 {
            let now = left.min(some.len() as u64) as usize;
            self.fill(&mut some[..now])?;
            left -= now as u64;
        }
        Ok(())
    }
}

fn octal(field: &[u8]) -> Option<u64> {
    let digits = field.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = std::str::from_utf8(&field[..digits]).ok()?;
    u64::from_str_radix(text, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new()).unwrap();
        for (path, bytes) in files {
            writer.add(path, bytes).unwrap();
        }
        writer.end().unwrap()
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<(String, Vec<u8>)>> {
        let mut reader = Reader::new(bytes)?;
        let mut files = Vec::new();
        while let Some(Found { path, length }) = reader.next()? {
            files.push((path, reader.take(length)?));
        }
        Ok(files)
    }

    #[test]
    fn what_was_written_is_read() {
        let long = "f".repeat(FOLDER_BYTES_MAX) + "/" + &"n".repeat(NAME_BYTES_MAX);
        let last = vec![9; 70_000];
        let files: [(&str, &[u8]); 4] = [("one", b"1"), ("a/b/two", &[7; BLOCK]), (&long, &[]), ("last", &last)];
        let expected: Vec<_> = files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec())).collect();
        assert_eq!(read(&archive(&files)).unwrap(), expected);
        assert!(Writer::new(Vec::new()).unwrap().add(&("n".repeat(NAME_BYTES_MAX + 1)), b"").is_err());
    }

    #[test]
    fn bytes_that_were_cut_or_flipped_are_an_error() {
        let whole = archive(&[("one", b"some text"), ("two", &[3; 2_000])]);
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "cut at {length}");
        }
        // zstd's own checksum finds what was altered; a few bits of its frame's header say nothing.
        let silent = (0..whole.len() * 8).filter(|bit| {
            let mut altered = whole.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            read(&altered).is_ok_and(|files| files != read(&whole).unwrap())
        });
        assert_eq!(silent.count(), 0);
    }

    #[test]
    fn a_file_that_claims_more_than_there_is_takes_no_memory() {
        let mut writer = Writer::new(Vec::new()).unwrap();
        writer.write(&header("huge", 1 << 32).unwrap()).unwrap();
        let bytes = writer.end().unwrap();
        let mut reader = Reader::new(&bytes[..]).unwrap();
        reader.next().unwrap().unwrap();
        assert!(reader.take(1 << 20).is_err());
        let mut reader = Reader::new(&bytes[..]).unwrap();
        reader.next().unwrap().unwrap();
        assert_eq!(reader.take(u64::MAX).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
