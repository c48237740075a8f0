//! The description of the API, held against the running server by a program that makes requests from it: good ones, and all kinds
//! of bad ones. No answer may be a fault of the server, none may be other than described.

mod needs_schemathesis {
    use sync_client_ffi::SpaceId;
    use sync_core::ledger::Role;
    use sync_tests::rig::{Rig, device};
    use sync_tests::services::schemathesis::Schemathesis;

    /// What is looked at in each answer. `ignored_auth`: a request without a token, or with a wrong one, is refused.
    const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                          response_schema_conformance,negative_data_rejection,unsupported_method,allow_header_conformance,\
                          ignored_auth";
    /// Requests made up for each operation, beside those that cover each rule of its schema once.
    const EXAMPLES_MAX: &str = "30";
    /// The same requests in every run. One worker: parsers of older Pythons do not bear two.
    const SEED: &str = "20261126";
    /// Upgrades and streams do not end by themselves: the server's own tests have them.
    const LASTING: [&str; 2] = ["/v1/live", "/v1/events"];

    /// What it says of a server that describes itself there.
    fn run(schemathesis: &Schemathesis, rig: &Rig, location: &str) -> (bool, String) {
        let space = SpaceId::from_random([7; 16]);
        rig.set_role(space, "ann", Some(Role::Owner));
        let authorization = format!("Authorization: Bearer {}", rig.token("ann", device(1)));
        let mut arguments = vec!["run", location, "--header", &authorization, "--checks", CHECKS, "--seed", SEED];
        arguments.extend(["--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES_MAX]);
        arguments.extend(["--request-timeout", "30", "--no-shrink", "--continue-on-failure", "--warnings", "off"]);
        arguments.extend(["--suppress-health-check", "all"]);
        let url = rig.url();
        if !location.starts_with("http") {
            arguments.extend(["--url", &url]);
        }
        arguments.extend(LASTING.iter().flat_map(|path| ["--exclude-path", path]));
        let ids = [("REJOIN_SPACE", space.to_string()), ("REJOIN_DEVICE", device(1).to_string())];
        let ids = ids.each_ref().map(|(name, id)| (*name, id.as_str()));
        let output = schemathesis.run(&arguments, &ids);
        let text = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
        (output.status.success(), text)
    }

    fn rig() -> Rig {
        // It is one caller that calls more often than people do.
        Rig::with(|config| {
            config.limits.rules.clear();
            // Hashing passwords as they are hashed for people would take most of the time.
            (config.accounts.memory_kib, config.accounts.iterations) = (8, 1);
        })
    }

    #[test]
    fn no_answer_is_a_fault_or_other_than_described() {
        let schemathesis = Schemathesis::find().unwrap_or_else(|missing| panic!("{missing}"));
        let rig = rig();
        let (fine, text) = run(&schemathesis, &rig, &format!("{}/v1/openapi.json", rig.url()));
        assert!(fine, "{text}");
        println!("{}", text.lines().filter(|line| line.contains("generated")).collect::<String>());
    }

    #[test]
    fn an_answer_that_is_not_described_is_found() {
        let schemathesis = Schemathesis::find().unwrap_or_else(|missing| panic!("{missing}"));
        let rig = rig();
        // A description of one route, from which an answer was left out.
        let responses =
            r#"{"200": {"description": "", "content": {"application/json": {}, "application/msgpack": {}}}}"#;
        let parameter =
            r#"{"name": "id", "in": "path", "required": true, "schema": {"type": "string", "format": "uuid"}}"#;
        let description = format!(
            r#"{{"openapi": "3.1.0", "info": {{"title": "less", "version": "1"}}, "paths": {{"/v1/spaces/{{id}}/version":
                {{"get": {{"parameters": [{parameter}], "responses": {responses}}}}}}}}}"#
        );
        let file = rig.folder().join("less.json");
        std::fs::write(&file, description).unwrap();
        let (fine, text) = run(&schemathesis, &rig, file.to_str().unwrap());
        assert!(!fine && text.contains("Undocumented status code"), "{text}");
    }
}
