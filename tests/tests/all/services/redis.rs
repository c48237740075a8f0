//! Redis.

mod needs_own_redis {
    use sync_tests::services::redis::Redis;

    use super::super::is_alive;

    #[test]
    fn a_kill_and_a_flush_forget_everything_and_the_port_stays() {
        let mut redis = Redis::start();
        let url = redis.url();
        assert_eq!(redis.ask("SET key value"), "+OK");
        assert_eq!(redis.ask("EXISTS key"), ":1");
        redis.flush();
        assert_eq!(redis.ask("EXISTS key"), ":0");
        assert_eq!(redis.ask("SET key value"), "+OK");
        let process = redis.id();
        redis.kill();
        assert!(!is_alive(process));
        redis.restart();
        assert_eq!(redis.ask("EXISTS key"), ":0");
        assert_eq!(redis.url(), url);
        let process = redis.id();
        drop(redis);
        assert!(!is_alive(process));
    }
}

mod needs_redis {
    use sync_tests::services;

    #[test]
    fn users_of_a_shared_one_have_names_of_their_own() {
        let (one, other) = (services::redis(), services::redis());
        assert_eq!(one.url, other.url);
        assert_ne!(one.prefix, other.prefix);
    }
}
