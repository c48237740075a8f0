//! Pages come from a replica where it provably has what the primary has, and from the primary everywhere else.

mod needs_own_postgres {
    use sync_core::check::Push;
    use sync_core::feed::{FeedHead, Item, Run};
    use sync_core::id::{DeviceId, DocId, SpaceId};
    use sync_core::ledger::Role;
    use sync_core::log::Cursor;
    use sync_server::config::Database;
    use sync_server::store::postgres::PostgresStore;
    use sync_server::store::{LogPage, PageAnswer, PageRequest, Store, StoreError};
    use sync_tests::services::postgres::Postgres;

    use crate::postgres::{at, open};

    /// A feed of creations.
    struct Feed {
        space: SpaceId,
        device: DeviceId,
        head: FeedHead,
    }

    impl Feed {
        async fn start(store: &PostgresStore) -> Self {
            let (space, device) = (SpaceId::from_random([3; 16]), DeviceId::from_random([4; 16]));
            store.set_role(space, "ann", Some(Role::Owner)).await.unwrap();
            Self { space, device, head: FeedHead::start(space, device) }
        }

        async fn grow(&mut self, store: &PostgresStore, entries: u64) -> Cursor {
            let doc = |number: u64| DocId::mint(self.head.n + number, [5; 10]);
            let items = (0..entries).map(|number| Item::create(doc(number), "notes".into())).collect();
            let run = Run { device: self.device, base: self.head, items };
            self.head = run.end();
            let committed = store.commit(self.space, vec![Push::check("ann".into(), run)]).await.unwrap();
            committed.head
        }

        async fn page(&self, store: &PostgresStore, since: Option<Cursor>) -> Result<LogPage, StoreError> {
            let reader = DeviceId::from_random([9; 16]);
            let request = PageRequest {
                since,
                bytes_max: 1 << 20,
                changes_max: 10,
                reader,
                own: true,
                version: true,
                snapshots: None,
            };
            match store.page(self.space, request).await? {
                PageAnswer::Page(page) => Ok(page),
                other => panic!("no page: {other:?}"),
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_replica_answers_only_what_the_primary_would() {
        let mut primary = Postgres::start();
        let url = primary.create_database("rejoin");
        let store = open(&at(&url)).await.unwrap();
        let mut feed = Feed::start(&store).await;
        let thirty = feed.grow(&store, 30).await;
        let mut replica = primary.replica();
        replica.catch_up(&primary);
        replica.pause_replay();
        let sixty = feed.grow(&store, 30).await;
        assert_eq!((thirty.seq, sixty.seq), (30, 60));

        let config = Database { read_url: Some(replica.url("rejoin").into()), ..at(&url) };
        let both = PostgresStore::open(&config, &crate::postgres::keys("the same")).await.unwrap();
        // Whatever the replica lacks, nobody notices.
        let mut cursor = None;
        for upto in [10, 20, 30, 40, 50, 60] {
            let page = feed.page(&both, cursor).await.unwrap();
            assert_eq!((page.next.seq, page.more, page.version.is_some()), (upto, upto < 60, upto == 60));
            cursor = Some(page.next);
        }
        assert_eq!(cursor, Some(sixty));
        let nothing_new = feed.page(&both, Some(sixty)).await.unwrap();
        assert!(nothing_new.entries.is_empty() && !nothing_new.more);

        // And it is the replica that answers where it may: the primary is not there any more.
        let ten = feed.page(&both, None).await.unwrap().next;
        primary.kill();
        assert_eq!(feed.page(&both, None).await.unwrap().next, ten);
        assert_eq!(feed.page(&both, Some(ten)).await.unwrap().next.seq, 20);
        let last = feed.page(&both, Some(thirty)).await;
        assert!(matches!(last, Err(StoreError::Unavailable(_))), "{last:?}");

        // Without the replica the primary answers everything.
        primary.restart();
        replica.kill();
        assert_eq!(feed.page(&both, None).await.unwrap().next, ten);
        assert_eq!(feed.page(&both, Some(thirty)).await.unwrap().next.seq, 40);
    }
}
