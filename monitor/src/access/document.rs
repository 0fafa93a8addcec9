//! The file's format: YAML in, checked types out.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Deserializer, de};
use serde_saphyr::{Options, options::MergeKeyPolicy};

/// The whole file. A table without a value counts as absent.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WebDocument {
    #[serde(deserialize_with = "nothing_is_default")]
    pub tls_server_config: ServerTls,
    #[serde(deserialize_with = "nothing_is_default")]
    pub http_server_config: Http,
    #[serde(deserialize_with = "nothing_is_default")]
    pub basic_auth_users: BTreeMap<String, Secret>,
    #[serde(deserialize_with = "nothing_is_default")]
    pub rate_limit: RateLimit,
}

/// `tls_server_config`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ServerTls {
    pub cert: String,
    pub key: Secret,
    pub client_ca: String,
    pub cert_file: String,
    pub key_file: String,
    pub client_ca_file: String,
    pub client_auth_type: ClientAuth,
    pub client_allowed_sans: Option<Vec<String>>,
    pub min_version: Option<Version>,
    pub max_version: Option<Version>,
    pub cipher_suites: Vec<String>,
    pub prefer_server_cipher_suites: Option<bool>,
    pub curve_preferences: Vec<String>,
}

impl ServerTls {
    /// Whether TLS is enabled.
    pub fn is_wanted(&self) -> bool {
        let texts = [
            &self.cert,
            &self.key.0,
            &self.client_ca,
            &self.cert_file,
            &self.key_file,
            &self.client_ca_file,
        ];
        texts.iter().any(|text| !text.is_empty()) || self.client_auth_type != ClientAuth::Unset
    }
}

/// The requirements for a client's certificate, named as in Go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) enum ClientAuth {
    #[default]
    #[serde(rename = "")]
    Unset,
    NoClientCert,
    RequestClientCert,
    #[serde(alias = "RequireClientCert")]
    RequireAnyClientCert,
    VerifyClientCertIfGiven,
    RequireAndVerifyClientCert,
}

/// A version of TLS, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) enum Version {
    #[serde(rename = "TLS10")]
    Tls10,
    #[serde(rename = "TLS11")]
    Tls11,
    #[serde(rename = "TLS12")]
    Tls12,
    #[serde(rename = "TLS13")]
    Tls13,
}

/// `http_server_config`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Http {
    /// Accepted without effect: this server has no HTTP/2.
    #[serde(rename = "http2")]
    pub _http2: Option<bool>,
    #[serde(deserialize_with = "nothing_is_default")]
    pub headers: BTreeMap<String, String>,
}

/// `rate_limit`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RateLimit {
    #[serde(deserialize_with = "go_duration")]
    pub interval: Duration,
    pub burst: i64,
}

/// A value that no log shows.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(super) struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl WebDocument {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// The parser's message with line and column, without the surrounding text, which may be a key.
    pub fn parse(text: &str) -> Result<Self, String> {
        // The defaults allow a document of gigabytes; this file never needs that.
        let options = serde_saphyr::options! {
            merge_keys: MergeKeyPolicy::Error,
            with_snippet: false,
            budget: serde_saphyr::budget! {
                max_aliases: 0,
                max_anchors: 0,
                max_depth: 8,
                max_documents: 1,
                max_nodes: 10_000,
            },
        };
        let document = parse(text, options)?;
        Ok(document.unwrap_or_default())
    }
}

fn parse(text: &str, options: Options) -> Result<Option<WebDocument>, String> {
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| error.without_snippet().to_string())
}

/// Treats a key without a value as absent.
fn nothing_is_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A duration as in Go: `1s`, `1m30s`, `1.5h`; a plain number is nanoseconds.
fn go_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = || de::Error::custom("must be a duration such as 1s, 100ms or 1m30s");
    duration(&text).ok_or_else(wrong)
}

fn duration(text: &str) -> Option<Duration> {
    if let Ok(nanoseconds) = text.parse() {
        return Some(Duration::from_nanos(nanoseconds));
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| c.is_ascii_digit() || c == '.');
        let (unit, after) = after.split_at(letters.unwrap_or(after.len()));
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let seconds = number.parse::<f64>().ok()? * seconds;
        total = total.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ClientAuth, Version, WebDocument, duration};

    #[test]
    fn an_empty_file_and_empty_tables_ask_for_nothing() {
        for text in [
            "",
            "\n",
            "---\n",
            "# nothing\n",
            "{}",
            "tls_server_config:\nhttp_server_config:\nbasic_auth_users:\nrate_limit:\n",
            "http_server_config:\n  headers:\n",
        ] {
            let document = WebDocument::parse(text).expect(text);
            assert!(!document.tls_server_config.is_wanted(), "{text}");
            assert!(document.basic_auth_users.is_empty(), "{text}");
        }
    }

    #[test]
    fn every_key_of_the_format_is_known() {
        let document = WebDocument::parse(
            r"
tls_server_config:
  cert: a
  key: b
  client_ca: c
  cert_file: d
  key_file: e
  client_ca_file: f
  client_auth_type: RequireClientCert
  client_allowed_sans: [x]
  min_version: TLS12
  max_version: TLS13
  cipher_suites: [y]
  prefer_server_cipher_suites: true
  curve_preferences: [z]
http_server_config:
  http2: false
  headers:
    X-Frame-Options: deny
basic_auth_users:
  alice: hash
rate_limit:
  interval: 1s
  burst: 3
",
        )
        .unwrap();
        let tls = &document.tls_server_config;
        assert_eq!(tls.client_auth_type, ClientAuth::RequireAnyClientCert);
        assert_eq!(tls.min_version, Some(Version::Tls12));
        assert_eq!(document.rate_limit.interval, Duration::from_secs(1));
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_no_word_of_the_text_around() {
        let text = "basic_auth_users:\n  alice: SECRET\ntls_server_config:\n  key: SECRET\n  certfile: x\n";
        let error = WebDocument::parse(text).unwrap_err();
        assert!(
            error.contains("certfile") && error.contains("line 5"),
            "{error}"
        );
        assert!(!error.contains("SECRET"), "{error}");
    }

    #[test]
    fn a_secret_in_the_wrong_place_is_not_printed() {
        for text in [
            "basic_auth_users: alice:SECRET",
            "basic_auth_users: [SECRET]",
            "basic_auth_users: {alice: [SECRET]}",
            "basic_auth_users: {alice: SECRET: x}",
            "basic_auth_users: {alice: !!int SECRET}",
            "tls_server_config: SECRET",
            "tls_server_config: {cipher_suites: SECRET}",
            "http_server_config: {http2: SECRET}",
            "rate_limit: {burst: SECRET}",
            "rate_limit: {interval: SECRET}",
            "basic_auth_users:\n  alice: \"SECRET",
            "basic_auth_users:\n  alice: *SECRET",
            "basic_auth_users:\n  alice: @SECRET",
            "basic_auth_users:\n alice: x\n  SECRET: y",
        ] {
            let error = WebDocument::parse(text).expect_err(text);
            assert!(!error.contains("SECRET"), "{text}: {error}");
        }
    }

    #[test]
    fn a_secret_shows_up_in_no_debugging_output() {
        let document =
            WebDocument::parse("basic_auth_users: {alice: HASH}\ntls_server_config: {key: KEY}")
                .unwrap();
        let shown = format!("{document:?}");
        assert!(!shown.contains("HASH") && !shown.contains("KEY"), "{shown}");
    }

    #[test]
    fn a_document_that_grows_by_itself_is_refused() {
        for text in [
            "a: &a [x]\nb: *a\n",
            "basic_auth_users: &a {x: y}\ntls_server_config:\n  <<: *a\n",
            &"[".repeat(10_000),
            &"{a: ".repeat(10_000),
            "a: 1\n---\nb: 2\n",
            "basic_auth_users: {a: x, a: y}",
        ] {
            assert!(WebDocument::parse(text).is_err(), "{text:.40}");
        }
    }

    #[test]
    fn durations_are_gos() {
        let ms = Duration::from_millis;
        for (text, right) in [
            ("1s", ms(1000)),
            ("100ms", ms(100)),
            ("1m30s", ms(90_000)),
            ("1.5h", ms(5_400_000)),
            ("0", ms(0)),
            ("1000000", ms(1)),
            ("250us", Duration::from_micros(250)),
        ] {
            assert_eq!(duration(text), Some(right), "{text}");
        }
        let endless = "99999999999999999999999h";
        for bad in ["", "s", "1x", "-1s", "1s ", "1 s", "1..5s", endless] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
