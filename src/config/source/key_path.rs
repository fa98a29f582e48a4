//! Key paths, as TOML writes them: `accounts.acme.topics[1]`.

/// The path of a table's entry: a key that is not bare in TOML is quoted.
pub(crate) fn join(table: &str, key: &str) -> String {
    let separator = if table.is_empty() { "" } else { "." };
    if is_bare(key) {
        format!("{table}{separator}{key}")
    } else {
        format!("{table}{separator}{key:?}")
    }
}

/// The path of a list's element.
pub(crate) fn element(list: &str, index: usize) -> String {
    format!("{list}[{index}]")
}

/// Whether TOML takes a key without quotes.
pub(crate) fn is_bare(key: &str) -> bool {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !key.is_empty() && key.chars().all(bare)
}
