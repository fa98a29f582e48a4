//! What each account must be.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::raw::{self, Generation, SecretSource, Span};
use crate::config::secret::fits_a_header;
use crate::config::secret::{Origin, Secret};
use crate::config::source::key_path::join;
use crate::config::validate::validator::{Validator, collect};
use crate::config::{Account, Proxy, Tls};

impl Validator<'_> {
    pub(crate) fn accounts(
        &mut self,
        raw: BTreeMap<String, raw::Account>,
    ) -> Option<BTreeMap<String, Account>> {
        if raw.is_empty() {
            self.report
                .missing("", "accounts", "there is none (add [accounts.NAME])");
        }
        let mut accounts = Some(BTreeMap::new());
        for (name, raw) in raw {
            let path = join("accounts", &name);
            self.name(&path, &name);
            let account = self.account(&path, &name, raw);
            collect(&mut accounts, name, account);
        }
        accounts
    }

    fn account(&mut self, path: &str, name: &str, mut raw: raw::Account) -> Option<Account> {
        let generation = self.report.require(
            path,
            "generation",
            raw.generation,
            "write generation = \"classic\" or \"new\"",
        );
        let generation = generation.unwrap_or(Generation::Classic);
        if raw.generation.is_some() {
            self.refuse_keys_of_the_other(path, generation, &raw);
        }
        let advice = match generation {
            Generation::Classic => "write endpoint = \"wss://HOST/streaming/api\"",
            Generation::New => "write endpoint = \"wss://HOST\"",
        };
        let endpoint = self
            .report
            .require(path, "endpoint", raw.endpoint.take(), advice)
            .map(|endpoint| endpoint.0);
        if generation == Generation::New
            && let Some(url) = &endpoint
            && (!matches!(url.path(), "" | "/") || url.query().is_some())
        {
            self.report.error(
                &join(path, "endpoint"),
                "has a path (write wss://HOST alone: the topics name the rest)",
            );
        }
        let entry = self.input_json(path, name, &raw);
        let access = self.access(path, generation, &mut raw, entry.as_ref());
        let topics = self.topics(path, generation, raw.topics.take(), entry.as_ref());
        let tls = self.tls(&join(path, "tls"), raw.tls);
        let proxy = self.proxy(&join(path, "proxy"), raw.proxy);
        let idle_timeout = raw.idle_timeout.map(|Span(span)| span);
        if idle_timeout.is_some_and(|span| span < Duration::from_secs(1)) {
            self.report.error(
                &join(path, "idle_timeout"),
                "is out of range (write at least 1s)",
            );
        }
        Some(Account {
            endpoint: endpoint?,
            access: access?,
            topics: topics?,
            tls,
            proxy: proxy?,
            idle_timeout,
        })
    }

    fn refuse_keys_of_the_other(&mut self, path: &str, generation: Generation, raw: &raw::Account) {
        use Generation::{Classic, New};
        for (key, is_there, of) in [
            ("key", raw.key.is_some(), Classic),
            ("username", raw.username.is_some(), Classic),
            ("input_json", raw.input_json.is_some(), Classic),
            ("customer", raw.customer.is_some(), Classic),
            ("client_id", raw.client_id.is_some(), New),
            ("client_secret", raw.client_secret.is_some(), New),
            ("token_url", raw.token_url.is_some(), New),
            ("tenant", raw.tenant.is_some(), New),
            ("tenant_token_url", raw.tenant_token_url.is_some(), New),
            ("subscriber_id", raw.subscriber_id.is_some(), New),
        ] {
            if is_there && of != generation {
                let text = format!(
                    "is for accounts of generation {of}, and this one is {generation} (leave it out)"
                );
                self.report.error(&join(path, key), text);
            }
        }
    }

    fn tls(&mut self, path: &str, raw: raw::Tls) -> Tls {
        Tls {
            ca_file: self.ca_file(path, raw.ca_file),
            insecure: raw.verify == Some(false),
        }
    }

    fn proxy(&mut self, path: &str, source: Option<SecretSource>) -> Option<Proxy> {
        let Some(source) = source else {
            return Some(Proxy::Environment);
        };
        let url = self.secret(path, source)?;
        if url.expose() == "none" {
            return Some(Proxy::None);
        }
        let parsed = url::Url::parse(url.expose());
        if parsed.is_ok_and(|url| url.scheme() == "http" && url.has_host()) {
            return Some(Proxy::Url(url));
        }
        // The text never shows the URL: it may hold a password.
        self.report.error(
            path,
            "is not the URL of an HTTP proxy (write http://HOST:PORT, or none)",
        );
        None
    }

    /// `what` begins the sentence about a secret that is no good.
    pub(crate) fn header_secret(
        &mut self,
        path: &str,
        what: &str,
        source: SecretSource,
    ) -> Option<Secret> {
        let secret = self.secret(path, source)?;
        if fits_a_header(secret.expose()) {
            return Some(secret);
        }
        let from = match secret.origin() {
            Origin::Literal => String::new(),
            origin => format!(" {origin}"),
        };
        self.report.error(
            path,
            format!(
                "{what}{from} is empty or holds characters that no HTTP header can carry (copy it anew)"
            ),
        );
        None
    }
}
