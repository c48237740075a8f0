//! Signing in too often.
