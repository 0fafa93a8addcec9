//! Web configuration files and clients. Differences from the exporters are intentional.

/// A file and its clients.
pub struct Case {
    pub name: &'static str,
    /// `web.yml`.
    pub text: &'static str,
    /// Empty: only whether the file is accepted matters.
    pub asked: &'static [Client],
    /// Changes at run time (`None`: the server's certificate), and the clients after each.
    pub then: &'static [(
        &'static str,
        &'static str,
        Option<&'static str>,
        &'static [Client],
    )],
    /// The reason why the daemon differs; empty: it does not.
    pub differs: &'static str,
}

const TAKEN: Case = Case {
    name: "",
    text: "",
    asked: &[],
    then: &[],
    differs: "",
};

/// The way a client connects.
#[derive(Clone, Copy)]
pub enum Client {
    /// Without TLS.
    Plain,
    /// With TLS, and no certificate.
    Tls,
    /// With TLS 1.2 at most, and with 1.3 at least.
    Tls12,
    Tls13,
    /// With a suite of TLS 1.2, by OpenSSL's name.
    Suite(&'static str),
    /// With a curve, by OpenSSL's name.
    Curve(&'static str),
    /// With a certificate.
    Shows(&'static str),
    /// Without TLS, with a name and a password.
    User(&'static str),
    /// Without TLS, ten times.
    Often,
}

use Client::{Curve, Often, Plain, Shows, Suite, Tls, Tls12, Tls13, User};

impl Client {
    /// The text for the table.
    pub fn words(self) -> String {
        match self {
            Plain => "http".to_owned(),
            Tls => "https".to_owned(),
            Tls12 => "https, TLS 1.2".to_owned(),
            Tls13 => "https, TLS 1.3".to_owned(),
            Suite(suite) => format!("https, {suite}"),
            Curve(curve) => format!("https, {curve}"),
            Shows(name) => format!("https, certificate `{name}`"),
            User(pair) => format!("http, `{pair}`"),
            Often => "http, ten times".to_owned(),
        }
    }

    pub const fn is_plain(self) -> bool {
        matches!(self, Plain | User(_) | Often)
    }

    pub const fn requests(self) -> usize {
        if matches!(self, Often) { 10 } else { 1 }
    }

    /// The arguments for curl.
    pub fn arguments(self) -> Vec<String> {
        let words: &[&str] = match self {
            Plain | Tls | Often => &[],
            Tls12 => &["--tls-max", "1.2"],
            Tls13 => &["--tlsv1.3"],
            Suite(suite) => &["--tls-max", "1.2", "--ciphers", suite],
            Curve(curve) => &["--curves", curve],
            Shows(name) => {
                return vec![
                    "--cert".to_owned(),
                    format!("{name}.crt"),
                    "--key".to_owned(),
                    format!("{name}.key"),
                ];
            }
            User(pair) => &["--user", pair],
        };
        words.iter().map(|&word| word.to_owned()).collect()
    }
}

/// All clients that may be asked for a certificate.
const EVERYBODY: &[Client] = &[
    Tls,
    Shows("known"),
    Shows("unknown"),
    Shows("expired"),
    Shows("for-servers"),
    Shows("own"),
];

const NAMED: &[Client] = &[
    Shows("named"),
    Shows("uri"),
    Shows("wild"),
    Shows("known"),
    Tls,
];

/// The hash of the password `U*U`, from the examples of `crypt_blowfish`.
macro_rules! user {
    () => {
        "basic_auth_users:\n  alice: $2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n"
    };
}

macro_rules! tls {
    ($more:literal) => {
        concat!(
            "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n",
            $more
        )
    };
}

pub const CASES: &[Case] = &[
    Case {
        name: "an empty file",
        asked: &[Plain, Tls],
        ..TAKEN
    },
    Case {
        name: "tables without a value",
        text: "tls_server_config:\nbasic_auth_users:\n",
        asked: &[Plain],
        ..TAKEN
    },
    Case {
        name: "no YAML",
        text: "junk",
        ..TAKEN
    },
    Case {
        name: "an unknown table",
        text: "tls_config: {}\n",
        ..TAKEN
    },
    Case {
        name: "an unknown key",
        text: tls!("  certfile: x\n"),
        ..TAKEN
    },
    Case {
        name: "a key twice",
        text: "rate_limit: {}\nrate_limit: {}\n",
        ..TAKEN
    },
    // TLS.
    Case {
        name: "certificate and key",
        text: tls!(""),
        asked: &[Plain, Tls, Tls12, Tls13],
        ..TAKEN
    },
    Case {
        name: "a certificate without a key",
        text: "tls_server_config: {cert_file: server.crt}\n",
        ..TAKEN
    },
    Case {
        name: "a key without a certificate",
        text: "tls_server_config: {key_file: server.key}\n",
        ..TAKEN
    },
    Case {
        name: "a certificate that is not there",
        text: "tls_server_config: {cert_file: gone, key_file: server.key}\n",
        ..TAKEN
    },
    Case {
        name: "a certificate that is none",
        text: "tls_server_config: {cert_file: junk.pem, key_file: server.key}\n",
        ..TAKEN
    },
    Case {
        name: "the key of another certificate",
        text: "tls_server_config: {cert_file: server.crt, key_file: other.key}\n",
        ..TAKEN
    },
    Case {
        name: "`min_version: TLS13`",
        text: tls!("  min_version: TLS13\n"),
        asked: &[Tls12, Tls13],
        ..TAKEN
    },
    Case {
        name: "`max_version: TLS12`",
        text: tls!("  max_version: TLS12\n"),
        asked: &[Tls12, Tls13],
        ..TAKEN
    },
    Case {
        name: "`min_version: TLS10`",
        text: tls!("  min_version: TLS10\n"),
        asked: &[Tls12, Tls13],
        ..TAKEN
    },
    Case {
        name: "`min_version: TLS14`",
        text: tls!("  min_version: TLS14\n"),
        ..TAKEN
    },
    Case {
        name: "`max_version: TLS11`",
        text: tls!("  max_version: TLS11\n"),
        asked: &[Tls],
        differs: "no version that it has is left: refused at the start, not at each connection",
        ..TAKEN
    },
    Case {
        name: "a suite of TLS 1.2",
        text: tls!("  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n"),
        asked: &[
            Suite("ECDHE-ECDSA-AES128-GCM-SHA256"),
            Suite("ECDHE-ECDSA-AES256-GCM-SHA384"),
            Tls13,
        ],
        ..TAKEN
    },
    Case {
        name: "a suite that there is not",
        text: tls!("  cipher_suites: [TLS_X]\n"),
        ..TAKEN
    },
    Case {
        name: "only suites with CBC",
        text: concat!(
            tls!("  max_version: TLS12\n  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA]\n"),
            "http_server_config: {http2: false}\n"
        ),
        asked: &[Tls12],
        differs: "it has no CBC; beside another suite it would pass over them, and say so",
        ..TAKEN
    },
    Case {
        name: "a curve",
        text: tls!("  curve_preferences: [CurveP256]\n"),
        asked: &[Curve("prime256v1"), Curve("secp384r1")],
        ..TAKEN
    },
    Case {
        name: "a curve that there is not",
        text: tls!("  curve_preferences: [P1]\n"),
        ..TAKEN
    },
    Case {
        name: "only P-521",
        text: tls!("  curve_preferences: [CurveP521]\n"),
        asked: &[Curve("secp521r1")],
        differs: "it has no P-521; beside another curve it would pass over it, and say so",
        ..TAKEN
    },
    Case {
        name: "without HTTP/2",
        text: concat!(tls!(""), "http_server_config: {http2: false}\n"),
        asked: &[Tls],
        ..TAKEN
    },
    // Client certificates.
    Case {
        name: "`NoClientCert`",
        text: tls!("  client_auth_type: NoClientCert\n"),
        asked: EVERYBODY,
        ..TAKEN
    },
    Case {
        name: "`RequestClientCert`",
        text: tls!("  client_auth_type: RequestClientCert\n"),
        asked: EVERYBODY,
        ..TAKEN
    },
    Case {
        name: "`RequireAnyClientCert`",
        text: tls!("  client_auth_type: RequireAnyClientCert\n"),
        asked: EVERYBODY,
        ..TAKEN
    },
    Case {
        name: "`RequireClientCert`",
        text: tls!("  client_auth_type: RequireClientCert\n"),
        asked: EVERYBODY,
        ..TAKEN
    },
    Case {
        name: "`VerifyClientCertIfGiven`",
        text: tls!("  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: ca.crt\n"),
        asked: EVERYBODY,
        ..TAKEN
    },
    Case {
        name: "`RequireAndVerifyClientCert`",
        text: tls!("  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n"),
        asked: EVERYBODY,
        ..TAKEN
    },
    Case {
        name: "a client that is its own CA",
        text: tls!("  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: own.crt\n"),
        asked: EVERYBODY,
        ..TAKEN
    },
    Case {
        name: "an unknown `client_auth_type`",
        text: tls!("  client_auth_type: Maybe\n"),
        ..TAKEN
    },
    Case {
        name: "a client CA and no policy",
        text: tls!("  client_ca_file: ca.crt\n"),
        ..TAKEN
    },
    Case {
        name: "a client CA that is not there",
        text: tls!("  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: gone\n"),
        ..TAKEN
    },
    Case {
        name: "a client CA that is none",
        text: tls!("  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: junk.pem\n"),
        asked: &[Shows("known")],
        differs: "nobody could get in: refused at the start",
        ..TAKEN
    },
    Case {
        name: "`RequireAndVerifyClientCert` without a client CA",
        text: tls!("  client_auth_type: RequireAndVerifyClientCert\n"),
        asked: &[Shows("known")],
        differs: "Go trusts every authority of the system then; here it must be said whom",
        ..TAKEN
    },
    Case {
        name: "allowed names",
        text: tls!(
            "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n  client_allowed_sans: [prometheus.example, \"spiffe://cluster/prometheus\"]\n"
        ),
        asked: NAMED,
        ..TAKEN
    },
    Case {
        name: "allowed names of any certificate",
        text: tls!(
            "  client_auth_type: RequireAnyClientCert\n  client_allowed_sans: [prometheus.example]\n"
        ),
        asked: NAMED,
        ..TAKEN
    },
    Case {
        name: "allowed names where no certificate is needed",
        text: tls!("  client_allowed_sans: [prometheus.example]\n"),
        asked: NAMED,
        differs: "the list would protect nothing",
        ..TAKEN
    },
    Case {
        name: "no name is allowed",
        text: tls!(
            "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n  client_allowed_sans: []\n"
        ),
        asked: NAMED,
        differs: "nobody could get in: refused at the start",
        ..TAKEN
    },
    // Headers.
    Case {
        name: "headers",
        text: "http_server_config:\n  headers: {X-Frame-Options: deny, Strict-Transport-Security: max-age=60}\n",
        asked: &[Plain],
        ..TAKEN
    },
    Case {
        name: "a header that may not be set",
        text: "http_server_config:\n  headers: {Server: x}\n",
        asked: &[Plain],
        ..TAKEN
    },
    Case {
        name: "a header with a wrong value",
        text: "http_server_config:\n  headers: {X-Frame-Options: allow}\n",
        asked: &[Plain],
        ..TAKEN
    },
    // Passwords.
    Case {
        name: "a user",
        text: user!(),
        asked: &[
            Plain,
            User("alice:U*U"),
            User("alice:U*V"),
            User("bob:U*U"),
            User(":U*U"),
        ],
        ..TAKEN
    },
    Case {
        name: "no hash",
        text: "basic_auth_users: {alice: secret}\n",
        asked: &[Plain],
        ..TAKEN
    },
    Case {
        name: "a hash that takes hours",
        text: "basic_auth_users:\n  alice: $2y$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n",
        differs: "the first password, right or wrong, would occupy a processor for hours",
        ..TAKEN
    },
    // Rates.
    Case {
        name: "no rate",
        text: "rate_limit: {interval: 0, burst: 1}\n",
        asked: &[Often],
        ..TAKEN
    },
    Case {
        name: "a rate",
        text: "rate_limit: {interval: 1h, burst: 3}\n",
        asked: &[Often],
        ..TAKEN
    },
    Case {
        name: "a rate without a burst",
        text: "rate_limit: {interval: 1s}\n",
        asked: &[Often],
        differs: "no request would ever be answered: refused at the start",
        ..TAKEN
    },
    Case {
        name: "an interval that is none",
        text: "rate_limit: {interval: soon, burst: 1}\n",
        ..TAKEN
    },
    // Changes.
    Case {
        name: "a new certificate",
        text: tls!(""),
        asked: &[Tls],
        then: &[("renewed", "", None, &[Tls])],
        ..TAKEN
    },
    Case {
        name: "users come and go",
        text: "rate_limit: {}\n",
        asked: &[Plain],
        then: &[
            (
                "with a user",
                "web.yml",
                Some(user!()),
                &[Plain, User("alice:U*U")],
            ),
            ("without", "web.yml", Some(""), &[Plain]),
        ],
        ..TAKEN
    },
    Case {
        name: "a file that is broken, then mended",
        text: user!(),
        asked: &[User("alice:U*U")],
        then: &[
            (
                "broken",
                "web.yml",
                Some("junk"),
                &[Plain, User("alice:U*U")],
            ),
            (
                "mended",
                "web.yml",
                Some(user!()),
                &[Plain, User("alice:U*U")],
            ),
        ],
        differs: "what counted before still counts: a file that is half written takes no metrics away",
    },
    Case {
        name: "a certificate that is broken",
        text: tls!(""),
        asked: &[Tls],
        then: &[("broken", "server.key", Some("junk"), &[Tls])],
        differs: "as above",
    },
    Case {
        name: "TLS is taken away",
        text: tls!(""),
        asked: &[Tls],
        then: &[(
            "without",
            "web.yml",
            Some("rate_limit: {}\n"),
            &[Plain, Tls],
        )],
        differs: "TLS comes and goes with a restart; until then both serve no plain HTTP",
    },
    Case {
        name: "TLS is put on",
        text: "rate_limit: {}\n",
        asked: &[Plain],
        then: &[("with TLS", "web.yml", Some(tls!("")), &[Plain, Tls])],
        ..TAKEN
    },
];
