//! For which address a request is made: the socket's, unless a configured proxy says otherwise.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap};
use ipnet::IpNet;

use crate::config::Http;

/// Proxies that a request comes through. What is listed before so many is not looked at.
const PROXIES_MAX: usize = 16;
/// Of an IPv6 address these bits are one caller's network; the rest is changed at will.
const NETWORK_BITS: u32 = 64;
/// What proxies say where they do not know the country.
const UNKNOWN: &str = "XX";

/// Who is believed, and in which header.
#[derive(Debug)]
pub(crate) struct Addresses {
    proxies: Vec<IpNet>,
    header: String,
    country_header: Option<String>,
}

impl Addresses {
    pub(crate) fn new(http: &Http) -> Self {
        Self {
            proxies: http.proxies.clone(),
            header: http.forwarded_header.to_ascii_lowercase(),
            country_header: http.country_header.as_ref().map(|name| name.to_ascii_lowercase()),
        }
    }

    /// From which country somebody calls, in two letters, as a proxy says; `None` where it does not know.
    pub(crate) fn country(&self, extensions: &Extensions, headers: &HeaderMap) -> Option<String> {
        let name = self.country_header.as_deref()?;
        let ConnectInfo(socket) = extensions.get::<ConnectInfo<SocketAddr>>()?;
        if !self.is_proxy(socket.ip().to_canonical()) {
            return None;
        }
        // The last one is the nearest proxy's.
        let country = headers.get_all(name).iter().next_back()?.to_str().ok()?.trim().to_ascii_uppercase();
        let is_one = country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase()) && country != UNKNOWN;
        is_one.then_some(country)
    }

    /// The address; `None` where the server that this is linked into does not tell the socket's.
    pub(crate) fn of(&self, extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
        let ConnectInfo(socket) = extensions.get::<ConnectInfo<SocketAddr>>()?;
        Some(self.behind(socket.ip().to_canonical(), headers))
    }

    /// Each proxy adds at the end whom it saw, so the list is read from there, and only as long as who wrote an entry is a
    /// proxy: what stands before that, anybody may have made up.
    fn behind(&self, socket: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut current = socket;
        if !self.is_proxy(current) {
            return current;
        }
        let values = headers.get_all(self.header.as_str()).iter().rev();
        let entries = values.flat_map(|value| value.to_str().unwrap_or_default().rsplit(','));
        for entry in entries.take(PROXIES_MAX) {
            match self.read(entry) {
                Some(address) => current = address,
                // The proxy did not say: then its callers are counted together.
                None => break,
            }
            if !self.is_proxy(current) {
                break;
            }
        }
        current
    }

    fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|network| network.contains(&address))
    }

    /// An entry of `X-Forwarded-For` and its likes, or of `Forwarded` (RFC 7239).
    fn read(&self, entry: &str) -> Option<IpAddr> {
        if self.header != "forwarded" {
            return address(entry);
        }
        entry.split(';').find_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            name.trim().eq_ignore_ascii_case("for").then(|| address(value.trim().trim_matches('"')))?
        })
    }
}

/// With or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::from);
    let alone = text.parse::<IpAddr>().ok().or_else(bare);
    let address = alone.or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))?;
    Some(address.to_canonical())
}

/// What requests of an address are counted under.
pub(crate) fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let network = Ipv6Addr::from_bits(address.to_bits() >> NETWORK_BITS << NETWORK_BITS);
            format!("{network}/{NETWORK_BITS}")
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn addresses(proxies: &[&str], header: &str) -> Addresses {
        let proxies = proxies.iter().map(|proxy| proxy.parse().unwrap()).collect();
        Addresses::new(&Http { proxies, forwarded_header: header.to_owned(), ..Http::default() })
    }

    fn headers(name: &'static str, values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn nobody_is_believed_without_proxies() {
        let alone = addresses(&[], "x-forwarded-for");
        let spoofed = headers("x-forwarded-for", &[b"203.0.113.9"]);
        assert_eq!(alone.behind(ip("198.51.100.1"), &spoofed), ip("198.51.100.1"));
        let others = addresses(&["10.0.0.0/8"], "x-forwarded-for");
        assert_eq!(others.behind(ip("198.51.100.1"), &spoofed), ip("198.51.100.1"), "who is no proxy says nothing");
        assert_eq!(others.of(&Extensions::new(), &spoofed), None);
    }

    #[test]
    fn the_list_is_read_from_the_right_as_long_as_proxies_wrote_it() {
        let behind = addresses(&["10.0.0.0/8", "2001:db8:1::/48"], "X-Forwarded-For");
        for (values, found) in [
            (&[b"203.0.113.9".as_slice()] as &[&[u8]], "203.0.113.9"),
            // What a caller wrote itself stands further left.
            (&[b"1.1.1.1, 203.0.113.9"], "203.0.113.9"),
            (&[b"10.9.9.9,203.0.113.9"], "203.0.113.9"),
            (&[b"1.1.1.1", b"203.0.113.9"], "203.0.113.9"),
            (&[b"1.1.1.1, 203.0.113.9, 10.0.0.2", b"10.0.0.3"], "203.0.113.9"),
            (&[b"203.0.113.9:4711"], "203.0.113.9"),
            (&[b"::ffff:203.0.113.9"], "203.0.113.9"),
            (&[b"[2001:db8:2::7]:443"], "2001:db8:2::7"),
            (&[b"[2001:db8:2::7]"], "2001:db8:2::7"),
            (&[b"2001:db8:2::7, 2001:db8:1::1"], "2001:db8:2::7"),
            // All proxies: the first of them is the caller.
            (&[b"10.0.0.9, 10.0.0.2"], "10.0.0.9"),
        ] {
            assert_eq!(behind.behind(ip("10.0.0.1"), &headers("x-forwarded-for", values)), ip(found), "{values:?}");
        }
    }

    #[test]
    fn what_is_no_address_ends_the_list() {
        let behind = addresses(&["10.0.0.0/8"], "x-forwarded-for");
        for garbage in ["", ",", "unknown", "_hidden", "203.0.113", "[::1", "1.1.1.1:99999", "1.1.1.1 2.2.2.2"] {
            let of = |value: &str| behind.behind(ip("10.0.0.1"), &headers("x-forwarded-for", &[value.as_bytes()]));
            assert_eq!(of(garbage), ip("10.0.0.1"), "{garbage}");
            assert_eq!(of(&format!("203.0.113.9, {garbage}, 10.0.0.7")), ip("10.0.0.7"), "{garbage}");
        }
        assert_eq!(behind.behind(ip("10.0.0.1"), &headers("x-forwarded-for", &[b"\xff\xfe"])), ip("10.0.0.1"));
        assert_eq!(behind.behind(ip("10.0.0.1"), &HeaderMap::new()), ip("10.0.0.1"));
        let long = vec!["10.0.0.5"; 5_000].join(",");
        assert_eq!(behind.behind(ip("10.0.0.1"), &headers("x-forwarded-for", &[long.as_bytes()])), ip("10.0.0.5"));
    }

    #[test]
    fn the_standard_header_too() {
        let behind = addresses(&["10.0.0.0/8"], "Forwarded");
        for (value, found) in [
            ("for=203.0.113.9", "203.0.113.9"),
            ("For=\"[2001:db8:2::7]:4711\";proto=https;by=10.0.0.1", "2001:db8:2::7"),
            ("for=1.1.1.1, proto=https; for=203.0.113.9 , for=10.0.0.4", "203.0.113.9"),
            ("for=1.1.1.1, for=unknown", "10.0.0.1"),
            ("by=1.1.1.1", "10.0.0.1"),
        ] {
            assert_eq!(behind.behind(ip("10.0.0.1"), &headers("forwarded", &[value.as_bytes()])), ip(found), "{value}");
        }
    }

    #[test]
    fn proxies_alone_say_from_which_country_somebody_calls() {
        let proxies = vec!["10.0.0.0/8".parse().unwrap()];
        let http = Http { proxies, country_header: Some("CF-IPCountry".to_owned()), ..Http::default() };
        let of = |socket: &str, values: &[&[u8]]| {
            let mut extensions = Extensions::new();
            extensions.insert(ConnectInfo(SocketAddr::new(ip(socket), 1)));
            Addresses::new(&http).country(&extensions, &headers("cf-ipcountry", values))
        };
        assert_eq!(of("10.0.0.1", &[b"DE"]).as_deref(), Some("DE"));
        assert_eq!(of("10.0.0.1", &[b"FR", b" de"]).as_deref(), Some("DE"), "the proxy's own comes last");
        assert_eq!(of("198.51.100.1", &[b"DE"]), None, "a caller's own word");
        for unknown in [b"XX".as_slice(), b"T1", b"", b"DEU", b"\xff\xfe", b"D;"] {
            assert_eq!(of("10.0.0.1", &[unknown]), None, "{unknown:?}");
        }
        assert_eq!(of("10.0.0.1", &[]), None);
    }

    #[test]
    fn an_address_is_counted_with_its_network() {
        assert_eq!(network(ip("203.0.113.9")), "203.0.113.9");
        assert_eq!(network(ip("::ffff:203.0.113.9")), "203.0.113.9");
        assert_eq!(network(ip("2001:db8:1:2:3:4:5:6")), "2001:db8:1:2::/64");
        assert_eq!(network(ip("2001:db8:1:2:ffff::")), "2001:db8:1:2::/64");
    }

    #[test]
    fn a_socket_that_maps_ipv4_is_ipv4() {
        let behind = addresses(&["10.0.0.0/8"], "x-forwarded-for");
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo::<SocketAddr>("[::ffff:10.0.0.1]:5".parse().unwrap()));
        let found = behind.of(&extensions, &headers("x-forwarded-for", &[b"203.0.113.9"]));
        assert_eq!(found, Some(ip("203.0.113.9")));
    }
}
