//! What an export did.

/// What an export did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportSummary {
    /// Rows of the results, all of which the table has now.
    pub rows: u64,
    /// Whether the table was not there before.
    pub created_table: bool,
    /// How many of the rows were news to the table; `None` for DynamoDB, which doesn't tell.
    pub changes: Option<RowChanges>,
    /// Rows of the table that are not in the results any more and were removed; 0 unless that was asked for.
    pub pruned: u64,
}

/// The rows of the results by what they did to the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowChanges {
    /// The table had no row of this path.
    pub inserted: u64,
    /// It had one with other values.
    pub updated: u64,
    /// It had the same one, which was not written again.
    pub unchanged: u64,
}
