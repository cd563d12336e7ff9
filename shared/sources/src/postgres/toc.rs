//! An archive's table of contents: what of it a restore replays, leaves out, or refuses to touch.
//!
//! An entry of a kind that is not on the list is refused: a new kind could do what a restore must not.

use super::ident::Ident;

/// Kinds an ordinary role can make inside its own scope.
const ALLOWED: &[&str] = &[
    "AGGREGATE",
    "CAST",
    "CHECK CONSTRAINT",
    "COLLATION",
    "COMMENT",
    "CONSTRAINT",
    "CONVERSION",
    "DEFAULT",
    "DOMAIN",
    "ENCODING",
    "EXTENSION",
    "FK CONSTRAINT",
    "FUNCTION",
    "INDEX",
    "MATERIALIZED VIEW",
    "OPERATOR",
    "POLICY",
    "PROCEDURE",
    "ROW SECURITY",
    "RULE",
    "SCHEMA",
    "SEARCHPATH",
    "SECURITY LABEL",
    "SEQUENCE",
    "SHELL TYPE",
    "STATISTICS",
    "STDSTRINGS",
    "TABLE",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
    "TRIGGER",
    "TYPE",
    "VIEW",
];

/// Kinds that an export records as left out, or that a restore sets by other means.
const LEFT_OUT: &[&str] = &[
    // Privileges are set from the inventory, once everything has its owner: what an archive says of them counts only under its own owners.
    "ACL",
    "DEFAULT ACL",
    "EVENT TRIGGER",
    "FOREIGN DATA WRAPPER",
    "FOREIGN SERVER",
    "FOREIGN TABLE",
    "PUBLICATION",
    "SERVER",
    "SUBSCRIPTION",
    "USER MAPPING",
];

/// The catalog number of `pg_attrdef`: an entry of it is a column default, even in a schema named `ACL`.
const ATTRIBUTE_DEFAULTS: &str = "2604";

/// What must not be replayed because it was made beforehand.
#[derive(Debug, Default)]
pub(crate) struct MadeBeforehand<'a> {
    /// The staging schema.
    pub(crate) schema: Option<&'a Ident>,
    /// Extensions that an ordinary role may not create.
    pub(crate) extensions: Vec<&'a Ident>,
}

/// Kinds that lock one table and no other.
const OF_ONE_TABLE: &[&str] = &["COMMENT", "CONSTRAINT", "INDEX"];

/// Picks the entries to replay from what `pg_restore --list` printed.
///
/// # Errors
/// The first entry whose kind is not known.
pub(crate) fn select(listing: &str, made: &MadeBeforehand<'_>) -> Result<String, String> {
    let mut selected = String::new();
    for line in listing.lines().filter(|line| !line.starts_with(';') && !line.trim().is_empty()) {
        if is_replayed(line, made)? {
            selected.push_str(line);
            selected.push('\n');
        }
    }
    Ok(selected)
}

fn is_replayed(line: &str, made: &MadeBeforehand<'_>) -> Result<bool, String> {
    // `215; 1259 16400 TABLE app customers owner`
    let mut parts = line.splitn(4, ' ');
    let (_, catalog, _, entry) = (parts.next(), parts.next(), parts.next(), parts.next().unwrap_or_default());
    let is = |kind: &str| entry.strip_prefix(kind).is_some_and(|rest| rest.starts_with(' '));
    if LEFT_OUT.iter().any(|kind| is(kind)) && catalog != Some(ATTRIBUTE_DEFAULTS) {
        return Ok(false);
    }
    if let Some((_, subject)) = entry.strip_prefix("COMMENT ").and_then(|rest| rest.split_once(' ')) {
        let is_about = |kind: &str| subject.strip_prefix(kind).is_some_and(|rest| rest.starts_with(' '));
        let names_made = |name: &&Ident| subject.strip_prefix("EXTENSION ").is_some_and(|rest| is_named(rest, name));
        return Ok(!LEFT_OUT.iter().any(|kind| is_about(kind)) && !made.extensions.iter().any(names_made));
    }
    if !ALLOWED.iter().any(|kind| is(kind)) {
        return Err(entry.escape_debug().to_string());
    }
    let made_schema =
        made.schema.is_some_and(|schema| entry.strip_prefix("SCHEMA - ").is_some_and(|rest| is_named(rest, schema)));
    let made_extension =
        made.extensions.iter().any(|name| entry.strip_prefix("EXTENSION - ").is_some_and(|rest| is_named(rest, name)));
    Ok(!made_schema && !made_extension)
}

/// Whether a tag, followed by the owner or by nothing, is this name.
fn is_named(rest: &str, name: &Ident) -> bool {
    rest.strip_prefix(name.as_str()).is_some_and(|after| after.is_empty() || after.starts_with(' '))
}

/// Takes out of selected entries those that make tables filter their rows. Until a staging copy was compared it must show every row:
/// its role is the tables' owner, and an owner may be filtered, too.
pub(crate) fn hold_back_row_security(selected: &str) -> (String, String) {
    let is_row_security = |line: &&str| line.splitn(4, ' ').nth(3).is_some_and(|entry| entry.starts_with("ROW SECURITY "));
    selected.split_inclusive('\n').partition(|line| !is_row_security(line))
}

/// Parts selected entries into those that several sessions may replay side by side, and those behind them.
///
/// `pg_restore` keeps entries apart that lock the same tables, but an archive of one section does not tell it which tables these
/// are: two foreign keys in opposite directions would wait for one another. So only entries that lock a single table go side by
/// side, and only up to the first of another kind, which later ones may need.
pub(crate) fn part(selected: &str) -> (&str, &str) {
    let is_of_one_table = |line: &str| {
        let kind = line.splitn(4, ' ').nth(3).unwrap_or_default();
        OF_ONE_TABLE.iter().any(|known| kind.strip_prefix(known).is_some_and(|rest| rest.starts_with(' ')))
            && !kind.starts_with("INDEX ATTACH ")
    };
    let end = selected.split_inclusive('\n').take_while(|line| is_of_one_table(line)).map(str::len).sum();
    selected.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_locks_one_table_goes_side_by_side() {
        let shared =
            "1; 2606 16400 CONSTRAINT app t t_pkey owner\n2; 1259 16400 INDEX app i owner\n3; 0 0 COMMENT app INDEX i owner\n";
        for rest in ["4; 2606 16400 FK CONSTRAINT app t f owner\n", "4; 0 0 INDEX ATTACH app i owner\n", ""] {
            let rest = if rest.is_empty() { String::new() } else { format!("{rest}5; 1259 16400 INDEX app late owner\n") };
            assert_eq!(part(&format!("{shared}{rest}")), (shared, rest.as_str()));
        }
    }

    #[test]
    fn tables_filter_their_rows_last() {
        let (others, filter) = (
            "1; 3256 16400 POLICY app t mine owner\n3; 2620 16400 TRIGGER app t x owner\n",
            "2; 3256 16400 ROW SECURITY app t owner\n",
        );
        let selected = format!("1; 3256 16400 POLICY app t mine owner\n{filter}3; 2620 16400 TRIGGER app t x owner\n");
        assert_eq!(hold_back_row_security(&selected), (others.to_owned(), filter.to_owned()));
    }

    fn check(line: &str, expected: Result<bool, ()>) {
        let (schema, extension) = (Ident::new("hf_stage_1").unwrap(), Ident::new("dblink").unwrap());
        let made = MadeBeforehand { schema: Some(&schema), extensions: vec![&extension] };
        assert_eq!(is_replayed(line, &made).map_err(drop), expected, "{line}");
    }

    #[test]
    fn ordinary_definitions_are_replayed() {
        check("215; 1259 16400 TABLE app customers app_owner", Ok(true));
        check("216; 1259 16400 TABLE ATTACH app part app_owner", Ok(true));
        check("217; 2606 16400 FK CONSTRAINT app orders orders_customer app_owner", Ok(true));
        check("218; 0 0 COMMENT app TABLE customers app_owner", Ok(true));
        check("219; 2604 16400 DEFAULT ACL orders id app_owner", Ok(true));
    }

    #[test]
    fn what_is_made_by_other_means_is_not() {
        check("2; 2615 16400 SCHEMA - hf_stage_1 hf_restore_1", Ok(false));
        check("2; 2615 16400 SCHEMA - hf_stage_11 hf_restore_1", Ok(true));
        check("3; 3079 16400 EXTENSION - dblink ", Ok(false));
        check("4; 0 0 COMMENT - EXTENSION dblink ", Ok(false));
        check("5; 826 16400 DEFAULT ACL app DEFAULT PRIVILEGES FOR TABLES app_owner", Ok(false));
        check("6; 3466 16400 EVENT TRIGGER - spy master", Ok(false));
        check("7; 0 0 COMMENT - EVENT TRIGGER spy master", Ok(false));
        check("8; 0 0 ACL app TABLE customers app_owner", Ok(false));
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        check("8; 2612 16400 PROCEDURAL LANGUAGE - plpython3u postgres", Err(()));
        check("9; 2613 16400 BLOB - 16400 app_owner", Err(()));
    }
}
