//! What happens when a server lost the newest entries of a log: a restored backup, a failover. Any device that holds them
//! hands them back.
//!
//! The log's chain and a [receipt](crate::log::Receipt) prove that the server once accepted them, whoever wrote them: from the
//! place before the first of them, the chain leads over their headers to the place that the receipt is for. So the server
//! [checks](take_back::LostEntries::check) that, and takes them with the verdicts that they had, without asking for role or
//! quota again ([`Ledger::take_back`](crate::ledger::Ledger::take_back)). The same proof gives a receipt for the place where it
//! began, by which a device that holds more than fits into one request [cuts it into pages](hand_back::HandBack).

pub mod hand_back;
pub mod take_back;

pub use hand_back::{HandBack, Healed, Held, Next, Page};
pub use take_back::{Lost, LostEntries, Refused, TakenBack};
