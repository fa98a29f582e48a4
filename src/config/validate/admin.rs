//! The admin endpoint.

use std::net::{Ipv4Addr, SocketAddr};

use crate::config::raw;
use crate::config::secret::Secret;
use crate::config::validate::validator::Validator;

const DEFAULT_PORT: u16 = 9600;
/// Whoever may try as often as they like must not get there.
const MIN_TOKEN_CHARACTERS: usize = 16;
const TOKEN_ADVICE: &str = "make one, with: openssl rand -hex 32";

/// Where health, metrics, status and the page are served, over plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    pub listen: SocketAddr,
    /// Who comes from another machine must show it; `None`: they may look, and change nothing.
    pub token: Option<Secret>,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)),
            token: None,
        }
    }
}

impl Validator<'_> {
    pub(crate) fn admin(&mut self, raw: raw::Admin) -> Admin {
        let token = raw
            .token
            .and_then(|source| self.secret("admin.token", source));
        if let Some(token) = &token {
            self.token(token);
        }
        Admin {
            listen: raw
                .listen
                .map_or(Admin::default().listen, |listen| listen.0),
            token,
        }
    }

    fn token(&mut self, token: &Secret) {
        // RFC 6750, section 2.1.
        let may_stand = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
        let text = if !token.expose().chars().all(may_stand) {
            format!("holds more than letters, digits and -._~+/= ({TOKEN_ADVICE})")
        } else if token.expose().len() < MIN_TOKEN_CHARACTERS {
            format!(
                "is shorter than {MIN_TOKEN_CHARACTERS} characters, and can be guessed ({TOKEN_ADVICE})"
            )
        } else {
            return;
        };
        self.report.error("admin.token", text);
    }
}
