//! The policy that results from a web configuration.

use std::{sync::Arc, time::Instant};

use axum::http::{HeaderName, HeaderValue};
use rustls::ServerConfig;

use super::{
    Wrong,
    document::{Http, WebDocument},
    rate::Bucket,
    tls::{self, Material},
    users::Users,
};

/// The rules for connections, and the headers of answers.
#[derive(Debug, Default)]
pub struct Policy {
    tls: Option<Arc<ServerConfig>>,
    headers: Vec<(HeaderName, HeaderValue)>,
    users: Option<Users>,
    rate: Option<Bucket>,
}

/// The decision about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is answered.
    Admitted,
    /// There are too many requests.
    TooMany,
    /// The sender did not log in.
    Unknown,
}

impl Policy {
    /// Checks the configuration; returns what it ignores.
    pub(super) fn new(
        document: WebDocument,
        material: Option<&Material>,
    ) -> Result<(Self, Vec<String>), Wrong> {
        let (tls, passed_over) = match material {
            None => (None, Vec::new()),
            Some(material) => {
                let (config, passed_over) = tls::config(&document.tls_server_config, material)?;
                (Some(Arc::new(config)), passed_over)
            }
        };
        let rate = document.rate_limit;
        let burst = u32::try_from(rate.burst).unwrap_or(0);
        if !rate.interval.is_zero() && burst == 0 {
            return Err(Wrong::new(
                "rate_limit.burst",
                "must be at least one where there is an interval: with none no request would ever be answered",
            ));
        }
        let rate =
            (!rate.interval.is_zero()).then(|| Bucket::new(rate.interval, burst, Instant::now()));
        let policy = Self {
            tls,
            headers: headers(&document.http_server_config)?,
            users: Users::new(document.basic_auth_users)?,
            rate,
        };
        Ok((policy, passed_over))
    }

    /// The TLS configuration; `None`: plain HTTP.
    pub const fn tls(&self) -> Option<&Arc<ServerConfig>> {
        self.tls.as_ref()
    }

    /// Whether requests need a password.
    pub const fn has_users(&self) -> bool {
        self.users.is_some()
    }

    /// Headers to add to every answer without them.
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// Whether a request with this `Authorization` is to be answered.
    pub async fn admit(&self, authorization: Option<&[u8]>) -> Admission {
        if let Some(rate) = &self.rate
            && !rate.take(Instant::now())
        {
            return Admission::TooMany;
        }
        let Some(users) = &self.users else {
            return Admission::Admitted;
        };
        if users.admits(authorization).await {
            Admission::Admitted
        } else {
            Admission::Unknown
        }
    }
}

/// The headers that may be set, as in Prometheus.
fn headers(http: &Http) -> Result<Vec<(HeaderName, HeaderValue)>, Wrong> {
    const KEY: &str = "http_server_config.headers";
    /// The permitted values, for headers with only a few.
    const KNOWN: [(&str, &[&str]); 5] = [
        ("Strict-Transport-Security", &[]),
        ("X-Content-Type-Options", &["nosniff"]),
        ("X-Frame-Options", &["deny", "sameorigin"]),
        ("X-XSS-Protection", &[]),
        ("Content-Security-Policy", &[]),
    ];
    let one = |(name, value): (&String, &String)| {
        let Some((_, values)) = KNOWN.iter().find(|(known, _)| known == name) else {
            let known: Vec<_> = KNOWN.iter().map(|(name, _)| *name).collect();
            return Err(Wrong::new(
                KEY,
                format!("{name:?} cannot be set, only {}", known.join(", ")),
            ));
        };
        if !values.is_empty() && !values.contains(&value.as_str()) {
            return Err(Wrong::new(
                KEY,
                format!("{name} is {value:?}, but must be {}", values.join(" or ")),
            ));
        }
        let parsed = (name.parse().ok()).zip(HeaderValue::from_str(value).ok());
        parsed.ok_or_else(|| {
            Wrong::new(
                KEY,
                format!("{name} has characters that are not allowed in a header"),
            )
        })
    };
    http.headers.iter().map(one).collect()
}
