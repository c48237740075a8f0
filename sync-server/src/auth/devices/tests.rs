//! Who is asked, how often, and for how long an answer counts.

use super::*;
