//! What tidegate itself says in the stream: records of its own profile, with a schema of their data.

use crate::record::Record;

/// The profile of tidegate's own records; no route can have it.
pub const PROFILE: &str = "tidegate";

/// Type of a gap record, behind the prefix.
pub const GAP: &str = "gap";

/// The schema of a record's data, for the attribute `dataschema`: an identifier, kept in `docs/schemas/`. `None`: a sensor's record,
/// whose data is not ours to describe.
pub fn schema(record: &Record) -> Option<&'static str> {
    match (&*record.draft.profile, &*record.draft.identity.record_type) {
        (PROFILE, GAP) => Some("urn:tidegate:schema:gap:1"),
        _ => None,
    }
}
