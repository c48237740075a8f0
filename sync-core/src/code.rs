//! The stable codes with which a change is refused. A code, once shipped, never changes its meaning.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal $text:literal,)*) => {
        /// Why a change was refused. In JSON and msgpack its name, in the log's hash chain its number.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[repr(u8)]
        pub enum RejectCode {
            $($(#[$doc])* #[serde(rename = $text)] $name = $number,)*
        }

        impl RejectCode {
            /// Every code there is.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The name that clients see.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// The bytes are not a whole, well-formed change.
    Malformed = 1 "malformed_change",
    /// A document, a bundle or another chunk that only servers may hand out.
    NotAChange = 2 "not_a_change",
    /// A deflated chunk; how far it would inflate cannot be known beforehand.
    Compressed = 3 "compressed_change",
    /// The declared hash or the checksum is not the hash of the bytes.
    HashMismatch = 4 "hash_mismatch",
    /// The author is not an actor of the device that sends it.
    ForgedActor = 5 "forged_actor",
    /// More bytes than a change may have.
    TooLarge = 6 "change_too_large",
    /// More operations than a change may have.
    TooManyOperations = 7 "too_many_operations",
    /// More dependencies than a change may have.
    TooManyDependencies = 8 "too_many_dependencies",
    /// Objects nested deeper than a document may be.
    TooDeep = 9 "too_deep",
    /// Encoded again, the change gives other bytes.
    NotCanonical = 10 "not_canonical",
    /// An operation counter or id lies outside the range that the change can know of.
    OperationRange = 11 "operation_range",
    /// The author's own previous change is not among the dependencies.
    AuthorDependency = 12 "author_dependency",
    /// The author's sequence number does not follow on.
    SequenceGap = 13 "sequence_gap",
    /// `start_op` is not one more than the highest operation of the dependencies.
    StartOperation = 14 "start_operation",
    /// It was made upon a change that was refused.
    DependencyRefused = 15 "dependency_refused",
    /// The document is deleted.
    DocumentDeleted = 16 "document_deleted",
    /// Nobody has created the document in this space.
    UnknownDocument = 17 "unknown_document",
    /// The document exists already, in another collection.
    CollectionMismatch = 18 "collection_mismatch",
    /// The user may read this space, not write it.
    NotAWriter = 19 "not_a_writer",
    /// The document has all the operations it may have.
    DocumentOperationsQuota = 20 "document_operations_quota",
    /// The document has all the actors it may have.
    DocumentActorsQuota = 21 "document_actors_quota",
    /// The space has all the documents it may have.
    SpaceDocumentsQuota = 22 "space_documents_quota",
    /// The app's validation hook refused it.
    Validation = 23 "validation",
    /// The device gave it up: it can never be sent again.
    Void = 24 "void",
    /// It was taken, and breaks its document when that is put together: what it does is left out of it.
    BreaksDocument = 25 "breaks_document",
    /// It was made upon an epoch of the document that is over; its device makes it anew upon the present one.
    EpochPassed = 26 "epoch_passed",
    /// The document has moved on, or an active device has not read so far: a new epoch has to wait.
    EpochEarly = 28 "epoch_early",
    /// Only an owner of the space may do that.
    NotAnOwner = 29 "not_an_owner",
}

impl RejectCode {
    /// The number that the log's hash chain covers and databases store.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The code with that number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.number() == number)
    }
}

impl fmt::Display for RejectCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
