//! TLS as configured, as far as rustls supports it.
//!
//! rustls omits some options of Go for good reasons (TLS before 1.2, CBC, P-521 here). They are
//! ignored if an alternative remains, and refused otherwise.

use std::sync::Arc;

use rustls::{
    ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    version::{TLS12, TLS13},
};

use super::{
    Wrong,
    clients::{self, Asked},
    document::{ClientAuth, ServerTls, Version},
};

/// The content of the files that the document names, or its inline values.
#[derive(Debug)]
pub(super) struct Material {
    pub cert: Vec<u8>,
    pub key: Vec<u8>,
    pub client_ca: Option<Vec<u8>>,
}

/// The server's configuration, and the ignored options.
///
/// # Errors
///
/// What is missing, does not fit together, or is unavailable.
pub(super) fn config(
    tls: &ServerTls,
    material: &Material,
) -> Result<(ServerConfig, Vec<String>), Wrong> {
    let mut passed_over = Vec::new();
    let provider = Arc::new(provider(tls, &mut passed_over)?);
    let versions = versions(tls, &mut passed_over)?;
    let certs =
        certificates(&material.cert).map_err(|why| Wrong::new("tls_server_config.cert", why))?;
    let key = PrivateKeyDer::from_pem_slice(&material.key).map_err(|error| {
        Wrong::new(
            "tls_server_config.key",
            format!("{error}: must be a private key in PEM, not encrypted"),
        )
    })?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(|error| Wrong::new("tls_server_config", error.to_string()))?;
    let builder = match asked(tls, material)? {
        None => builder.with_no_client_auth(),
        Some(asked) => builder.with_client_cert_verifier(clients::verifier(asked, &provider)?),
    };
    let mut config = builder.with_single_cert(certs, key).map_err(|error| {
        Wrong::new(
            "tls_server_config",
            format!("certificate and key cannot be used: {error}"),
        )
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Go's server has the same default.
    config.ignore_client_order = tls.prefer_server_cipher_suites.unwrap_or(true);
    Ok((config, passed_over))
}

/// All certificates of a file, at least one.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certs: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certs {
        Ok(certs) if certs.is_empty() => Err("has no certificate: must be PEM".to_owned()),
        Ok(certs) => Ok(certs),
        Err(error) => Err(format!("{error}: must be certificates in PEM")),
    }
}

/// The requirements for clients, if any.
fn asked(tls: &ServerTls, material: &Material) -> Result<Option<Asked>, Wrong> {
    const AUTH: &str = "tls_server_config.client_auth_type";
    const CA: &str = "tls_server_config.client_ca_file";
    const SANS: &str = "tls_server_config.client_allowed_sans";
    let auth = tls.client_auth_type;
    let (required, verified) = match auth {
        ClientAuth::Unset | ClientAuth::NoClientCert | ClientAuth::RequestClientCert => {
            (false, false)
        }
        ClientAuth::RequireAnyClientCert => (true, false),
        ClientAuth::VerifyClientCertIfGiven => (false, true),
        ClientAuth::RequireAndVerifyClientCert => (true, true),
    };
    let none = matches!(auth, ClientAuth::Unset | ClientAuth::NoClientCert);
    let authorities = match &material.client_ca {
        Some(_) if none => {
            return Err(Wrong::new(
                AUTH,
                "must be given with a client CA, such as RequireAndVerifyClientCert: without it no client is asked for a certificate",
            ));
        }
        Some(pem) => certificates(pem).map_err(|why| Wrong::new(CA, why))?,
        None if verified => {
            return Err(Wrong::new(
                CA,
                "must be given with this client_auth_type: it says which authority must sign a client's certificate",
            ));
        }
        None => Vec::new(),
    };
    let sans = match &tls.client_allowed_sans {
        None => None,
        Some(_) if !required => {
            return Err(Wrong::new(
                SANS,
                "must come with client_auth_type RequireAndVerifyClientCert: a client without a certificate would get in",
            ));
        }
        Some(sans) if sans.is_empty() => {
            return Err(Wrong::new(SANS, "is empty, and would refuse every client"));
        }
        Some(sans) => Some(sans.clone()),
    };
    Ok((!none).then_some(Asked {
        required,
        authorities: verified.then_some(authorities),
        sans,
    }))
}

/// The suites and curves that are both wanted and supported.
fn provider(tls: &ServerTls, passed_over: &mut Vec<String>) -> Result<CryptoProvider, Wrong> {
    const SUITES: &str = "tls_server_config.cipher_suites";
    const CURVES: &str = "tls_server_config.curve_preferences";
    let mut provider = ring::default_provider();
    if !tls.cipher_suites.is_empty() {
        let mut wanted = Vec::new();
        for name in &tls.cipher_suites {
            if !GO_SUITES.contains(&name.as_str()) {
                return Err(Wrong::new(
                    SUITES,
                    format!("{name:?} is not one of Go's secure suites"),
                ));
            }
            // In rustls the names of TLS 1.3's suites differ.
            let ours = name.replacen("TLS_", "TLS13_", usize::from(!name.contains("_WITH_")));
            let suite = |one: &&rustls::SupportedCipherSuite| {
                one.suite().as_str().is_some_and(|suite| suite == ours)
            };
            match provider.cipher_suites.iter().find(suite) {
                Some(suite) => wanted.push(*suite),
                None => passed_over.push(format!("cipher suite {name}")),
            }
        }
        // Go cannot configure TLS 1.3's suites either, so all of them stay.
        let old = |suite: &rustls::SupportedCipherSuite| suite.tls13().is_none();
        wanted.retain(old);
        if wanted.is_empty() && tls.max_version == Some(Version::Tls12) {
            return Err(Wrong::new(
                SUITES,
                "has none that is supported for TLS 1.2: use ECDHE with GCM or CHACHA20",
            ));
        }
        provider.cipher_suites.retain(|suite| !old(suite));
        provider.cipher_suites.extend(wanted);
    }
    if !tls.curve_preferences.is_empty() {
        let mut wanted = Vec::new();
        for name in &tls.curve_preferences {
            let group = match name.as_str() {
                "X25519" => ring::kx_group::X25519,
                "CurveP256" => ring::kx_group::SECP256R1,
                "CurveP384" => ring::kx_group::SECP384R1,
                "CurveP521" => {
                    passed_over.push(format!("curve {name}"));
                    continue;
                }
                _ => {
                    return Err(Wrong::new(
                        CURVES,
                        format!("{name:?} is not a curve: must be X25519, CurveP256 or CurveP384"),
                    ));
                }
            };
            wanted.push(group);
        }
        if wanted.is_empty() {
            return Err(Wrong::new(
                CURVES,
                "has none that is supported: use X25519, CurveP256 or CurveP384",
            ));
        }
        provider.kx_groups = wanted;
    }
    Ok(provider)
}

/// The versions from the oldest to the newest wanted one.
fn versions(
    tls: &ServerTls,
    passed_over: &mut Vec<String>,
) -> Result<Vec<&'static SupportedProtocolVersion>, Wrong> {
    let min = tls.min_version.unwrap_or(Version::Tls12);
    let max = tls.max_version.unwrap_or(Version::Tls13);
    if min < Version::Tls12 && max >= Version::Tls12 {
        passed_over.push("TLS before 1.2".to_owned());
    }
    let both: [(Version, &SupportedProtocolVersion); 2] =
        [(Version::Tls12, &TLS12), (Version::Tls13, &TLS13)];
    let wanted = both
        .into_iter()
        .filter(|(version, _)| (min..=max).contains(version));
    let wanted: Vec<_> = wanted.map(|(_, version)| version).collect();
    if wanted.is_empty() {
        return Err(Wrong::new(
            "tls_server_config.max_version",
            "leaves no version: TLS12 and TLS13 are available, and min_version must not be above",
        ));
    }
    Ok(wanted)
}

/// The suites that Go's `tls.CipherSuites()` lists.
const GO_SUITES: [&str; 13] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];
