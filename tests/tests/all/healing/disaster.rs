//! A server that is backed up and restored, on either database.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use rusqlite::Connection;
use sync_client_ffi::SpaceId;
use sync_server::auth::keys::{Keys, RECEIPT_KEY};
use sync_server::store::sqlite::FILE;
use sync_server::{Config, open_storage, verify};
use sync_tests::nodes::migrate;
use sync_tests::rig::ServerProcess;
use sync_tests::services::daemon::free_port;
use sync_tests::services::postgres::{Backup, Postgres};

/// What happens to a server.
pub trait Disaster {
    fn server(&mut self) -> &mut ServerProcess;

    /// As the runbook says.
    fn back_up(&mut self);

    /// Kills it, puts the backup in place, and starts it.
    fn restore(&mut self);

    /// Where its database is.
    fn config(&self) -> Config;

    /// What is stored is what the log says, also of what came back.
    fn is_sound(&self, space: SpaceId) {
        let config = self.config();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let keys = Keys::open(config.keys_folder()).unwrap();
            let storage = open_storage(&config, &keys).await.unwrap();
            let report = verify::space(&*storage.inspect, space, &mut |_| {}).await.unwrap();
            assert!(report.findings.is_empty(), "{:?}", report.findings);
            assert!(report.head.seq > 0);
            storage.store.close().await.unwrap();
        });
    }

    /// Its key of receipts is lost, too.
    fn forget_receipts(&mut self) {
        let server = self.server();
        server.kill();
        std::fs::remove_file(server.data().join(RECEIPT_KEY)).unwrap();
        server.restart();
    }
}

/// On SQLite.
pub struct Embedded {
    server: ServerProcess,
    backup: PathBuf,
    _folder: tempfile::TempDir,
}

impl Embedded {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = ServerProcess::start(env!("CARGO_BIN_EXE_child").as_ref(), &folder.path().join("server"));
        Self { server, backup: folder.path().join("backup.sqlite"), _folder: folder }
    }
}

impl Disaster for Embedded {
    fn config(&self) -> Config {
        Config { data: self.server.data().to_owned(), ..Config::default() }
    }

    fn server(&mut self) -> &mut ServerProcess {
        &mut self.server
    }

    fn back_up(&mut self) {
        std::fs::remove_file(&self.backup).ok();
        let connection = Connection::open(self.server.data().join(FILE)).unwrap();
        connection.execute("VACUUM INTO ?1", [self.backup.to_str().unwrap()]).unwrap();
    }

    fn restore(&mut self) {
        self.server.kill();
        for suffix in ["-wal", "-shm"] {
            std::fs::remove_file(self.server.data().join(format!("{FILE}{suffix}"))).ok();
        }
        std::fs::copy(&self.backup, self.server.data().join(FILE)).unwrap();
        self.server.restart();
    }
}

/// On Postgres.
pub struct Distributed {
    server: ServerProcess,
    postgres: Postgres,
    backup: Option<Backup>,
    _folder: tempfile::TempDir,
}

impl Distributed {
    pub fn start() -> Self {
        let (folder, postgres) = (tempfile::tempdir().unwrap(), Postgres::start());
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let mut config = Config { data: folder.path().join("server"), listen, ..Config::default() };
        config.database.url = Some(postgres.create_database("rejoin").into());
        migrate(&config.database);
        let server = ServerProcess::configured(env!("CARGO_BIN_EXE_child").as_ref(), &config);
        Self { server, postgres, backup: None, _folder: folder }
    }
}

impl Disaster for Distributed {
    fn config(&self) -> Config {
        let mut config = Config { data: self.server.data().to_owned(), ..Config::default() };
        config.database.url = Some(self.postgres.url("rejoin").into());
        config
    }

    fn server(&mut self) -> &mut ServerProcess {
        &mut self.server
    }

    fn back_up(&mut self) {
        self.backup = Some(self.postgres.backup());
    }

    fn restore(&mut self) {
        self.server.kill();
        self.postgres.restore(self.backup.take().expect("a backup"));
        self.server.restart();
    }
}
