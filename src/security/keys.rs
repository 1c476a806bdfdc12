//! All keys of a controller, derived from the one that its home keeps.

use std::fmt;
use std::path::{Path, PathBuf};

use cfb8::cipher::KeyIvInit;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::key_list::{KeyList, PEER_TOKEN, small};
use crate::token::Token;

pub(crate) const LENGTH: usize = 32;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("there is no key at {0}")]
    Missing(PathBuf),
    #[error("read the key {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the key at {0} is not 64 hexadecimal digits")]
    Malformed(PathBuf),
    #[error("{0} holds no key: write one of 64 hexadecimal digits on each line")]
    Empty(PathBuf),
    #[error("line {line} of {path} is not a key of 64 hexadecimal digits")]
    Line { path: PathBuf, line: usize },
    #[error("line {line} of {path} is a key that is there already")]
    Twice { path: PathBuf, line: usize },
    #[error("{path} holds more than {most} keys: leave out those that nobody uses any more")]
    TooMany { path: PathBuf, most: usize },
    #[error("{path} has more than {most} bytes: that is no file of keys")]
    TooLarge { path: PathBuf, most: u64 },
    #[error("the system gives no random bytes")]
    NoRandom,
}

/// The keys of one controller. Prints `***`.
#[derive(Clone)]
pub struct Keys {
    master: [u8; LENGTH],
    /// What is between replicas follows from these, if there are any.
    peers: Option<KeyList>,
    /// Under which secrets are to be encrypted.
    encryption: Option<KeyList>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(***)")
    }
}

impl Keys {
    pub fn from_bytes(master: [u8; LENGTH]) -> Keys {
        Keys { master, peers: None, encryption: None }
    }

    /// New ones.
    pub fn random() -> Result<Keys, KeyError> {
        let mut master = [0; LENGTH];
        getrandom::fill(&mut master).map_err(|_| KeyError::NoRandom)?;
        Ok(Keys { master, peers: None, encryption: None })
    }

    /// From `secrets/master.key` of a home, or what is called `agent.key` elsewhere.
    pub fn read(path: &Path) -> Result<Keys, KeyError> {
        let text = small(path)?;
        let mut master = [0; LENGTH];
        match hex::decode_to_slice(text.trim(), &mut master) {
            Ok(()) => Ok(Keys { master, peers: None, encryption: None }),
            Err(_) => Err(KeyError::Malformed(path.to_owned())),
        }
    }

    /// What [`Keys::read`] reads. The secret itself: for that file only.
    pub fn expose(&self) -> String {
        format!("{}\n", hex::encode(self.master))
    }

    /// What the agent of that name shows when it connects: 64 hexadecimal digits.
    pub fn agent_secret(&self, name: &str) -> String {
        hex::encode(mac(&self.derived("agent secrets"), &[name]))
    }

    pub fn verify_agent_secret(&self, name: &str, given: &str) -> bool {
        same(&self.agent_secret(name), given)
    }

    /// `text` as only who has the agent's secret can read it. The form is that of Jenkins: `iv`, which must be random, then
    /// AES-128 in CFB8 mode under the first half of the secret. Who changes it is not noticed.
    pub fn seal_for_agent(&self, name: &str, iv: [u8; 16], text: &str) -> Vec<u8> {
        let secret = mac(&self.derived("agent secrets"), &[name]);
        let (key, _) = secret.split_first_chunk::<16>().expect("a secret has 32 bytes");
        let mut sealed = text.as_bytes().to_vec();
        cfb8::Encryptor::<aes::Aes128>::new(key.into(), &iv.into()).encrypt(&mut sealed);
        [iv.as_slice(), &sealed].concat()
    }

    /// The same, with keys of their own for what is between replicas.
    pub fn with_peers(self, peers: KeyList) -> Keys {
        Keys { peers: Some(peers), ..self }
    }

    /// The same, with those under which secrets are to be encrypted: the first for new ones, all for those that are there.
    pub fn with_encryption(self, encryption: KeyList) -> Keys {
        Keys { encryption: Some(encryption), ..self }
    }

    pub fn encryption(&self) -> Option<&KeyList> {
        self.encryption.as_ref()
    }

    pub fn peers(&self) -> Option<&KeyList> {
        self.peers.as_ref()
    }

    /// What replicas, and whoever started them, show to each other.
    pub fn peer_token(&self) -> String {
        match &self.peers {
            Some(peers) => peers.peer_token(),
            None => hex::encode(self.derived(PEER_TOKEN)),
        }
    }

    pub fn verify_peer_token(&self, given: &str) -> bool {
        match &self.peers {
            Some(peers) => peers.verify_peer_token(given),
            None => same(&self.peer_token(), given),
        }
    }

    /// What those show who scrape the metrics, as long as nobody has chosen another one: the same at every replica.
    pub fn metrics_token(&self) -> Token {
        Token::chosen(&hex::encode(self.derived("metrics token")))
    }

    /// What a browser must send with a change: bound to user and session.
    pub fn crumb(&self, user: &str, session: &str) -> String {
        hex::encode(mac(&self.derived("crumbs"), &[user, session]))
    }

    pub fn verify_crumb(&self, user: &str, session: &str, given: &str) -> bool {
        same(&self.crumb(user, session), given)
    }

    fn derived(&self, purpose: &str) -> [u8; LENGTH] {
        mac(&self.master, &["majordomo 1", purpose])
    }
}

/// HMAC-SHA256 over the parts. A single part is hashed as it is, as agents' secrets are in Jenkins; of several, each
/// but the last is led by its length, so that no two lists look alike.
pub(crate) fn mac(key: &[u8], parts: &[&str]) -> [u8; LENGTH] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    if let Some((last, first)) = parts.split_last() {
        for part in first {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac.update(last.as_bytes());
    }
    mac.finalize().into_bytes().into()
}

pub(crate) fn same(ours: &str, given: &str) -> bool {
    ours.as_bytes().ct_eq(given.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        Keys::from_bytes([7; 32])
    }

    #[test]
    fn each_purpose_has_its_own_key() {
        let all = [
            keys().agent_secret("a"),
            keys().agent_secret("b"),
            keys().peer_token(),
            keys().metrics_token().expose().to_owned(),
            keys().crumb("u", "s"),
            keys().crumb("us", ""),
            keys().crumb("", "us"),
            Keys::from_bytes([8; 32]).agent_secret("a"),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert!(all.iter().all(|s| s.len() == 64 && s.bytes().all(|b| b.is_ascii_hexdigit())));
    }

    #[test]
    fn what_was_given_out_stays_good_across_releases() {
        // written down once: agents keep these for years
        assert_eq!(
            keys().agent_secret("agent-1"),
            "42fe88a11e983d28b9055263d8d9f22aa513da7d0947b0915562e1ce3893dadf"
        );
    }

    #[test]
    fn who_has_the_secret_reads_what_was_sealed_for_the_agent() {
        let sealed = keys().seal_for_agent("agent-1", [9; 16], "<jnlp/>");
        let (iv, text) = sealed.split_at(16);
        assert_eq!(iv, [9; 16]);
        // as `openssl enc -aes-128-cfb8` has it
        assert_eq!(hex::encode(text), "7157de5d6d6382");
        let key = hex::decode(&keys().agent_secret("agent-1")[..32]).unwrap();
        let mut text = text.to_vec();
        cfb8::Decryptor::<aes::Aes128>::new_from_slices(&key, iv).unwrap().decrypt(&mut text);
        assert_eq!(text, b"<jnlp/>");
    }

    #[test]
    fn only_the_right_secret_is_taken() {
        let keys = keys();
        assert!(keys.verify_agent_secret("a", &keys.agent_secret("a")));
        assert!(!keys.verify_agent_secret("b", &keys.agent_secret("a")));
        assert!(!keys.verify_agent_secret("a", ""));
        assert!(keys.verify_peer_token(&keys.peer_token()));
        assert!(!keys.verify_peer_token(&keys.peer_token()[1..]));
        let with_peers = keys.clone().with_peers(KeyList::random().unwrap());
        assert_eq!(with_peers.agent_secret("a"), keys.agent_secret("a"));
        assert!(with_peers.verify_peer_token(&with_peers.peer_token()));
        assert!(!with_peers.verify_peer_token(&keys.peer_token()));
        assert!(keys.verify_crumb("u", "s", &keys.crumb("u", "s")));
        assert!(!keys.verify_crumb("u", "t", &keys.crumb("u", "s")));
    }

    #[test]
    fn a_key_is_read_as_it_was_written_and_prints_stars() {
        let folder = std::env::temp_dir().join(format!("majordomo-keys-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("master.key");
        assert!(matches!(Keys::read(&path), Err(KeyError::Missing(_))));
        let keys = Keys::random().unwrap();
        std::fs::write(&path, keys.expose()).unwrap();
        assert_eq!(Keys::read(&path).unwrap().peer_token(), keys.peer_token());
        std::fs::write(&path, "short").unwrap();
        assert!(matches!(Keys::read(&path), Err(KeyError::Malformed(_))));
        assert_eq!(format!("{keys:?}"), "Keys(***)");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
