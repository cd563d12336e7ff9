//! Every type and its edge values, in every layout, as a column and as a key.

use crate::{
    layouts::{SCHEMA, round_trip, worlds},
    type_table::{EXTENSIONS, OF_EXTENSIONS, OWN_TYPES, TYPES, Type},
};

fn all() -> impl Iterator<Item = &'static Type> {
    TYPES.iter().chain(OF_EXTENSIONS)
}

/// Rows of two tenants in a table of the type, one of them null where the type allows; and in one whose key it is, where it can be.
fn tables(of: &Type) -> String {
    let Type { name, sql, is_key, values } = of;
    let mut statements = format!("CREATE TABLE app.{name} (tenant_id text, id int, v {sql}, PRIMARY KEY (tenant_id, id));\n");
    for (id, value) in values.iter().enumerate() {
        statements +=
            &format!("INSERT INTO app.{name} SELECT t, {id}, CAST({value} AS {sql}) FROM unnest(ARRAY['acme', 'other']) t;\n");
    }
    if !["a_percentage", "a_half"].contains(name) {
        statements += &format!("INSERT INTO app.{name} VALUES ('acme', -1, NULL), ('other', -1, NULL);\n");
    }
    if *is_key {
        // An index holds no value longer than a third of a page, and a key no two that are equal to it, such as 0 and -0.
        statements += &format!(
            "CREATE TABLE app.key_{name} (v {sql}, tenant_id text, PRIMARY KEY (v, tenant_id));
             INSERT INTO app.key_{name} SELECT v, tenant_id FROM app.{name} WHERE octet_length(v::text) < 2000 ORDER BY id ON CONFLICT DO NOTHING;\n"
        );
    }
    statements.replace("{schema}", SCHEMA)
}

/// Some rows of each table go, others lose their value, so that both insert and update bring them back.
fn destruction(of: &Type) -> String {
    let (name, sql) = (of.name, of.sql);
    let spoil = match name {
        // Not null: the value of another row stands in.
        "a_percentage" | "a_half" => format!("CAST(1 AS {sql})"),
        _ => "NULL".to_owned(),
    };
    let keys = if of.is_key { format!("DELETE FROM app.key_{name} WHERE tenant_id = 'acme';\n") } else { String::new() };
    format!(
        "DELETE FROM app.{name} WHERE tenant_id = 'acme' AND id % 2 <> 0;
         UPDATE app.{name} SET v = {spoil} WHERE tenant_id = 'acme' AND id % 2 = 0;\n{keys}"
    )
    .replace("{schema}", SCHEMA)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_type_comes_back_as_it_was_in_every_layout() {
    let (types, keys) = (all().count(), all().filter(|of| of.is_key).count());
    let values: usize = all().map(|of| of.values.len()).sum();
    let (built_in, of_extensions) = (TYPES.iter().filter(|of| !of.sql.contains("{schema}")).count(), OF_EXTENSIONS.len());
    let prepare: String = EXTENSIONS.iter().map(|name| format!("CREATE EXTENSION {name} SCHEMA public;\n")).collect();
    let definitions = OWN_TYPES.replace("{schema}", SCHEMA);
    let fill =
        format!("{prepare} SET ROLE app_owner; CREATE SCHEMA app; {definitions} {}", all().map(tables).collect::<String>());
    let destruction: String = all().map(destruction).collect();
    for (layout, world) in worlds("types") {
        world.cluster.sql(world.scope.layout().database(), &fill);
        let point = round_trip(layout, &world, &destruction).await;
        let rows: u64 = point.manifest().streams.iter().map(|stream| stream.rows).sum();
        let tables = point.manifest().streams.len();
        assert_eq!(tables, types + keys, "{layout}");
        eprintln!(
            "{layout}: {types} types ({built_in} built in, {of_extensions} of extensions), {keys} of them as keys, {values} edge values, {rows} rows in {tables} tables"
        );
        let database = world.scope.layout().database();
        world.cluster.sql("postgres", &format!("DROP DATABASE {database} WITH (FORCE)"));
    }
    assert!(built_in >= 40 && values >= 250, "{built_in} built-in types, {values} values");
}
