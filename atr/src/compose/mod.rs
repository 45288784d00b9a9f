//! Several calls as one.
