//! Times by the server's clock.

use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlResult, ToSqlOutput, ValueRef};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(i64);

impl Moment {
    pub(super) fn now() -> Self {
        let milliseconds = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
        Self(i64::try_from(milliseconds).unwrap_or(i64::MAX))
    }

    /// So many seconds later.
    pub(super) fn after(self, seconds: u32) -> Self {
        Self(self.0.saturating_add(i64::from(seconds).saturating_mul(1000)))
    }

    /// So many seconds earlier.
    pub(super) fn before(self, seconds: u32) -> Self {
        Self(self.0.saturating_sub(i64::from(seconds).saturating_mul(1000)))
    }

    /// RFC 3339, in whole seconds.
    pub(super) fn text(self) -> String {
        let time = OffsetDateTime::from_unix_timestamp(self.0.div_euclid(1000));
        time.ok().and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
    }
}

impl ToSql for Moment {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.into())
    }
}

impl FromSql for Moment {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(Self)
    }
}
