//! A tenant's rows and objects as they might be, and what is true of them: told from the story, not from its record.

use std::collections::{BTreeMap, BTreeSet};

use domain::{TenantId, plan::Reference};
use sources::references::{CLOCKS_DIFFER_AT_MOST_S, ColumnCounts, ObjectCounts};

/// Numbers that follow from a seed (splitmix64).
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % end
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

/// Something that happened to a key, in seconds from the database's view.
#[derive(Clone, Copy)]
pub(crate) struct Happened {
    pub(crate) at_s: i64,
    pub(crate) is_delete: bool,
}

pub(crate) struct Table {
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) columns: Vec<&'static str>,
    /// The type of the columns that may name objects.
    pub(crate) of_type: &'static str,
    /// Rows, with a value for each column; none for null.
    pub(crate) rows: Vec<Vec<Option<String>>>,
}

pub(crate) struct Case {
    pub(crate) tenant: TenantId,
    pub(crate) references: Vec<Reference>,
    pub(crate) tables: Vec<Table>,
    /// What happened to each key, the oldest first.
    pub(crate) stories: BTreeMap<String, Vec<Happened>>,
}

pub(crate) struct Truth {
    pub(crate) dangling: BTreeSet<(String, String, String)>,
    pub(crate) orphans: BTreeSet<String>,
    pub(crate) columns: Vec<ColumnCounts>,
    pub(crate) objects: ObjectCounts,
    pub(crate) without_column: Vec<usize>,
}

const KEYS: [&str; 12] = [
    "a.txt",
    "deep/er/b c.bin",
    "Übergröße/日本語",
    "🚚",
    "quote'd\"",
    "tab\there",
    "line\nbreak",
    "back\\slash\\N",
    "..",
    "%2e+",
    "\u{1}",
    "trailing ",
];
const BEFORE: [&str; 4] = ["", "tenants/{tenant}/", "https://cdn.example.com/{tenant}/", "a"];

/// What stood of a key, by its story.
#[derive(PartialEq)]
enum Was {
    There,
    Not,
    Perhaps,
}

fn was(story: &[Happened]) -> Was {
    // Every instant at which the view may have been, by the bucket's clock: all states from then to then are possible.
    let mut possible = BTreeSet::new();
    let mut is_there = false;
    for happened in story.iter().filter(|happened| happened.at_s < -CLOCKS_DIFFER_AT_MOST_S) {
        is_there = !happened.is_delete;
    }
    possible.insert(is_there);
    for happened in story.iter().filter(|happened| happened.at_s.abs() <= CLOCKS_DIFFER_AT_MOST_S) {
        possible.insert(!happened.is_delete);
    }
    match (possible.contains(&true), possible.contains(&false)) {
        (true, false) => Was::There,
        (false, _) => Was::Not,
        (true, true) => Was::Perhaps,
    }
}

fn is_there_now(story: &[Happened]) -> bool {
    story.last().is_some_and(|last| !last.is_delete)
}

impl Case {
    pub(crate) fn new(seeded: &mut Seeded) -> Self {
        let tenant: TenantId = seeded.pick::<&str>(&["acme", "o'hara", "Größe-🦀"]).parse().unwrap();
        let mut stories = BTreeMap::new();
        let mut keys = Vec::new();
        for number in 0..1 + seeded.below(25) {
            let key = format!("{}{number}", seeded.pick::<&str>(&KEYS));
            let mut story: Vec<Happened> = (0..seeded.below(6)).map(|_| Self::happened(seeded)).collect();
            story.sort_by_key(|happened| happened.at_s);
            if !story.is_empty() {
                stories.insert(key.clone(), story);
            }
            keys.push(key);
        }
        let references = Self::references(seeded);
        let tables = (0..1 + seeded.below(3)).map(|number| Self::table(seeded, number, &tenant, &references, &keys)).collect();
        Self { tenant, references, tables, stories }
    }

    fn happened(seeded: &mut Seeded) -> Happened {
        let at_s = match seeded.below(10) {
            0..5 => -6 - seeded.below(100_000) as i64,
            5..7 => seeded.below(11) as i64 - 5,
            _ => 6 + seeded.below(600) as i64,
        };
        Happened { at_s, is_delete: seeded.below(3) == 0 }
    }

    fn references(seeded: &mut Seeded) -> Vec<Reference> {
        let one = |table: &str, column: &str, before: &str| Reference {
            table: table.into(),
            column: column.into(),
            before: before.into(),
        };
        let mut references = vec![one("files", "path", seeded.pick::<&str>(&BEFORE))];
        if seeded.below(2) == 0 {
            references.push(one("files", "thumb nail", seeded.pick::<&str>(&BEFORE)));
        }
        if seeded.below(2) == 0 {
            references.push(one("O'Table \"x\"", "path", seeded.pick::<&str>(&BEFORE)));
        }
        references
    }

    fn table(seeded: &mut Seeded, number: u64, tenant: &TenantId, references: &[Reference], keys: &[String]) -> Table {
        let name = (*seeded.pick::<&str>(&["files", "files", "O'Table \"x\"", "other"])).to_owned();
        let mut columns = vec!["id", "path"];
        if seeded.below(3) > 0 {
            columns.insert(seeded.below(3) as usize, "thumb nail");
        }
        let of_type = *seeded.pick::<&str>(&["text", "text", "character varying(2000)", "character(300)"]);
        let mut rows = Vec::new();
        for _ in 0..seeded.below(40) {
            let row = columns.iter().map(|column| Self::value(seeded, &name, column, tenant, references, keys)).collect();
            rows.push(row);
        }
        Table { schema: format!("s{number}"), name, columns, of_type, rows }
    }

    fn value(
        seeded: &mut Seeded,
        table: &str,
        column: &str,
        tenant: &TenantId,
        references: &[Reference],
        keys: &[String],
    ) -> Option<String> {
        let before = references.iter().find(|reference| reference.table == table && reference.column == column);
        let before = before.map_or(String::new(), |reference| reference.before.replace("{tenant}", tenant.as_str()));
        match seeded.below(12) {
            0 => None,
            1 => Some(String::new()),
            2 => Some("tenants/somebody-else/a.txt".to_owned()),
            3 => Some(format!("{before}never written/{}", seeded.pick::<&str>(&KEYS))),
            _ => Some(format!("{before}{}", seeded.pick(keys))),
        }
    }

    pub(crate) fn truth(&self) -> Truth {
        let mut truth = Truth {
            dangling: BTreeSet::new(),
            orphans: BTreeSet::new(),
            columns: Vec::new(),
            objects: ObjectCounts::default(),
            without_column: Vec::new(),
        };
        let (mut named, mut with_column) = (BTreeSet::new(), BTreeSet::new());
        let nothing = Vec::new();
        for table in &self.tables {
            let quoted = format!("\"{}\".\"{}\"", table.schema, table.name.replace('"', "\"\""));
            for (at, reference) in self.references.iter().enumerate() {
                let column = table.columns.iter().position(|column| *column == reference.column);
                let Some(column) = column.filter(|_| table.name == reference.table) else { continue };
                with_column.insert(at);
                let mut counts =
                    ColumnCounts { table: quoted.clone(), column: reference.column.clone(), ..ColumnCounts::default() };
                let before = reference.before.replace("{tenant}", self.tenant.as_str());
                for value in table.rows.iter().filter_map(|row| row[column].as_ref()) {
                    let value = if table.of_type.starts_with("character(") { value.trim_end_matches(' ') } else { value };
                    if value.is_empty() {
                        continue;
                    }
                    counts.references += 1;
                    let mut dangle = || truth.dangling.insert((quoted.clone(), reference.column.clone(), value.to_owned()));
                    let Some(key) = value.strip_prefix(&before) else {
                        counts.foreign += 1;
                        counts.dangling += 1;
                        dangle();
                        continue;
                    };
                    named.insert(key.to_owned());
                    let story = self.stories.get(key).unwrap_or(&nothing);
                    match was(story) {
                        Was::There => {}
                        Was::Perhaps => counts.undecided += 1,
                        Was::Not if is_there_now(story) => counts.early += 1,
                        Was::Not => {
                            counts.dangling += 1;
                            dangle();
                        }
                    }
                }
                truth.columns.push(counts);
            }
        }
        for (key, story) in &self.stories {
            let was = was(story);
            truth.objects.objects += u64::from(was == Was::There);
            if named.contains(key) {
                continue;
            }
            match (was, is_there_now(story)) {
                (Was::There, true) => {
                    truth.objects.orphans += 1;
                    truth.orphans.insert(key.clone());
                }
                (Was::There, false) => truth.objects.leaving += 1,
                (Was::Not, true) => truth.objects.newer += 1,
                (Was::Not, false) => {}
                (Was::Perhaps, _) => truth.objects.undecided += 1,
            }
        }
        truth.without_column = (0..self.references.len()).filter(|at| !with_column.contains(at)).collect();
        truth
    }
}
