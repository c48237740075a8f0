//! `/v1/live`, a module a subject.

mod access;
mod bus;
mod follow;
mod hello;
mod limits;
mod presence;
mod refusals;
mod shutdown;
mod slow;
mod token;
