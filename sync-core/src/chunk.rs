//! The framing of one automerge change chunk, read without automerge: nothing here allocates or works in proportion to
//! what the bytes claim, only to how many there are.

use crate::code::RejectCode;
use crate::id::Hash;
use crate::leb128;
use crate::limits::{
    CHANGE_DEPENDENCIES_MAX, CHANGE_OPERATIONS_MAX, DOCUMENT_ACTORS_MAX, INFLATED_BYTES_MAX, OPERATION_COUNTER_MAX,
};

/// What every automerge chunk begins with.
pub(crate) const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
/// The chunk type of a plain change, after magic and checksum.
pub(crate) const TYPE_CHANGE: u8 = 1;
const TYPE_COMPRESSED: u8 = 2;
/// Where the type stands; the hash covers everything from here on.
pub(crate) const TYPE_AT: usize = 8;

/// Predecessors of a change's operations, all together: an operation names one for each value that it replaces, so more
/// than a few each means that the bytes were made to be slow.
pub const CHANGE_PREDECESSORS_MAX: u64 = 4 * CHANGE_OPERATIONS_MAX;

/// Marks of one change: applying overlapping ones costs automerge their number squared, 20 s for 49,000.
pub const CHANGE_MARKS_MAX: u64 = 4_096;

pub(crate) const OBJECT_ACTOR: u32 = 0x01;
pub(crate) const OBJECT_COUNTER: u32 = 0x02;
pub(crate) const KEY_ACTOR: u32 = 0x11;
pub(crate) const KEY_COUNTER: u32 = 0x13;
pub(crate) const KEY_STRING: u32 = 0x15;
pub(crate) const INSERT: u32 = 0x34;
pub(crate) const ACTION: u32 = 0x42;
pub(crate) const VALUE_META: u32 = 0x56;
pub(crate) const VALUE: u32 = 0x57;
pub(crate) const PREDECESSOR_COUNT: u32 = 0x70;
pub(crate) const PREDECESSOR_ACTOR: u32 = 0x71;
pub(crate) const PREDECESSOR_COUNTER: u32 = 0x73;
const EXPAND: u32 = 0x94;
const MARK_NAME: u32 = 0xa5;
const COLUMNS: [u32; 14] = [
    OBJECT_ACTOR,
    OBJECT_COUNTER,
    KEY_ACTOR,
    KEY_COUNTER,
    KEY_STRING,
    INSERT,
    ACTION,
    VALUE_META,
    VALUE,
    PREDECESSOR_COUNT,
    PREDECESSOR_ACTOR,
    PREDECESSOR_COUNTER,
    EXPAND,
    MARK_NAME,
];
/// The highest value type that automerge gives a meaning.
const VALUE_TYPE_MAX: i128 = 9;
/// Action numbers are 0 to 7; 6 makes a table, which automerge can read but panics on applying.
const ACTION_TABLE: i128 = 6;
const ACTION_MAX: i128 = 7;

/// Why bytes are not a change chunk that this engine takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// The bytes do not have the form of a chunk, or not its one shortest form.
    #[error("malformed chunk: {0}")]
    Malformed(&'static str),
    /// A document, a bundle, or a type that does not exist.
    #[error("chunk of type {0} where a change was expected")]
    NotAChange(u8),
    /// A deflated change.
    #[error("compressed change")]
    Compressed,
    /// The checksum is not the first four bytes of the hash.
    #[error("wrong checksum")]
    Checksum,
    /// More operations than one change may have.
    #[error("too many operations")]
    TooManyOperations,
    /// More dependencies than one change may have.
    #[error("too many dependencies")]
    TooManyDependencies,
    /// More actors than a document may have.
    #[error("too many actors")]
    TooManyActors,
    /// A few repeated bytes that stand for more memory than a change may take.
    #[error("repeated keys take too much memory")]
    TooLarge,
    /// An actor index or operation counter that cannot exist.
    #[error("operation id out of range")]
    OperationRange,
}

impl ChunkError {
    /// The code that the author is told.
    pub fn code(&self) -> RejectCode {
        match self {
            Self::Malformed(_) => RejectCode::Malformed,
            Self::NotAChange(_) => RejectCode::NotAChange,
            Self::Compressed => RejectCode::Compressed,
            Self::Checksum => RejectCode::HashMismatch,
            Self::TooManyOperations => RejectCode::TooManyOperations,
            Self::TooManyDependencies => RejectCode::TooManyDependencies,
            Self::TooManyActors => RejectCode::DocumentActorsQuota,
            Self::TooLarge => RejectCode::TooLarge,
            Self::OperationRange => RejectCode::OperationRange,
        }
    }
}

/// One column of a change: which it is, and its encoded bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column<'a> {
    /// automerge's column specification: id, a deflate bit that is never set here, and type.
    pub spec: u32,
    /// The encoded values.
    pub data: &'a [u8],
}

/// A change chunk's header, borrowed from its bytes.
#[derive(Debug, Clone)]
pub struct Chunk<'a> {
    bytes: &'a [u8],
    hash: Hash,
    deps: &'a [u8],
    /// Everything in front of the author, and everything behind it.
    around_actor: [&'a [u8]; 2],
    actor: &'a [u8],
    seq: u64,
    start_op: u64,
    time: i64,
    message: &'a [u8],
    other_actors: Vec<&'a [u8]>,
    body: &'a [u8],
    columns: Vec<Column<'a>>,
    operations: u64,
}

impl<'a> Chunk<'a> {
    /// Reads exactly one chunk. Checks its form, checksum, and how many operations it claims.
    pub fn read(bytes: &'a [u8]) -> Result<Self, ChunkError> {
        let data = data(bytes)?;
        Self::checked(bytes, data, hash_of(bytes))
    }

    /// The same without hashing: `hash` is what somebody says that it is, and the caller must compare it with the hash that
    /// automerge computes before it relies on it.
    pub(crate) fn read_as(bytes: &'a [u8], hash: Hash) -> Result<Self, ChunkError> {
        Self::checked(bytes, data(bytes)?, hash)
    }

    fn checked(bytes: &'a [u8], data: &'a [u8], hash: Hash) -> Result<Self, ChunkError> {
        if bytes[MAGIC.len()..TYPE_AT] != hash.0[..4] {
            return Err(ChunkError::Checksum);
        }
        Self::parse(bytes, data, hash)
    }

    /// Reads a chunk whose header the caller has written itself, so that nothing is hashed twice.
    pub(crate) fn parse(bytes: &'a [u8], data: &'a [u8], hash: Hash) -> Result<Self, ChunkError> {
        let mut rest = data;
        let input = &mut rest;
        let deps = number(input)?;
        if deps > CHANGE_DEPENDENCIES_MAX as u64 {
            return Err(ChunkError::TooManyDependencies);
        }
        let deps = take(input, deps * 32)?;
        let actor = prefixed(input)?;
        let around_actor = [&data[..data.len() - input.len() - actor.len()], *input];
        let seq = number(input)?;
        let start_op = number(input)?;
        let time = signed(input)?;
        let message = prefixed(input)?;
        let others = number(input)?;
        if others > DOCUMENT_ACTORS_MAX {
            return Err(ChunkError::TooManyActors);
        }
        let mut other_actors = Vec::new();
        for _ in 0..others {
            other_actors.push(prefixed(input)?);
        }
        let body: &'a [u8] = input;
        let columns = read_columns(input)?;
        let mut chunk = Self {
            bytes,
            hash,
            deps,
            around_actor,
            actor,
            seq,
            start_op,
            time,
            message,
            other_actors,
            body,
            columns,
            operations: 0,
        };
        chunk.operations = chunk.count_operations()?;
        Ok(chunk)
    }

    /// The whole chunk.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The change's hash, as automerge computes it.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The hashes of the changes it was made upon.
    pub fn deps(&self) -> impl ExactSizeIterator<Item = Hash> + 'a {
        self.deps.as_chunks().0.iter().copied().map(Hash)
    }

    /// The author.
    pub fn actor(&self) -> &'a [u8] {
        self.actor
    }

    /// What stands in front of the author and behind it; the author's length is in the first part.
    pub(crate) fn around_actor(&self) -> [&'a [u8]; 2] {
        self.around_actor
    }

    /// Which of the author's changes in this document it is, from 1.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The counter of its first operation.
    pub fn start_op(&self) -> u64 {
        self.start_op
    }

    /// The counter of its last operation; one less than `start_op` if it has none.
    pub fn max_op(&self) -> u64 {
        (self.start_op.saturating_add(self.operations)).saturating_sub(1)
    }

    /// How many operations it claims.
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// The time field, which holds random bits here, or of a structure its version.
    pub fn time(&self) -> i64 {
        self.time
    }

    /// The commit message.
    pub fn message(&self) -> &'a [u8] {
        self.message
    }

    /// Actors besides the author that its operations refer to.
    pub fn other_actors(&self) -> &[&'a [u8]] {
        &self.other_actors
    }

    /// The columns.
    pub fn columns(&self) -> &[Column<'a>] {
        &self.columns
    }

    /// From the column metadata to the end.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Checks that no column claims more rows than there are operations, more memory than a change may take, or ids that
    /// cannot exist. In proportion to the encoded bytes, however many rows they stand for.
    pub fn check_columns(&self) -> Result<(), ChunkError> {
        const ROWS: ChunkError = ChunkError::Malformed("columns of different lengths");
        let actors = i128::from(1 + self.other_actors.len() as u32);
        let operations = self.operations;
        let mut values_bytes = 0;
        let mut predecessors = 0;
        for column in &self.columns {
            let data = column.data;
            match column.spec {
                OBJECT_ACTOR | KEY_ACTOR => {
                    runs(data, number, operations, ROWS, |value, _| in_range(value, actors))?;
                }
                OBJECT_COUNTER => {
                    runs(data, number, operations, ROWS, |value, _| {
                        in_range(value, i128::from(OPERATION_COUNTER_MAX))
                    })?;
                }
                KEY_COUNTER => counters(data, operations, ROWS)?,
                KEY_STRING => {
                    strings(data, operations, ROWS)?;
                }
                MARK_NAME if strings(data, operations, ROWS)? > CHANGE_MARKS_MAX => {
                    return Err(ChunkError::TooManyOperations);
                }
                INSERT | EXPAND => booleans(data, operations, ROWS)?,
                VALUE_META => values_bytes = value_bytes(data, operations, ROWS)?,
                VALUE if values_bytes != data.len() as u64 => {
                    return Err(ChunkError::Malformed("values of another length than declared"));
                }
                PREDECESSOR_COUNT => predecessors = sum(data, operations, ROWS)?,
                PREDECESSOR_ACTOR => {
                    runs(data, number, predecessors, ROWS, |value, _| in_range(value, actors))?;
                }
                PREDECESSOR_COUNTER => counters(data, predecessors, ROWS)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Every operation has an action, so that column's runs tell how many there are.
    fn count_operations(&self) -> Result<u64, ChunkError> {
        let Some(column) = self.columns.iter().find(|column| column.spec == ACTION) else {
            return if self.columns.is_empty() { Ok(0) } else { Err(ChunkError::Malformed("no actions")) };
        };
        runs(column.data, number, CHANGE_OPERATIONS_MAX, ChunkError::TooManyOperations, |value, _| match value {
            Some(0..=ACTION_MAX) if value != Some(ACTION_TABLE) => Ok(()),
            _ => Err(ChunkError::Malformed("unknown action")),
        })
    }
}

/// The hash of a chunk, as automerge computes it.
pub(crate) fn hash_of(chunk: &[u8]) -> Hash {
    Hash::of(&[chunk.get(TYPE_AT..).unwrap_or_default()])
}

/// Whether these are the bytes that have that hash, whatever they are.
pub(crate) fn is_hashed(chunk: &[u8], hash: Hash) -> bool {
    let begins = chunk.first_chunk() == Some(&MAGIC) && chunk.get(MAGIC.len()..TYPE_AT) == Some(&hash.0[..4]);
    begins && hash_of(chunk) == hash
}

/// How many operations a chunk claims; its hash is not looked at.
pub(crate) fn operations_of(chunk: &[u8]) -> Result<u64, ChunkError> {
    Ok(Chunk::parse(chunk, data(chunk)?, Hash([0; 32]))?.operations)
}

/// What stands behind the header of a plain change that fills `bytes` exactly.
fn data(bytes: &[u8]) -> Result<&[u8], ChunkError> {
    const SHORT: ChunkError = ChunkError::Malformed("too short");
    if *bytes.first_chunk().ok_or(SHORT)? != MAGIC {
        return Err(ChunkError::Malformed("not an automerge chunk"));
    }
    match *bytes.get(TYPE_AT).ok_or(SHORT)? {
        TYPE_CHANGE => {}
        TYPE_COMPRESSED => return Err(ChunkError::Compressed),
        other => return Err(ChunkError::NotAChange(other)),
    }
    let mut data = &bytes[TYPE_AT + 1..];
    if number(&mut data)? != data.len() as u64 {
        return Err(ChunkError::Malformed("length does not fit"));
    }
    Ok(data)
}

fn read_columns<'a>(input: &mut &'a [u8]) -> Result<Vec<Column<'a>>, ChunkError> {
    let count = number(input)?;
    if count > COLUMNS.len() as u64 {
        return Err(ChunkError::Malformed("too many columns"));
    }
    let mut metas = [(0, 0); COLUMNS.len()];
    let metas = &mut metas[..count as usize];
    let mut last = 0;
    for meta in &mut *metas {
        *meta = (number(input)?, number(input)?);
        if meta.0 <= last || meta.1 == 0 || !COLUMNS.iter().any(|&spec| u64::from(spec) == meta.0) {
            return Err(ChunkError::Malformed("unknown, empty or misplaced column"));
        }
        last = meta.0;
    }
    let columns = metas
        .iter()
        .map(|&(spec, len)| Ok(Column { spec: spec as u32, data: take(input, len)? }))
        .collect::<Result<_, _>>()?;
    if input.is_empty() { Ok(columns) } else { Err(ChunkError::Malformed("bytes after the columns")) }
}

fn number(input: &mut &[u8]) -> Result<u64, ChunkError> {
    leb128::read(input).ok_or(ChunkError::Malformed("number"))
}

/// A signed LEB128 number in its shortest form.
pub(crate) fn signed(input: &mut &[u8]) -> Result<i64, ChunkError> {
    let mut value = 0i128;
    let mut before = None;
    for shift in (0..70).step_by(7) {
        let (&byte, rest) = input.split_first().ok_or(ChunkError::Malformed("number"))?;
        *input = rest;
        value |= i128::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let negative = byte & 0x40 != 0;
            if negative {
                value -= 1i128 << (shift + 7);
            }
            // The byte before already told the sign: this one was not needed.
            let padded =
                before.is_some_and(|before: u8| (byte == 0x7f || byte == 0) && (before & 0x40 != 0) == negative);
            return match i64::try_from(value) {
                Ok(value) if !padded => Ok(value),
                _ => Err(ChunkError::Malformed("number")),
            };
        }
        before = Some(byte);
    }
    Err(ChunkError::Malformed("number"))
}

fn take<'a>(input: &mut &'a [u8], len: u64) -> Result<&'a [u8], ChunkError> {
    let (taken, rest) = usize::try_from(len)
        .ok()
        .and_then(|len| input.split_at_checked(len))
        .ok_or(ChunkError::Malformed("cut off"))?;
    *input = rest;
    Ok(taken)
}

fn prefixed<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], ChunkError> {
    let len = number(input)?;
    take(input, len)
}

/// Walks the runs of a run-length encoded column and gives each value (`None` for null) and how often it stands there;
/// answers the number of rows, or `excess` when there are more than `rows_max`.
fn runs<T: Into<i128>>(
    mut data: &[u8],
    read: impl Fn(&mut &[u8]) -> Result<T, ChunkError>,
    rows_max: u64,
    excess: ChunkError,
    mut visit: impl FnMut(Option<i128>, u64) -> Result<(), ChunkError>,
) -> Result<u64, ChunkError> {
    let mut rows = 0u64;
    while !data.is_empty() {
        let run = signed(&mut data)?;
        let length = if run == 0 { number(&mut data)? } else { run.unsigned_abs() };
        rows = rows.checked_add(length).filter(|&rows| rows <= rows_max).ok_or(excess)?;
        match run {
            0 if length == 0 => return Err(ChunkError::Malformed("empty run")),
            0 => visit(None, length)?,
            1.. => visit(Some(read(&mut data)?.into()), length)?,
            _ => {
                for _ in 0..length {
                    visit(Some(read(&mut data)?.into()), 1)?;
                }
            }
        }
    }
    Ok(rows)
}

fn in_range(value: Option<i128>, end: i128) -> Result<(), ChunkError> {
    if value.is_none_or(|value| (0..end).contains(&value)) { Ok(()) } else { Err(ChunkError::OperationRange) }
}

/// Delta-encoded counters: within a run they only rise or only fall, so its end tells whether all are in range.
fn counters(data: &[u8], rows_max: u64, excess: ChunkError) -> Result<(), ChunkError> {
    let mut counter = 0i128;
    runs(data, signed, rows_max, excess, |delta, length| {
        counter += delta.unwrap_or(0) * i128::from(length);
        in_range(Some(counter), i128::from(OPERATION_COUNTER_MAX))
    })?;
    Ok(())
}

/// automerge copies a key for each operation, so a long one repeated is memory out of nothing. Answers how many rows have
/// one.
fn strings(data: &[u8], rows_max: u64, excess: ChunkError) -> Result<u64, ChunkError> {
    let mut expanded = 0i128;
    let mut count = 0;
    let text = |input: &mut &[u8]| prefixed(input).map(|text| text.len() as u64);
    runs(data, text, rows_max, excess, |len, length| {
        let Some(len) = len else { return Ok(()) };
        count += length;
        expanded += len * i128::from(length);
        if expanded > INFLATED_BYTES_MAX as i128 { Err(ChunkError::TooLarge) } else { Ok(()) }
    })?;
    Ok(count)
}

fn booleans(mut data: &[u8], rows_max: u64, excess: ChunkError) -> Result<(), ChunkError> {
    let mut rows = 0u64;
    while !data.is_empty() {
        rows = rows.checked_add(number(&mut data)?).filter(|&rows| rows <= rows_max).ok_or(excess)?;
    }
    Ok(())
}

/// How many bytes of values the metadata column stands for.
fn value_bytes(data: &[u8], rows_max: u64, excess: ChunkError) -> Result<u64, ChunkError> {
    let mut bytes = 0u64;
    runs(data, number, rows_max, excess, |meta, length| {
        let meta = meta.ok_or(ChunkError::Malformed("value without a type"))?;
        if meta & 0xf > VALUE_TYPE_MAX {
            return Err(ChunkError::Malformed("unknown type of value"));
        }
        // 2^60 bytes times 100,000 rows stay below 2^77: no overflow before the comparison.
        let sum = i128::from(bytes) + (meta >> 4) * i128::from(length);
        bytes = u64::try_from(sum).map_err(|_| ChunkError::Malformed("values of another length than declared"))?;
        Ok(())
    })?;
    Ok(bytes)
}

/// How many predecessors the count column stands for.
fn sum(data: &[u8], rows_max: u64, excess: ChunkError) -> Result<u64, ChunkError> {
    let mut sum = 0i128;
    runs(data, number, rows_max, excess, |count, length| {
        sum += count.ok_or(ChunkError::Malformed("no count of predecessors"))? * i128::from(length);
        if sum > i128::from(CHANGE_PREDECESSORS_MAX) { Err(ChunkError::TooManyOperations) } else { Ok(()) }
    })?;
    Ok(sum as u64)
}
