//! The schema can be sharded by space and by user; a test reads it and finds what would break that.

mod needs_postgres {
    use std::collections::BTreeSet;

    use tokio_postgres::{Client, NoTls};

    use sync_tests::services::database;

    use crate::postgres::at;

    /// A few rows each, of the deployment itself: on a distributed Postgres these are reference tables.
    const GLOBAL: [&str; 3] = ["app_versions", "cluster", "refinery_schema_history"];
    /// Hash-partitioned by space, since they hold nearly everything.
    const PARTITIONED: [&str; 2] = ["log", "payloads"];

    /// Keyed by what people and apps come with before there is a user: an address, the hash of an identity, of a code. They are
    /// sharded by that, each row by itself.
    const DIRECTORIES: [(&str, &str); 3] =
        [("accounts", "email"), ("sign_in_failures", "identity"), ("grants", "grant_id")];

    /// Lead with neither a space nor a user, and may ask every shard: clearing away what has expired and looking at what
    /// happened lately is nobody's request, and passwords are seldom changed. Every node asks, twice a second, whom others cut
    /// off lately.
    const SCATTERED: [&str; 8] = [
        "accounts_by_user",
        "audit_by_time",
        "deleted_spaces_by_time",
        "devices_cut",
        "grants_by_expiry",
        "idempotency_by_expiry",
        "sessions_cut",
        "sign_in_failures_by_end",
    ];

    /// What stands in the way of sharding, one line each.
    async fn faults(client: &Client) -> Vec<String> {
        let text = async |sql: &str| -> Vec<(String, String)> {
            let rows = client.query(sql, &[]).await.unwrap();
            rows.iter().map(|row| (row.get(0), row.get(1))).collect()
        };
        let of_schema = "relnamespace = 'public'::regnamespace";
        let mut faults = Vec::new();
        let global = |table: &str| GLOBAL.contains(&table);

        let sequences =
            text(&format!("SELECT relname::text, '' FROM pg_class WHERE relkind = 'S' AND {of_schema}")).await;
        faults.extend(sequences.into_iter().map(|(name, _)| format!("{name} is a sequence")));
        let foreign =
            text("SELECT conname::text, conrelid::regclass::text FROM pg_constraint WHERE contype = 'f'").await;
        faults.extend(foreign.into_iter().map(|(name, table)| format!("{table} has the foreign key {name}")));
        let triggers =
            text("SELECT tgname::text, tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal").await;
        faults.extend(triggers.into_iter().map(|(name, table)| format!("{table} has the trigger {name}")));

        // Every table belongs to a space or to a user, by the column that leads its primary key.
        let tables = format!(
            "SELECT c.relname::text,
                    coalesce((SELECT a.attname::text FROM pg_index i
                              JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
                              WHERE i.indrelid = c.oid AND i.indisprimary), '')
             FROM pg_class c WHERE c.relkind IN ('r', 'p') AND {of_schema}"
        );
        let owners = text(&tables).await;
        for (table, leading) in owners.iter().filter(|(table, _)| !global(table)) {
            let directory = DIRECTORIES.contains(&(table.as_str(), leading.as_str()));
            if !["space_id", "user_id"].contains(&leading.as_str()) && !directory {
                faults.push(format!("{table} is keyed by {leading:?} first"));
            }
        }
        // And so does every other index of it: a look-up never asks all shards.
        let indexes = format!(
            "SELECT c.relname::text, i.indexrelid::regclass::text || ' ' ||
                    coalesce((SELECT a.attname::text FROM pg_attribute a
                              WHERE a.attrelid = c.oid AND a.attnum = i.indkey[0]), 'an expression')
             FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE {of_schema}"
        );
        for (table, index) in text(&indexes).await {
            let (name, leading) = index.split_once(' ').unwrap();
            let owner = owners.iter().find(|(other, _)| *other == table).map_or("", |(_, leading)| leading);
            if !global(&table) && leading != owner && !SCATTERED.contains(&name) {
                faults.push(format!("{table} has the index {name} that leads with {leading}"));
            }
        }
        let partitioned =
            text("SELECT partrelid::regclass::text, pg_get_partkeydef(partrelid) FROM pg_partitioned_table").await;
        let expected = PARTITIONED.map(|table| (table.to_owned(), "HASH (space_id)".to_owned()));
        if partitioned.iter().collect::<BTreeSet<_>>() != expected.iter().collect() {
            faults.push(format!("partitioned are {partitioned:?}"));
        }
        faults.sort();
        faults
    }

    #[tokio::test]
    async fn the_schema_can_be_sharded() {
        let database = database();
        sync_server::store::postgres::migrate(&at(database.url())).await.unwrap();
        let (client, connection) = tokio_postgres::connect(database.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        assert_eq!(faults(&client).await, [""; 0]);

        // And what would break it is found.
        let plant = "CREATE TABLE numbered (space_id uuid NOT NULL, at bigserial, PRIMARY KEY (at, space_id));
                     CREATE TABLE bound (space_id uuid NOT NULL PRIMARY KEY REFERENCES spaces (space_id));
                     CREATE TABLE bare (space_id uuid);
                     CREATE UNIQUE INDEX members_by_user ON members (user_id, space_id);";
        client.batch_execute(plant).await.unwrap();
        let found = faults(&client).await;
        let expected = [
            "bare is keyed by \"\" first",
            "bound has the foreign key bound_space_id_fkey",
            "members has the index members_by_user that leads with user_id",
            "numbered is keyed by \"at\" first",
            "numbered_at_seq is a sequence",
        ];
        assert_eq!(found, expected);
    }
}
