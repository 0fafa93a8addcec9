//! Checks the certificates of clients.

use std::{net::IpAddr, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    },
    pki_types::{CertificateDer, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use x509_cert::{
    Certificate,
    der::Decode as _,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use super::Wrong;

/// The requirements for clients.
#[derive(Debug)]
pub(super) struct Asked {
    /// Whether a certificate is required.
    pub required: bool,
    /// The authorities that may sign it; `None`: it needs no signature.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
    /// Names of which it must have one.
    pub sans: Option<Vec<String>>,
}

/// The verifier for rustls.
///
/// # Errors
///
/// An authority is not valid.
pub(super) fn verifier(
    asked: Asked,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Wrong> {
    let wrong = |why: String| Wrong::new("tls_server_config.client_ca_file", why);
    let mut pinned = Vec::new();
    let chains = match asked.authorities {
        None => None,
        Some(authorities) => {
            let mut roots = RootCertStore::empty();
            for authority in authorities {
                roots
                    .add(authority.clone())
                    .map_err(|error| wrong(error.to_string()))?;
                pinned.push(authority);
            }
            let builder =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
            Some(builder.build().map_err(|error| wrong(error.to_string()))?)
        }
    };
    Ok(Arc::new(Verifier {
        required: asked.required,
        chains,
        pinned,
        sans: asked.sans,
        algorithms: provider.signature_verification_algorithms,
    }))
}

#[derive(Debug)]
struct Verifier {
    required: bool,
    /// Follows the chain to an authority; `None`: no signature is needed.
    chains: Option<Arc<dyn ClientCertVerifier>>,
    /// The authorities themselves. A self-signed certificate, as from `openssl req -x509`, is not
    /// valid at the end of a chain, but it counts if it is listed.
    pinned: Vec<CertificateDer<'static>>,
    sans: Option<Vec<String>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        let chains = self.chains.as_ref();
        chains.map_or(&[], |chains| chains.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(chains) = &self.chains {
            if self.pinned.contains(end_entity) {
                in_its_time(end_entity, now)?;
            } else {
                chains.verify_client_cert(end_entity, intermediates, now)?;
            }
        }
        if let Some(allowed) = &self.sans {
            let names = names(end_entity)?;
            if !names.iter().any(|name| allowed.contains(name)) {
                return Err(CertificateError::ApplicationVerificationFailure.into());
            }
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn parse(der: &CertificateDer<'_>) -> Result<Certificate, Error> {
    Certificate::from_der(der).map_err(|_| CertificateError::BadEncoding.into())
}

/// Whether a certificate that is trusted by itself is still within its validity.
pub(super) fn in_its_time(der: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let certificate = parse(der)?;
    let validity = certificate.tbs_certificate().validity();
    let now = now.as_secs();
    if now < validity.not_before.to_unix_duration().as_secs() {
        Err(CertificateError::NotValidYet.into())
    } else if now > validity.not_after.to_unix_duration().as_secs() {
        Err(CertificateError::Expired.into())
    } else {
        Ok(())
    }
}

/// The names in the certificate: DNS, e-mail, IP, URI.
pub(super) fn names(der: &CertificateDer<'_>) -> Result<Vec<String>, Error> {
    let certificate = parse(der)?;
    let extension = certificate
        .tbs_certificate()
        .get_extension::<SubjectAltName>();
    let extension = extension.map_err(|_| Error::from(CertificateError::BadEncoding))?;
    let names = extension.map_or_else(Vec::new, |(_, names)| names.0);
    Ok(names.iter().filter_map(name).collect())
}

fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(text)
        | GeneralName::Rfc822Name(text)
        | GeneralName::UniformResourceIdentifier(text) => Some(text.to_string()),
        GeneralName::IpAddress(octets) => match octets.as_bytes() {
            bytes if bytes.len() == 4 => <[u8; 4]>::try_from(bytes)
                .ok()
                .map(|ip| IpAddr::from(ip).to_string()),
            bytes => <[u8; 16]>::try_from(bytes)
                .ok()
                .map(|ip| IpAddr::from(ip).to_string()),
        },
        _ => None,
    }
}
