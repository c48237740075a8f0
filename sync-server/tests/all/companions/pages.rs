//! Pages: nothing gets out of its place, nothing runs, nobody frames them, nothing is kept.

use reqwest::Response;

use super::{Fields, allowed, asked, get, house, post, with};

fn headers(response: &Response, leads_to: &str) {
    let header = |name: &str| response.headers()[name].to_str().unwrap();
    assert_eq!(header("content-type"), "text/html; charset=utf-8");
    assert_eq!(header("cache-control"), "no-store");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("x-frame-options"), "DENY");
    assert_eq!(header("referrer-policy"), "no-referrer");
    let policy = header("content-security-policy");
    let parts: Vec<&str> = policy.split("; ").collect();
    let [default, style, form, frame, base] = parts[..] else { panic!("{policy}") };
    assert_eq!(default, "default-src 'none'");
    assert!(style.starts_with("style-src 'sha256-"), "{style}");
    assert_eq!(form, format!("form-action 'self'{leads_to}"));
    assert_eq!((frame, base), ("frame-ancestors 'none'", "base-uri 'none'"));
}

#[tokio::test]
async fn every_page_says_what_may_be_done_with_it() {
    let (world, _) = house().await;
    let (authorize, device) = ("/v1/oauth/authorize", "/v1/oauth/device");
    headers(&get(&world, authorize, &asked()).await, " http://127.0.0.1:4711");
    let wrong = with(allowed(), &[("password", "Wrong horse 77")]);
    headers(&post(&world, authorize, &wrong).await, " http://127.0.0.1:4711");
    let scheme = with(asked(), &[("redirect_uri", "com.example.notes:/callback")]);
    headers(&get(&world, authorize, &scheme).await, " com.example.notes:");
    headers(&get(&world, authorize, &Fields::new()).await, "");
    headers(&get(&world, device, &Fields::new()).await, "");
    headers(&get(&world, device, &with(Fields::new(), &[("user_code", "BCDF-GHJK")])).await, "");
    headers(&post(&world, device, &Fields::new()).await, "");
}

#[tokio::test]
async fn what_comes_from_elsewhere_is_text() {
    let (world, _) = house().await;
    let hostile = "\"><script>alert('1')</script>&amp;";
    let page = get(&world, "/v1/oauth/authorize", &with(asked(), &[("state", hostile)])).await.text().await.unwrap();
    assert!(!page.contains("<script") && !page.contains("alert('"), "{page}");
    assert!(page.contains("value=\"&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;amp;\""), "{page}");
    assert!(page.contains("Notes &amp; &lt;Friends&gt;"), "the app's name, too: {page}");
    for (path, field) in
        [("/v1/oauth/device", "user_code"), ("/v1/oauth/device", hostile), ("/v1/oauth/authorize", "client_id")]
    {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair(field, hostile).finish();
        let response = super::browser().get(format!("http://{}{path}?{query}", world.address)).send().await.unwrap();
        assert!(response.status().is_client_error());
        let page = response.text().await.unwrap();
        assert!(!page.contains("script"), "{page}");
    }
}

#[tokio::test]
async fn the_style_is_the_one_that_the_policy_names() {
    use base64::Engine;
    let (world, _) = house().await;
    let response = get(&world, "/v1/oauth/device", &Fields::new()).await;
    let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
    let page = response.text().await.unwrap();
    let style = page.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
    let hash = sync_core::id::Hash::of(&[style.as_bytes()]);
    let hash = base64::engine::general_purpose::STANDARD.encode(hash.0);
    assert!(policy.contains(&format!("'sha256-{hash}'")), "{policy}");
}
