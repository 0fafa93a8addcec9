//! Certificates for the cases of the web configuration.

use std::{fs, path::Path};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType, date_time_ymd,
};

/// All of them.
pub fn write(dir: &Path) -> Result<()> {
    renew(dir)?;
    fs::write(dir.join("other.key"), KeyPair::generate()?.serialize_pem())?;
    fs::write(dir.join("junk.pem"), "no certificate\n")?;
    let ours = authority()?;
    fs::write(dir.join("ca.crt"), ours.pem())?;
    let client =
        |name: &str, by: &CertifiedIssuer<'_, KeyPair>, change: &dyn Fn(&mut CertificateParams)| {
            let key = KeyPair::generate()?;
            let mut params = CertificateParams::default();
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            change(&mut params);
            pair(dir, name, &params.signed_by(&key, by)?, &key)
        };
    client("known", &ours, &|_| ())?;
    client("unknown", &authority()?, &|_| ())?;
    client("expired", &ours, &|params| {
        params.not_after = date_time_ymd(2001, 1, 1);
    })?;
    client("for-servers", &ours, &|params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    })?;
    let named = SanType::DnsName("prometheus.example".try_into()?);
    client("named", &ours, &|params| {
        params.subject_alt_names = vec![named.clone()];
    })?;
    let uri = SanType::URI("spiffe://cluster/prometheus".try_into()?);
    client("uri", &ours, &|params| {
        params.subject_alt_names = vec![uri.clone()];
    })?;
    let wild = SanType::DnsName("*.example".try_into()?);
    client("wild", &ours, &|params| {
        params.subject_alt_names = vec![wild.clone()];
    })?;
    // The same as from `openssl req -x509`.
    let key = KeyPair::generate()?;
    pair(dir, "own", &authority_params().self_signed(&key)?, &key)?;
    Ok(())
}

/// Another certificate for the server.
pub fn renew(dir: &Path) -> Result<()> {
    let key = KeyPair::generate()?;
    let params = CertificateParams::new(vec!["localhost".to_owned()])?;
    pair(dir, "server", &params.self_signed(&key)?, &key)
}

fn pair(dir: &Path, name: &str, cert: &rcgen::Certificate, key: &KeyPair) -> Result<()> {
    fs::write(dir.join(format!("{name}.crt")), cert.pem())?;
    fs::write(dir.join(format!("{name}.key")), key.serialize_pem())?;
    Ok(())
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>> {
    Ok(CertifiedIssuer::self_signed(
        authority_params(),
        KeyPair::generate()?,
    )?)
}
