//! How often callers may call.

use serde::{Deserialize, Serialize};

use super::{ConfigError, within};
use crate::router::{ROUTES, Who};

/// Each request asks every rule, so they are few.
const LIMIT_RULES_MAX: usize = 32;

/// How often callers may call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// A request passes if every rule that fits it has room.
    pub rules: Vec<LimitRule>,
}

/// So many requests in so much time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitRule {
    /// What the rule is called in the answers' headers.
    pub name: String,
    /// Of whom requests are counted together.
    pub of: LimitOf,
    /// Method and route, such as `POST /v1/sync`; `*` stands for all that need a token.
    pub route: String,
    /// How many requests.
    pub requests: u32,
    /// In any stretch of time of this length.
    pub seconds: u32,
}

/// Of whom requests are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitOf {
    /// One address; of IPv6 one /64.
    Address,
    /// One user.
    User,
    /// One device.
    Device,
}

impl Default for Limits {
    fn default() -> Self {
        let rule = |name: &str, of, route: &str, requests, seconds| LimitRule {
            name: name.to_owned(),
            of,
            route: route.to_owned(),
            requests,
            seconds,
        };
        let before = |name, route, requests| rule(name, LimitOf::Address, route, requests, 600);
        let rules = vec![
            rule("address", LimitOf::Address, "*", 12_000, 60),
            rule("user", LimitOf::User, "*", 6_000, 60),
            rule("device", LimitOf::Device, "*", 3_000, 60),
            before("sign-up", "POST /v1/accounts", 60),
            before("sign-in", "POST /v1/devices", 120),
            before("sign-in-page", "POST /v1/oauth/authorize", 120),
            before("companion-page", "POST /v1/oauth/device", 120),
            before("companion-look-up", "GET /v1/oauth/device", 120),
            before("companion", "POST /v1/oauth/device_authorization", 120),
            before("token", "POST /v1/oauth/token", 12_000),
            rule("heal", LimitOf::Device, "POST /v1/heal", 1_200, 600),
            rule("invites", LimitOf::User, "POST /v1/invites/accept", 60, 600),
        ];
        Self { rules }
    }
}

impl Limits {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        within(self.rules.len() <= LIMIT_RULES_MAX, "limits.rules", "at most 32 rules")?;
        self.rules.iter().try_for_each(|rule| {
            within((1..=1_000_000).contains(&rule.requests), "limits.rules.requests", "1 to 1,000,000")?;
            within((1..=86_400).contains(&rule.seconds), "limits.rules.seconds", "1 to 86,400")?;
            let name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            within(!rule.name.is_empty() && rule.name.bytes().all(name), "limits.rules.name", "of a-z, 0-9 and -")?;
            let of_that_name = self.rules.iter().filter(|other| other.name == rule.name).count();
            within(of_that_name == 1, "limits.rules.name", "another for each rule")?;
            let mut limited = ROUTES.iter().filter(|route| route.who != Who::Probe);
            let known = limited.any(|route| rule.route.split_once(' ') == Some((route.method, route.path)));
            within(known || rule.route == "*", "limits.rules.route", "* or a method and a route, as in POST /v1/sync")
        })
    }
}
