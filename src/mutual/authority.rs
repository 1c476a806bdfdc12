//! Authorities that follow from keys, the certificates that they sign, and who is let in by one.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519,
};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use security::KeyList;
use sha2::{Digest, Sha256};

use crate::{Error, OPERATOR};

/// What a private key of Ed25519 is led by in PKCS #8.
const PKCS8_ED25519: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// No process-wide one is set: other parts may choose theirs.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Those of a list of keys.
pub(crate) struct Authorities {
    /// That of the first key.
    first: Issuer<'static, KeyPair>,
    /// All of them.
    pub(crate) roots: Arc<RootCertStore>,
}

/// A certificate of one's own.
pub(crate) struct Certified {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivatePkcs8KeyDer<'static>,
}

impl Clone for Certified {
    fn clone(&self) -> Certified {
        Certified { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl Authorities {
    pub(crate) fn of(keys: &KeyList) -> Result<Authorities, Error> {
        let mut roots = RootCertStore::empty();
        let mut first = None;
        for seed in keys.derived("peer certificates") {
            let (issuer, certificate) = authority(&seed)?;
            roots.add(certificate)?;
            first.get_or_insert(issuer);
        }
        let first = first.ok_or(rustls::Error::NoCertificatesPresented)?;
        Ok(Authorities { first, roots: Arc::new(roots) })
    }

    /// A new key, certified for this name.
    pub(crate) fn certify(&self, name: &str) -> Result<Certified, Error> {
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let mut wanted = CertificateParams::new(vec![name.to_owned()])?;
        wanted.distinguished_name.push(DnType::CommonName, name);
        wanted.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if name != OPERATOR {
            wanted.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        let certificate = wanted.signed_by(&key, &self.first)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Ok(Certified { chain: vec![certificate.der().clone()], key })
    }
}

/// The same for everybody who has the seed, up to its signature of itself, at which nobody looks.
fn authority(seed: &[u8; 32]) -> Result<(Issuer<'static, KeyPair>, CertificateDer<'static>), Error> {
    let der = PrivatePkcs8KeyDer::from([PKCS8_ED25519.as_slice(), seed].concat());
    let key = KeyPair::try_from(&der)?;
    let mut params = CertificateParams::default();
    // Each has a name of its own: a certificate says under which key it is.
    let id = hex::encode(Sha256::digest(key.public_key_raw()));
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("majordomo peers {}", &id[..16]));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let certificate = params.self_signed(&key)?.der().clone();
    Ok((Issuer::new(params, key), certificate))
}

/// Lets in who has a certificate under one of the authorities, for one of these names.
#[derive(Debug)]
pub(crate) struct Named {
    chain: Arc<dyn ClientCertVerifier>,
    names: Vec<ServerName<'static>>,
}

impl Named {
    pub(crate) fn new(authorities: &Authorities, names: [&'static str; 2]) -> Result<Named, Error> {
        let chain = WebPkiClientVerifier::builder_with_provider(Arc::clone(&authorities.roots), provider());
        let chain = chain.build().map_err(|error| rustls::Error::General(error.to_string()))?;
        let name = |name| {
            ServerName::try_from(name).map_err(|_| rustls::Error::General(format!("{name} is no name")))
        };
        let names = names.into_iter().map(name).collect::<Result<_, _>>()?;
        Ok(Named { chain, names })
    }
}

impl ClientCertVerifier for Named {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.chain.verify_client_cert(own, intermediates, now)?;
        let certificate = ParsedCertificate::try_from(own)?;
        if self.names.iter().any(|name| verify_server_name(&certificate, name).is_ok()) {
            return Ok(verified);
        }
        Err(CertificateError::NotValidForName.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
