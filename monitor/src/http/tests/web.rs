//! Who may connect, asked by real clients: certificates, passwords, rates.

use std::{
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use axum::http::StatusCode;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType, date_time_ymd,
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    version::{TLS12, TLS13},
};

use super::client::{HttpReply, TestServer, ask, get};
use crate::access::Web;
use crate::http::{ConnectionLimits, LIMITS, Site};
use crate::publish::snapshot::Shared;
use crate::publish::testing;

/// A directory with a server's certificate and what else a test writes.
struct Dir(tempfile::TempDir);

/// Who signs certificates.
type Authority = CertifiedIssuer<'static, KeyPair>;

/// A certificate and its key, in PEM.
#[derive(Clone)]
struct Identity {
    cert: String,
    key: String,
}

impl Dir {
    /// With a certificate for `localhost`, signed by itself.
    fn new() -> Self {
        let dir = Self(tempfile::tempdir().unwrap());
        dir.serve_as(&self_signed(&["localhost"]));
        dir
    }

    fn serve_as(&self, identity: &Identity) {
        self.write("server.crt", &identity.cert);
        self.write("server.key", &identity.key);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// A configuration with TLS; `more` belongs to `tls_server_config`.
    fn tls(&self, more: &str) -> PathBuf {
        let text =
            format!("tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n{more}");
        self.write("web.yml", &text)
    }

    fn server(config: &Path) -> TestServer {
        Self::server_within(LIMITS, config)
    }

    fn server_within(limits: ConnectionLimits, config: &Path) -> TestServer {
        TestServer::start_site(
            limits,
            1,
            Site {
                telemetry_path: "/metrics".to_owned(),
                shared: Arc::new(Shared::new(testing::snapshot())),
                store: Arc::default(),
                web: Web::of_file(Path::new("/proc"), config).unwrap(),
                lifecycle: None,
            },
        )
    }

    /// Why a configuration is refused.
    fn refused(config: &Path) -> String {
        let web = Web::of_file(Path::new("/proc"), config);
        web.expect_err("it was taken").to_string()
    }

    /// A client that trusts the server as it is now.
    fn client(&self) -> WebClient {
        WebClient {
            trusts: fs::read(self.path("server.crt")).unwrap(),
            shows: None,
            versions: vec![&TLS13, &TLS12],
        }
    }
}

fn identity(cert: &rcgen::Certificate, key: &KeyPair) -> Identity {
    Identity {
        cert: cert.pem(),
        key: key.serialize_pem(),
    }
}

fn self_signed(names: &[&str]) -> Identity {
    let key = KeyPair::generate().unwrap();
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let params = CertificateParams::new(names).unwrap();
    identity(&params.self_signed(&key).unwrap(), &key)
}

/// As `openssl req -x509` makes one: an authority that shows itself.
fn its_own_authority() -> Identity {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    identity(&params.self_signed(&key).unwrap(), &key)
}

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn signed(by: &Authority, change: impl FnOnce(&mut CertificateParams)) -> Identity {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    change(&mut params);
    identity(&params.signed_by(&key, by).unwrap(), &key)
}

#[derive(Clone)]
struct WebClient {
    trusts: Vec<u8>,
    shows: Option<Identity>,
    versions: Vec<&'static SupportedProtocolVersion>,
}

impl WebClient {
    fn showing(&self, identity: &Identity) -> Self {
        Self {
            shows: Some(identity.clone()),
            ..self.clone()
        }
    }

    fn with(&self, version: &'static SupportedProtocolVersion) -> Self {
        Self {
            versions: vec![version],
            ..self.clone()
        }
    }

    /// `None`: there was no handshake, or nothing after it.
    fn get(&self, server: &TestServer, path: &str) -> Option<HttpReply> {
        let mut roots = RootCertStore::empty();
        for cert in CertificateDer::pem_slice_iter(&self.trusts) {
            roots.add(cert.unwrap()).unwrap();
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let config = match &self.shows {
            None => builder.with_no_client_auth(),
            Some(identity) => builder
                .with_client_auth_cert(
                    vec![CertificateDer::from_pem_slice(identity.cert.as_bytes()).unwrap()],
                    PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap(),
                )
                .unwrap(),
        };
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = StreamOwned::new(connection, server.connect());
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut text = String::new();
        // Whether the end is said or not is of no matter.
        let _ = stream.read_to_string(&mut text);
        (!text.is_empty()).then(|| HttpReply::parse(&text))
    }

    fn is_served(&self, server: &TestServer) -> bool {
        self.get(server, "/-/healthy")
            .is_some_and(|answer| answer.status == StatusCode::OK)
    }
}

/// Until it is so, at most half a minute.
fn soon(mut so: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(30) {
        if so() {
            return true;
        }
        sleep(Duration::from_millis(100));
    }
    false
}

#[test]
fn with_a_certificate_all_is_served_to_who_trusts_it_and_plain_http_is_told_so() {
    let dir = Dir::new();
    let server = Dir::server(&dir.tls(""));
    let answer = dir.client().get(&server, "/metrics").unwrap();
    assert!(answer.body.contains("throttle_livelock_state"));
    let stranger = WebClient {
        trusts: self_signed(&["localhost"]).cert.into_bytes(),
        ..dir.client()
    };
    assert!(!stranger.is_served(&server));
    let plain = get(&server, "/metrics");
    assert_eq!(plain.status, StatusCode::BAD_REQUEST);
    assert!(plain.body.contains("https://"), "{}", plain.body);
}

#[test]
fn a_handshake_that_does_not_go_on_ends() {
    let dir = Dir::new();
    let limits = ConnectionLimits {
        headers: Duration::from_millis(200),
        ..LIMITS
    };
    let server = Dir::server_within(limits, &dir.tls(""));
    for begin in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01"] {
        let mut stream = server.connect();
        stream.write_all(begin).unwrap();
        let start = Instant::now();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(start.elapsed() < Duration::from_secs(15), "{begin:?}");
    }
}

#[test]
fn versions_of_tls_are_those_that_were_asked_for() {
    let dir = Dir::new();
    for (wanted, by_12, by_13) in [
        ("", true, true),
        ("  min_version: TLS13\n", false, true),
        ("  max_version: TLS12\n", true, false),
        ("  min_version: TLS10\n", true, true),
    ] {
        let server = Dir::server(&dir.tls(wanted));
        assert_eq!(
            dir.client().with(&TLS12).is_served(&server),
            by_12,
            "{wanted}"
        );
        assert_eq!(
            dir.client().with(&TLS13).is_served(&server),
            by_13,
            "{wanted}"
        );
    }
}

#[test]
fn each_policy_for_client_certificates_lets_in_whom_it_should() {
    let dir = Dir::new();
    let (ours, other) = (authority(), authority());
    dir.write("ca.crt", &ours.pem());
    let good = signed(&ours, |_| ());
    let foreign = signed(&other, |_| ());
    let old = signed(&ours, |params| params.not_after = date_time_ymd(2001, 1, 1));
    let ca = "  client_ca_file: ca.crt\n";
    for (auth, ca, nobody, known, unknown) in [
        ("NoClientCert", "", true, true, true),
        ("RequestClientCert", ca, true, true, true),
        ("RequireAnyClientCert", "", false, true, true),
        ("RequireClientCert", ca, false, true, true),
        ("VerifyClientCertIfGiven", ca, true, true, false),
        ("RequireAndVerifyClientCert", ca, false, true, false),
    ] {
        let config = dir.tls(&format!("  client_auth_type: {auth}\n{ca}"));
        let server = Dir::server(&config);
        let client = dir.client();
        assert_eq!(client.is_served(&server), nobody, "{auth}: nobody");
        assert_eq!(
            client.showing(&good).is_served(&server),
            known,
            "{auth}: known"
        );
        for bad in [&foreign, &old] {
            assert_eq!(
                client.showing(bad).is_served(&server),
                unknown,
                "{auth}: unknown"
            );
        }
    }
}

#[test]
fn a_client_that_is_its_own_authority_gets_in_where_it_is_listed() {
    let dir = Dir::new();
    let (listed, other) = (its_own_authority(), its_own_authority());
    dir.write("ca.crt", &listed.cert);
    let config =
        dir.tls("  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n");
    let server = Dir::server(&config);
    assert!(dir.client().showing(&listed).is_served(&server));
    assert!(!dir.client().showing(&other).is_served(&server));
}

#[test]
fn of_the_names_in_a_clients_certificate_one_must_be_allowed_exactly() {
    let dir = Dir::new();
    let ours = authority();
    dir.write("ca.crt", &ours.pem());
    let named = |name: SanType| signed(&ours, |params| params.subject_alt_names = vec![name]);
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let server = Dir::server(&dir.tls(
        "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n  client_allowed_sans:\n  - \
         prometheus.example\n  - sre@example.org\n  - 192.0.2.7\n  - 2001:db8::7\n  - spiffe://cluster/prometheus\n",
    ));
    for name in [
        dns("prometheus.example"),
        SanType::Rfc822Name("sre@example.org".try_into().unwrap()),
        SanType::IpAddress("192.0.2.7".parse().unwrap()),
        SanType::IpAddress("2001:db8::7".parse().unwrap()),
        SanType::URI("spiffe://cluster/prometheus".try_into().unwrap()),
    ] {
        let client = dir.client().showing(&named(name.clone()));
        assert!(client.is_served(&server), "{name:?}");
    }
    for name in [
        dns("other.example"),
        dns("*.example"),
        dns("a.prometheus.example"),
        SanType::IpAddress("192.0.2.8".parse().unwrap()),
    ] {
        let client = dir.client().showing(&named(name.clone()));
        assert!(!client.is_served(&server), "{name:?}");
    }
    let nameless = dir.client().showing(&signed(&ours, |_| ()));
    assert!(!nameless.is_served(&server));
}

#[test]
fn a_new_certificate_counts_without_a_restart_and_one_that_is_broken_does_not() {
    let dir = Dir::new();
    let server = Dir::server(&dir.tls(""));
    let before = dir.client();
    assert!(before.is_served(&server));
    dir.write("server.crt", "-----BEGIN CERTIFICATE-----\nhalf of");
    sleep(Duration::from_millis(1500));
    assert!(before.is_served(&server), "the one before still counts");
    dir.serve_as(&self_signed(&["localhost"]));
    let after = dir.client();
    assert!(soon(|| after.is_served(&server)));
    assert!(!before.is_served(&server));
}

#[test]
fn who_may_connect_changes_with_the_file_but_tls_does_not_go_away() {
    let dir = Dir::new();
    let config = dir.tls("");
    let server = Dir::server(&config);
    let status = || {
        let answer = dir.client().get(&server, "/-/healthy").unwrap();
        answer.status
    };
    assert_eq!(status(), StatusCode::OK);
    let hash = bcrypt::hash("secret", 4).unwrap();
    dir.tls(&format!("basic_auth_users:\n  alice: {hash}\n"));
    assert!(soon(|| status() == StatusCode::UNAUTHORIZED));
    fs::write(&config, "{}").unwrap();
    sleep(Duration::from_millis(1500));
    assert_eq!(status(), StatusCode::UNAUTHORIZED);
    assert_eq!(get(&server, "/-/healthy").status, StatusCode::BAD_REQUEST);
    dir.tls("");
    assert!(soon(|| status() == StatusCode::OK));
}

#[test]
fn without_the_password_nothing_is_told_but_that_one_is_wanted() {
    let dir = Dir::new();
    let hash = bcrypt::hash("secret", 4).unwrap();
    let config = format!(
        "basic_auth_users:\n  alice: {hash}\nhttp_server_config:\n  headers:\n    X-Frame-Options: deny\n"
    );
    let server = Dir::server(&dir.write("web.yml", &config));
    for path in [
        "/",
        "/metrics",
        "/-/healthy",
        "/api/v1/verdicts",
        "/api/v1/events",
        "/nothing",
    ] {
        let answer = get(&server, path);
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        let asked = answer.header("www-authenticate").unwrap();
        assert!(asked.starts_with("Basic realm="), "{asked}");
        assert_eq!(answer.header("x-frame-options"), Some("deny"));
        assert!(answer.body.len() < 100, "{path}");
    }
    let with = |path: &str, sent: &str| {
        ask(
            &server,
            &format!(
                "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Basic {sent}\r\n\r\n"
            ),
        )
    };
    // alice:secret
    let answer = with("/", "YWxpY2U6c2VjcmV0");
    assert_eq!(answer.status, StatusCode::OK);
    // The page's own policy stays.
    assert!(
        answer
            .header("content-security-policy")
            .unwrap()
            .contains("nonce")
    );
    assert_eq!(
        with("/", "YWxpY2U6U2VjcmV0").status,
        StatusCode::UNAUTHORIZED
    );
    let post = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(ask(&server, post).status, StatusCode::UNAUTHORIZED);
}

#[test]
fn more_requests_than_the_rate_allows_are_refused() {
    let dir = Dir::new();
    let config = dir.write("web.yml", "rate_limit:\n  interval: 1h\n  burst: 3\n");
    let server = Dir::server(&config);
    let statuses: Vec<_> = (0..5).map(|_| get(&server, "/-/healthy").status).collect();
    let (ok, many) = (StatusCode::OK, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(statuses, [ok, ok, ok, many, many]);
}

#[test]
fn certificate_and_key_must_both_be_there_and_fit_together() {
    let dir = Dir::new();
    dir.write("none.crt", "nothing\n");
    dir.write("other.key", &self_signed(&["x"]).key);
    for (text, key, word) in [
        ("cert_file: server.crt", "key_file", "missing"),
        ("key_file: server.key", "cert_file", "missing"),
        ("client_ca_file: ca.crt", "cert_file", "missing"),
        (
            "cert_file: gone.crt\n  key_file: server.key",
            "cert_file",
            "No such file",
        ),
        (
            "cert_file: none.crt\n  key_file: server.key",
            "cert",
            "no certificate",
        ),
        (
            "cert_file: server.crt\n  key_file: none.crt",
            "key",
            "private key",
        ),
        (
            "cert_file: server.crt\n  key_file: other.key",
            "tls_server_config",
            "cannot be used",
        ),
        (
            "cert_file: .\n  key_file: server.key",
            "cert_file",
            "regular file",
        ),
        (
            "cert_file: /dev/zero\n  key_file: server.key",
            "cert_file",
            "regular file",
        ),
    ] {
        let config = dir.write("web.yml", &format!("tls_server_config:\n  {text}\n"));
        let error = Dir::refused(&config);
        assert!(
            error.contains(key) && error.contains(word),
            "{text}: {error}"
        );
    }
}

#[test]
fn tls_that_would_not_do_what_it_says_is_refused() {
    let dir = Dir::new();
    dir.write("ca.crt", &authority().pem());
    dir.write("none.crt", "nothing\n");
    let verify = "client_auth_type: RequireAndVerifyClientCert";
    for (more, key, word) in [
        (
            "client_ca_file: ca.crt".to_owned(),
            "client_auth_type",
            "RequireAndVerifyClientCert",
        ),
        (verify.to_owned(), "client_ca_file", "which authority"),
        (
            format!("{verify}\n  client_ca_file: none.crt"),
            "client_ca_file",
            "no certificate",
        ),
        (
            "client_allowed_sans: [a]".to_owned(),
            "client_allowed_sans",
            "without a certificate",
        ),
        (
            format!("{verify}\n  client_ca_file: ca.crt\n  client_allowed_sans: []"),
            "client_allowed_sans",
            "refuse every client",
        ),
        (
            "client_auth_type: Maybe".to_owned(),
            "Maybe",
            "NoClientCert",
        ),
        ("min_version: TLS14".to_owned(), "TLS14", "TLS13"),
        ("max_version: TLS11".to_owned(), "max_version", "no version"),
        (
            "cipher_suites: [TLS_NONE]".to_owned(),
            "cipher_suites",
            "TLS_NONE",
        ),
        (
            "max_version: TLS12\n  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]".to_owned(),
            "cipher_suites",
            "GCM",
        ),
        (
            "curve_preferences: [CurveP521]".to_owned(),
            "curve_preferences",
            "none that is supported",
        ),
        (
            "curve_preferences: [P1]".to_owned(),
            "curve_preferences",
            "P1",
        ),
    ] {
        let error = Dir::refused(&dir.tls(&format!("  {more}\n")));
        assert!(
            error.contains(key) && error.contains(word),
            "{more}: {error}"
        );
    }
}

#[test]
fn what_is_no_configuration_is_refused_with_its_file() {
    let dir = Dir::new();
    for (text, word) in [
        ("http_server_config:\n  headers: {Server: x}", "Server"),
        (
            "http_server_config:\n  headers: {X-Frame-Options: allow}",
            "deny or sameorigin",
        ),
        (
            "http_server_config:\n  headers: {X-XSS-Protection: \"a\\nb\"}",
            "characters",
        ),
        ("rate_limit: {interval: 1s}", "burst"),
        ("rate_limit: {interval: soon, burst: 1}", "duration"),
        ("rate_limit: {interval: 1s, burst: -1}", "burst"),
        ("basic_auth_users: {alice: secret}", "htpasswd"),
        ("junk", "line 1"),
        ("tls_server_confg: {}", "tls_server_confg"),
    ] {
        let error = Dir::refused(&dir.write("web.yml", text));
        assert!(
            error.contains("web.yml") && error.contains(word),
            "{text}: {error}"
        );
    }
    assert!(Dir::refused(Path::new("/nowhere.yml")).contains("--web.config.file /nowhere.yml"));
}

#[test]
fn a_secret_is_in_no_error() {
    let dir = Dir::new();
    for text in [
        "basic_auth_users: {alice: SECRET}",
        "basic_auth_users:\n  alice: SECRET\n bob: SECRET\n",
        "basic_auth_users:\n  alice: [SECRET]\n",
        "tls_server_config: {cert_file: server.crt, key: SECRET}",
        "tls_server_config: {cert_file: server.crt, key: {SECRET: x}}",
        "tls_server_config: {cert_file: server.crt, key: \"SECRET\\q\"}",
    ] {
        let error = Dir::refused(&dir.write("web.yml", text));
        assert!(!error.contains("SECRET"), "{text}: {error}");
    }
}
