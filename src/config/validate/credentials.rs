//! With what an account is entered: a key, the `input.json` of HPE's sample client, or OAuth 2.0
//! client credentials.

use url::Url;

use crate::config::input_json::{self, Customer};
use crate::config::raw::{self, Generation};
use crate::config::secret::fits_a_header;
use crate::config::source::key_path::join;
use crate::config::validate::validator::Validator;
use crate::config::{Access, ClassicAccess, NewAccess, TENANT_TOKEN_URL, TOKEN_URL};

impl Validator<'_> {
    /// The account's customer in `input_json`, if that is given.
    pub(crate) fn input_json(
        &mut self,
        path: &str,
        name: &str,
        raw: &raw::Account,
    ) -> Option<Customer> {
        let Some(file) = &raw.input_json else {
            if raw.customer.is_some() {
                let text = "has no meaning without input_json (leave it out)";
                self.report.error(&join(path, "customer"), text);
            }
            return None;
        };
        if raw.key.is_some() {
            let text = "stands in input_json already (leave one out)";
            self.report.error(&join(path, "key"), text);
        }
        match Customer::read(file, raw.customer.as_deref(), name) {
            Ok(customer) => Some(customer),
            Err(why) => {
                let key = match why {
                    input_json::InvalidInputJson::NoCustomer { .. } if raw.customer.is_some() => {
                        "customer"
                    }
                    _ => "input_json",
                };
                self.report.error(&join(path, key), why.to_string());
                None
            }
        }
    }

    pub(crate) fn access(
        &mut self,
        path: &str,
        generation: Generation,
        raw: &mut raw::Account,
        customer: Option<&Customer>,
    ) -> Option<Access> {
        match generation {
            Generation::Classic => self.classic(path, raw, customer).map(Access::Classic),
            Generation::New => self.new_central(path, raw).map(Box::new).map(Access::New),
        }
    }

    fn classic(
        &mut self,
        path: &str,
        raw: &mut raw::Account,
        customer: Option<&Customer>,
    ) -> Option<ClassicAccess> {
        let key = if let Some(customer) = customer {
            Some(customer.key.clone())
        } else if raw.input_json.is_some() {
            None
        } else {
            let advice = "write key = { file = \"PATH\" }";
            let key = self.report.require(path, "key", raw.key.take(), advice);
            key.and_then(|key| self.header_secret(&join(path, "key"), "the key", key))
        };
        let username = raw.username.take();
        if username.as_deref().is_some_and(|name| !fits_a_header(name)) {
            self.report.error(
                &join(path, "username"),
                "is empty or holds characters that no HTTP header can carry (write an e-mail address)",
            );
        }
        let in_file = || customer.and_then(|customer| customer.username.clone());
        Some(ClassicAccess {
            key: key?,
            username: username.or_else(in_file),
        })
    }

    fn new_central(&mut self, path: &str, raw: &mut raw::Account) -> Option<NewAccess> {
        let mut secret = |key: &str, what: &str, source| {
            let advice = format!("write {key} = {{ file = \"PATH\" }}");
            let source = self.report.require(path, key, source, &advice)?;
            self.header_secret(&join(path, key), what, source)
        };
        let client_id = secret("client_id", "the client id", raw.client_id.take());
        let client_secret = secret(
            "client_secret",
            "the client secret",
            raw.client_secret.take(),
        );
        let token_url = raw.token_url.take();
        let token_url = self.url(path, "token_url", token_url.as_deref().unwrap_or(TOKEN_URL));
        let tenant_token_url = self.tenant(path, raw);
        if let Some(id) = &raw.subscriber_id
            && uuid::Uuid::parse_str(id).is_err()
        {
            let text = "is not a UUID (write one, or leave it out to have one made)";
            self.report.error(&join(path, "subscriber_id"), text);
        }
        Some(NewAccess {
            client_id: client_id?,
            client_secret: client_secret?,
            token_url: token_url?,
            tenant_token_url: tenant_token_url?,
            subscriber_id: raw.subscriber_id.take(),
        })
    }

    /// `None` if something is wrong.
    #[expect(
        clippy::option_option,
        reason = "a mistake is not the same as no tenant"
    )]
    fn tenant(&mut self, path: &str, raw: &raw::Account) -> Option<Option<Url>> {
        let Some(tenant) = &raw.tenant else {
            if raw.tenant_token_url.is_some() {
                let text = "has no meaning without tenant (leave it out)";
                self.report.error(&join(path, "tenant_token_url"), text);
            }
            return Some(None);
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if tenant.is_empty() || !tenant.chars().all(plain) {
            let text = "is not the id of a workspace (use letters, digits and -)";
            self.report.error(&join(path, "tenant"), text);
            return None;
        }
        let url = raw.tenant_token_url.as_deref().unwrap_or(TENANT_TOKEN_URL);
        let url = url.replace("{tenant}", tenant);
        self.url(path, "tenant_token_url", &url).map(Some)
    }

    /// The text never shows the URL: it may hold a password.
    fn url(&mut self, path: &str, key: &str, text: &str) -> Option<Url> {
        let url = Url::parse(text).ok().filter(|url| {
            matches!(url.scheme(), "https" | "http")
                && url.username().is_empty()
                && url.password().is_none()
        });
        if url.is_none() {
            let text = "is not the URL of a token endpoint (write https://HOST/PATH)";
            self.report.error(&join(path, key), text);
        }
        url
    }
}
