//! Hostile input: the web configuration, and what clients send to log in.

use data_encoding::BASE64;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _};

use super::{
    clients::{in_its_time, names},
    document::WebDocument,
    policy::Policy,
    tls::{Material, certificates as of_pem},
    users::credentials,
};
use crate::fuzz_input::{SECRET, keeps_the_secret, text};

/// `--web.config.file`, with certificate and key in it: an error never contains the key or a hash.
pub fn config(data: &[u8]) {
    let text = text(data);
    let document = match WebDocument::parse(&text) {
        Ok(document) => document,
        Err(why) => return keeps_the_secret(&why),
    };
    let tls = &document.tls_server_config;
    let bytes = |text: &String| text.as_bytes().to_vec();
    let material = tls.is_wanted().then(|| Material {
        cert: bytes(&tls.cert),
        key: bytes(&tls.key.0),
        client_ca: Some(bytes(&tls.client_ca)).filter(|ca| !ca.is_empty()),
    });
    let hashes = document.basic_auth_users.values();
    let secrets = hashes
        .chain([&tls.key])
        .map(|one| one.0.matches(SECRET).count());
    let only_as_secret = secrets.sum::<usize>() == text.matches(SECRET).count();
    if let Err(wrong) = Policy::new(document, material.as_ref())
        && only_as_secret
    {
        keeps_the_secret(&wrong.why);
    }
}

/// An `Authorization` header: it reads back as the same.
pub fn authorization(data: &[u8]) {
    if let Some((name, password)) = credentials(data) {
        assert!(!name.contains(':'), "{name:?}");
        let pair = [name.as_bytes(), b":", &password].concat();
        let again = format!("Basic {}", BASE64.encode(&pair));
        assert_eq!(credentials(again.as_bytes()), Some((name, password)));
    }
}

/// Certificates and keys in PEM; a client's certificate in DER.
pub fn certificates(data: &[u8]) {
    let _ = PrivateKeyDer::from_pem_slice(data);
    let mut all = of_pem(data).unwrap_or_default();
    all.push(CertificateDer::from(data.to_vec()));
    for one in &all {
        let _ = names(one);
        let _ = in_its_time(one, UnixTime::now());
    }
}
